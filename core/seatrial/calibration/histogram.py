"""Histograms whose limits are powers of two: one pass, no preliminary range, exact to merge.

A value falls into bin trunc(x / width), width = 2**exponent / BINS, so bin 0 is (-width, width)
and its middle is 0, where ReLU puts most values. When a value does not fit, the exponent grows and
bins are added up in pairs, which loses nothing but resolution: the result does not depend on the
order of the samples. At least half of the bins of the larger side are always in use.
Runs in a child only.
"""

from __future__ import annotations

import base64
import math
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .types import Histogram

#: Bins per side.
BINS = 4096

#: Smallest exponent: below it all values count as 0.
EXPONENT_MIN = -96

#: Bins in all.
SIZE = 2 * BINS - 1

#: Elements, and histograms, counted at a time: fewer cost more per element, more cost memory.
CHUNK, TOGETHER = 1 << 18, 32

_own = threading.local()


@dataclass
class Dyadic:
    """Running counts of one tensor.

    Attributes:
        exponent: all values so far are in (-2**exponent, 2**exponent).
        counts: int64, shape (SIZE,): bins -(BINS - 1) to BINS - 1.
    """

    exponent: int = EXPONENT_MIN
    counts: Any = field(default=None)

    def __post_init__(self) -> None:
        import numpy as np

        if self.counts is None:
            self.counts = np.zeros(SIZE, np.int64)

    def add(self, values: Any, peak: float | None = None) -> None:
        """Count values of any shape; a NaN or an infinity is left out.

        Args:
            values: float32.
            peak: a bound on the magnitude of all values, if one is known.
        """
        if peak is None:
            peak = max(float(values.max()), -float(values.min())) if values.size else 0.0
        count([(self, values, peak, False)])

    def add_finite(self, values: Any) -> None:
        """Count what is finite among values of any shape."""
        import numpy as np

        finite = values[np.isfinite(values)]
        if finite.size:
            self.add(finite)

    def grow(self, peak: float) -> None:
        """Make room for values of this magnitude."""
        if peak:
            self._widen(math.frexp(peak)[1])

    def _widen(self, exponent: int) -> None:
        while self.exponent < exponent:
            if not self.counts.any():
                self.exponent = exponent
                return
            self.exponent += 1
            self.counts = _halved(self.counts)

    def merge(self, other: Dyadic) -> None:
        """Add the counts of another histogram, which may be changed and is empty afterwards."""
        self._widen(other.exponent)
        other._widen(self.exponent)
        self.counts += other.counts
        other.counts[:] = 0

    def packed(self) -> Histogram:
        """The finished histogram."""
        data = zlib.compress(self.counts.astype("<i8").tobytes(), 6)
        return Histogram(exponent=self.exponent, counts=base64.b64encode(data).decode())


def count(parts: Iterable[tuple[Dyadic, Any, float, bool]]) -> None:
    """Count into several histograms, which costs less than into one after the other.

    Args:
        parts: histograms, each once; float32 values of any shape, of which those that are not
            finite are left out; a bound on their magnitude; and whether none is below zero.
    """
    if getattr(_own, "tally", None) is None:
        _own.tally = _Tally()
    tally: _Tally = _own.tally
    for histogram, values, peak, positive in parts:
        flat = values.reshape(-1)
        if not math.isfinite(peak):
            histogram.add_finite(flat)
            continue
        histogram.grow(peak)
        for start in range(0, flat.size, CHUNK):
            tally.put(histogram, flat[start : start + CHUNK], positive)
    tally.flush()


class _Part(NamedTuple):
    """Elements that wait: where they go, they themselves, whether none is below zero."""

    histogram: Dyadic
    values: Any
    positive: bool


