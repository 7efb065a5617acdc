"""What each point of a recovery costs on the targets: builds, profiles and interleaved rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.diagnosis import mixed
from seatrial.trial import build, choice, execution, timing
from seatrial.trial.build import Piece
from seatrial.trial.points import Field, Point

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.quantise import Split
    from seatrial.trial.targets import TargetState

#: Seconds of the interleaved rounds per artefact.
ROUND_S = 1.5
#: Share of the INT8 profile that must be lost in slower layers before they are tried in float.
WORTH = 0.03


@dataclasses.dataclass
class Prices:
    """Builds and times points.

    Attributes:
        field: what was tried; contestants and float forms are noted in it.
        data: calibration data in two parts.
        spent: whether the time is used up.
        complete: nothing was left out for want of time.
    """

    trial: Trial
    found: Evidence
    field: Field
    data: Split
    spent: Callable[[], bool]
    complete: bool = True

    def time(self) -> None:
        """Build every point on every target and time all of them in the same rounds."""
        entered: list[timing.Contestant] = []
        for state in self.field.states:
            entered += self._floats(state)
            for point in self.field.points:
                if point.made is None or point.made.ref is None or point.loss is None:
                    continue
                if self.spent() and point.kind != "int8":
                    self.complete = False
                    continue
                one = self._built(state, point, point.made.ref)
                entered += [one] if one is not None else []
        self.rounds(entered)

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
        reference = self.data.reference
        if native is not None and isinstance(reference, r.Ref) and not self.spent():
            score = build.score_on_target(self.trial, state, native, self.data, reference)
            if score is not None:
                self.field.scores[state.id] = score
        return found

    def _built(self, state: TargetState, point: Point, ref: r.Ref) -> timing.Contestant | None:
        self.trial.progress("recovery", f"building {point.name} on {state.id}")
        shapes = state.facts.get("shapes", {})
        piece = build.build_portable(self.trial, state, ref, shapes, [])
        if piece is None:
            return None
        point.contestants[state.id] = timing.Contestant(state, point.name, piece)
        return point.contestants[state.id]

    def rounds(self, entered: Sequence[timing.Contestant]) -> None:
        """Time them in interleaved rounds, so that each can be compared with each."""
        if self.found.feed is not None and entered:
            budget = self.trial.clock.cap(ROUND_S * len(entered))
            count = self.trial.samples_count
            timing.time_all(self.trial, entered, self.found.feed, count, budget_s=budget)

    def again(self, point: Point, best: Point) -> bool:
        """Whether a second set of rounds says faster too: the first one chose among many."""
        before = {id(p): dict(p.contestants) for p in (point, best)}
        entered = []
        for p in (point, best):
            p.contestants = {k: dataclasses.replace(c) for k, c in p.contestants.items()}
            entered += list(p.contestants.values())
        self.rounds(entered)
        held = choice.pays(point, best, self.field)
        # The report pairs rounds, so it keeps those of the first set.
        for p in (point, best):
            p.contestants = before[id(p)]
        if not held:
            self.field.notes.append(
                f"{point.name}: faster at first, but not in a second set of rounds"
            )
        return held

    def slower(self, state: TargetState, order: Sequence[str]) -> dict[str, float] | None:
        """Layers slower in INT8 on a target -> milliseconds; ``None``: its profile does not say."""
        if self.found.feed is None:
            return None
        known: dict[str, Piece] = state.facts.get("pieces", {})
        if "fp32" not in known or "int8" not in known or self.spent():
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
