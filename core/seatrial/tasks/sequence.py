"""Sequences: a sample is many steps, and every step is an answer.

The outputs of a sample have one row per step; its label holds one value per step. The metric is
taken over all steps, and intervals resample whole sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError

from .base import Pooled
from .binary import Binary
from .classify import Classify
from .regress import Regress
from .totals import Totals, ratio

#: ``metric`` -> how a step is judged.
METRICS = ("accuracy", "f1", "auc", "mae", "rmse")


class Sequence:
    """The metric of the steps.

    Args:
        metric: one of :data:`METRICS`.
        warmup: steps at the beginning of every sequence that do not count.
        options: of the step's task (``output``, ``threshold``, ``label_offset`` ...).
    """

    def __init__(self, metric: str = "accuracy", warmup: int = 0, **options: Any) -> None:
        if metric not in METRICS:
            reason = f"{metric!r} is none of {', '.join(METRICS)}"
            raise UserError("task", reason, place="[task] metric")
        step: Any
        if metric == "accuracy":
            step = _Accuracy(**options)
        elif metric in ("f1", "auc"):
            step = Binary(metric=metric, **options)
        else:
            step = Regress(metric=metric, **options)
        self.step: Pooled = step
        self.warmup = warmup
        self.name = f"{self.step.name} of steps"
        self.unit, self.higher_is_better = self.step.unit, self.step.higher_is_better
        self.scale = getattr(step, "scale", 1.0)
        self.bounds = getattr(step, "bounds", None)
        self.pool = step.pool
        self.reads = step.reads
        self.metric = step.metric

    def blind(self, labels: Any) -> tuple[float, str] | None:
        """That of a step, over all steps that count."""
        steps = [step for one in labels for step in one[self.warmup :]]
        best = getattr(self.step, "blind", None)
        found: tuple[float, str] | None = best(steps) if best is not None and steps else None
        return found

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> Any:
        """What the steps of one sequence contribute.

        Raises:
            UserError: there is not one label per step.
        """
        steps = {len(v) for v in outputs.values()}
        if not isinstance(label, list) or steps != {len(label)}:
            have = len(label) if isinstance(label, list) else 1
            reason = f"{have} labels for {max(steps, default=0)} steps"
            raise UserError("labels", reason, advice="a sequence needs a label per step")
        late = {name: value[self.warmup :] for name, value in outputs.items()}
        return self.step.statistics(late, label[self.warmup :])


class _Accuracy(Totals):
    """Top-k accuracy of steps."""

    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(self, **options: Any) -> None:
        self.classify = Classify(**options)
        self.name = self.classify.name

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """The output with the class scores."""
        return self.classify.reads({name: value[0] for name, value in outputs.items()})

    def blind(self, labels: Any) -> tuple[float, str]:
        """Always the commonest classes."""
        targets = [self.classify.target(one) for one in labels]
        common = Counter(targets).most_common(self.classify.top)
        return sum(n for _, n in common) / len(targets), f"always class {common[0][0]}"

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> tuple[float, float]:
        """(steps right, steps)."""
        right = sum(
            self.classify.score({name: value[t] for name, value in outputs.items()}, one)
            for t, one in enumerate(label)
        )
        return float(right), float(len(label))

    def of(self, total: Any) -> float:
        """The share of steps."""
        return ratio(total[0], total[1])
