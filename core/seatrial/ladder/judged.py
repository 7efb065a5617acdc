"""The judgement that all rungs share: one pass over each, and what any two tell of one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.hookspecs import Job
from seatrial.tasks import base as tasks
from seatrial.tasks.base import Case, Pair, Task
from seatrial.verdict.pooled import Resampling, alike, compared
from seatrial.verdict.stats import Paired, paired

from .blind import blind, others
from .by_class import ByClass
from .classes import baseline
from .differences import difference, match
from .records import ONNX_INT8, Baseline, Blind, Comparison, JudgeRequest, Rung, RungFacts
from .sweep import Sweep
from .units import Units


class Judged:
    """What all rungs and comparisons share."""

    def __init__(
        self, request: JudgeRequest, task: Task, test: Units, labels: Sequence[Any] | None
    ) -> None:
        self.request = request
        self.task = task
        self.labels = labels
        self.groups = test.groups
        self.count = test.count
        self.samples = test.facts()
        self.state = tuple(test.samples.state)
        self.distinct = distinct(test.hashes)
        self.over: Resampling | None = None
        limit = request.class_drop
        self.classes = ByClass(task, labels, test.groups, self.distinct, limit)

    def sweep(self, rung: Rung, outputs: Units, names: Mapping[str, str]) -> Sweep:
        """One pass over the outputs of a rung."""
        return Sweep(
            rung,
            outputs,
            self.task,
            self.labels,
            names=names,
            facts=self.samples,
            groups=self.groups,
        )

    def resample(self, sweeps: Sequence[Sweep], job: Job) -> None:
        """Evaluate a pooled metric of every rung on the same resampled sets."""
        judged = [s for s in sweeps if s.statistics and not s.bad_scores]
        if not judged:
            return
        # A sample that was seen before says nothing new, and would narrow the interval.
        few = len(self.distinct) < self.count
        self.over = Resampling(
            self.groups,
            self.distinct,
            seed=self.request.seed,
            cost=max(getattr(s.pooled, "cost", 0) for s in judged),
            name=("distinct " if few else "") + ("sequences" if self.state else "samples"),
        )
        for k, sweep in enumerate(judged):
            job.progress(f"resampling {sweep.rung.rung}", k / len(judged))
            sweep.draws(self.over)

    def compare(self, sweep: Sweep, base: Sweep, noise: tuple[int, int]) -> Comparison:
        """Everything that two rungs tell of one another."""
        pairs, unmatched = match(sweep.samples, base.samples.names)
        known = [k for k in noise if k >= 0]
        told = self.classes.step(sweep, base, self.over)
        listed = self._listed(base)
        return Comparison(
            rung=sweep.rung.rung,
            target=sweep.rung.target,
            source=sweep.rung.source,
            against=base.rung.rung,
            paired=self._paired(sweep, base),
            agreed=_agreed(sweep, base),
            n=self.count,
            noise_agreed=min(known) if known else -1,
            outputs=tuple(
                difference(sweep.samples, name, base.samples, other, listed=other in listed)
                for name, other in pairs.items()
            ),
            unmatched=unmatched,
            vanished=told.vanished,
            worst_classes=told.worst,
            fallen=told.fallen,
            doubts=tasks.apart(self.task, self._pairs(sweep, base)),
            unscored=self._unscored(pairs, base),
        )

    def _unscored(self, pairs: Mapping[str, str], base: Sweep) -> tuple[str, ...]:
        """Outputs that the metric says nothing of; a task that does not tell reads them all.

        States count for what they do in the steps that follow.
        """
        reads = getattr(self.task, "reads", None)
        if reads is None or self.labels is None or not self.count:
            return ()
        known = {*reads(_named(base, 0)), *self.state}
        return tuple(own for own, name in pairs.items() if name not in known)

    def _listed(self, base: Sweep) -> tuple[str, ...]:
        """Outputs of the reference whose rows are lists, if the task knows."""
        sets = getattr(self.task, "sets", None)
        return () if sets is None or not self.count else tuple(sets(_named(base, 0)))

    def _pairs(self, sweep: Sweep, base: Sweep) -> Iterator[Pair]:
        for i, sample in enumerate(self.samples):
            yield _named(base, i), _named(sweep, i), sample

    def baseline(self, first: Sweep | None) -> Baseline | None:
        """Whether the float baseline knows anything, and whether the labels fit it."""
        known = self.request.task.expected is not None
        every = self.request.class_drop is None or self.request.class_drop < 100
        return baseline(first, self.task, self.labels, known=known, every=every)

    def blind(self, first: Sweep | None) -> Blind | None:
        """How the float baseline compares with the best answer that looks at no input."""
        facts = None if first is None else first.facts()
        found = blind(
            first, facts, self.task, self.labels, distinct=self.distinct, groups=self.groups
        )
        if found is None and self.request.task.own and not self.state:
            return others(
                first,
                self.task,
                self.labels,
                samples=self.samples,
                distinct=self.distinct,
                groups=self.groups,
            )
        return found

    def doubts(self, first: Sweep | None) -> tuple[tasks.Doubt, ...]:
        """What the task finds wrong with the float baseline, and whether it is as good as known."""
        if first is None or self.labels is None or not first.judged:
            return ()
        labels = self.labels

        def cases() -> Iterator[Case]:
            for i, sample in enumerate(self.samples):
                yield _named(first, i), labels[i], sample

        found = tasks.doubts(self.task, cases())
        short = expected(first.facts(), self.request.task.expected)
        return (*found, short) if short is not None else found

    def _paired(self, sweep: Sweep, base: Sweep) -> Paired | None:
        """The drop; ``None`` without labels or when a score is not finite."""
        if self.labels is None or sweep.bad_scores or base.bad_scores:
            return None
        step = base.rung.rung == ONNX_INT8
        margin = self.request.device_drop if step else self.request.max_drop
        scale, bounds = getattr(self.task, "scale", 1.0), getattr(self.task, "bounds", None)
        if self.over is not None:
            same = [alike(a, b) for a, b in zip(base.statistics, sweep.statistics, strict=True)]
            return compared(
                base.draws(self.over),
                sweep.draws(self.over),
                same,
                self.over,
                scale=scale,
                higher_is_better=self.task.higher_is_better,
                bounds=bounds,
                margin=margin,
            )
        found = paired(
            [base.scores[i] for i in self.distinct],
            [sweep.scores[i] for i in self.distinct],
            groups=[self.groups[i] for i in self.distinct],
            scale=scale,
            higher_is_better=self.task.higher_is_better,
            bounds=bounds,
            margin=margin,
            seed=self.request.seed,
        )
        if len(self.distinct) < self.count and found.unit == "samples":
            found = dataclasses.replace(found, unit="distinct samples")
        return found


def _agreed(first: Sweep, second: Sweep) -> int:
    """Samples that get the same class; one that got none agrees with nothing."""
    if not (first.predicts and second.predicts):
        return -1
    pairs = zip(first.classes, second.classes, strict=True)
    return sum(a == b and a >= 0 for a, b in pairs)


def _named(sweep: Sweep, i: int) -> dict[str, Any]:
    """One sample's outputs under the reference's names."""
    return {sweep.names.get(n, n): sweep.samples.one(n, i) for n in sweep.samples.names}


def expected(facts: RungFacts, known: float | None) -> tasks.Doubt | None:
    """Whether the float baseline is what the user knows it to be from training.

    It is not when its whole 95 % interval lies on the worse side of the known value by more than
    a tenth of it.
    """
    if known is None or facts.value is None:
        return None
    low, high = facts.value_ci95 or (facts.value, facts.value)
    room = abs(known) / 10
    short = high < known - room if facts.higher_is_better else low > known + room
    if not short:
        return None
    text = (
        f"the float model reaches {facts.value:.2f} {facts.unit} in {facts.metric}, and {known:g} "
        "is known from training: preprocessing, annotations or settings are not those of training"
    )
    return tasks.Doubt(gate=tasks.FAIL, code="baseline.expected", text=text)


def distinct(hashes: Sequence[str]) -> tuple[int, ...]:
    """Position of the first sample of each content; the same for every rung and either answer."""
    first = {hashes[i] or str(i): i for i in reversed(range(len(hashes)))}
    return tuple(sorted(first.values()))
