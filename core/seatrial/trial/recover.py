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
from seatrial.report import rows
from seatrial.trial import build, diagnose, execution, pieces, timing
from seatrial.trial.build import Piece
from seatrial.trial.candidates import Candidate, Made
from seatrial.trial.points import Field, Point

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.quantise import Portable, Split
    from seatrial.trial.targets import TargetState

#: Seconds for one dialect: the diagnosis, and everything with it.
DIAGNOSE_S, RECOVER_S = 60.0, 360.0
#: Seconds of the interleaved rounds per artefact.
ROUND_S = 1.5
#: Points that are built and timed at most, besides full INT8 and float.
MOST = 12
#: Share of the INT8 profile that must be lost in slower layers before they are tried in float.
WORTH = 0.03


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
        self.notes: list[str] = []

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
                self._time()
        self._choose(base)
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
            model=self.trial.model.ref,
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
            "seatrial.quantize.child:score", request, refs=refs, limits=self.trial.limits()
        )
        point.score = outcome.result
        if outcome.fault is not None:
            point.reason = outcome.fault.reason

    def _put_back(self, base: Point) -> None:
        """Layers that a profile shows to be slower in INT8; classes where no profile helps."""
        order = self._order()
        told = False
        for state in self.field.states:
            lost = self._slower(state, order)
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
            self.notes.append("full INT8 could not be made again for comparison")

    def _slower(self, state: TargetState, order: Sequence[str]) -> dict[str, float] | None:
        """Layers slower in INT8 on a target -> milliseconds; ``None``: its profile does not say."""
        if self.found.feed is None:
            return None
        known: dict[str, Piece] = state.facts.get("pieces", {})
        if "fp32" not in known or "int8" not in known or self.spent:
            return None
        seen = []
        for name in ("fp32", "int8"):
            self.trial.progress("profile", f"{state.id} {name}")
            ran = execution.observe(self.trial, state, known[name], self.found.feed)
            if ran is None or not any(layer.ms > 0 for layer in ran.layers):
                return None
            seen.append(ran.layers)
        facts = self.trial.model.facts
        shares = [mixed.time_by_layer(layers, mixed.owners(facts))[1] for layers in seen]
        if min(shares) < mixed.RECOGNISED:
            return None
        lost = mixed.slower(facts, seen[0], seen[1], order)
        total = sum(layer.ms for layer in seen[1] if layer.ms > 0)
        return lost if sum(lost.values()) >= WORTH * total else {}

    # --- what it costs --------------------------------------------------------------------------

    def _time(self) -> None:
        """Build every point on every target and time all of them in the same rounds."""
        entered: list[timing.Contestant] = []
        for state in self.field.states:
            entered += self._floats(state)
            for point in self.field.points:
                if point.made is None or point.made.ref is None or point.loss is None:
                    continue
                if self.spent and point.kind != "int8":
                    self.complete = False
                    continue
                one = self._built(state, point, point.made.ref)
                entered += [one] if one is not None else []
        self._rounds(entered)

    def _floats(self, state: TargetState) -> list[timing.Contestant]:
        """FP32 and the runtime's own float; how far the latter is from the former."""
        known: dict[str, Piece] = state.facts["pieces"]
        found = [
            timing.Contestant(state, name, known[name])
            for name in ("fp32", "native")
            if name in known and known[name].fault is None
        ]
        self.field.floats[state.id] = found
        native = known.get("native")
        if native is not None and self.reference is not None and not self.spent:
            score = build.score_on_target(self.trial, state, native, self.data, self.reference)
            if score is not None:
                self.field.scores[state.id] = score
        return found

    def _built(self, state: TargetState, point: Point, ref: r.Ref) -> timing.Contestant | None:
        self.trial.progress("recovery", f"building {point.name} on {state.id}")
        shapes = state.facts.get("shapes", {})
        piece = build.build_portable(self.trial, state, ref, shapes)
        if piece is None:
            return None
        point.contestants[state.id] = timing.Contestant(state, point.name, piece)
        return point.contestants[state.id]

    def _rounds(self, entered: Sequence[timing.Contestant]) -> None:
        if self.found.feed is not None and entered:
            budget = self.trial.clock.cap(ROUND_S * len(entered))
            count = self.trial.samples_count
            timing.time_all(self.trial, entered, self.found.feed, count, budget_s=budget)

    # --- what goes forward ----------------------------------------------------------------------

    def _choose(self, base: Point) -> None:
        """The fewest layers in float that meet the rule; else the faster of equals; else base."""
        best = base
        why = "full INT8 is safe by the rule"
        if not base.meets:
            alone = len(self.field.points) == 1
            why = "nothing else was tried" if alone else "nothing that was tried is better"
        met = [p for p in self.field.points if p.meets and p is not base]
        if base.meets is False and met:
            best = min(met, key=lambda p: (len(p.nodes), p.loss or 0.0))
            why = f"the fewest layers in float that are safe by the rule ({len(best.nodes)})"
        elif base.meets is False:
            able = [p for p in self.field.points if p.loss is not None]
            least = min(able, key=lambda p: p.loss or 0.0, default=base)
            if base.loss is not None and least is not base and self._clearly(least, base):
                best = least
                why = "no division met the rule; this one has the least loss"
        faster = [p for p in self.field.points if p is not best and self._pays(p, best)]
        if faster and self._again(least := min(faster, key=lambda p: p.loss or 0.0), best):
            best = least
            why = "faster with these layers in float, in two sets of rounds"
        best.chosen = True
        best.reason = why
        if best is not base:
            self._adopt(best)

    def _clearly(self, a: Point, b: Point) -> bool:
        """Whether the loss of ``a`` is lower by more than one standard error."""
        if a.score is None or b.score is None:
            return False
        off = [x - y for x, y in zip(b.score.losses, a.score.losses, strict=False)]
        n = len(off)
        mean = sum(off) / n if n else 0.0
        if n < 2:
            return mean > 0
        spread = sum((x - mean) ** 2 for x in off) / (n - 1) / n
        return bool(mean > spread**0.5)

    def _pays(self, point: Point, best: Point) -> bool:
        """Faster on a target by its interval, slower on none, and no less safe."""
        if point.kind not in ("slower", "class") or (best.meets and not point.meets):
            return False
        if not best.meets and (point.loss or 1e9) > (best.loss or 0.0):
            return False
        ratios = [self.field.ratio(point, best, state) for state in self.field.states]
        told = [x for x in ratios if x is not None and x.distinguishable]
        return bool(told) and all(x.value > 1 for x in told)

    def _again(self, point: Point, best: Point) -> bool:
        """Whether a second set of rounds says faster too: the first one chose among many."""
        before = {id(p): dict(p.contestants) for p in (point, best)}
        entered = []
        for p in (point, best):
            p.contestants = {k: dataclasses.replace(c) for k, c in p.contestants.items()}
            entered += list(p.contestants.values())
        self._rounds(entered)
        held = self._pays(point, best)
        # The report pairs rounds, so it keeps those of the first set.
        for p in (point, best):
            p.contestants = before[id(p)]
        if not held:
            self.notes.append(f"{point.name}: faster at first, but not in a second set of rounds")
        return held

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
        return rows.recovery(
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
            complete=self.complete,
            notes=self.notes,
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
