"""One dialect's bake-off: the stages of the plan, each on the closest of what came before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.quantize import bakeoff, recipe
from seatrial.quantize.types import Entrant, Finish, RaceRequest
from seatrial.recovery import plan
from seatrial.trial.candidates import Candidate, Tables
from seatrial.trial.files import part as taken
from seatrial.trial.making import Made

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.quantise import Split

LATE = "not tried: the time budget was spent"


class Contest:
    """Makes and judges candidates of one dialect.

    Args:
        trial: the command at work.
        dialect: the form of the pairs.
        data: calibration data in two parts.
        tables: what candidates are made from.
        reference: the float model's outputs over the held-out samples.
    """

    def __init__(
        self, trial: Trial, dialect: r.QdqDialect, data: Split, tables: Tables, reference: r.Ref
    ) -> None:
        self.trial = trial
        self.dialect = dialect
        self.data = data
        self.tables = tables
        self.reference = reference
        self.candidates: list[Candidate] = []

    def run(
        self,
        vendors: Sequence[Candidate],
        *,
        first: Sequence[plan.Recipe] = (),
        elders: Sequence[plan.Recipe] = (),
    ) -> None:
        """Go through the plan.

        Args:
            vendors: candidates of the backends' own quantizers, in order of promise.
            first: the recipes of the first stage; empty: the plan's choice.
            elders: the closest recipes of a dialect that differs in its biases only: they are
                tried first, and the stages only if none of them is close here.
        """
        if elders:
            self._enter(elders)
        for stage in plan.STAGES:
            if stage is plan.RANGES and elders:
                continue
            if stage is plan.VENDORS_BEFORE:
                self._vendors(vendors)
            if stage is not plan.RANGES and not self._far(stage):
                continue
            traits = dataclasses.replace(self.tables.traits, wanted=self.dialect)
            if stage is plan.SCALES and not self._late and self.ranking():
                found = self.tables.rewrites(self.data.fit)
                traits = dataclasses.replace(traits, rewrites=found)
            wanted = plan.recipes(stage, self.ranking(), traits, first)
            self._enter([w for w in wanted if w not in self._entered()])

    def ranking(self) -> list[plan.Recipe]:
        """The core's recipes that can be used, the closest first."""
        named = {c.name: c.recipe for c in self.candidates if c.recipe is not None}
        return [named[n] for n in recipe.closest(c.entry() for c in self.candidates) if n in named]

    def _entered(self) -> set[plan.Recipe]:
        return {c.recipe for c in self.candidates if c.recipe is not None}

    def _far(self, stage: plan.Stage) -> bool:
        """Whether everything that was tried is beyond the limits of a stage."""
        entries = [c.entry() for c in self.candidates]
        return recipe.calls_for_structure(entries, kl=stage.kl, error=stage.error)

    @property
    def _late(self) -> bool:
        return self.trial.clock.left_s < self.trial.clock.reserve_s

    def _enter(self, recipes: Iterable[plan.Recipe]) -> None:
        """Make, then score: those that need nothing but ranges in one child."""
        new = [self.tables.candidate(self.dialect, one) for one in recipes]
        if not new:
            return
        first = not self.candidates
        self.candidates += new
        if self._late and not first:
            for candidate in new:
                candidate.reason = LATE
            return
        simple = [c for c in new if c.recipe is not None and c.recipe.simple]
        entrants = []
        for candidate in simple:
            assert candidate.recipe is not None
            request = self.tables.insert_request(self.dialect, candidate.recipe, self.data.fit)
            if isinstance(request, Made):
                _set(candidate, request)
            else:
                entrants.append(Entrant(name=candidate.name, insert=request))
        self._race(simple, entrants)
        self._make([c for c in new if c not in simple])

    def _vendors(self, vendors: Sequence[Candidate]) -> None:
        """The first recipe of each quantizer where nothing is close, then the others."""
        first = list({v.source: v for v in reversed(vendors)}.values())[::-1]
        for part in (first, [v for v in vendors if v not in first]):
            self.candidates += part
            if self._far(plan.VENDORS_BEFORE) or not self.ranking():
                self._make(part)
                continue
            for candidate in part:
                candidate.reason = "not tried: another is close enough to the float model"

    def _make(self, candidates: Sequence[Candidate]) -> None:
        """Make each in children of its own, then score all in one."""
        ready = []
        for candidate in candidates:
            if self._late:
                candidate.reason = LATE
                continue
            self._say(candidate.name)
            _set(candidate, candidate.make(self.data.fit))
            if candidate.made is not None and candidate.made.ref is not None:
                ready.append(Entrant(name=candidate.name, made=candidate.made.ref))
        self._race(candidates, ready)

    def _say(self, text: str) -> None:
        """Progress: what is done now, how good the best is, and how long there is time."""
        best = self._best()
        told = [text]
        if best is not None:
            told.append(f"best so far: {_figure(best)}")
        left = self.trial.clock.left_s - self.trial.clock.reserve_s
        if math.isfinite(left):
            told.append(f"{max(0, round(left))} s left")
        done = sum(c.score is not None or bool(c.reason) for c in self.candidates)
        self.trial.progress("quantize", " · ".join(told), done / max(len(self.candidates), 1))

    def _best(self) -> Candidate | None:
        ranking = recipe.closest(c.entry() for c in self.candidates)
        return next((c for c in self.candidates if ranking and c.name == ranking[0]), None)

    def _race(self, candidates: Sequence[Candidate], entrants: Sequence[Entrant]) -> None:
        """Score; candidates without an entrant keep what they have."""
        if not entrants:
            return
        trial, best = self.trial, self._best()
        self._say(f"scoring {len(entrants)}")
        left = trial.clock.left_s - trial.clock.reserve_s
        request = RaceRequest(
            entrants=tuple(entrants),
            reference=self.reference,
            samples=self.data.whole,
            indices=self.data.held_out,
            rival=best.score.losses if best is not None and best.score is not None else (),
            seconds=max(1.0, left) if math.isfinite(left) else 0.0,
        )
        refs = [request.reference, request.samples]
        for entrant in entrants:
            refs += [entrant.made] if entrant.made else []
            if entrant.insert is not None:
                refs += [x for x in (entrant.insert.model, entrant.insert.ranges) if x]
        outcome = trial.runner.task(
            "seatrial.quantize.child:race",
            request,
            refs=list(dict.fromkeys(refs)),
            limits=trial.limits(timeout_s=1800),
            remember=trial.remembers and not request.seconds,
        )
        named = {c.name: c for c in candidates}
        if outcome.result is None:
            for entrant in entrants:
                named[entrant.name].fault = outcome.fault
            return
        for finish in outcome.result.finishes:
            self._finish(named[finish.name], finish, outcome.out)

    def _finish(self, candidate: Candidate, finish: Finish, out: Path) -> None:
        candidate.score = finish.score
        candidate.reason = finish.reason or candidate.reason
        made = finish.inserted
        if made is None:
            return
        ref = taken(self.trial.workspace, out, made.artifact) if made.artifact is not None else None
        table = self.tables.get(self.data.fit, candidate.method) if candidate.method else None
        candidate.made = Made(
            ref,
            method=made.method,
            float_nodes=tuple(n.node for n in made.float_nodes),
            notes=made.notes,
            table=table if isinstance(table, r.Ref) else None,
        )


