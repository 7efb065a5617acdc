"""Near duplicates: candidates by their coarse look, then proven pixel by pixel.

A candidate is a pair whose low-resolution views agree, whole against whole, mirrored, or whole
against a part. It is proven by the normalised cross-correlation of the two small pictures, after
their coarse shades are taken away, over all shifts (one Fourier transform) and a few scales:
unrelated pictures have nothing in common there, however alike their shades are.
Runs in a child only.
"""

from __future__ import annotations

import dataclasses
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
#: Sizes tried around that of the part.
AROUND = (0.88, 1.0, 1.14)
#: Candidates kept per sample, and the least agreement of their coarse views.
CANDIDATES, COARSE_LEAST = 3, 0.75
#: Agreement of fine structure from which a pair counts.
PROVEN = 0.5
#: How far above chance a pair is believed, whatever the set.
SURE = 1.5
#: From here two pictures are the same one, whatever others have in common.
SAME = 0.97
#: Deviations above unrelated pairs of the same two sets from which it is believed as well, the
#: least distance from them, and how many such pairs are drawn.
BEYOND, APART, DRAWN = 7.0, 0.15, 64
#: Correlation of the pixels themselves, one laid on the other, that such a pair must have too.
SHADES = 0.9
#: Chance agreement times the square root of the pixels: of wholes, and of pieces at any place.
WHOLE, PIECE = 16.5, 22.0
#: Pairs that are proven at a time.
BATCH = 256
#: Samples beyond this are compared as a whole only, not by parts.
PARTS_UP_TO = 3000
#: Most pairs that are proven, per sample of both sets, and at least.
PAIRS_EACH, PAIRS_LEAST = 2, 800
#: Relative distance below which two samples that are no pictures count as one.
CLOSE = 0.1


@dataclass(frozen=True)
class Pair:
    """Two samples that are one picture.

    Attributes:
        first: position in the first set.
        second: position in the second set.
        score: agreement of their fine structure, 0 to 1.
        how: ``the same``, ``mirrored``, ``turned``, ``a part``, ``shifted`` ...
    """

    first: int
    second: int
    score: float
    how: str


def exact(one: Look, two: Look) -> list[tuple[int, int]]:
    """Pairs of positions with equal content, each sample of ``two`` once."""
    first: dict[str, int] = {}
    for i, digest in enumerate(one.hashes):
        first.setdefault(digest, i)
    same = one is two
    return [
        (first[d], j)
        for j, d in enumerate(two.hashes)
        if d in first and not (same and first[d] == j)
    ]


def near(one: Look, two: Look) -> list[Pair]:
    """Near duplicates between two sets, or within one (then ``first`` < ``second``).

    Each pair is proven by itself: its agreement lies far above chance, or far above what unrelated
    samples of these two sets have in common. Exact duplicates are among them, with the score 1.
    """
    if one.pictures != two.pictures or one.small is None or two.small is None:
        return []
    if one.steps or two.steps:
        return []  # neighbouring steps are alike; copies of sequences are found by their content
    if one.small.shape[1:] != two.small.shape[1:]:
        return []
    if not one.pictures:
        return list(_near_arrays(one, two))
    found: dict[tuple[int, int], Pair] = {}
    fine = _Fine(one.small), _Fine(two.small)
    by_kind: dict[tuple[float, bool], list[_Guess]] = {}
    for guess in _candidates(one, two):
        by_kind.setdefault((guess.part[2], guess.swapped), []).append(guess)
    for guesses in by_kind.values():
        usual = _beyond_usual(*fine, guesses)
        for start in range(0, len(guesses), BATCH):
            batch = guesses[start : start + BATCH]
            for guess, (score, size, sure) in zip(batch, _proven(*fine, batch), strict=True):
                key = (min(guess.first, guess.second), max(guess.first, guess.second))
                key = key if one is two else (guess.first, guess.second)
                if not score or (key in found and found[key].score >= score):
                    continue
                # What all pictures of the sets have in common proves nothing, however high.
                stands = score > min(usual, SAME)
                if stands and (sure or _shades(*fine, guess, size) >= SHADES):
                    found[key] = Pair(*key, min(score, 1.0), _words(guess, score, size))
    return sorted(found.values(), key=lambda p: -p.score)


