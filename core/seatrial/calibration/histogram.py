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
from dataclasses import dataclass, field
from typing import Any

from .types import Histogram

#: Bins per side.
BINS = 4096

#: Smallest exponent: below it all values count as 0.
EXPONENT_MIN = -96

#: Elements binned at a time: fewer cost more per element, more cost memory.
CHUNK = 1 << 17

_own = threading.local()


@dataclass
class Dyadic:
    """Running counts of one tensor.

    Attributes:
        exponent: all values so far are in (-2**exponent, 2**exponent).
        counts: int64, shape (2 BINS - 1,): bins -(BINS - 1) to BINS - 1.
    """

    exponent: int = EXPONENT_MIN
    counts: Any = field(default=None)

    def __post_init__(self) -> None:
        import numpy as np

        if self.counts is None:
            self.counts = np.zeros(2 * BINS - 1, np.int64)

    def add(self, values: Any, peak: float | None = None) -> None:
        """Count values of any shape; a NaN or an infinity is left out.

        Args:
            values: float32.
            peak: a bound on the magnitude of all values, if one is known.
        """
        import numpy as np

        flat = np.asarray(values, np.float32).reshape(-1)
        if peak is None and flat.size:
            peak = max(float(flat.max()), -float(flat.min()))
        if peak is None or not math.isfinite(peak):
            self._finite(flat)
            return
        self.grow(peak)
        scale = np.float32(2.0 ** (math.log2(BINS) - self.exponent))
        scaled, index = _space(min(flat.size, CHUNK))
        for start in range(0, flat.size, CHUNK):
            part = flat[start : start + CHUNK]
            bins = index[: part.size]
            with np.errstate(invalid="ignore"):  # a NaN becomes the lowest integer
                np.multiply(part, scale, out=scaled[: part.size])
                np.copyto(bins, scaled[: part.size], casting="unsafe")
            bins += BINS - 1
            try:
                self.counts += np.bincount(bins, minlength=2 * BINS - 1)
            except ValueError:  # a negative index: not finite after all
                self._finite(part)

    def _finite(self, flat: Any) -> None:
        import numpy as np

        finite = flat[np.isfinite(flat)]
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


def _space(size: int) -> tuple[Any, Any]:
    """Scratch arrays of this thread, float32 and int32: fresh ones would cost page faults."""
    import numpy as np

    if getattr(_own, "size", 0) < size:
        _own.size = size
        _own.arrays = np.empty(size, np.float32), np.empty(size, np.int32)
    arrays: tuple[Any, Any] = _own.arrays
    return arrays


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
    if counts.shape != (2 * BINS - 1,) or (counts < 0).any():
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
