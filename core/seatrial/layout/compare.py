"""Are two sets of outputs the same up to FP32 rounding, and if not, which axes got mixed up?

numpy only.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.samples import Samples

from .types import TensorDifference

#: Largest difference, as a fraction of the largest magnitude of the same output and sample.
#: Another layout sums the same products in another order. The error of a float32 sum of n terms
#: is about lambda sqrt(n) u with u = 2**-24 (Higham and Mary 2019, A new approach to
#: probabilistic rounding error analysis); n = 2**20 products on the way to an output and
#: lambda = 2 give 2 * 2**10 * 2**-24.
TOLERANCE = 2.0**-13

#: Outputs with more axes than this are not searched for mix-ups.
AXES_MAX = 5

#: Samples looked at when searching for a mix-up.
DIAGNOSED = 2


@dataclass
class Difference:
    """Running difference of one output."""

    name: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    worst: str = ""
    reason: str = ""

    def add(self, expected: Any, got: Any, sample: str) -> None:
        """Take in one sample, both in the original's layout."""
        if self.reason:
            return
        if expected.shape != got.shape:
            self.reason = f"shape {got.shape} instead of {expected.shape}"
            self.worst = sample
            return
        absolute, relative = distance(expected, got)
        self.max_abs = max(self.max_abs, absolute)
        if relative > self.max_rel or not self.worst:
            self.max_rel, self.worst = relative, sample
        if relative == float("inf"):
            self.reason = "NaN or infinity where the original has none, or the reverse"

    def result(self, diagnosis: str = "") -> TensorDifference:
        """The finished comparison."""
        reason = self.reason
        if not reason and self.max_rel > TOLERANCE:
            reason = f"differs by {self.max_rel:.2g} of the output's magnitude"
        return TensorDifference(
            name=self.name,
            max_abs=-1.0 if self.reason else self.max_abs,
            max_rel=-1.0 if self.reason else self.max_rel,
            tolerance=TOLERANCE,
            worst=self.worst,
            within=not reason,
            reason=reason,
            diagnosis=diagnosis,
        )


def distance(expected: Any, got: Any) -> tuple[float, float]:
    """Largest absolute difference, and the same over the largest magnitude expected.

    Both are infinite when NaNs and infinities are not the same in the same places. Where nothing
    but zeros is expected, the relative difference is the absolute one.
    """
    import numpy as np

    a, b = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    finite = np.isfinite(a)
    if (
        not np.array_equal(a[~finite], b[~finite], equal_nan=True)
        or not np.isfinite(b[finite]).all()
    ):
        return float("inf"), float("inf")
    absolute = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    return absolute, absolute / (float(np.abs(a[finite]).max(initial=0.0)) or 1.0)


def original_layout(value: Any, perm: Sequence[int]) -> Any:
    """Undo a ``perm`` (batch axis included) on one sample (batch axis split off).

    Raises:
        ValueError: the permutation moves the batch axis or does not fit the value.
    """
    import numpy as np

    if not perm:
        return value
    if perm[0] != 0 or len(perm) != value.ndim + 1 or sorted(perm) != list(range(len(perm))):
        raise ValueError(f"{tuple(perm)} does not permute {value.ndim} axes behind a batch axis")
    return np.transpose(value, np.argsort([p - 1 for p in perm[1:]]))


def output_mixup(pairs: Sequence[tuple[Any, Any]]) -> str:
    """Name the one change of axes that makes every pair (expected, got) agree, or give ``""``."""
    if not pairs or any(a.ndim != b.ndim or a.size != b.size for a, b in pairs):
        return ""
    rank = pairs[0][0].ndim
    if not 2 <= rank <= AXES_MAX:
        return ""
    for perm, moved in _moves(rank):
        if all(_agree(a, moved(b, a.shape)) for a, b in pairs):
            return perm
    return ""


def _moves(rank: int) -> Iterator[tuple[str, Any]]:
    """Ways in which axes get mixed up, the likelier kind first."""
    perms = [p for p in itertools.permutations(range(rank)) if p != tuple(range(rank))]
    for perm in perms:
        axes = [0, *(p + 1 for p in perm)]
        yield f"equal once its axes are taken in the order {axes}", functools.partial(_turn, perm)
    for perm in perms:
        axes = [0, *(p + 1 for p in perm)]
        text = f"equal once its data is read as {axes}: a reshape stands where a transpose should"
        yield text, functools.partial(_reread, perm)


def _turn(perm: tuple[int, ...], value: Any, shape: tuple[int, ...]) -> Any:
    return value.transpose(perm)


def _reread(perm: tuple[int, ...], value: Any, shape: tuple[int, ...]) -> Any:
    import numpy as np

    return value.reshape([shape[p] for p in perm]).transpose(np.argsort(perm))


def _agree(a: Any, b: Any) -> bool:
    return a.shape == b.shape and distance(a, b)[1] <= TOLERANCE


def input_mixups(value: Any) -> Iterator[tuple[str, Any]]:
    """Ways in which a picture of shape (C, H, W) or (H, W, C) may have been misread."""
    import numpy as np

    if value.ndim != 3:
        return
    c, h, w = value.shape
    as_last = np.ascontiguousarray(value.transpose(1, 2, 0))
    yield "channels-last data read as channels-first", as_last.reshape(c, h, w)
    yield "channels-first data read as channels-last", value.reshape(h, w, c).transpose(2, 0, 1)
    if h == w:
        yield "height and width swapped", value.transpose(0, 2, 1)
    for axis in (0, 2):
        if 1 < value.shape[axis] <= 4:
            yield "channel order reversed (RGB and BGR)", np.flip(value, axis)


def compare_stores(
    expected: Samples, got: Samples, perms: dict[str, tuple[int, ...]], names: dict[str, str]
) -> dict[str, Difference]:
    """Compare all outputs sample by sample; memory does not grow with the samples."""
    found = {name: Difference(name) for name in expected.names}
    for name, difference in found.items():
        other = names.get(name, name)
        if other not in got.names:
            difference.reason = "the transformed model has no such output"
            continue
        for i in range(min(expected.count, got.count)):
            value = original_layout(got.one(other, i), perms.get(name, ()))
            difference.add(expected.one(name, i), value, expected.ids[i])
    return found
