"""The judge: a core task that turns output stores and labels into numbers.

It is the only code that opens the test set's labels, and it runs after every choice is frozen.
With a task of the user's own it runs in the user child.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.samples import Samples
from seatrial.tasks import base as tasks
from seatrial.tasks.base import Case, Pair, Task, load
from seatrial.verdict.pooled import Resampling, alike, compared
from seatrial.verdict.stats import Paired, paired

from .blind import blind
from .by_class import ByClass
from .classes import baseline
from .differences import difference, match
from .records import (
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
    Comparison,
    JudgeRequest,
    JudgeResult,
    NoiseFacts,
    NoiseRun,
    Ready,
    ReadyRequest,
    Refusal,
    Rung,
    RungFacts,
    base_of,
)
from .sweep import Sweep
from .units import Units, spans


def judge(request: JudgeRequest, job: Job) -> JudgeResult:
    """Judge all rungs on the same samples.

    What the user can cause (an empty test set, samples without outputs, labels that are no class
    indices) comes back as ``refused``, not as an exception: it is not a fault.
    """
    try:
        return _judge(request, job)
    except UserError as error:
        refused = _refusal(error)
        return JudgeResult(rungs=(), comparisons=(), n=0, labelled=False, refused=refused)


def ready(request: ReadyRequest, job: Job) -> Ready:
    """Whether a task can be used: it exists, takes its settings, and has what it needs."""
    del job
    try:
        load(request.task)
    except UserError as error:
        return Ready(refused=_refusal(error))
    return Ready()


def _refusal(error: UserError) -> Refusal:
    return Refusal(
        subject=error.subject, reason=error.reason, place=error.place, advice=error.advice
    )


def _judge(request: JudgeRequest, job: Job) -> JudgeResult:
    store = Samples(job.path(request.test))
    if store.count == 0:
        raise UserError("test set", "it holds no samples", advice="nothing can be judged on none")
    test = Units(store, spans(store))
    task = load(request.task)
    labels = _labels(test, task)
    stores = [_outputs(rung, job.path(rung.outputs), test) for rung in request.rungs]
    names = _names(request.rungs, stores)
    judged = _Judged(request, task, test, labels)
    sweeps = []
    for k, (rung, outputs) in enumerate(zip(request.rungs, stores, strict=True)):
        job.progress(f"judging {rung.rung} {rung.target or ''}".strip(), k / len(request.rungs))
        sweeps.append(judged.sweep(rung, outputs, match(outputs, names)[0]))
    noise = [_noise(sweep, job, test, task) for sweep in sweeps]
    floors = [_least(facts, test.count) for facts in noise]
    judged.resample(sweeps, job)
    comparisons = [
        judged.compare(sweep, sweeps[other], (floors[i], floors[other]))
        for i, sweep in enumerate(sweeps)
        for other in _bases(sweep.rung, request.rungs)
    ]
    groups = len(set(test.groups))
    first = _reference(sweeps)
    return JudgeResult(
        rungs=tuple(
            dataclasses.replace(sweep.facts(), noise=facts)
            for sweep, facts in zip(sweeps, noise, strict=True)
        ),
        comparisons=tuple(comparisons),
        n=test.count,
        labelled=labels is not None,
        groups=groups if groups < test.count else 0,
        baseline=baseline(first, task, labels, known=request.task.expected is not None),
        blind=blind(
            first,
            None if first is None else first.facts(),
            task,
            labels,
            distinct=judged.distinct,
            groups=judged.groups,
        ),
        doubts=judged.doubts(first),
    )


def _labels(test: Units, task: Task) -> Sequence[Any] | None:
    """The labels, or ``None`` when there are none or the task takes none.

    Raises:
        UserError: some samples have a label and some have none.
    """
    labels = test.labels
    if labels is None or not getattr(task, "scored", True):
        return None
    lacking = [i for i, label in enumerate(labels) if label is None]
    if len(labels) != test.count or 0 < len(lacking) < len(labels):
        missing = len(lacking) or abs(test.count - len(labels))
        raise UserError(
            "test set",
            f"{missing} of {test.count} samples have no label",
            place=test.ids[lacking[0]] if lacking else "",
            advice="label all of them, or leave them out",
        )
    return None if lacking else labels


def _outputs(rung: Rung, path: Any, test: Units) -> Units:
    """The outputs of a rung.

    Raises:
        UserError: it has not one output per test sample.
    """
    outputs = Samples(path)
    where = f"{rung.rung} {rung.target or ''}".strip()
    count, ids = test.samples.count, test.samples.ids
    if outputs.count != count:
        raise UserError(
            "test set",
            f"{where} gave outputs for {outputs.count} of {count} samples",
            advice="rungs are judged on the same samples or not at all",
        )
    if set(outputs.ids) == set(ids) and outputs.ids != ids:
        raise UserError("test set", f"{where} gave its outputs in another order than the samples")
    if not outputs.names:
        raise UserError("test set", f"{where} gave no outputs")
    return Units(outputs, test.spans)


def _names(rungs: Sequence[Rung], stores: Sequence[Units]) -> tuple[str, ...]:
    """The output names that a task sees: those of the float ONNX model, else of the first rung.

    Raises:
        UserError: there are no rungs.
    """
    if not rungs:
        raise UserError("ladder", "there are no outputs to judge")
    at = next((i for i, rung in enumerate(rungs) if rung.rung == ONNX_FP32), 0)
    return stores[at].names


def _bases(rung: Rung, rungs: Sequence[Rung]) -> list[int]:
    """Positions of the rungs that this one is judged against, those that are there."""
    found = []
    for name in base_of(rung.rung, rung.source):
        source = rung.source if name == ONNX_INT8 else None
        found += [i for i, r in enumerate(rungs) if r.rung == name and r.source == source][:1]
    return found


def _reference(sweeps: Sequence[Sweep]) -> Sweep | None:
    """The float baseline: ``onnx-fp32``, or PyTorch when it is all there is."""
    by_name = {s.rung.rung: s for s in reversed(sweeps)}
    return by_name.get(ONNX_FP32) or by_name.get(PYTORCH)


def _noise(sweep: Sweep, job: Job, test: Units, task: Task) -> tuple[NoiseFacts, ...]:
    """How far further runs of the same artefact are from the rung itself."""
    found = []
    for run in sweep.rung.noise:
        if run.indices:
            outputs = Units(Samples(job.path(run.outputs)))
        else:
            outputs = _outputs(sweep.rung, job.path(run.outputs), test)
        found.append(_floor(sweep, run, outputs, task))
    return tuple(found)


def _floor(sweep: Sweep, run: NoiseRun, outputs: Units, task: Task) -> NoiseFacts:
    indices = run.indices or tuple(range(outputs.count))
    again = Sweep(sweep.rung, outputs, task, None, names=sweep.names)
    apart = [difference(outputs, n, sweep.samples, n, indices=indices) for n in outputs.names]
    worst = [o.sqnr_db for o in apart if o.floating and not o.identical]
    agreed = -1
    if sweep.predicts and again.predicts:
        pairs = zip(again.classes, (sweep.classes[i] for i in indices), strict=True)
        agreed = sum(a == b and a >= 0 for a, b in pairs)
    return NoiseFacts(
        what=run.what,
        n=outputs.count,
        agreed=agreed,
        # A difference without a ratio (no signal, or beyond all bounds) is no floor to stand on.
        sqnr_db=min((0.0 if x is None else x for x in worst), default=None),
        identical=all(o.identical for o in apart),
    )


def _least(facts: Sequence[NoiseFacts], count: int) -> int:
    """Samples of the same class in the worst run over all of them; -1: none was made."""
    known = [f.agreed for f in facts if f.n == count and f.agreed >= 0]
    return min(known, default=-1)


def _agreed(first: Sweep, second: Sweep) -> int:
    """Samples that get the same class; one that got none agrees with nothing."""
    if not (first.predicts and second.predicts):
        return -1
    pairs = zip(first.classes, second.classes, strict=True)
    return sum(a == b and a >= 0 for a, b in pairs)


class _Judged:
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
