"""Diagnosis and mixed precision, after the builds and before the test set is opened.

When the held-out calibration samples say that the accuracy limit is in danger, the fewest layers
left in float that meet it are searched for: nested prefixes of the diagnosis' order, and whole
classes of layers where a class is guilty. Layers that a profile shows to be slower in INT8 than in
float are put back to float as well. Everything tried is built on every target of the dialect and
timed in the same interleaved rounds as full INT8 and float: loss against latency, per target.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.diagnosis import mixed
from seatrial.diagnosis.types import Diagnosis
from seatrial.options import QuantizeOptions, RunOptions
from seatrial.quantize.types import ScoreRequest
from seatrial.report import quantize_rows, rows
from seatrial.trial import choice, diagnose, pieces
from seatrial.trial.candidates import Candidate
from seatrial.trial.making import Made
from seatrial.trial.points import Field, Point
from seatrial.trial.prices import Prices

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.quantise import Portable, Split
    from seatrial.trial.targets import TargetState

#: Seconds for one dialect: the diagnosis, and everything with it.
DIAGNOSE_S, RECOVER_S = 60.0, 360.0
#: Points that are built and timed at most, besides full INT8 and float.
MOST = 12


def run(trial: Trial, found: Evidence, reference: r.Ref | None = None) -> None:
    """Diagnose every dialect's winner and recover what can be; results go to the evidence.

    Args:
        trial: the command at work.
        found: the bake-off's outcome; its portable models may be replaced by better ones.
        reference: float outputs over the held-out samples, for building again.
    """
    if found.split is None:
        _diagnose_given(trial, found)
        return
    for portable in found.portables.values():
        if portable.winner is None or portable.winner.made is None or portable.chosen is None:
            continue
        if trial.clock.left_s < trial.clock.reserve_s:
            return
        states = [
            t
            for t in trial.usable
            if t.fault is None and t.target is not None and t.target.rules.qdq == portable.dialect
        ]
        recovery = Recovery(trial, found, portable, found.split, states)
        recovery.work()
        if recovery.changed:
            for state in states:
                pieces.rebuild_int8(trial, state, found, reference)


def _diagnose_given(trial: Trial, found: Evidence) -> None:
    """A model that came quantised has no float form here: its activations can be looked at."""
    if found.calibration is None or not trial.model.facts.has_qdq or found.quick:
        return
    from seatrial.trial.quantise import Split

    whole = found.calibration.ref
    count = min(found.calibration.info.count, 64)
    data = Split(whole, whole, tuple(range(count)))
    result = diagnose.diagnose(trial, trial.model.ref, data, model=None, budget_s=DIAGNOSE_S)
    if isinstance(result, Diagnosis):
        found.diagnoses.append(diagnose.diagnosis_row("as given", trial.model.ref, result))
    else:
        found.faults.append(result)


class Recovery:
    """The recovery of one dialect.

    Args:
        trial: the command at work.
        found: where rows go.
        portable: the dialect and what the bake-off chose.
        data: calibration data in two parts.
        states: the targets that want this dialect; none: nothing is timed.
    """

    def __init__(
        self,
        trial: Trial,
        found: Evidence,
        portable: Portable,
        data: Split,
        states: Sequence[TargetState],
    ) -> None:
        assert portable.winner is not None
        self.trial, self.found, self.portable, self.data = trial, found, portable, data
        self.winner: Candidate = portable.winner
        self.reference = data.reference if isinstance(data.reference, r.Ref) else None
        self.field = Field([t for t in states if "int8" in t.facts.get("pieces", {})])
        self.max_drop = 1.0 if found.sla.max_drop is None else found.sla.max_drop
        self.started = time.monotonic()
        share = 0.25 if found.quick else 1.0
        self.budget_s = min(RECOVER_S * share, trial.clock.left_s - trial.clock.reserve_s)
        self.diagnosis: Diagnosis | None = None
        self.complete = True
        self.changed = False
        self.prices = Prices(trial, found, self.field, data, lambda: self.spent)

    @property
    def spent(self) -> bool:
        """Nothing further may be begun."""
        return time.monotonic() - self.started > self.budget_s

    def work(self) -> None:
        """Diagnose, search, time, choose, report."""
        base = Point("full INT8", "int8", made=self.winner.made, score=self.winner.score)
        if self.winner.made is not None and self.data.fit != self.data.whole:
            # Judged on samples that its ranges have not seen, as every other point is.
            base.made = self._make(())
            if base.score is None:
                self._score(base)
        self.field.points = [base]
        base.meets = mixed.meets(base.score, self.max_drop)
        # A quick run looks for the cause where something is wrong, and for nothing else.
        quick = self.found.quick
        if not (quick and base.meets):
            self._diagnose(base)
        options = self.found.options
        allowed = isinstance(options, (RunOptions, QuantizeOptions)) and not options.all_int8
        if allowed and not quick:
            if base.meets is False:
                self._search()
            if self.field.states:
                self._put_back(base)
                self.prices.time()
        best = choice.choose(self.field, self.prices.again)
        if best is not base:
            self._adopt(best)
        self.found.recoveries.append(self._row(base))

    # --- what to try ----------------------------------------------------------------------------

    def _diagnose(self, base: Point) -> None:
        if base.made is None or base.made.ref is None:
            return
        self.trial.progress("diagnosis", self.winner.name)
        result = diagnose.diagnose(
            self.trial,
            base.made.ref,
            self.data,
            model=base.made.model or self.trial.model.ref,
            table=base.made.table,
            budget_s=max(5.0, min(DIAGNOSE_S, 0.4 * self.budget_s)),
        )
        if isinstance(result, r.Fault):
            self.found.faults.append(result)
            return
        self.diagnosis = result
        row = diagnose.diagnosis_row(self.winner.name, base.made.ref, result)
        self.found.diagnoses.append(row)

    def _order(self) -> tuple[str, ...]:
        """Nodes that can be put back to float, the most helpful first."""
        if self.diagnosis is None:
            return ()
        known = {n.label for n in self.trial.model.facts.nodes}
        floats = set(self.winner.made.float_nodes if self.winner.made else ())
        return tuple(n for n in self.diagnosis.order if n in known and n not in floats)

    def _search(self) -> None:
        """Guilty classes first, then prefixes that double until one meets, then refine."""
        order = self._order()
        if not order or self.diagnosis is None:
            return
        self._classes(order)
        failed, met = 0, None
        for size in mixed.sizes(len(order)):
            point = self._try(f"{size} in float", "prefix", order[:size])
            if point is None:
                return
            if point.meets:
                met = size
                break
            failed = size
        while met is not None:
            middle = mixed.between(failed, met)
            if middle is None:
                return
            point = self._try(f"{middle} in float", "prefix", order[:middle])
            if point is None:
                return
            failed, met = (failed, middle) if point.meets else (middle, met)

    def _classes(self, order: Sequence[str]) -> None:
        """Whole classes of layers that have a good part of the expected gain."""
        assert self.diagnosis is not None
        gains = dict(zip(self.diagnosis.order, self.diagnosis.gains, strict=True))
        total = sum(gains.get(n, 0.0) for n in order)
        for name, nodes in mixed.classes(self.trial.model.facts, order).items():
            if total > 0 and sum(gains[n] for n in nodes) / total >= mixed.GUILTY:
                self._try(f"all {name} in float", "class", nodes)

    def _try(self, name: str, kind: str, nodes: Sequence[str]) -> Point | None:
        """Make and score one point; ``None`` when the time or the number of points is used up."""
        if self.spent or len(self.field.points) > MOST:
            self.complete = False
            return None
        same = next((p for p in self.field.points if set(p.nodes) == set(nodes)), None)
        if same is not None:
            return same
        self.trial.progress("recovery", name)
        point = Point(name, kind, tuple(nodes))
        point.made = self._make(point.nodes)
        self._score(point)
        point.meets = mixed.meets(point.score, self.max_drop)
        self.field.points.append(point)
        return point

    def _make(self, nodes: tuple[str, ...], *, whole: bool = False) -> Made:
        return self.winner.remake(self.data.whole if whole else self.data.fit, nodes)

    def _score(self, point: Point) -> None:
        made = point.made
        if made is None or made.ref is None:
            point.reason = made.why_not or (made.fault.reason if made.fault else "") if made else ""
            return
        request = ScoreRequest(
            model=self.trial.model.ref,
            candidate=made.ref,
            samples=self.data.whole,
            indices=self.data.held_out,
            reference=self.reference,
        )
        refs = [request.model, request.candidate, request.samples]
        refs += [self.reference] if self.reference is not None else []
        outcome = self.trial.runner.task(
            "seatrial.quantize.child:score",
            request,
            refs=refs,
            limits=self.trial.limits(),
            remember=self.trial.remembers,
        )
        point.score = outcome.result
        if outcome.fault is not None:
            point.reason = outcome.fault.reason

    def _put_back(self, base: Point) -> None:
        """Layers that a profile shows to be slower in INT8; classes where no profile helps."""
        order = self._order()
        told = False
        for state in self.field.states:
            lost = self.prices.slower(state, order)
            if lost is None:
                continue
            told = True
            if lost:
                name = f"{len(lost)} slower in INT8 on {state.id} in float"
                self._try(name, "slower", tuple(lost))
        if not told and order:
            groups = mixed.classes(self.trial.model.facts, order)
            for name, nodes in sorted(groups.items(), key=lambda item: len(item[1]))[:2]:
                self._try(f"all {name} in float", "class", nodes)
        if base.made is None:
            self.field.notes.append("full INT8 could not be made again for comparison")

    # --- what goes forward ----------------------------------------------------------------------

    def _adopt(self, point: Point) -> None:
        """Make the point from all calibration samples and let it go forward."""
        made = point.made
        if self.data.fit != self.data.whole and not self.spent:
            again = self._make(point.nodes, whole=True)
            made = again if again.ref is not None else made
        if made is None or made.ref is None:
            return
        name = f"{self.winner.name}+{len(point.nodes)}-in-float"
        before, nodes = self.winner, point.nodes

        def remake(store: r.Ref, more: tuple[str, ...]) -> Made:
            return before.remake(store, tuple(dict.fromkeys((*nodes, *more))))

        candidate = dataclasses.replace(
            before,
            name=name,
            scheme=f"{before.scheme}+{len(nodes)}-in-float",
            remake=remake,
            made=made,
            score=point.score,
            reason=f"chosen by recovery: {point.reason}",
        )
        before.chosen = False
        before.reason += f"; then {name} took its place"
        self.portable.candidates.append(candidate)
        self.portable.winner, self.portable.chosen = candidate, made
        self.changed = True

    # --- report ---------------------------------------------------------------------------------

    def _row(self, base: Point) -> rows.Row:
        chosen = next(p for p in self.field.points if p.chosen)
        return quantize_rows.recovery(
            self.winner.name,
            in_danger=None if base.meets is None else not base.meets,
            rule=mixed.rule_text(base.score, self.max_drop) if base.score else "",
            met=chosen.meets,
            chosen=chosen.name,
            reason=chosen.reason,
            points=self.field.table(self.max_drop),
            statements=self.field.statements(chosen),
            advice=self._advice(chosen),
            n=base.score.n if base.score else 0,
            seconds=round(time.monotonic() - self.started, 3),
            complete=self.complete and self.prices.complete,
            notes=self.field.notes,
        )

    def _advice(self, chosen: Point) -> list[str]:
        """What would help further, where the rule is not met."""
        if chosen.meets or self.diagnosis is None:
            return []
        told = list(
            dict.fromkeys(c.cause.advice for c in self.diagnosis.culprits if c.cause.advice)
        )
        told.append(
            "fine-tuning with quantisation in the loop (QAT), where training data is at hand"
        )
        natives = self.field.natives()
        if natives:
            told.append(f"{natives[0].piece.stated} instead of INT8 where its speed will do")
        return told[:5]