class _Tally:
    """Elements on their way into histograms, in memory that one thread uses again and again.

    Counting is the product of a sparse matrix with the number 1: of one column, whose row
    indices are the bins and whose values are all 1. That takes two thirds of the time of
    ``numpy.bincount``, which makes 64-bit indices first and looks for the largest one.

    Behind a ReLU most elements are 0, and to add to one number again and again is to wait for
    its last sum. Tensors without negative values leave half of a row unused: every second
    element is counted there instead, and the halves are added up.
    """

    def __init__(self) -> None:
        import numpy as np

        self.scaled, self.bins = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.int32)
        self.ones = np.ones(CHUNK, np.int32)
        self.halves = np.arange(CHUNK, dtype=np.int32) % 2 * BINS
        self.matrices: dict[int, Any] = {}
        self.waiting: list[_Part] = []
        self.used = 0

    def put(self, histogram: Dyadic, values: Any, positive: bool) -> None:
        """Take in elements, float32, shape (n,), n at most :data:`CHUNK`."""
        import numpy as np

        if self.used + values.size > CHUNK or len(self.waiting) == TOGETHER:
            self.flush()
        scale = np.float32(2.0 ** (math.log2(BINS) - histogram.exponent))
        np.multiply(values, scale, out=self.scaled[self.used : self.used + values.size])
        self.waiting.append(_Part(histogram, values, positive))
        self.used += values.size

    def flush(self) -> None:
        """Count what was taken in."""
        import numpy as np

        if not self.used:
            return
        waiting, bins = self.waiting, self.bins[: self.used]
        with np.errstate(invalid="ignore"):  # a NaN becomes the lowest integer
            np.copyto(bins, self.scaled[: self.used], casting="unsafe")
        self.waiting, self.used = [], 0
        if not self._placed(waiting, bins):  # not finite after all, or beyond its bound
            for part in waiting:
                part.histogram.add_finite(part.values)
            return
        found = self._counts(len(waiting), bins.size)
        for part, counts in zip(waiting, found, strict=True):
            if part.positive:
                part.histogram.counts[BINS - 1 :] += counts[:BINS]
                part.histogram.counts[BINS - 1 :] += counts[BINS:]
            else:
                part.histogram.counts += counts[:SIZE]

    def _placed(self, waiting: list[_Part], bins: Any) -> bool:
        """Make places in the rows of counts out of bins; False: an element fits nowhere.

        The product does not look at its indices. Unsigned, what is below 0 is far above.
        """
        import numpy as np

        start = 0
        for row, part in enumerate(waiting):
            own = bins[start : start + part.values.size]
            start += own.size
            if not own.size:
                continue
            if not part.positive:
                own += BINS - 1
            if own.view(np.uint32).max() >= (BINS if part.positive else SIZE):
                return False
            if part.positive:
                own += self.halves[: own.size]
            if row:
                own += row * 2 * BINS
        return True

    def _counts(self, rows: int, used: int) -> Any:
        """How often each place stands in the first ``used``; int32, shape (rows, 2 * BINS)."""
        import numpy as np
        from scipy.sparse import csc_array

        if rows not in self.matrices:  # all over the same memory
            column = (self.ones, self.bins, np.array([0, CHUNK], np.int32))
            self.matrices[rows] = csc_array(column, shape=(rows * 2 * BINS, 1))
        matrix = self.matrices[rows]
        matrix.indptr[1] = used
        return (matrix @ self.ones[:1]).reshape(rows, 2 * BINS)


def unpacked(histogram: Histogram) -> Dyadic:
    """Counts from a table.

    Raises:
        ValueError: the text is not a histogram of this form.
    """
    import numpy as np

    try:
        data = zlib.decompress(base64.b64decode(histogram.counts, validate=True))
        counts = np.frombuffer(data, "<i8").copy()
    except (ValueError, zlib.error) as error:
        raise ValueError(f"not a histogram: {error}") from None
    if counts.shape != (SIZE,) or (counts < 0).any():
        raise ValueError("not a histogram: wrong number of bins or negative counts")
    return Dyadic(histogram.exponent, counts)


def _halved(counts: Any) -> Any:
    """Counts for bins twice as wide."""
    import numpy as np

    result = np.zeros_like(counts)
    zero, half = BINS - 1, BINS // 2
    up = counts[zero:].reshape(half, 2).sum(1)
    down = counts[zero::-1].reshape(half, 2).sum(1)
    result[zero : zero + half] = up
    result[zero : zero - half : -1] = down
    result[zero] = up[0] + down[0] - counts[zero]
    return result
