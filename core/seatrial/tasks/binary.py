"""Yes or no: F1 at a threshold, or the area under the ROC curve.

Source of the area as a rank statistic: J. A. Hanley and B. J. McNeil, "The meaning and use of the
area under a receiver operating characteristic (ROC) curve", Radiology 143 (1982) 29-36.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.errors import UserError

from .regress import OneOutput, numbers
from .totals import ratio

METRICS = {"f1": "F1", "auc": "ROC AUC"}


@dataclasses.dataclass(frozen=True)
class Answers:
    """Scores of the answer *yes* and what is true, both of shape (answers,)."""

    scores: Any
    true: Any


class Binary(OneOutput):
    """F1 or ROC AUC over all answers; a sample may hold one answer or many.

    Args:
        metric: ``f1`` or ``auc``.
        output: name of the output; empty: the first float output.
        positive: column of *yes* when an answer has two or more scores.
        threshold: scores of at least this mean *yes*, for F1; 0 fits logits, 0.5 probabilities.
    """

    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(
        self, metric: str = "f1", output: str = "", positive: int = 1, threshold: float = 0.5
    ) -> None:
        if metric not in METRICS:
            reason = f"{metric!r} is none of {', '.join(METRICS)}"
            raise UserError("task", reason, place="[task] metric")
        self.kind, self.name = metric, METRICS[metric]
        self.output, self.positive, self.threshold = output, positive, threshold

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> Answers:
        """The answers of one sample.

        Raises:
            UserError: labels are not 0 and 1, or there is another number of them.
        """
        import numpy as np

        values = numbers(outputs, self.output)
        try:
            true = np.asarray(label, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise UserError("labels", f"{str(label)[:60]!r} is neither 0 nor 1") from None
        if not np.isin(true, (0, 1)).all():
            raise UserError("labels", f"{str(label)[:60]!r} is neither 0 nor 1")
        if values.size != true.size:
            if values.size % true.size or not 0 <= self.positive < values.size // true.size:
                reason = f"{true.size} labels do not fit {values.size} scores"
                raise UserError("labels", reason, advice="[task] output, positive")
            values = values.reshape(true.size, -1)[:, self.positive]
        return Answers(values.ravel(), true.astype(bool))

    def blind(self, labels: Sequence[Any]) -> tuple[float, str]:
        """Of AUC a coin's; of F1 that of *yes* to everything."""
        import numpy as np

        if self.kind == "auc":
            return 0.5, "the same for all"
        true = np.concatenate([np.asarray(one, np.float64).ravel() for one in labels])
        return ratio(2 * true.sum(), true.sum() + true.size), "always yes"

    def pool(self, statistics: Sequence[Answers]) -> Any:
        """Counts per sample, or all answers in order of their scores."""
        if self.kind == "f1":
            return _counts(statistics, self.threshold)
        return _Ranks(statistics)

    def metric(self, pooled: Any, weights: Any) -> float:
        """F1 or AUC; NaN where only one of the two answers occurs (AUC), or none (F1)."""
        if self.kind == "auc":
            return float(pooled.area(weights))
        right, false, missed = weights @ pooled
        return ratio(2 * right, 2 * right + false + missed)


def _counts(statistics: Sequence[Answers], threshold: float) -> Any:
    """True positives, false positives, false negatives per sample, shape (samples, 3)."""
    import numpy as np

    rows = []
    for one in statistics:
        said = one.scores >= threshold
        rows.append([(said & one.true).sum(), (said & ~one.true).sum(), (~said & one.true).sum()])
    return np.asarray(rows, float)


class _Ranks:
    """Answers in rising order of score, ties together."""

    def __init__(self, statistics: Sequence[Answers]) -> None:
        import numpy as np

        scores = np.concatenate([s.scores for s in statistics])
        sample = np.repeat(np.arange(len(statistics)), [len(s.true) for s in statistics])
        _, self.level = np.unique(scores, return_inverse=True)
        self.true = np.concatenate([s.true for s in statistics])
        self.sample = sample
        self.levels = int(self.level.max(initial=-1)) + 1

    def area(self, weights: Any) -> float:
        """Chance that a *yes* scores above a *no*, ties counted half."""
        import numpy as np

        counted = np.asarray(weights, float)[self.sample]
        yes = np.bincount(self.level, weights=counted * self.true, minlength=self.levels)
        no = np.bincount(self.level, weights=counted * ~self.true, minlength=self.levels)
        below = np.cumsum(no) - no
        return ratio((yes * (below + no / 2)).sum(), yes.sum() * no.sum())
