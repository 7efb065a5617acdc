"""Candidates for near duplicates: pairs of pictures whose low-resolution views agree.

Whole is held against whole, as it is, mirrored and turned, and whole against parts.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.audit.look import Look

#: Side of the coarse views.
COARSE = 8
#: Parts that a picture is compared by: (top, left, side) as shares of its own.
PARTS = (
    (0.0, 0.0, 1.0),
    *((t, x, 0.875) for t in (0.0, 0.125) for x in (0.0, 0.125)),
    *((t, x, 0.75) for t in (0.0, 0.25) for x in (0.0, 0.25)),
    (0.125, 0.125, 0.75),
    *((t, x, 0.55) for t in (0.0, 0.225, 0.45) for x in (0.0, 0.225, 0.45)),
)
#: Candidates kept per sample, and the least agreement of their coarse views.
CANDIDATES, COARSE_LEAST = 3, 0.75
#: Samples beyond this are compared as a whole only, not by parts.
PARTS_UP_TO = 3000
#: Agreements that are held at a time.
BLOCK = 2**25
#: Most pairs that are proven, per sample of both sets, and at least.
PAIRS_EACH, PAIRS_LEAST = 2, 800
#: How each way to mirror or turn a picture is told.
FLIPS = {
    0: "",
    1: "mirrored",
    2: "upside down",
    3: "turned by 180 degrees",
    4: "turned by 90 degrees",
    5: "turned by 270 degrees",
}


@dataclass(frozen=True)
class Guess:
    """Two pictures that may be one.

    Attributes:
        first: position in the first set.
        second: position in the second set.
        flip: how the second is mirrored or turned, a key of :data:`FLIPS`.
        part: of :data:`PARTS`: what of the first shows all of the second.
        swapped: the part is one of the second picture.
        coarse: agreement of the coarse views.
    """

    first: int
    second: int
    flip: int
    part: tuple[float, float, float]
    swapped: bool
    coarse: float


def candidates(one: Look, two: Look, places: Sequence[int] | None = None) -> list[Guess]:
    """Pairs worth a closer look, the likeliest first, as many as can be proven.

    Args:
        one: a set.
        two: another, the same, or a part of it.
        places: where the pictures of the part ``two`` stand in ``one``.
    """
    if one is two:
        places = range(one.count)
    whole_one, whole_two = _coarse(one.small, PARTS[0]), _coarse(two.small, PARTS[0])
    guesses = list(_best(whole_one, whole_two, PARTS[0], places, one is two, swapped=False))
    if max(one.count, two.count) <= PARTS_UP_TO:
        for part in PARTS[1:]:
            parts = _coarse(one.small, part)
            guesses += _best(parts, whole_two, part, places, one is two, swapped=False)
            if one is not two:
                parts = _coarse(two.small, part)
                guesses += _best(whole_one, parts, part, places, False, swapped=True)
    guesses.sort(key=lambda g: -g.coarse)
    best: dict[tuple[int, int, int], list[Guess]] = {}
    for guess in guesses:
        listed = best.setdefault((guess.first, guess.second, guess.flip), [])
        if len(listed) < 2:  # the whole may look alike where only a part agrees
            listed.append(guess)
    kept = sorted((g for listed in best.values() for g in listed), key=lambda g: -g.coarse)
    each = PAIRS_EACH * (one.count + two.count) if places is None else 2 * PAIRS_EACH * two.count
    return kept[: max(PAIRS_LEAST, each)]


def turned(pictures: Any, flip: int) -> Any:
    """Pictures (..., H, W) mirrored or turned."""
    import numpy as np

    if flip == 0:
        return pictures
    if flip == 1:
        return pictures[..., ::-1]
    if flip == 2:
        return pictures[..., ::-1, :]
    return np.rot90(pictures, {3: 2, 4: 1, 5: 3}[flip], axes=(-2, -1))


def _coarse(small: Any, part: tuple[float, float, float]) -> Any:
    """(samples, COARSE * COARSE) unit vectors of one part of every picture."""
    import numpy as np

    side = small.shape[-1]
    top, left = round(part[0] * side), round(part[1] * side)
    size = round(part[2] * side)
    edges = np.linspace(0, size, COARSE + 1).round().astype(int)
    rows = []
    for start in range(0, len(small), 512):
        block = np.asarray(small[start : start + 512], np.float32)
        block = block[:, top : top + size, left : left + size]
        sums = np.add.reduceat(np.add.reduceat(block, edges[:-1], axis=1), edges[:-1], axis=2)
        areas = np.diff(edges)
        rows.append((sums / (areas[:, None] * areas[None, :])).reshape(len(block), -1))
    found = np.concatenate(rows)
    found -= found.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norm > 1e-6, norm, np.inf)


def _best(
    one: Any,
    two: Any,
    part: tuple[float, float, float],
    places: Sequence[int] | None,
    same: bool,
    *,
    swapped: bool,
) -> Iterator[Guess]:
    """For each sample of ``two`` its nearest ones of ``one`` but itself, as it is and mirrored."""
    import numpy as np

    whole = part[2] == 1.0
    keep = CANDIDATES if whole else 1
    block = max(1, min(1024, BLOCK // len(one)))
    for flip in range(6 if whole else 2):
        views = turned(two.reshape(-1, COARSE, COARSE), flip).reshape(len(two), -1)
        for start in range(0, len(two), block):
            alike = views[start : start + block] @ one.T
            if places is not None:
                rows = np.arange(len(alike))
                alike[rows, np.asarray(places[start : start + len(alike)])] = -1
            count = min(keep, alike.shape[1])
            if count == 1:  # many times faster
                top = alike.argmax(axis=1)[:, None]
            else:
                top = np.argpartition(-alike, count - 1, axis=1)[:, :count]
            for row, column in zip(*np.nonzero(np.take_along_axis(alike, top, 1) > COARSE_LEAST),
                                   strict=True):  # fmt: skip
                i, j = int(top[row, column]), start + int(row)
                coarse = float(alike[row, i])
                if same and whole and i > j:
                    i, j = j, i  # a mirror image is one both ways
                    if flip in (4, 5):
                        yield Guess(i, j, 9 - flip, part, swapped, coarse)
                        continue
                yield Guess(i, j, flip, part, swapped, coarse)
