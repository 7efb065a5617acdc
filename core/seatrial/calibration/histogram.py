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
from typing import Any

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
        count([(self, values, peak)])

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


def count(parts: Iterable[tuple[Dyadic, Any, float]]) -> None:
    """Count into several histograms, which costs less than into one after the other.

    Args:
        parts: histograms, each once; float32 values of any shape, of which those that are not
            finite are left out; and a bound on their magnitude.
    """
    if getattr(_own, "tally", None) is None:
        _own.tally = _Tally()
    tally: _Tally = _own.tally
    for histogram, values, peak in parts:
        flat = values.reshape(-1)
        if not math.isfinite(peak):
            histogram.add_finite(flat)
            continue
        histogram.grow(peak)
        for start in range(0, flat.size, CHUNK):
            tally.put(histogram, flat[start : start + CHUNK])
    tally.flush()


class _Tally:
    """Elements on their way into histograms, in memory that one thread uses again and again.

    Counting is the product of a sparse matrix with the number 1: of one column, whose row
    indices are the bins and whose values are all 1. That takes two thirds of the time of
    ``numpy.bincount``, which makes 64-bit indices first and looks for the largest one.
    """

    def __init__(self) -> None:
        import numpy as np

        self.scaled, self.bins = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.int32)
        self.ones = np.ones(CHUNK, np.int32)
        self.matrices: dict[int, Any] = {}
        self.waiting: list[tuple[Dyadic, Any]] = []
        self.used = 0

    def put(self, histogram: Dyadic, part: Any) -> None:
        """Take in elements, float32, shape (n,), n at most :data:`CHUNK`."""
        import numpy as np

        if self.used + part.size > CHUNK or len(self.waiting) == TOGETHER:
            self.flush()
        scale = np.float32(2.0 ** (math.log2(BINS) - histogram.exponent))
        place = self.scaled[self.used : self.used + part.size]
        np.multiply(part, scale, out=place)
        self.waiting.append((histogram, part))
        self.used += part.size

    def flush(self) -> None:
        """Count what was taken in."""
        import numpy as np

        if not self.used:
            return
        waiting, bins = self.waiting, self.bins[: self.used]
        with np.errstate(invalid="ignore"):  # a NaN becomes the lowest integer
            np.copyto(bins, self.scaled[: self.used], casting="unsafe")
        self.waiting, self.used = [], 0
        bins += BINS - 1
        # The product does not look at its indices. Unsigned, what is below 0 is far above.
        if bins.view(np.uint32).max() >= SIZE:
            for histogram, part in waiting:  # not finite after all, or beyond its bound
                histogram.add_finite(part)
            return
        if len(waiting) > 1:
            firsts = np.arange(len(waiting), dtype=np.int32) * SIZE
            bins += np.repeat(firsts, [part.size for _, part in waiting])
        found = self._counts(len(waiting), bins.size)
        for (histogram, _), counts in zip(waiting, found, strict=True):
            histogram.counts += counts

    def _counts(self, rows: int, used: int) -> Any:
        """How often each bin stands in the first ``used``; int32, shape (rows, SIZE)."""
        import numpy as np
        from scipy.sparse import csc_array

        if rows not in self.matrices:  # all over the same memory
            column = (self.ones, self.bins, np.array([0, CHUNK], np.int32))
            self.matrices[rows] = csc_array(column, shape=(rows * SIZE, 1))
        matrix = self.matrices[rows]
        matrix.indptr[1] = used
        return (matrix @ self.ones[:1]).reshape(rows, SIZE)


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
