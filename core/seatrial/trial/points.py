"""What was tried in a recovery, what it costs on each target, and the rows of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial.benchmark.ranking import Ratio, ratio
from seatrial.diagnosis import mixed
from seatrial.quantize.types import Score
from seatrial.report import quantize_rows, rows
from seatrial.trial import timing
from seatrial.trial.making import Made

if TYPE_CHECKING:
    from seatrial.trial.targets import TargetState


@dataclasses.dataclass
class Point:
    """One way to divide the layers between INT8 and float.

    Attributes:
        kind: ``int8``, ``prefix``, ``class`` or ``slower``.
        nodes: labels left in float beyond what the winner leaves.
        contestants: what was built from it and timed, by target.
    """

    name: str
    kind: str
    nodes: tuple[str, ...] = ()
    made: Made | None = None
    score: Score | None = None
    meets: bool | None = None
    contestants: dict[str, timing.Contestant] = dataclasses.field(default_factory=dict)
    reason: str = ""
    chosen: bool = False

    @property
    def loss(self) -> float | None:
        """Mean loss on held-out samples."""
        return mixed.loss(self.score)


@dataclasses.dataclass
class Field:
    """Everything that was tried, and float beside it.

    Attributes:
        states: the targets that were timed on.
        points: full INT8 first.
        floats: FP32 and the runtime's own choice, by target.
        scores: of the runtime's own float on each target.
        notes: what a reader of the table should know.
    """

    states: Sequence[TargetState]
    points: list[Point] = dataclasses.field(default_factory=list)
    floats: dict[str, list[timing.Contestant]] = dataclasses.field(default_factory=dict)
    scores: dict[str, Score] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def table(self, max_drop: float) -> list[rows.Row]:
        """One row per point, float last."""
        fronts = {state.id: self._front(state) for state in self.states}
        made = [self._point_row(p, self.points[0], fronts) for p in self.points]
        return made + self._float_rows(fronts, max_drop)

    def ratio(self, point: Point, other: Point, state: TargetState) -> Ratio | None:
        """How many times faster a point is than another on a target."""
        a, b = point.contestants.get(state.id), other.contestants.get(state.id)
        return None if a is None else of(a, b)

    def statements(self, chosen: Point) -> list[rows.Row]:
        """Whether INT8 pays, target by target."""
        return [s for s in (self._statement(t, chosen) for t in self.states) if s]

    def natives(self) -> list[timing.Contestant]:
        """The runtimes' own float forms."""
        return [c for group in self.floats.values() for c in group if c.name == "native"]

    def _front(self, state: TargetState) -> set[str]:
        points = {}
        for point in self.points:
            at = median(point.contestants.get(state.id))
            if at is not None and point.loss is not None:
                points[point.name] = (point.loss, at)
        for one in self.floats.get(state.id, ()):
            at, known = median(one), self._float_loss(one)
            if at is not None and known is not None:
                points[one.name] = (known, at)
        return mixed.front(points)

    def _point_row(self, point: Point, base: Point, fronts: dict[str, set[str]]) -> rows.Row:
        made = point.made
        agreement = point.score.agreement if point.score else None
        return quantize_rows.recovery_point(
            point.name,
            kind=point.kind,
            nodes=list(point.nodes),
            sha256=made.ref.sha256 if made and made.ref else "",
            loss=point.loss,
            agreement=None if agreement is None else 100.0 * agreement,
            meets=point.meets,
            chosen=point.chosen,
            targets=[
                self._price(state, one, base, point.name in fronts[state.id])
                for state in self.states
                if (one := point.contestants.get(state.id)) is not None
            ],
            reason=point.reason,
        )

    def _float_loss(self, one: timing.Contestant) -> float | None:
        """Loss of a float form: FP32 is what all else is compared with."""
        return 0.0 if one.name == "fp32" else mixed.loss(self.scores.get(one.state.id))

    def _float_rows(self, fronts: dict[str, set[str]], max_drop: float) -> list[rows.Row]:
        """Float beside the points: FP32 on all targets, then the runtimes' own precisions."""
        listed = [(s, one) for s in self.states for one in self.floats.get(s.id, ())]
        plain = [(s, one) for s, one in listed if one.name == "fp32"]
        groups = [("all in FP32", plain)] if plain else []
        groups += [
            (f"all in {one.piece.stated} on {s.id}", [(s, one)])
            for s, one in listed
            if one.name != "fp32"
        ]
        found = []
        for title, group in groups:
            state, first = group[0]
            score = None if first.name == "fp32" else self.scores.get(state.id)
            agreement = 1.0 if first.name == "fp32" else score.agreement if score else None
            meets = True if first.name == "fp32" else mixed.meets(score, max_drop)
            prices = [self._price(s, c, self.points[0], c.name in fronts[s.id]) for s, c in group]
            found.append(
                quantize_rows.recovery_point(
                    title,
                    kind="float",
                    loss=self._float_loss(first),
                    agreement=None if agreement is None else 100.0 * agreement,
                    meets=meets,
                    targets=prices,
                )
            )
        return found

    def _price(
        self, state: TargetState, one: timing.Contestant, base: Point, on_front: bool
    ) -> rows.Row:
        plain = next((c for c in self.floats.get(state.id, ()) if c.name == "fp32"), None)
        full = base.contestants.get(state.id)
        of_fp32, of_int8 = of(one, plain), of(one, full)
        timed = one.timing.quantiles.get("p50") if one.timing else None
        bounded = timed is not None and timed.low is not None and timed.high is not None
        return quantize_rows.recovery_price(
            state.id,
            precision=one.piece.stated,
            p50_ms=timed.value if timed else None,
            ci95_ms=[timed.low, timed.high] if bounded and timed else None,
            of_fp32=of_fp32.value if of_fp32 else None,
            of_fp32_ci95=list(of_fp32.ci95) if of_fp32 and of_fp32.ci95 else None,
            of_int8=of_int8.value if of_int8 else None,
            of_int8_ci95=list(of_int8.ci95) if of_int8 and of_int8.ci95 else None,
            front=on_front,
            reason=one.timing.fault.reason if one.timing and one.timing.fault else "",
        )

    def _statement(self, state: TargetState, chosen: Point) -> rows.Row | None:
        """Whether INT8 pays on a target, plainly."""
        own = chosen.contestants.get(state.id)
        if own is None or own.timing is None:
            return None
        told = [(one.piece.stated, of(own, one)) for one in self.floats.get(state.id, ())]
        return statement(state.id, [(name, found) for name, found in told if found is not None])


