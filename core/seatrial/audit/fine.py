"""Proof of near duplicates: agreement of the fine structure of two pictures.

It is the normalised cross-correlation of the two small pictures, after their coarse shades are
taken away, over all shifts (one Fourier transform) and a few scales: unrelated pictures have
nothing in common there, however alike their shades are. Runs in a child only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from seatrial.audit.coarse import Guess, turned

#: Sizes tried around that of the part.
AROUND = (0.88, 1.0, 1.14)
#: Agreement of fine structure from which a pair counts.
PROVEN = 0.5
#: How far above chance a pair is believed, whatever the set.
SURE = 1.5
#: Deviations above unrelated pairs of the same two sets from which it is believed as well, the
#: least distance from them, and how many such pairs are drawn.
BEYOND, APART, DRAWN = 7.0, 0.15, 64
#: Chance agreement times the square root of the pixels: of wholes, and of pieces at any place.
WHOLE, PIECE = 16.5, 22.0
#: Pairs that are proven at a time.
BATCH = 256


class Fine:
    """Small pictures and their fine structure, which is computed once for each, in batches."""

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


def proven(
    one: Fine, two: Fine, guesses: Sequence[Guess], *, least_wanted: bool = True
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


def beyond_usual(one: Fine, two: Fine, guesses: Sequence[Guess]) -> float:
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
    scores = np.array([score for score, _, _ in proven(one, two, dealt, least_wanted=False)])
    middle = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - middle)))
    return middle + max(BEYOND * spread, APART)


def shades(one: Fine, two: Fine, guess: Guess, share: float) -> float:
    """Correlation of the grey values of a pair, the piece laid where its structure fits best.

    Structure alone is a weak witness where it is little more than one line: shades are another.
    """
    import numpy as np

    first, second = one.planes([guess.first], [0]), two.planes([guess.second], [guess.flip])
    whole, piece = (second, first) if guess.swapped else (first, second)
    side = one.side
    size = round(share * side)
    piece = _scaled(piece, size)
    score = _shifted(structure(whole), structure(piece))
    reach = side - size if size < side else side // 6
    ways = range(-reach if size == side else 0, reach + 1)
    y, x = max(((y, x) for y in ways for x in ways), key=lambda k: score[0, k[0], k[1]])
    a = whole[0, max(y, 0) : y + size, max(x, 0) : x + size]
    b = piece[0, max(-y, 0) :, max(-x, 0) :][: a.shape[0], : a.shape[1]]
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


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


def _agreements(wholes: Any, pieces: Any, size: int, least_wanted: bool) -> tuple[Any, Any]:
    """Highest correlation of each piece, scaled to ``size``, with its whole, and whether sure.

    It is 0 where chance may have given it and ``least_wanted`` is on.

    A whole may be shifted by a sixth of its side. Shifts wrap around: a piece that hangs over an
    edge loses what hangs over.
    """
    import numpy as np

    side = wholes.shape[-1]
    f, g = wholes, structure(_scaled(pieces, size))  # the wholes come as structure already
    score = _shifted(f, g)
    if size < side:
        room = (side, side)
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


def _shifted(wholes: Any, pieces: Any) -> Any:
    """(n, side, side) correlation of each piece with its whole, by the shift of the piece."""
    import numpy as np

    room = wholes.shape[-2:]
    return np.fft.irfft2(np.fft.rfft2(wholes) * np.conj(np.fft.rfft2(pieces, s=room)), s=room)


def _scaled(planes: Any, size: int) -> Any:
    """Planes (n, side, side) scaled down to ``size``, by area; as they are when it is no less."""
    import numpy as np

    side = planes.shape[-1]
    if size >= side:
        return planes
    edges = np.linspace(0, side, size + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side)[None, :]
    cover = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    shrinking = (cover / (high - low)).astype(np.float32)
    return shrinking @ planes @ shrinking.T
