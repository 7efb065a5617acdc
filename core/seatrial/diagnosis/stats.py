"""What the float model's values look like beside the quantiser that is laid over them.

Runs in a child only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from seatrial.calibration.choose import Values, least_error
from seatrial.calibration.histogram import BINS, Dyadic

from .pairs import Activation
from .parameters import Parameter, limits, spread

#: Kinds whose three-dimensional outputs have their channels second.
CHANNELS_SECOND = ("Conv", "BatchNorm", "InstanceNorm", "pooling", "depthwise")


@dataclass
class Seen:
    """Running statistics of one quantised activation over samples.

    Attributes:
        signal: sum of squares.
        error: sum of squares of what quantising changes.
        clip: the part of ``error`` at values beyond the quantised range.
        clipped: how many values lie there.
        fine: how many values that are not 0 become 0.
        last: the part of ``error`` of the last run.
        low, high: extremes of each channel.
        along: greatest difference within a row of the last axis.
    """

    one: Activation
    n: int = 0
    nonzero: int = 0
    signal: float = 0.0
    error: float = 0.0
    clip: float = 0.0
    clipped: int = 0
    fine: int = 0
    last: float = 0.0
    low: Any = None
    high: Any = None
    along: float = 0.0
    histogram: Dyadic = field(default_factory=Dyadic)

    @property
    def range(self) -> tuple[float, float]:
        """What the quantiser can represent (the widest channel's)."""
        import numpy as np

        low, high = limits(self.one.zero.dtype)
        scale = self.one.scale.astype(np.float64)
        zero = self.one.zero.astype(np.float64)
        return float(((low - zero) * scale).min()), float(((high - zero) * scale).max())

    @property
    def levels(self) -> int:
        """Steps of the quantised type."""
        low, high = limits(self.one.zero.dtype)
        return high - low

    @property
    def seen(self) -> tuple[float, float]:
        """Extremes of all values."""
        return float(self.low.min()), float(self.high.max())

    def add(self, x: Any) -> None:
        """Take in the values of one run."""
        import numpy as np

        x = np.asarray(x, np.float32)
        self.last = 0.0
        if not x.size or not np.isfinite(x).all():
            return
        one = self.one
        scale, zero = (self._laid(v, x) for v in (one.scale, one.zero.astype(np.float32)))
        back, offset = (self._laid(v, x) for v in (one.back[0], one.back[1].astype(np.float32)))
        least, most = limits(one.zero.dtype)
        steps = np.rint(x / scale) + zero
        outside = (steps < least) | (steps > most)
        off = (np.clip(steps, least, most) - offset) * back - x
        power = np.square(off, dtype=np.float64)
        self.n += x.size
        self.nonzero += int(np.count_nonzero(x))
        self.signal += float(np.square(x, dtype=np.float64).sum())
        self.last = float(power.sum())
        self.error += self.last
        self.clip += float(power[outside].sum())
        self.clipped += int(np.count_nonzero(outside))
        self.fine += int(np.count_nonzero((steps == zero) & (x != 0)))
        if one.to_softmax and x.ndim:
            self.along = max(self.along, float(np.max(x.max(axis=-1) - x.min(axis=-1))))
        axes = self._common(x.ndim)
        low, high = x.min(axis=axes).ravel(), x.max(axis=axes).ravel()
        if self.low is None or self.low.shape != low.shape:
            self.low, self.high = low, high
        else:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.histogram.add(x)

    def _common(self, rank: int) -> tuple[int, ...]:
        """Axes that are no channels. A product of rank 4 has a channel per head and feature."""
        own = {1 if rank >= 4 else max(rank - 1, 0)}
        if rank == 3 and self.one.kind.startswith(CHANNELS_SECOND):
            own = {1}
        elif rank == 4 and self.one.kind == "MatMul" and self.one.scale.size == 1:
            own = {1, 3}
        return tuple(k for k in range(rank) if k not in own)

    def _laid(self, value: Any, x: Any) -> Any:
        return spread(value, x, self.one.axis % max(x.ndim, 1), 0)

    @property
    def noise_db(self) -> float | None:
        """Signal over the quantiser's own error."""
        return decibel(self.signal, self.error) if self.n else None

    def values(self) -> Values:
        """The distribution, as the choice of ranges wants it."""
        import numpy as np

        width = 2.0**self.histogram.exponent / BINS
        (index,) = np.nonzero(self.histogram.counts)
        bins = index - (BINS - 1)
        middle = (bins + 0.5 * np.sign(bins)) * width
        count = self.histogram.counts[index].astype(float)
        return Values(middle, count, width, *self.seen)

    def best_range(self) -> tuple[float, float]:
        """The range of least error for one scale of as many levels."""
        low, high = self.seen
        return (low, high) if low >= high else least_error(self.values(), levels=self.levels)

    def error_in(self, bounds: tuple[float, float]) -> float:
        """The error with another range, by the histogram."""
        import numpy as np

        low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
        values, scale = self.values(), (high - low) / self.levels
        if scale <= 0:
            return 0.0
        zero = np.rint(-low / scale)
        steps = np.clip(np.rint(values.middle / scale), -zero, self.levels - zero)
        off = values.middle - steps * scale
        return float(values.count @ (off * off))

    def tail(self) -> float:
        """Largest magnitude over its 99.99th percentile."""
        import numpy as np

        values = self.values()
        order = np.argsort(np.abs(values.middle))
        passed = np.cumsum(values.count[order])
        at = int(np.searchsorted(passed, 0.9999 * passed[-1]))
        level = abs(float(values.middle[order[min(at, len(order) - 1)]]))
        peak = max(-self.seen[0], self.seen[1])
        return peak / level if level > 0 else math.inf if peak > 0 else 1.0

    def peaks(self) -> Any:
        """Largest magnitude of each channel."""
        import numpy as np

        return np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float64)

    def constant_channels(self) -> int:
        """Channels that hold one value throughout; 0 for tensors without channels to speak of."""
        import numpy as np

        enough = self.n > 4 * len(self.low)
        return int(np.count_nonzero(self.low == self.high)) if enough else 0


