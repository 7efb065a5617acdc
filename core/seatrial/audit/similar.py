"""Duplicates, exact and near: between two sets, or within one.

A near duplicate is a candidate by its coarse look (:mod:`seatrial.audit.coarse`) that is proven
pixel by pixel (:mod:`seatrial.audit.fine`). Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.audit.coarse import FLIPS, Guess, candidates
from seatrial.audit.fine import BATCH, Fine, beyond_usual, proven, shades
from seatrial.audit.look import Look

#: From here two pictures are the same one, whatever others have in common.
SAME = 0.97
#: Correlation of the pixels themselves, one laid on the other, that a pair must have as well
#: whose structure alone leaves doubt.
SHADES = 0.9
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


def near(one: Look, two: Look, places: Sequence[int] | None = None) -> list[Pair]:
    """Near duplicates between two sets, or within one (then ``first`` < ``second``).

    Each pair is proven by itself: its agreement lies far above chance, or far above what unrelated
    samples of these two sets have in common. Exact duplicates are among them, with the score 1.

    Args:
        one: a set.
        two: another, the same, or a part of it.
        places: where the pictures of the part ``two`` stand in ``one``.
    """
    if one.pictures != two.pictures or one.small is None or two.small is None:
        return []
    if one.steps or two.steps:
        return []  # neighbouring steps are alike; copies of sequences are found by their content
    if one.small.shape[1:] != two.small.shape[1:]:
        return []
    if not one.pictures:
        return list(_near_arrays(one, two))
    return _near_pictures(one, two, places)


def _near_pictures(one: Look, two: Look, places: Sequence[int] | None) -> list[Pair]:
    """Candidates, proven in batches of one kind: each pair in its best reading, surest first."""
    found: dict[tuple[int, int], Pair] = {}
    fine = Fine(one.small), Fine(two.small)
    by_kind: dict[tuple[float, bool], list[Guess]] = {}
    for guess in candidates(one, two, places):
        by_kind.setdefault((guess.part[2], guess.swapped), []).append(guess)
    for guesses in by_kind.values():
        usual = beyond_usual(*fine, guesses)
        for start in range(0, len(guesses), BATCH):
            batch = guesses[start : start + BATCH]
            for guess, (score, size, sure) in zip(batch, proven(*fine, batch), strict=True):
                key = (guess.first, guess.second)
                key = (min(key), max(key)) if one is two else key
                if not score or (key in found and found[key].score >= score):
                    continue
                # What all pictures of the sets have in common proves nothing, however high.
                stands = score > min(usual, SAME)
                if stands and (sure or shades(*fine, guess, size) >= SHADES):
                    found[key] = Pair(*key, min(score, 1.0), _words(guess, score, size))
    return sorted(found.values(), key=lambda p: -p.score)


def _words(guess: Guess, score: float, size: float) -> str:
    words = [w for w in (FLIPS[guess.flip], "a part" if size < 0.98 else "") if w]
    return ", ".join(words) or ("the same" if score > SAME else "alike")


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
