"""Class by class: what a step of the ladder costs each of them. Runs in the judge's child."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

from seatrial.tasks.base import Task
from seatrial.tasks.classify import Classify
from seatrial.verdict.pooled import Resampling

from .classes import class_drops, value_drops, vanished
from .falls import falls, pooled_falls
from .records import ONNX_FP32, ClassDrop, ClassFall
from .sweep import Sweep

#: A class of a pooled metric is recognised from this share on.
SHARE_BY_CLASS = 0.2


@dataclasses.dataclass(frozen=True)
class ClassStep:
    """What a step costs the classes, as :class:`seatrial.ladder.records.Comparison` has it."""

    worst: tuple[ClassDrop, ...] = ()
    vanished: tuple[ClassDrop, ...] = ()
    fallen: tuple[ClassFall, ...] = ()


class ByClass:
    """The classes of a test set, for a task that knows any.

    Args:
        task: of the trial.
        labels: one per sample, or ``None``.
        groups: one per sample.
        distinct: samples that are not copies of others.
        limit: highest drop of a single class against ``onnx-fp32``, in points; ``None``: none.
    """

    def __init__(
        self,
        task: Task,
        labels: Sequence[Any] | None,
        groups: Sequence[str],
        distinct: Sequence[int],
        limit: float | None,
    ) -> None:
        self.task, self.labels, self.groups = task, labels, groups
        self.distinct, self.limit = distinct, limit
        self.by_class = getattr(task, "by_class", None)

    def step(self, sweep: Sweep, base: Sweep, over: Resampling | None) -> ClassStep:
        """Classes by their loss, those that vanished, and those that lose more than their limit."""
        if self.labels is None:
            return ClassStep()
        if isinstance(self.task, Classify):
            drops = class_drops([self.task.target(v) for v in self.labels], base, sweep)
            lost = vanished(drops)
        elif self.by_class is not None and sweep.statistics and base.statistics:
            drops = value_drops(self.by_class(base.pooled), self.by_class(sweep.pooled))
            lost = vanished(drops, share=SHARE_BY_CLASS, least_right=0)
        else:
            return ClassStep()
        worst = tuple(d for d in drops if d.after < d.before)[:5]
        return ClassStep(worst, lost, self._fallen(sweep, base, drops, over))

    def _fallen(
        self, sweep: Sweep, base: Sweep, drops: Sequence[ClassDrop], over: Resampling | None
    ) -> tuple[ClassFall, ...]:
        broken = sweep.bad_scores or base.bad_scores
        if self.limit is None or broken or base.rung.rung != ONNX_FP32 or self.labels is None:
            return ()
        if isinstance(self.task, Classify) and sweep.scores:
            return falls(
                [self.task.target(self.labels[i]) for i in self.distinct],
                [base.scores[i] for i in self.distinct],
                [sweep.scores[i] for i in self.distinct],
                [self.groups[i] for i in self.distinct],
                self.limit,
            )
        known = (
            self.by_class is not None and "weights" in inspect.signature(self.by_class).parameters
        )
        if not known or over is None:
            return ()
        return pooled_falls(drops, self._without(sweep, base, drops, over), self.limit)

    def _without(
        self, sweep: Sweep, base: Sweep, drops: Sequence[ClassDrop], over: Resampling
    ) -> Any:
        """Drops with each block of units left out, shape (blocks, classes)."""
        import numpy as np

        assert self.by_class is not None
        rows = []
        for weights in _blocks(over):
            first, second = (
                {v.index: v.value for v in self.by_class(s.pooled, weights)} for s in (base, sweep)
            )
            rows.append(
                [first.get(d.index, math.nan) - second.get(d.index, math.nan) for d in drops]
            )
        return np.asarray(rows, float)


def _blocks(over: Resampling) -> Iterator[Any]:
    """Weights of the samples with each block of units left out."""
    import numpy as np

    for block in over.blocks():
        rest = np.ones(over.units)
        rest[block] = 0
        yield over.weights(rest)
