"""Running statistics of many tensors at once: what a pass keeps, and what a checkpoint holds.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .histogram import Dyadic
from .types import TensorRange

#: Weight of a new sample in the moving averages, as in common implementations of Jacob et al.
#: 2018, section 3.1.
MOVING = 0.01

#: What is kept per tensor as a number; see :class:`seatrial.calibration.types.TensorRange`.
NUMBERS = (
    "lo",
    "hi",
    "lo_sum",
    "hi_sum",
    "lo_moving",
    "hi_moving",
    "lo_sample",
    "hi_sample",
    "count",
    "nonfinite",
)
WHOLE_NUMBERS = frozenset({"lo_sample", "hi_sample", "count", "nonfinite"})


class Running:
    """Extremes of tensors over samples, taken in one after the other.

    Attributes:
        tensors: their names; all arrays below are by position, shape (tensors,).
        values: :data:`NUMBERS`, float64 or int64.
    """

    def __init__(self, tensors: Sequence[str]) -> None:
        import numpy as np

        self.tensors = tuple(tensors)
        size = len(self.tensors)
        self.values: dict[str, Any] = {
            name: np.zeros(size, np.int64 if name in WHOLE_NUMBERS else np.float64)
            for name in NUMBERS
        }
        self.values["lo"][:] = np.inf
        self.values["hi"][:] = -np.inf

    def add(self, lo: Any, hi: Any, finite: Any, sample: int) -> None:
        """Take in one sample.

        Args:
            lo: smallest value by tensor, float64, shape (tensors,).
            hi: largest value.
            finite: bool, same shape: tensors with a NaN or an infinity are left out.
            sample: its index.
        """
        import numpy as np

        v = self.values
        with np.errstate(invalid="ignore"):
            lower, higher = finite & (lo < v["lo"]), finite & (hi > v["hi"])
        v["lo_sample"][lower], v["hi_sample"][higher] = sample, sample
        np.copyto(v["lo"], lo, where=lower)
        np.copyto(v["hi"], hi, where=higher)
        weight = np.where(v["count"] > 0, MOVING, 1.0)
        for name, value in (("lo", lo), ("hi", hi)):
            moving, total = v[f"{name}_moving"], v[f"{name}_sum"]
            with np.errstate(invalid="ignore"):
                np.copyto(moving, moving + weight * (value - moving), where=finite)
            np.add(total, value, out=total, where=finite)
        v["count"] += finite

    def ranges(self, ids: Sequence[str], histograms: Sequence[Dyadic]) -> dict[str, TensorRange]:
        """The finished ranges.

        Args:
            ids: of the samples.
            histograms: by tensor, or none.
        """
        return {
            name: self._range(k, ids, histograms[k] if histograms else None)
            for k, name in enumerate(self.tensors)
        }

    def _range(self, k: int, ids: Sequence[str], histogram: Dyadic | None) -> TensorRange:
        found = {name: values[k].item() for name, values in self.values.items()}
        packed = histogram.packed() if histogram is not None else None
        count = found["count"]
        if not count:
            return TensorRange(
                lo=0.0, hi=0.0, count=0, nonfinite=found["nonfinite"], histogram=packed
            )
        return TensorRange(
            lo=found["lo"] + 0.0,
            hi=found["hi"] + 0.0,
            count=count,
            nonfinite=found["nonfinite"],
            lo_mean=found["lo_sum"] / count,
            hi_mean=found["hi_sum"] / count,
            lo_sample=ids[found["lo_sample"]],
            hi_sample=ids[found["hi_sample"]],
            lo_moving=found["lo_moving"],
            hi_moving=found["hi_moving"],
            histogram=packed,
        )