def _words(guess: _Guess, score: float, size: float) -> str:
    words = [w for w in (_FLIPS[guess.flip], "a part" if size < 0.98 else "") if w]
    return ", ".join(words) or ("the same" if score > SAME else "alike")


@dataclass(frozen=True)
class _Guess:
    first: int
    second: int
    flip: int  # 0 as it is, 1 mirrored, 2 upside down, 3 turned by 180, 4 and 5 by 90 degrees
    part: tuple[float, float, float]
    swapped: bool  # the part is one of the second picture
    coarse: float


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


_FLIPS = {
    0: "",
    1: "mirrored",
    2: "upside down",
    3: "turned by 180 degrees",
    4: "turned by 90 degrees",
    5: "turned by 270 degrees",
}


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


def _candidates(one: Look, two: Look) -> list[_Guess]:
    """Pairs worth a closer look, the likeliest first, as many as can be proven."""
    whole_one, whole_two = _coarse(one.small, PARTS[0]), _coarse(two.small, PARTS[0])
    guesses = list(_best(whole_one, whole_two, PARTS[0], one is two, swapped=False))
    if max(one.count, two.count) <= PARTS_UP_TO:
        for part in PARTS[1:]:
            parts = _coarse(one.small, part)
            guesses += _best(parts, whole_two, part, one is two, swapped=False)
            if one is not two:
                parts = _coarse(two.small, part)
                guesses += _best(whole_one, parts, part, False, swapped=True)
    guesses.sort(key=lambda g: -g.coarse)
    best: dict[tuple[int, int, int], list[_Guess]] = {}
    for guess in guesses:
        listed = best.setdefault((guess.first, guess.second, guess.flip), [])
        if len(listed) < 2:  # the whole may look alike where only a part agrees
            listed.append(guess)
    kept = sorted((g for listed in best.values() for g in listed), key=lambda g: -g.coarse)
    return kept[: max(PAIRS_LEAST, PAIRS_EACH * (one.count + two.count))]


def _best(
    one: Any, two: Any, part: tuple[float, float, float], same: bool, *, swapped: bool
) -> Iterator[_Guess]:
    """For each sample of ``two`` its nearest ones of ``one``, as it is and mirrored."""
    import numpy as np

    whole = part[2] == 1.0
    keep = CANDIDATES if whole else 1
    for flip in range(6 if whole else 2):
        views = turned(two.reshape(-1, COARSE, COARSE), flip).reshape(len(two), -1)
        for start in range(0, len(two), 1024):
            alike = views[start : start + 1024] @ one.T
            if same:
                rows = np.arange(len(alike))
                alike[rows, start + rows] = -1
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
                        yield _Guess(i, j, 9 - flip, part, swapped, coarse)
                        continue
                yield _Guess(i, j, flip, part, swapped, coarse)


class _Fine:
    """Fine structure of small pictures, and its Fourier transforms, computed in batches."""

    def __init__(self, small: Any) -> None:
        self.small = small
        self.side = int(small.shape[-1])
        self._made: dict[int, Any] = {}

    def planes(self, rows: Sequence[int], flips: Sequence[int]) -> Any:
        """(rows, side, side) float32, each mirrored or turned as told."""
        import numpy as np

        return np.stack(
            [
                turned(np.asarray(self.small[i], np.float32), f)
                for i, f in zip(rows, flips, strict=True)
            ]
        )

    def structures(self, rows: Sequence[int], flips: Sequence[int]) -> Any:
        """The same of their structure, which is computed once for each picture."""
        import numpy as np

        missing = sorted({i for i in rows if i not in self._made})
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            found = structure(self.planes(part, [0] * len(part))).astype(np.float16)
            self._made.update(zip(part, found, strict=True))
        planes = [
            turned(self._made[i].astype(np.float32), f) for i, f in zip(rows, flips, strict=True)
        ]
        return np.stack(planes)


