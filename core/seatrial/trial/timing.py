"""The benchmark stage: everything that was built, timed in the same interleaved rounds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark import machine
from seatrial.benchmark.energy import Meter
from seatrial.benchmark.inputs import Feed
from seatrial.benchmark.ranking import Ratio, ratio
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import Plan, measure
from seatrial.report import rows, speed_rows
from seatrial.trial.build import Piece

if TYPE_CHECKING:
    from seatrial.isolation import SessionHandle
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: What INT8 and the other forms are compared with.
BASELINE = "fp32"
#: What the name of a further form with free shapes ends in.
FREE = "-dynamic"
#: Operators that may do more for one input than for another.
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")


@dataclasses.dataclass
class Contestant:
    """One piece of one target in the rounds.

    Attributes:
        feed: what it is fed; ``None``: what all are.
        streams: calls in flight.
        threads: of one inference; ``None``: as many as its target has.
    """

    state: TargetState
    name: str
    piece: Piece
    model: str = ""
    timing: Timing | None = None
    feed: Feed | None = None
    streams: int = 1
    threads: int | None = None

    @property
    def ships(self) -> bool:
        """Whether a limit on latency may be judged by it: alone, built as shipped, fed so."""
        return self.streams == 1 and not self.name.endswith(FREE) and self.feed is None


@dataclasses.dataclass
class Rounds:
    """What was timed, and what disturbed it."""

    contestants: list[Contestant]
    disturbances: tuple[str, ...] = ()
    conditions: rows.Row | None = None

    def of(
        self, state: TargetState, name: str, *, model: str = "", streams: int = 1
    ) -> Timing | None:
        """The timing of one piece."""
        for one in self.contestants:
            known = (one.name, one.model, one.streams) == (name, model or one.model, streams)
            if one.state is state and known:
                return one.timing
        return None


def contestants(states: Iterable[TargetState]) -> list[Contestant]:
    """Every piece that every target has, but for those that could not be run before."""
    return [
        Contestant(state, name, piece, feed=piece.feed)
        for state in states
        for name, piece in state.facts.get("pieces", {}).items()
        if piece.fault is None
    ]


def time_all(
    trial: Trial,
    entered: Sequence[Contestant],
    samples: r.Ref,
    count: int,
    *,
    budget_s: float,
    least_calls: int = 0,
    most_rounds: int = 0,
    inputs: bool = False,
) -> Rounds:
    """Load all contestants, run the rounds, close them.

    Args:
        trial: the command at work.
        entered: what to time.
        samples: the store that feeds them.
        count: samples in it.
        budget_s: seconds for warm-up and rounds together.
        least_calls: timed calls below which the quantile of the limit has no upper bound.
        most_rounds: see :class:`~seatrial.benchmark.rounds.Plan`.
        inputs: likewise.
    """
    before, meter = machine.look(), Meter()
    with contextlib.ExitStack() as stack:
        loaded: list[tuple[Contestant, SessionHandle]] = []
        for one in entered:
            opened = trial.open(one.state, one.piece, threads=one.threads, streams=one.streams)
            if opened.result is None:
                trial.blame(one.state, opened.fault, decisive=False)
                continue
            loaded.append((one, stack.enter_context(opened.result)))
        plan = Plan(
            budget_s=budget_s,
            seed=trial.seed,
            least_calls=least_calls,
            most_rounds=most_rounds,
            inputs=inputs,
        )
        timings = measure(
            [(_facts(trial, one), h, one.feed or Feed(samples, count)) for one, h in loaded],
            plan,
            progress=lambda text, fraction: trial.progress("benchmark", text, fraction),
            meter=meter,
        )
    for (one, _), timing in zip(loaded, timings, strict=True):
        if timing.fault is not None and timing.fault.kind is r.FaultKind.NOT_OFFERED:
            continue  # one call at a time: no throughput, and nothing is wrong
        one.timing = timing
        trial.blame(one.state, timing.fault, decisive=False)
    after = machine.look()
    told = machine.conditions(
        before, after, threads=_threads(trial, entered), energy=(meter.source, meter.reason)
    )
    return Rounds(list(entered), tuple(told["disturbances"]), told)


def _threads(trial: Trial, entered: Sequence[Contestant]) -> int:
    """What every target was given; where they differ, what the command says."""
    given = {trial.threads_of(one.state) for one in entered}
    return given.pop() if len(given) == 1 else trial.threads


def _facts(trial: Trial, one: Contestant) -> Facts:
    shapes = one.state.facts.get("shapes") or {}
    first = next(iter(shapes.values()), ())
    piece = one.piece
    perm = piece.artifact.inputs[0].perm if piece.artifact.inputs else ()
    turned = tuple(first[i] for i in perm) if perm and len(perm) == len(first) else tuple(first)
    return Facts(
        target=one.state.id,
        artifact=piece.ref.sha256,
        model=one.model,
        precision=piece.stated,
        form=piece.form,
        shape=piece.shape or turned,
        layout=piece.layout,
        streams=one.streams,
        threads=trial.threads_of(one.state) if one.threads is None else one.threads,
        batch=trial.batch,
        artifact_bytes=piece.ref.bytes,
        build_s=round(piece.build_s, 3),
        emulated=one.state.target is not None and one.state.target.kind is not r.TargetKind.DEVICE,
        branches=tuple(op for op in CONTROL_FLOW if op in trial.model.facts.op_types),
    )


def benchmark_rows(rounds: Rounds, state: TargetState) -> list[rows.Row]:
    """The benchmark rows of one target, each compared with its FP32 row."""
    found = []
    for one in rounds.contestants:
        if one.state is not state or one.timing is None:
            continue
        baseline = rounds.of(state, BASELINE, model=one.model, streams=one.streams)
        # A model that came quantised has no FP32 form of its own: another model's stands in.
        baseline = baseline or rounds.of(state, BASELINE, streams=one.streams)
        row = one.timing.row()
        if baseline is not None and one.timing is not baseline:
            told = ratio(one.timing, baseline)
            row["speedup"] = speedup_row(told) if told is not None else None
        row["notes"] = [*row["notes"], *rounds.disturbances]
        found.append(row)
    return found


def speedup_row(found: Ratio, cause: str = "") -> rows.Row:
    """A ratio over FP32, as the report has it."""
    return speed_rows.speedup(
        "FP32",
        found.value,
        ci95=list(found.ci95) if found.ci95 else None,
        distinguishable=found.distinguishable,
        cause=cause,
    )
