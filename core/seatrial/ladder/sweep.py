"""One pass over the outputs of one rung: scores, classes, and what is wrong with the numbers.

Samples are read one at a time, so that memory does not grow with the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.errors import UserError
from seatrial.tasks import base
from seatrial.tasks.base import Sample, Task
from seatrial.tasks.classify import Classify
from seatrial.verdict.pooled import Draws, Resampling, interval
from seatrial.verdict.stats import mean_interval

from .bits import pack
from .records import OutputFacts, Rung, RungFacts
from .units import Units

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
        facts: one per sample, for the task.
        groups: one per sample, or empty.

    Attributes:
        scores: the task's scores; empty without labels, and of a pooled task.
        statistics: what each sample contributes to a pooled metric; else empty.
        classes: predicted class, -1 where a score is not finite; empty without class scores.
        shifted: per entry of :data:`SHIFTS`, how many samples are right with labels moved so.
        top5: samples whose label is among the first five, -1 where that says nothing.
    """

    def __init__(
        self,
        rung: Rung,
        samples: Units,
        task: Task,
        labels: Sequence[Any] | None,
        *,
        names: Mapping[str, str],
        facts: Sequence[Sample] = (),
        groups: Sequence[str] = (),
    ) -> None:
        self._groups = groups
        self._samples = facts
        self.rung = rung
        self.samples = samples
        self.task = task
        self.names = names
        self.scores: list[float] = []
        self.statistics: list[Any] = []
        self.pooled: Any = None
        self._draws: Draws | None = None
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
        if self.statistics:
            self.pooled = base.pool(task, self.statistics)

    @property
    def judged(self) -> bool:
        """Whether there is a metric."""
        return bool(self.scores or self.statistics)

    def metric(self, weights: Any) -> float:
        """The metric of a pooled task over weighted samples."""
        return float(self.task.metric(self.pooled, weights))  # type: ignore[attr-defined]

    def draws(self, over: Resampling) -> Draws:
        """The metric of a pooled task over resampled sets, made once."""
        if self._draws is None:
            self._draws = over.draws(self.metric)
        return self._draws

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
        predict = None if self.samples.sequences else getattr(self.task, "predict", None)
        found = None if predict is None else predict(outputs)
        if found is not None:
            self.classes.append(found)

    def _score(self, outputs: Mapping[str, Any], label: Any, i: int) -> None:
        facts = self._samples[i] if self._samples else Sample()
        try:
            found = base.measure(self.task, outputs, label, facts)
        except UserError as error:
            place = error.place if error.place.startswith("[") else f"sample {facts.id or i}"
            raise UserError(
                error.subject, error.reason, place=place, advice=error.advice
            ) from error
        if base.pooled_form(self.task):
            self.statistics.append(found)
        else:
            self.scores.append(float(found))
        if not isinstance(self.task, Classify):
            return
        for shift in SHIFTS:
            self.shifted[shift] += self.task.rank(outputs, label, shift) == 0
        if self.top5 >= 0 and len(self.task.vector(outputs)) > 5:
            self.top5 += 0 <= self.task.rank(outputs, label) < 5
        else:
            self.top5 = -1

    def _value(self, scale: float) -> tuple[float | None, tuple[float, ...] | None]:
        """The metric and its 95 % interval; ``None`` for what is not known."""
        import numpy as np

        if self.statistics:
            drawn = self._draws
            value = drawn.value if drawn else self.metric(np.ones(self.samples.count))
            if not math.isfinite(value):
                return None, None
            limits = interval(drawn.resampled, drawn.without, value) if drawn else None
        elif self.scores and self.bad_scores == 0:
            value = math.fsum(self.scores) / self.samples.count
            limits = mean_interval(self.scores, self._groups)
        else:
            return None, None
        ci95 = None if limits is None else (scale * limits[0], scale * limits[1])
        return scale * value, ci95

    def _also(self, scale: float) -> dict[str, float]:
        """Further figures by name."""
        import numpy as np

        found: dict[str, float] = {}
        if self.top5 >= 0 and getattr(self.task, "top", 5) != 5:
            found["top-5 accuracy"] = 100.0 * self.top5 / self.samples.count
        also = getattr(self.task, "also", None)
        if self.statistics and also is not None:
            more = also(self.pooled, np.ones(self.samples.count))
            found |= {k: scale * v for k, v in more.items() if math.isfinite(v)}
        return found

    @property
    def predicts(self) -> bool:
        """Whether every sample got a class."""
        return len(self.classes) == self.samples.count > 0

    @property
    def bad_scores(self) -> int:
        """Scores that are not finite; the task's own doing."""
        if self.statistics:
            import numpy as np

            undefined = not math.isfinite(self.metric(np.ones(self.samples.count)))
            return self.samples.count if undefined else 0
        return sum(not math.isfinite(s) for s in self.scores)

    def facts(self) -> RungFacts:
        """The rung by itself, as a record."""
        count, rung, scale = self.samples.count, self.rung, getattr(self.task, "scale", 1.0)
        value, value_ci95 = self._value(scale)
        return RungFacts(
            rung=rung.rung,
            target=rung.target,
            source=rung.source,
            precision=rung.precision,
            ran_on=rung.ran_on,
            artifact=rung.artifact,
            metric=self.task.name if self.judged else "",
            unit=self.task.unit,
            higher_is_better=self.task.higher_is_better,
            value=value,
            value_ci95=value_ci95,
            also=self._also(scale),
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
            right=pack(self.scores) if value is not None else (),
        )
