"""One pass over the outputs of one rung: scores, classes, and what is wrong with the numbers.

Samples are read one at a time, so that memory does not grow with the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.errors import UserError
from seatrial.samples import Samples
from seatrial.tasks.base import Task
from seatrial.tasks.classify import Classify
from seatrial.verdict.stats import mean_interval

from .bits import pack
from .records import OutputFacts, Rung, RungFacts

#: Labels are tried at these distances, to find a set whose labels are off by one.
SHIFTS = (-1, 0, 1)


class Sweep:
    """What one pass found; vectors have one entry per sample.

    Args:
        rung: whose outputs they are.
        samples: its output store.
        task: sees the outputs under the reference's names.
        labels: one per sample, or ``None``.
        names: this rung's name of an output -> the reference's.
        groups: one per sample, or empty.

    Attributes:
        scores: the task's scores; empty without labels.
        classes: predicted class, -1 where a score is not finite; empty without class scores.
        shifted: per entry of :data:`SHIFTS`, how many samples are right with labels moved so.
        top5: samples whose label is among the first five, -1 where that says nothing.
    """

    def __init__(
        self,
        rung: Rung,
        samples: Samples,
        task: Task,
        labels: Sequence[Any] | None,
        *,
        names: Mapping[str, str],
        groups: Sequence[str] = (),
    ) -> None:
        self._groups = groups
        self.rung = rung
        self.samples = samples
        self.task = task
        self.names = names
        self.scores: list[float] = []
        self.classes: list[int] = []
        self.shifted = dict.fromkeys(SHIFTS, 0)
        self.top5 = 0 if isinstance(task, Classify) and labels is not None else -1
        self._first: dict[str, Any] = {}
        self._same = dict.fromkeys(samples.names, True)
        self._bad = {name: [0, 0] for name in samples.names}
        for i in range(samples.count):
            outputs = {name: samples.one(name, i) for name in samples.names}
            self._look(outputs)
            outputs = {names.get(name, name): value for name, value in outputs.items()}
            self._predict(outputs)
            if labels is not None:
                self._score(outputs, labels[i], i)

    def _look(self, outputs: Mapping[str, Any]) -> None:
        import numpy as np

        for name, value in outputs.items():
            array = np.asarray(value)
            bad = 0
            if array.dtype.kind in "fc":
                bad = int(array.size - np.isfinite(array).sum())
            self._bad[name][0] += bad
            self._bad[name][1] += bad > 0
            first = self._first.setdefault(name, array)
            # By value, not by bytes: 0.0 and -0.0 are one constant.
            self._same[name] &= np.array_equal(array, first)

    def _predict(self, outputs: Mapping[str, Any]) -> None:
        predict = getattr(self.task, "predict", None)
        found = None if predict is None else predict(outputs)
        if found is not None:
            self.classes.append(found)

    def _score(self, outputs: Mapping[str, Any], label: Any, i: int) -> None:
        try:
            self.scores.append(float(self.task.score(outputs, label)))
        except UserError as error:
            raise UserError(
                error.subject, error.reason, place=f"sample {i}", advice=error.advice
            ) from error
        if not isinstance(self.task, Classify):
            return
        for shift in SHIFTS:
            self.shifted[shift] += self.task.rank(outputs, label, shift) == 0
        if self.top5 >= 0 and len(self.task.vector(outputs)) > 5:
            self.top5 += 0 <= self.task.rank(outputs, label) < 5
        else:
            self.top5 = -1

    def _interval(self, scale: float) -> tuple[float, ...] | None:
        limits = mean_interval(self.scores, self._groups)
        return None if limits is None else (scale * limits[0], scale * limits[1])

    @property
    def predicts(self) -> bool:
        """Whether every sample got a class."""
        return len(self.classes) == self.samples.count > 0

    @property
    def bad_scores(self) -> int:
        """Scores that are not finite; the task's own doing."""
        return sum(not math.isfinite(s) for s in self.scores)

    def facts(self) -> RungFacts:
        """The rung by itself, as a record."""
        count, rung, scale = self.samples.count, self.rung, getattr(self.task, "scale", 1.0)
        usable = bool(self.scores) and self.bad_scores == 0
        return RungFacts(
            rung=rung.rung,
            target=rung.target,
            source=rung.source,
            precision=rung.precision,
            ran_on=rung.ran_on,
            artifact=rung.artifact,
            metric=self.task.name if self.scores else "",
            unit=self.task.unit,
            value=scale * math.fsum(self.scores) / count if usable else None,
            value_ci95=self._interval(scale) if usable else None,
            top5=100.0 * self.top5 / count if self.top5 >= 0 else None,
            n=count,
            outputs=tuple(
                OutputFacts(
                    output=name,
                    nonfinite=self._bad[name][0],
                    samples=self._bad[name][1],
                    constant=count > 1 and self._same[name],
                )
                for name in self.samples.names
            ),
            classes_given=len(set(self.classes)),
            bad_scores=self.bad_scores,
            right=pack(self.scores) if usable else (),
        )