def structure(planes: Any) -> Any:
    """Edges and grain of planes (n, side, side), equally strong everywhere, of norm 1.

    A difference of Gaussians (1 and 3 pixels), divided by its own deviation nearby: so the shades
    are gone, and one strong edge does not outweigh the rest of the picture.
    """
    import numpy as np

    side = planes.shape[-1]
    padded = np.pad(planes, ((0, 0), (8, 8), (8, 8)), mode="reflect")
    size = padded.shape[-1]
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    radius = y * y + x * x
    narrow, wide, near = (
        np.exp(-2 * np.pi**2 * s * s * radius).astype(np.float32) for s in (0.8, 3.0, 4.0)
    )
    spectrum = np.fft.rfft2(padded)
    edges = np.fft.irfft2(spectrum * (narrow - wide), s=(size, size))
    power = np.fft.irfft2(np.fft.rfft2(edges * edges) * near, s=(size, size))
    floor = 0.1 * (edges * edges).mean(axis=(1, 2), keepdims=True) + 1e-6
    even = (edges / np.sqrt(np.maximum(power, 0) + floor))[:, 8 : 8 + side, 8 : 8 + side]
    even = even - even.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((even * even).sum(axis=(1, 2), keepdims=True))
    return (even / np.where(norm > 1e-6, norm, np.inf)).astype(np.float32)


def least(pieces: Any, factor: float) -> Any:
    """Agreement that unrelated pictures reach by chance less than once in a million pairs.

    Structure is independent every 3 pixels or so, and thousands of shifts are looked at: ``factor``
    over the square root of the pixels that hold the structure. A picture with few such pixels
    (a disc on nothing) is like many others, whatever it agrees with.

    Args:
        pieces: (n, side, side) of norm 1.
        factor: :data:`WHOLE` or :data:`PIECE`.
    """
    import numpy as np

    squares = pieces * pieces
    fourth = np.einsum("nij,nij->n", squares, squares)
    held = 3.0 / np.maximum(fourth, 1e-12)  # of normal values: all pixels
    return np.clip(factor / np.sqrt(held), PROVEN * factor / WHOLE, 0.97)


def _shrinking(side: int, size: int) -> Any:
    """(size, side) matrix that scales a line of pixels down, by area."""
    import numpy as np

    edges = np.linspace(0, side, size + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side)[None, :]
    cover = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return (cover / (high - low)).astype(np.float32)


def _agreements(wholes: Any, pieces: Any, size: int, least_wanted: bool) -> tuple[Any, Any]:
    """Highest correlation of each piece, scaled to ``size``, with its whole, and whether sure.

    It is 0 where chance may have given it and ``least_wanted`` is on.

    A whole may be shifted by a sixth of its side. Shifts wrap around: a piece that hangs over an
    edge loses what hangs over.
    """
    import numpy as np

    side = wholes.shape[-1]
    if size < side:
        scale = _shrinking(side, size)
        pieces = scale @ pieces @ scale.T
    f, g = wholes, structure(pieces)  # the wholes come as structure already
    room = (side, side)
    score = np.fft.irfft2(np.fft.rfft2(f) * np.conj(np.fft.rfft2(g, s=room)), s=room)
    if size < side:
        box = np.conj(np.fft.rfft2(np.ones((size, size), np.float32), s=room))
        power = np.fft.irfft2(np.fft.rfft2(f * f) * box, s=room)
        score /= np.sqrt(np.maximum(power, 0.4 * (size / side) ** 2))
    else:
        reach = side // 6
        score[:, reach + 1 : side - reach] = 0
        score[:, :, reach + 1 : side - reach] = 0
    best = score.max(axis=(1, 2))
    factor = WHOLE if size == side else PIECE
    limit = np.maximum(least(g, factor), least(f, factor))
    # Half as much again, or all that there can be: no chance agreement was seen so high.
    sure = best >= np.minimum(SURE * limit, 0.9)
    return np.where(best >= limit, best, 0.0) if least_wanted else best, sure


