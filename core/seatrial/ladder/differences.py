"""How far the outputs of two rungs lie apart, output by output and sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .records import OutputDifference
from .units import Units

#: Lower precisions that float32 results may give away.
COARSE = ("BF16", "FP16")

#: Outputs with more elements are not asked how they vary: two more of them would be in memory.
MOST_ELEMENTS = 4_000_000

#: A last axis this long at most, of one row or a list of rows per sample, holds the columns of a
#: record: four coordinates and a handful of scores, not the pixels of a map.
MOST_COLUMNS = 16

#: A column that varies by less than this below the largest column's power is numerical dust: two
#: sound FP32 runtimes differ by as much (118 dB or more below the signal, with 8 dB to spare). A
#: score of 0 to 1 beside the pixels of a 4K picture is some 75 dB below them.
DUST_DB = 110.0


def match(candidate: Units, reference: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which output of the reference each output of the candidate is compared with.

    By name; when no name is shared and the numbers are equal, by position (PyTorch's outputs and
    those of some runtimes have names of their own).

    Returns:
        (candidate's name -> reference's name, names that have no partner)
    """
    shared = [n for n in candidate.names if n in reference]
    if not shared and len(candidate.names) == len(reference):
        return dict(zip(candidate.names, reference, strict=True)), ()
    alone = [n for n in (*candidate.names, *reference) if n not in shared]
    return {n: n for n in shared}, tuple(alone)


def difference(
    candidate: Units,
    name: str,
    reference: Units,
    other: str,
    *,
    indices: Sequence[int] = (),
    listed: bool = False,
) -> OutputDifference:
    """Compare one output over all samples; one sample is in memory at a time.

    Args:
        candidate: one rung.
        name: its output.
        reference: the other rung.
        other: the name there.
        indices: which samples of the reference the candidate's are; empty: the same ones.
        listed: rows are a list without fixed meaning: another number of them is no fault.
    """
    tally = _Tally(listed or reference.ragged(other))
    for i in range(candidate.count):
        tally.add(i, candidate.one(name, i), reference.one(other, indices[i] if indices else i))
    return tally.result(name)


class _Tally:
    def __init__(self, listed: bool) -> None:
        self.listed = listed
        self.cosines = 0.0
        self.least, self.worst = math.inf, -1
        self.largest = 0.0
        self.signal = self.noise = 0.0
        self.compared = self.misshapen = self.nonfinite = 0
        self.floating = False
        self.coarse = [set(COARSE), set(COARSE)]
        self._spread = _Spread()
        self._columns: _Columns | None = None

    def add(self, i: int, candidate: Any, reference: Any) -> None:
        import numpy as np

        a, b = np.asarray(candidate), np.asarray(reference)
        self.floating |= b.dtype.kind == "f"
        for kinds, value in zip(self.coarse, (a, b), strict=True):
            kinds.intersection_update(coarse(value) if kinds else ())
        first, second = ([d for d in v.shape if d != 1] for v in (a, b))
        if first != second:
            listed = self.listed and a.ndim == b.ndim and a.shape[1:] == b.shape[1:]
            self.misshapen += not listed
            return
        columns = _width(b.shape)
        a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            self.nonfinite += 1
            return
        self.compared += 1
        apart = np.abs(a - b)
        self.largest = max(self.largest, float(apart.max(initial=0.0)))
        self.signal += float(b @ b)
        self.noise += float(apart @ apart)
        self._spread.add(b)
        if columns:
            self._columns = self._columns or _Columns(columns)
            self._columns.add(apart, b)
        cosine = _cosine(a, b)
        self.cosines += cosine
        if cosine < self.least:
            self.least, self.worst = cosine, i

    @property
    def _comparable(self) -> bool:
        return self.floating and not (self.listed or self.misshapen or self.nonfinite)

    def _explained(self) -> float | None:
        total = self._spread.total()
        if not total or not self._comparable:
            return None
        share = 1 - self.noise / total
        return share if math.isfinite(share) else None

    def _column(self) -> dict[str, Any]:
        """What is told of the column that the candidate follows least."""
        if self._columns is None or not self._comparable:
            return {}
        worst = self._columns.worst(self._spread)
        if worst is None:
            return {}
        return dict(zip(("column", "column_explained", "column_std"), worst, strict=True))

    def result(self, name: str) -> OutputDifference:
        known = self.compared > 0
        told = known and 0 < self.noise < math.inf and 0 < self.signal < math.inf
        return OutputDifference(
            output=name,
            cosine_min=self.least if known else None,
            cosine_mean=self.cosines / self.compared if known else None,
            max_abs=self.largest if known else None,
            sqnr_db=10 * math.log10(self.signal / self.noise) if told else None,
            identical=known and self.largest == 0.0 and not (self.misshapen or self.nonfinite),
            floating=self.floating,
            compared=self.compared,
            misshapen=self.misshapen,
            worst=self.worst,
            explained=self._explained(),
            **self._column(),
            coarse=next((k for k in COARSE if k in self.coarse[0] - self.coarse[1]), ""),
        )


