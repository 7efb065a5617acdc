"""Core task: the audit of a calibration set.

Every part stands alone: one that cannot be judged says why, and the others go on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from seatrial.audit import classes as classes_
from seatrial.audit import copies as copies_
from seatrial.audit import coverage as coverage_
from seatrial.audit import feeding, opposite, ranges, rules, scale, twins
from seatrial.audit.look import Look, look, noise_like
from seatrial.audit.records import (
    Alternative,
    Audit,
    AuditRequest,
    Check,
    Coverage,
    RangeRow,
    Scale,
    SetRow,
    Stability,
)
from seatrial.audit.rules import RED, Finding, finding
from seatrial.audit.watch import Seen, Watch
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Ref
from seatrial.samples import Samples

#: Samples of each set that the model sees, at most.
SEEN_MAX = 1024
#: Wrong preparations: a set that has one differs from the test set in everything.
_CAUSES = frozenset({"preprocessing", "interleaved", "scale", "double-normalised", "layout"})
#: Samples that say something of a distribution, at least.
ENOUGH = 16


def audit(request: AuditRequest, job: Job) -> Audit:
    """Look at the sets, at the model's behaviour on them, and judge.

    Raises:
        UserError: an empty store.
    """
    return _Audit(request, job).run()


@dataclasses.dataclass
class _Sets:
    """What was seen of the sets, without any model."""

    own: Look
    test: Look | None
    train: Look | None


class _Audit:
    """One audit at work."""

    def __init__(self, request: AuditRequest, job: Job) -> None:
        self.request, self.job = request, job
        self.samples = Samples(job.path(request.calibration))
        if not self.samples.count:
            raise UserError("calibration", "the sample store is empty")
        self.test = self._open(request.test)
        self.findings: list[Finding] = []
        self.checks: list[Check] = []
        self.until = time.monotonic() + request.budget_s
        self.watch: Watch | None = None
        self.seen: Seen | None = None
        self.seen_test: Seen | None = None
        self.distinct: int | None = None
        self.stability: Stability | None = None
        self.coverage: Coverage | None = None
        self.rows: list[RangeRow] = []
        self.scales: list[Scale] = []
        self.alternatives: list[Alternative] = []
        self.classes: tuple[dict[str, int], str] = ({}, "")

    def _open(self, ref: Ref | None) -> Samples | None:
        return Samples(self.job.path(ref)) if ref is not None else None

    def run(self) -> Audit:
        """All parts, in an order in which each finds what it needs."""
        sets = self._look()
        with self._check("duplicates"):
            self.distinct, found = twins.within(sets.own)
            self.findings += found
        self._other_sets(sets)
        with self._check("copies within the test set", self.test, "no test set"):
            if self.test is not None and sets.test is not None:
                self.findings += copies_.copies(sets.test, self.test)
                self.findings += copies_.stuck(self.test)
        with self._check("reading twice", self.request.again, "the source is read once"):
            request = self.request
            again, repeated = self._open(request.again), self._open(request.repeated)
            self.findings += twins.reread(self.samples, again, repeated)
        with self._check("scale of the values"):
            self.scales, found = scale.scales(self.samples, self.test)
            self.findings += found
        with self._check("layout and orientation", self.test, "no test set"):
            if self.test is not None:
                self.findings += opposite.layout(self.samples, self.test)
                self.findings += opposite.opposite(self.samples, self.test)
        with self._check("texture and noise"):
            self.findings += _noise(sets.own)
        self._behaviour(sets)
        self._like_test(sets)
        self._number(sets)
        return self._result(sets)

    def _look(self) -> _Sets:
        def one(ref: Ref | None, role: str) -> Look | None:
            store = self._open(ref)
            if store is None:
                return None
            return look(
                store, role, self.job.scratch, self._tick(f"looking at {role} samples", store.count)
            )

        with self._check("the samples themselves"):
            own = one(self.request.calibration, "calibration")
            if own is not None:
                return _Sets(own, one(self.request.test, "test"), one(self.request.train, "train"))
        raise UserError("calibration", self.checks[-1].reason or "could not be looked at")

    def _other_sets(self, sets: _Sets) -> None:
        for other, name, given in (
            (sets.test, "overlap with the test set", "no test set"),
            (sets.train, "overlap with training data", "no training data"),
        ):
            with self._check(name, other, given):
                if other is not None:
                    self.findings += twins.across(sets.own, other)

    def _behaviour(self, sets: _Sets) -> None:
        """The model at work: extremes, features, answers; ranges follow."""
        request = self.request
        with self._check("activations", request.model, "no model"):
            if request.model is not None:
                self.watch = Watch(self.job.path(request.model))
                self._watch(sets)
        seen = self.seen
        if seen is not None and seen.low:
            low, high, source = seen.low, seen.high, "activations"
            ids = [sets.own.ids[i] for i in seen.indices]
        else:
            limits = sets.own.limits
            low, high = ({n: v[:, k] for n, v in limits.items()} for k in (0, 1))
            source, ids = "inputs", list(sets.own.ids)
        with self._check("stability of the ranges"):
            self.stability = ranges.stability(low, high, source, request.seed)
            self.findings += ranges.judge_stability(self.stability)
            self.findings += ranges.judge_shape(low, high, ids)
        with self._check("clipping", self.test, "no test set"):
            self._clipping(sets, low, high)

    def _watch(self, sets: _Sets) -> None:
        watch = self.watch
        if watch is None:
            return
        rows = _spread(self.samples.count)
        third = time.monotonic() + max(2.0, (self.until - time.monotonic()) / 3)
        tick = self._tick("watching the model on calibration samples", len(rows))
        self.seen = watch.see(self.samples, rows, tick, until=third)
        if self.test is None or sets.test is None:
            return
        rows = _spread(self.test.count)
        outer = {
            n: (float(v.min()), float(self.seen.high[n].max())) for n, v in self.seen.low.items()
        }
        third = time.monotonic() + max(2.0, (self.until - time.monotonic()) / 2)
        tick = self._tick("watching the model on test samples", len(rows))
        self.seen_test = watch.see(self.test, rows, tick, ranges=outer, until=third)

    def _clipping(self, sets: _Sets, low: Any, high: Any) -> None:
        if sets.test is None:
            return
        if self.seen_test is not None and self.seen_test.low:
            seen = self.seen_test
            held_out, ids = (seen.low, seen.high), [sets.test.ids[i] for i in seen.indices]
            outside = seen.outside
        else:
            limits = sets.test.limits
            held_out = (
                {n: v[:, 0] for n, v in limits.items()},
                {n: v[:, 1] for n, v in limits.items()},
            )
            ids, outside = list(sets.test.ids), {}
        self.rows, found = ranges.clipping((low, high), held_out, outside, ids)
        self.findings += found

    def _like_test(self, sets: _Sets) -> None:
        """Ways of feeding, coverage, classes: against the test set and the model."""
        with self._check("ways of feeding", self.test or self.watch, "neither test set nor model"):
            setting = feeding.Setting(
                samples=self.samples,
                own=sets.own,
                test=sets.test if sets.test and sets.test.count >= ENOUGH else None,
                watch=self.watch,
                test_features=None if self.seen_test is None else self.seen_test.features,
                labels=self.samples.labels,
                until=self.until,
                seed=self.request.seed,
            )
            self.alternatives, found = feeding.tried(setting)
            self.findings += found
        enough = sets.test is not None and min(sets.test.count, sets.own.count) >= ENOUGH
        with self._check("coverage", enough or None, f"needs {ENOUGH} samples of both sets"):
            self._coverage(sets)
        with self._check("classes", self.seen or self.samples.labels, "no labels and no model"):
            own = None if self.seen is None else self.seen.classes
            test = None if self.seen_test is None else self.seen_test.classes
            counts, source, found = classes_.classes(self.samples.labels, own, test, sets.own.ids)
            self.classes = (counts, source)
            self.findings += found

    def _coverage(self, sets: _Sets) -> None:
        own, test = sets.own, sets.test
        if test is None:
            return
        self.findings += coverage_.metadata(own, test)
        self.findings += coverage_.padding(own, test)
        self.findings += coverage_.quality(own, test)
        mine, theirs = (coverage_.Side(s, range(s.count), s.stats) for s in (own, test))
        by_inputs, inputs = coverage_.coverage(
            mine, theirs, "statistics of the inputs", self.request.seed
        )
        self.coverage = by_inputs
        told = inputs
        if self.seen is not None and self.seen_test is not None and self.watch is not None:
            mine = coverage_.Side(own, self.seen.indices, self.seen.features)
            theirs = coverage_.Side(test, self.seen_test.indices, self.seen_test.features)
            name = f"activations of {self.watch.feature or 'the output'}"
            self.coverage, told = coverage_.coverage(mine, theirs, name, self.request.seed)
            # Both spaces are looked at; what both say is said once, the worse of the two.
            told = _worse(told, inputs)
        self.findings += told

    def _number(self, sets: _Sets) -> None:
        self.findings += rules.number(self.samples.count, self.request.requested, self.distinct)
        if self.test is None:
            self.findings += coverage_.padding(sets.own, None)

    def _result(self, sets: _Sets) -> Audit:
        rows = [
            SetRow(
                role=s.role,
                count=s.count,
                distinct=self.distinct if s is sets.own and self.distinct else s.count,
                groups=len(set(s.groups) - {""}),
            )
            for s in (sets.own, sets.test, sets.train)
            if s is not None
        ]
        return Audit(
            findings=rules.ordered(_without_echoes(self.findings)),
            checks=tuple(self.checks),
            sets=tuple(rows),
            stability=self.stability,
            ranges=tuple(self.rows),
            coverage=self.coverage,
            classes=self.classes[0],
            classes_by=self.classes[1],
            alternatives=tuple(self.alternatives),
            scales=tuple(self.scales),
            facts={
                "seen": float(len(self.seen.indices)) if self.seen else 0.0,
                "seen_test": float(len(self.seen_test.indices)) if self.seen_test else 0.0,
            },
        )

    def _tick(self, text: str, total: int) -> Any:
        return lambda done: self.job.progress(text, done / max(total, 1))

    @contextlib.contextmanager
    def _check(self, name: str, given: Any = True, missing: str = "") -> Iterator[None]:
        """One part: timed; an error in it is its own."""
        started = time.monotonic()
        if given is None:
            self.checks.append(Check(name=name, status="left out", reason=missing))
        status, reason = "done", ""
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # models fail in many ways; the rest goes on
            status = "failed"
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        if given is not None:
            seconds = round(time.monotonic() - started, 3)
            self.checks.append(Check(name=name, status=status, reason=reason, seconds=seconds))


def _spread(count: int) -> list[int]:
    """All positions, or :data:`SEEN_MAX` of them evenly spaced."""
    n = min(count, SEEN_MAX)
    return [k * count // n for k in range(n)]


def _noise(own: Look) -> list[Finding]:
    """Arrays without any structure, and pictures whose texture is another layout's."""
    found = []
    ids = noise_like(own)
    if len(ids) > 0.5 * own.count:
        text = f"{len(ids)} of {own.count} samples show no structure along any axis: random data?"
        advice = "calibrate on real samples"
        found.append(finding("noise", RED, text, samples=ids, advice=advice, score=1.0))
    if own.pictures and "correlation 3 pixels across" in own.names:
        import numpy as np

        one, three = (own.column(f"correlation {k} pixels across") for k in (1, 3))
        down = own.column("correlation 1 pixels down")
        odd = (three > one + 0.05) & (three > 0.5) & (down < three)
        rows = np.flatnonzero(odd)
        if len(rows) > 0.5 * own.count:
            text = (
                f"in {len(rows)} of {own.count} pictures every third pixel goes together, and "
                "neighbours less: the layout is mixed up, H,W,C taken for C,H,W"
            )
            advice = "transpose to C,H,W; do not reshape"
            samples = [own.ids[i] for i in rows]
            found.append(
                finding("interleaved", RED, text, samples=samples, advice=advice, score=1.0)
            )
    return found


def _worse(one: Sequence[Finding], two: Sequence[Finding]) -> list[Finding]:
    """Findings of both, of each code only the worse (the first when they are equal)."""
    order = (RED, rules.YELLOW, rules.NOTE)
    kept: dict[str, Finding] = {}
    for item in (*one, *two):
        have = kept.get(item.code)
        if have is None or order.index(item.level) < order.index(have.level):
            kept[item.code] = item
    return list(kept.values())


def _without_echoes(found: Sequence[Finding]) -> list[Finding]:
    """Each code once (the worst); what a known cause explains is not told as drift as well."""
    kept = _worse(found, ())
    causes = {f.code for f in kept if f.level == RED} & _CAUSES
    echoes = {"drift", "outliers"} if causes else set()
    echoes |= {"preprocessing"} if "interleaved" in causes else set()
    return [f for f in kept if f.code not in echoes]