def _proven(
    one: _Fine, two: _Fine, guesses: Sequence[_Guess], *, least_wanted: bool = True
) -> list[tuple[float, float, bool]]:
    """Agreement and size of the piece for each guess, all of one part and direction.

    It is 0 where chance may have given it, unless ``least_wanted`` is off.
    """
    import numpy as np

    first = guesses[0]
    part, swapped = first.part[2], first.swapped
    rows = ([g.first for g in guesses], [0] * len(guesses))
    turned_rows = ([g.second for g in guesses], [g.flip for g in guesses])
    if swapped:
        a, b = two.structures(*turned_rows), one.planes(*rows)
    else:
        a, b = one.structures(*rows), two.planes(*turned_rows)
    sizes = [one.side]
    if part < 1:
        sizes = [s for f in AROUND if (s := round(part * f * one.side)) <= one.side]
    best: Any = np.zeros(len(guesses))
    at: Any = np.ones(len(guesses))
    sure: Any = np.zeros(len(guesses), bool)
    for size in sizes:
        score, certain = _agreements(a, b, size, least_wanted)
        at = np.where(score > best, size / one.side, at)
        sure = np.where(score > best, certain, sure)
        best = np.maximum(best, score)
    return list(zip(best.tolist(), at.tolist(), sure.tolist(), strict=True))


def _beyond_usual(one: _Fine, two: _Fine, guesses: Sequence[_Guess]) -> float:
    """Agreement that unrelated samples of these two sets do not reach, for guesses of one kind.

    A fixed camera, a round lens or a printed frame gives all pictures something in common. Partners
    are dealt at random, so nearly all are unrelated; medians bear with those that are not.
    """
    import numpy as np

    draw = np.random.default_rng(len(guesses))
    picked = [guesses[k] for k in draw.integers(len(guesses), size=DRAWN)]
    others = draw.integers(len(two.small), size=DRAWN)
    dealt = [
        dataclasses.replace(g, second=int(j))
        for g, j in zip(picked, others, strict=True)
        if j != g.second and not (one.small is two.small and j == g.first)
    ]
    if len(dealt) < DRAWN // 2:
        return 1.0
    scores = np.array([score for score, _, _ in _proven(one, two, dealt, least_wanted=False)])
    middle = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - middle)))
    return middle + max(BEYOND * spread, APART)


def _shades(one: _Fine, two: _Fine, guess: _Guess, share: float) -> float:
    """Correlation of the grey values of a pair, the piece laid where its structure fits best.

    Structure alone is a weak witness where it is little more than one line: shades are another.
    """
    import numpy as np

    first, second = one.planes([guess.first], [0]), two.planes([guess.second], [guess.flip])
    whole, piece = (second, first) if guess.swapped else (first, second)
    side = one.side
    size = round(share * side)
    if size < side:
        scale = _shrinking(side, size)
        piece = scale @ piece @ scale.T
    f, g = structure(whole), structure(piece)
    score = np.fft.irfft2(
        np.fft.rfft2(f) * np.conj(np.fft.rfft2(g, s=(side, side))), s=(side, side)
    )
    reach = side - size if size < side else side // 6
    ways = range(-reach if size == side else 0, reach + 1)
    y, x = max(((y, x) for y in ways for x in ways), key=lambda k: score[0, k[0], k[1]])
    a = whole[0, max(y, 0) : y + size, max(x, 0) : x + size]
    b = piece[0, max(-y, 0) :, max(-x, 0) :][: a.shape[0], : a.shape[1]]
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _unit(rows: Any) -> Any:
    """Rows of norm 1; a row of zeros stays."""
    import numpy as np

    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 1e-6, norms, np.inf)


def _near_arrays(one: Look, two: Look) -> Iterator[Pair]:
    """Samples that are no pictures: a small distance between their standardised elements."""
    import numpy as np

    a, b = (_unit(np.asarray(s.small, np.float32).reshape(s.count, -1)) for s in (one, two))
    least = 1 - CLOSE**2 / 2
    for start in range(0, len(b), 1024):
        alike = b[start : start + 1024] @ a.T
        for row, i in zip(*np.nonzero(alike > least), strict=True):
            j = start + int(row)
            if one is not two or int(i) < j:
                yield Pair(int(i), j, float(alike[row, i]), "the same")


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Samples joined by pairs, clusters of two or more, the largest first."""
    parent = list(range(count))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        parent[find(i)] = find(j)
    joined: dict[int, list[int]] = {}
    for i in range(count):
        joined.setdefault(find(i), []).append(i)
    return sorted((c for c in joined.values() if len(c) > 1), key=len, reverse=True)
