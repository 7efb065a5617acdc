"""Histograms that count what matters: each value with the weight of its channel.

The search for the range with the least squared error then minimises the error that the next
layers see, not the error of the tensor: a channel that carries little may be clipped. One more
pass over few samples. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from seatrial.calibration.histogram import BINS, Dyadic, unpacked
from seatrial.calibration.types import RangeTable
from seatrial.hookspecs import Job
from seatrial.quantize.prepare import prepare
from seatrial.samples import Samples

from .importance import Importance
from .values import values

#: Elements looked at per tensor and sample, about.
PICKS = 1 << 15

#: Counts are integers: a value of weight 1 counts this much.
UNIT = 1024


def spread(count: int, most: int, indices: Sequence[int] = ()) -> tuple[int, ...]:
    """The samples to use: those named, or at most ``most`` evenly over all."""
    if indices:
        return tuple(indices)
    few = min(count, most)
    return tuple(k * count // few for k in range(few))


def weigh(
    path: Path,
    table: RangeTable,
    samples: Samples,
    indices: Sequence[int],
    *,
    seed: int,
    job: Job,
) -> tuple[RangeTable, int]:
    """The table with weighted histograms, and how many tensors weigh unevenly."""
    graph = prepare(path).graph
    importance = Importance(graph)
    sums = {}
    for name, tensor in table.tensors.items():
        found = importance.of(name)
        if found is not None and tensor.histogram is not None and tensor.count:
            sums[name] = _Sum(unpacked(tensor.histogram), *found)
    if not sums:
        return replace(table, method="mse"), 0
    hear = partial(job.progress, "weighing activations")
    for name, value in values(graph, sums, samples, indices, hear):
        sums[name].add(value, seed)
    tensors = dict(table.tensors)
    for name, total in sums.items():
        if total.seen:
            tensors[name] = replace(tensors[name], histogram=total.packed())
    uneven = sum(bool(s.weights.max() > 2 or s.weights.min() < 0.5) for s in sums.values())
    return replace(table, method="mse", tensors=tensors), uneven


class _Sum:
    """Weighted counts of one tensor in the bins of its histogram."""

    def __init__(self, form: Dyadic, axis: int, weights: Any) -> None:
        import numpy as np

        self.exponent = form.exponent
        self.axis = axis
        self.weights = weights
        self.counts = np.zeros(2 * BINS - 1)
        self.seen = 0

    def add(self, value: Any, seed: int) -> None:
        import numpy as np

        rows = np.moveaxis(value, self.axis, 0).reshape(len(self.weights), -1)
        most = max(1, PICKS // len(rows))
        if rows.shape[1] > most:
            rng = np.random.default_rng([seed, self.seen])
            rows = rows[:, rng.integers(0, rows.shape[1], most)]
        if not np.isfinite(rows).all():
            return
        index = (rows * (BINS / 2.0**self.exponent)).astype(np.int64) + BINS - 1
        np.clip(index, 0, 2 * BINS - 2, out=index)
        weights = np.repeat(self.weights, rows.shape[1])
        self.counts += np.bincount(index.reshape(-1), weights, 2 * BINS - 1)
        self.seen += 1

    def packed(self) -> Any:
        """As a histogram of whole counts."""
        import numpy as np

        return Dyadic(self.exponent, np.rint(self.counts * UNIT).astype(np.int64)).packed()