def _set(candidate: Candidate, made: Made) -> None:
    candidate.made = made
    candidate.fault = made.fault
    candidate.reason = made.why_not


def _gain(candidate: Candidate, others: Sequence[Candidate]) -> str:
    """What adaptive rounding did to the loss on held-out samples."""
    one = candidate.recipe
    if one is None or not one.rounded or candidate.score is None:
        return ""
    plain = dataclasses.replace(one, rounded=False)
    twin = next((c.score for c in others if c.recipe == plain and c.score is not None), None)
    if twin is None or twin.kl is None or candidate.score.kl is None:
        return ""
    if twin.n != candidate.score.n:
        return ""
    figures = f"{twin.kl:.4g} -> {candidate.score.kl:.4g}"
    return f"; KL on {twin.n} held-out samples {figures} by rounding"


def _figure(candidate: Candidate) -> str:
    score = candidate.score
    if score is None or score.kl is None:
        return candidate.name
    return f"{candidate.name}, KL {score.kl:.3g}"


def settle(candidates: Sequence[Candidate]) -> tuple[Candidate | None, str]:
    """Choose; every candidate gets its reason.

    Returns:
        The winner, and why there is none.
    """
    fewer = [c for c in candidates if c.recipe is not None and c.recipe.form in plan.FEWER]
    full = [c for c in candidates if c not in fewer]
    usable = recipe.closest(c.entry() for c in full)
    enough = bool(usable) and not recipe.calls_for_structure(c.entry() for c in full)
    choice = bakeoff.choose([c.entry() for c in (full if enough else candidates)])
    for candidate in fewer if enough else ():
        candidate.reason = "computes less in INT8, and another is close enough"
    for candidate in candidates:
        candidate.reason = choice.reasons.get(candidate.name, candidate.reason)
        candidate.chosen = candidate.name == choice.name
        if candidate.made is not None and candidate.made.rewritten:
            candidate.reason += f"; {candidate.made.rewritten}{_gain(candidate, candidates)}"
    winner = next((c for c in candidates if c.chosen), None)
    if winner is not None or not candidates:
        return winner, choice.reason
    first = candidates[0]
    return None, first.reason or (first.fault.reason if first.fault else choice.reason)