class _Spread:
    """Variance of an output over the samples, summed over its elements; needs equal shapes."""

    def __init__(self) -> None:
        self._n = 0
        self._mean: Any = None
        self._power: Any = None

    def add(self, value: Any) -> None:
        """Take in one sample, shape (elements,)."""
        import numpy as np

        if self._n < 0 or value.size > MOST_ELEMENTS:
            self._n = -1
            return
        if self._mean is None:
            self._mean, self._power = np.zeros(value.size), np.zeros(value.size)
        if self._mean.size != value.size:
            self._n = -1
            return
        # Welford 1962: sums of squares would cancel where the mean is large.
        self._n += 1
        before = value - self._mean
        self._mean += before / self._n
        self._power += before * (value - self._mean)

    def total(self) -> float | None:
        """Sum over elements and samples of squared distances from the mean; ``None``: not told."""
        return float(self._power.sum()) if self._n > 1 else None

    def columns(self, width: int) -> Any:
        """The same by column of a last axis that long, shape (width,); ``None``: not told."""
        return self._power.reshape(-1, width).sum(axis=0) if self._n > 1 else None


class _Columns:
    """Power of the reference and of the difference by column of the last axis."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._values = 0
        self._signal: Any = 0.0
        self._noise: Any = 0.0

    def add(self, apart: Any, reference: Any) -> None:
        """Take in one sample, both of shape (elements,)."""
        import numpy as np

        if reference.size % self._width:  # lists of any length: there are no columns
            return
        rows = reference.reshape(-1, self._width)
        self._values += len(rows)
        self._signal = self._signal + np.square(rows).sum(axis=0)
        self._noise = self._noise + np.square(apart.reshape(-1, self._width)).sum(axis=0)

    def worst(self, spread: _Spread) -> tuple[int, float, float] | None:
        """Column, share of its variance that is followed, its standard deviation."""
        import numpy as np

        varies = spread.columns(self._width)
        if varies is None or not (np.isfinite(self._signal).all() and np.isfinite(varies).all()):
            return None
        real = varies > self._signal.max() * 10 ** (-DUST_DB / 10)
        if not real.any():
            return None
        shares = np.where(real, 1 - self._noise / np.where(real, varies, 1.0), np.inf)
        k = int(shares.argmin())
        share, deviation = float(shares[k]), math.sqrt(varies[k] / self._values)
        return (k, share, deviation) if math.isfinite(share) else None


def _width(shape: Sequence[int]) -> int:
    """How many columns the records of one sample have; 0: it holds none."""
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    known = len(shape) in (1, 2) and 1 < shape[-1] <= MOST_COLUMNS
    return shape[-1] if known else 0


def coarse(value: Any) -> set[str]:
    """Of which lower precisions every element of a float32 array is a number."""
    import numpy as np

    if value.dtype != np.float32 or not np.count_nonzero(value):
        return set()
    bits = np.ascontiguousarray(value).view(np.uint32)
    with np.errstate(over="ignore"):
        half = bool((value.astype(np.float16).astype(np.float32) == value).all())
    kinds = {"BF16": not (bits & np.uint32(0xFFFF)).any(), "FP16": half}
    return {name for name, fits in kinds.items() if fits}


def _cosine(a: Any, b: Any) -> float:
    """Cosine of the angle between two vectors; 1 for two zero vectors, 0 if only one is zero."""
    import numpy as np

    # Scaled first: the square of a large float would overflow.
    first, second = float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0))
    if first == 0.0 or second == 0.0:
        return float(first == second)
    a, b = a / first, b / second
    return float(np.clip(a @ b / math.sqrt(float(a @ a) * float(b @ b)), -1.0, 1.0))
