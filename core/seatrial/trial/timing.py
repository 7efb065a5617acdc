"""The benchmark stage: everything that was built, timed in the same interleaved rounds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark import machine
from seatrial.benchmark.ranking import ratio
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import Plan, measure
from seatrial.report import rows
from seatrial.trial.build import Piece
from seatrial.trial.causes import why_not_faster

if TYPE_CHECKING:
    from seatrial.isolation import SessionHandle
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: What INT8 and the other forms are compared with.
BASELINE = "fp32"


@dataclasses.dataclass
class Contestant:
    """One piece of one target in the rounds."""

    state: TargetState
    name: str
    piece: Piece
    model: str = ""
    timing: Timing | None = None


@dataclasses.dataclass
class Rounds:
    """What was timed, and what disturbed it."""

    contestants: list[Contestant]
    disturbances: tuple[str, ...] = ()

    def of(self, state: TargetState, name: str) -> Timing | None:
        """The timing of one piece."""
        for one in self.contestants:
            if one.state is state and one.name == name:
                return one.timing
        return None


def contestants(states: Iterable[TargetState]) -> list[Contestant]:
    """Every piece that every target has, but for those that could not be run before."""
    return [
        Contestant(state, name, piece)
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
) -> Rounds:
    """Load all contestants, run the rounds, close them.

    Args:
        trial: the command at work.
        entered: what to time.
        samples: the store that feeds them.
        count: samples in it.
        budget_s: seconds for warm-up and rounds together.
        least_calls: timed calls below which the quantile of the limit has no upper bound.
    """
    before = machine.look()
    with contextlib.ExitStack() as stack:
        loaded: list[tuple[Contestant, SessionHandle]] = []
        for one in entered:
            opened = trial.open(one.state, one.piece)
            if opened.result is None:
                trial.blame(one.state, opened.fault, decisive=False)
                continue
            loaded.append((one, stack.enter_context(opened.result)))
        plan = Plan(budget_s=budget_s, seed=trial.seed, least_calls=least_calls)
        timings = measure(
            [(_facts(trial, one), handle) for one, handle in loaded],
            samples,
            count,
            plan,
            progress=lambda text, fraction: trial.progress("benchmark", text, fraction),
        )
    for (one, _), timing in zip(loaded, timings, strict=True):
        one.timing = timing
        trial.blame(one.state, timing.fault, decisive=False)
    cores = machine.machine().cores
    return Rounds(list(entered), machine.disturbed(before, machine.look(), cores))


def _facts(trial: Trial, one: Contestant) -> Facts:
    shapes = one.state.facts.get("shapes") or {}
    first = next(iter(shapes.values()), ())
    piece = one.piece
    perm = piece.artifact.inputs[0].perm if piece.artifact.inputs else ()
    return Facts(
        target=one.state.id,
        artifact=piece.ref.sha256,
        model=one.model,
        precision=piece.stated,
        shape=tuple(first[i] for i in perm) if perm and len(perm) == len(first) else tuple(first),
        layout=piece.layout,
        threads=trial.threads,
        batch=trial.batch,
        artifact_bytes=piece.ref.bytes,
        build_s=round(piece.build_s, 3),
        emulated=one.state.target is not None and one.state.target.kind is not r.TargetKind.DEVICE,
    )


def benchmark_rows(rounds: Rounds, state: TargetState) -> list[rows.Row]:
    """The benchmark rows of one target, each compared with its FP32 row."""
    baseline = rounds.of(state, BASELINE)
    found = []
    for one in rounds.contestants:
        if one.state is not state or one.timing is None:
            continue
        row = one.timing.row()
        if baseline is not None and one.timing is not baseline:
            row["speedup"] = _speedup(one, baseline, row["emulated"])
        row["notes"] = [*row["notes"], *rounds.disturbances]
        found.append(row)
    return found


def _speedup(one: Contestant, baseline: Timing, emulated: bool) -> rows.Row | None:
    if one.timing is None:
        return None
    found = ratio(one.timing, baseline)
    if found is None:
        return None
    cause = ""
    if one.name == "int8" and not (found.distinguishable and found.value > 1):
        median = baseline.quantiles.get("p50")
        ran = (one.state.facts.get("ran") or {}).get("int8")
        cause = why_not_faster(median.value if median else None, ran, emulated=emulated)
    return rows.speedup(
        "FP32",
        found.value,
        ci95=list(found.ci95) if found.ci95 else None,
        distinguishable=found.distinguishable,
        cause=cause,
    )