@dataclass
class Restored:
    """A quantised weight beside the float model's: per channel along the axis of its scale.

    Attributes:
        error: error power of each channel.
        clip: the part of it at weights beyond the reach of the scale.
        ideal: error power of each channel with an own scale from its absolute maximum.
        common: error power of each channel with one such scale for all.
        slope: least-squares factor between float and restored weights of each channel.
        coarse: scale over the one that the channel's absolute maximum asks for.
        peak: absolute maximum of each channel.
    """

    error: Any
    clip: Any
    ideal: Any
    common: Any
    slope: Any
    coarse: Any
    peak: Any
    signal: float
    per_channel: bool
    tail: float

    @classmethod
    def of(cls, parameter: Parameter, axis: int) -> Restored:
        """Compare; ``parameter.original`` is known."""
        import numpy as np

        per_channel = parameter.scale.size > 1
        axis = parameter.axis if per_channel else axis
        w, back = (_rows(v, axis) for v in (parameter.original, parameter.value))
        top = parameter.limits[1] - float(np.max(parameter.zero))
        scale = np.broadcast_to(parameter.scale.astype(np.float64).reshape(-1), len(w))
        if per_channel and parameter.scale.size != len(w):  # scales in blocks
            scale = np.maximum(np.abs(back).max(1), 1e-30) / top
        peak = np.abs(w).max(1)
        power = (back - w) ** 2
        beyond = np.abs(w) > (scale * (top + 1.5))[:, None]
        energy = np.maximum((w * w).sum(1), 1e-60)
        return cls(
            error=power.sum(1),
            clip=np.where(beyond, power, 0).sum(1),
            ideal=_rounding(w, peak / top),
            common=_rounding(w, np.full(len(w), peak.max() / top)),
            slope=(w * back).sum(1) / energy,
            coarse=scale * top / np.maximum(peak, 1e-30),
            peak=peak,
            signal=float((w * w).sum()),
            per_channel=per_channel,
            tail=_tail(w),
        )


def _rows(value: Any, axis: int) -> Any:
    """(channels, rest) in float64."""
    import numpy as np

    if value.ndim == 0:
        return value.astype(np.float64).reshape(1, 1)
    return np.moveaxis(value.astype(np.float64), axis, 0).reshape(value.shape[axis], -1)


def _rounding(w: Any, scale: Any) -> Any:
    import numpy as np

    step = np.maximum(scale, 1e-30)[:, None]
    return ((np.rint(w / step) * step - w) ** 2).sum(1)


def _tail(w: Any) -> float:
    """Largest ratio of a channel's maximum to its 99th percentile; 1 for few weights."""
    import numpy as np

    if w.shape[1] < 100:
        return 1.0
    size = np.abs(w)
    level = np.quantile(size, 0.99, axis=1)
    return float((size.max(1) / np.maximum(level, 1e-30)).max())


def decibel(signal: float, error: float) -> float | None:
    """10 log10(signal / error), at most 200; ``None`` for no signal at all."""
    if not signal > 0 or not math.isfinite(error):
        return None
    return min(200.0, 10 * math.log10(signal / max(error, 1e-300)))