def statement(target: str, over: Sequence[tuple[str, Ratio]]) -> rows.Row | None:
    """Whether INT8 pays on a target: only if it is faster than every float form by the interval.

    Args:
        target: its id.
        over: name of each float form, FP32 first, and how many times faster INT8 is; none: no row.
    """
    if not over:
        return None
    slower = [_said(*one) for one in over if one[1].distinguishable and one[1].value < 1]
    if slower:
        text = f"INT8 does not pay here: it is slower than {' and '.join(slower)}"
        return quantize_rows.statement(target, text, pays=False)
    open_ = [_said(*one) for one in over if one[1].ci95 and not one[1].distinguishable]
    if open_:
        text = f"INT8 does not pay here: it is no faster than {' and '.join(open_)}"
        return quantize_rows.statement(target, text, pays=False)
    few = [f"{name} ({found.value:.2f}x its speed)" for name, found in over if not found.ci95]
    if few:
        text = f"too few rounds tell whether INT8 is faster than {' and '.join(few)}"
        return quantize_rows.statement(target, text)
    text = f"INT8 pays here: {' and '.join(_times(*one) for one in over)}"
    return quantize_rows.statement(target, text, pays=True)


def _said(name: str, found: Ratio) -> str:
    return f"{name} ({found.value:.2f}x its speed{_ends(found)})"


def _times(name: str, found: Ratio) -> str:
    return f"{found.value:.2f}x {name}{_ends(found)}"


def _ends(found: Ratio) -> str:
    return f", 95 % [{found.ci95[0]:.2f}, {found.ci95[1]:.2f}]" if found.ci95 else ""


def of(one: timing.Contestant, other: timing.Contestant | None) -> Ratio | None:
    """How many times faster one is than another of the same rounds."""
    if other is None or other is one or one.timing is None or other.timing is None:
        return None
    return ratio(one.timing, other.timing)


def median(one: timing.Contestant | None) -> float | None:
    """Median latency in milliseconds."""
    timed = one.timing.quantiles.get("p50") if one is not None and one.timing else None
    return timed.value if timed is not None else None
