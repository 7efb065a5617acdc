"""Why INT8 is not faster on a target, with the counter-measures built and timed.

What is tried is Q/DQ models of the same recipe with other nodes in float (or fewer of them), each
built for the target, scored on held-out calibration samples and timed in interleaved rounds beside
FP32, the runtime's own float and INT8 as it was. Nothing that is tried here goes forward: the test
set is open by now. The report says what helped and how to ask for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark.bandwidth import Bandwidth, BandwidthRequest
from seatrial.benchmark.machine import machine
from seatrial.benchmark.pace import TINY_MS, Seen, causes, lone, stranded
from seatrial.benchmark.ranking import Ratio, ratio
from seatrial.diagnosis import mixed
from seatrial.report import rows, speed_rows
from seatrial.report.numbers import plural
from seatrial.trial import build, timing
from seatrial.trial.timing import Contestant, Rounds

if TYPE_CHECKING:
    from seatrial.trial.candidates import Candidate
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.making import Made
    from seatrial.trial.quantise import Portable
    from seatrial.trial.targets import TargetState

#: Seconds of the interleaved rounds per artefact.
ROUND_S = 1.5
#: Nodes of a counter-measure that are named.
NAMED = 200

HELPS, NOTHING, WORSE, UNTRIED = "helps", "no effect", "worse", "not tried"


@dataclasses.dataclass
class Try:
    """One counter-measure."""

    name: str
    against: str
    nodes: tuple[str, ...] = ()
    made: Made | None = None
    contestant: Contestant | None = None
    agreement: float | None = None
    reason: str = ""


def explain(
    trial: Trial, found: Evidence | None, state: TargetState, rounds: Rounds, *, deep: bool
) -> None:
    """Fill the pace column of a target whose INT8 form was timed beside its FP32 form.

    Args:
        trial: the command at work.
        found: with the bake-off, which counter-measures are made from; ``None``: none are.
        state: after its layers were observed.
        rounds: of the benchmark.
        deep: try counter-measures where INT8 is not faster.
    """
    fp32, int8 = rounds.of(state, "fp32"), rounds.of(state, "int8")
    told = ratio(int8, fp32) if fp32 is not None and int8 is not None else None
    if told is None or fp32 is None or int8 is None:
        return
    native = rounds.of(state, "native")
    over = ratio(int8, native) if native is not None else None
    seen = _seen(trial, state, rounds, over)
    row = speed_rows.pace(
        faster=told.distinguishable and told.value > 1,
        ratio=told.value,
        ci95=list(told.ci95) if told.ci95 else None,
        causes=causes(seen),
    )
    state.facts["pace"] = row
    beaten = over is not None and not (over.distinguishable and over.value > 1)
    # Of a model whose time is dispatch no division of its layers makes anything else.
    worth = fp32.quantiles["p50"].value >= TINY_MS
    if (beaten or not row["faster"]) and deep and worth and found is not None:
        row["tried"] = _try(trial, found, state, seen)
    row["recommend"], row["text"] = conclude(row, native_name(state), over)


def native_name(state: TargetState) -> str:
    """What the runtime's own float is called, ``""`` when it is FP32."""
    piece = state.facts.get("pieces", {}).get("native")
    return piece.stated if piece is not None else ""


def conclude(row: rows.Row, native: str, over: Ratio | None) -> tuple[str, str]:
    """What to ship for speed alone, and why in a sentence.

    Args:
        row: the pace row with causes and what was tried.
        native: name of the runtime's own float.
        over: INT8's speed over it.
    """
    helped = [t for t in row["tried"] if t["outcome"] == HELPS and _above(t["of_fp32_ci95"])]
    best = max(helped, key=lambda t: float(t["of_fp32"]), default=None)
    if over is not None and native and over.distinguishable and over.value < 1:
        return native, f"INT8 takes {1 / over.value:.2f} times as long as {native} here"
    if best is not None:
        text = f"INT8 with {best['name']} is {best['of_fp32']:.2f}x FP32"
        return f"INT8 with {best['name']}", f"{text}; as it was {row['ratio']:.2f}x"
    if over is not None and native and not over.distinguishable:
        return native, f"INT8 is no faster than {native} here, within the noise"
    if row["faster"]:
        return "INT8", f"INT8 is {row['ratio']:.2f}x FP32"
    if row["ci95"] is None:
        return "", "too few rounds to tell"
    slower = row["ci95"][1] < 1
    word = f"{1 / row['ratio']:.2f} times as long as" if slower else "as long as"
    return "FP32", f"INT8 takes {word} FP32 here{'' if slower else ', within the noise'}"


def _above(interval: Sequence[float] | None) -> bool:
    return interval is not None and interval[0] > 1


def _seen(trial: Trial, state: TargetState, rounds: Rounds, over: Ratio | None) -> Seen:
    ran = state.facts.get("ran") or {}
    layers = {k: (ran.get(k) or {}).get("layers") or [] for k in ("fp32", "int8")}
    nodes = [n for n in trial.model.facts.nodes if not n.scope and not n.function]
    heavy = tuple(n.label for n in nodes if n.op_type in mixed.HEAVY)
    fp32, int8 = rounds.of(state, "fp32"), rounds.of(state, "int8")
    here = machine()
    emulated = state.target is not None and state.target.kind is not r.TargetKind.DEVICE
    computes = state.availability is not None and bool(state.availability.instruction_sets)
    matters = computes and not emulated and here.arch == "x86_64"
    return Seen(
        int8=tuple(layers["int8"]),
        fp32=tuple(layers["fp32"]),
        heavy=heavy,
        slower=_slower(trial, state, heavy),
        fp32_ms=fp32.quantiles["p50"].value if fp32 and fp32.n else None,
        int8_ms=int8.quantiles["p50"].value if int8 and int8.n else None,
        int8_bytes=state.facts["pieces"]["int8"].ref.bytes,
        bandwidth=_bandwidth(trial) if computes else 0.0,
        products=bool(here.int8_sets) if matters else None,
        native=_over_native(state, over),
    )


def _over_native(state: TargetState, over: Ratio | None) -> tuple[str, float, float, float] | None:
    if over is None or over.ci95 is None:
        return None
    return native_name(state), over.value, over.ci95[0], over.ci95[1]


def _slower(trial: Trial, state: TargetState, heavy: Sequence[str]) -> dict[str, float]:
    observed: dict[str, r.Ran] = state.facts.get("observed", {})
    if "fp32" not in observed or "int8" not in observed:
        return {}
    before, after = observed["fp32"].layers, observed["int8"].layers
    return mixed.slower(trial.model.facts, before, after, heavy)


def _bandwidth(trial: Trial) -> float:
    """Measured once per command."""
    if trial.bandwidth is None:
        outcome = trial.runner.task(
            "seatrial.benchmark.bandwidth:measure", BandwidthRequest(), limits=trial.limits()
        )
        result: Bandwidth | None = outcome.result
        trial.bandwidth = result.bytes_per_s if result is not None else 0.0
    return trial.bandwidth


# --- counter-measures ---------------------------------------------------------------------------


def _try(trial: Trial, found: Evidence, state: TargetState, seen: Seen) -> list[rows.Row]:
    """Build, score and time the counter-measures; what helped must help in a second set too."""
    dialect = state.target.rules.qdq if state.target else None
    portable = found.portables.get(dialect) if dialect is not None else None
    if portable is None or portable.winner is None or found.split is None or found.feed is None:
        return []
    tried = [t for t in _plans(portable, seen) if t.nodes or t.made is not None]
    for one in tried:
        trial.progress("pace", f"{one.name} on {state.id}")
        made = one.made or portable.winner.remake(found.split.whole, one.nodes)
        if made.ref is None:
            one.reason = made.why_not or (made.fault.reason if made.fault else "could not be made")
            continue
        _enter(trial, found, state, one, made.ref)
    beside = _timed(trial, found, state, tried)
    told = [_row(beside, one) for one in tried]
    helped = [k for k, row in enumerate(told) if row["outcome"] == HELPS]
    if helped:
        again = [dataclasses.replace(tried[k]) for k in helped]
        beside = _timed(trial, found, state, again)
        for k, one in zip(helped, again, strict=True):
            if _row(beside, one)["outcome"] != HELPS:
                told[k]["outcome"] = NOTHING
                told[k]["reason"] = "faster at first, but not in a second set of rounds"
    return told


def _timed(
    trial: Trial, found: Evidence, state: TargetState, tried: Sequence[Try]
) -> dict[str, Contestant]:
    """Time what could be built, in rounds with the forms it is compared with; gives these."""
    known = [c for c in timing.contestants([state]) if c.name in ("fp32", "native", "int8")]
    beside = {c.name: c for c in known}
    ready = []
    for one in tried:
        if one.contestant is not None:
            one.contestant = dataclasses.replace(one.contestant, timing=None)
            ready.append(one.contestant)
    if ready and found.feed is not None:
        both = [*known, *ready]
        budget = trial.clock.cap(ROUND_S * len(both))
        timing.time_all(trial, both, found.feed, trial.samples_count, budget_s=budget)
    return beside


def _enter(trial: Trial, found: Evidence, state: TargetState, one: Try, ref: r.Ref) -> None:
    shapes = state.facts.get("shapes", {})
    piece = build.build_portable(trial, state, ref, shapes, [])
    if piece is None:
        one.reason = "the target does not build it"
        return
    data = found.split
    if data is not None and isinstance(data.reference, r.Ref):
        score = build.score_on_target(trial, state, piece, data, data.reference)
        known = score is not None and score.agreement is not None
        one.agreement = 100.0 * (score.agreement or 0.0) if score is not None and known else None
    one.contestant = Contestant(state, f"try-{one.name}", piece)


def _plans(portable: Portable, seen: Seen) -> list[Try]:
    """What is worth trying, by cause; without doubles."""
    winner = portable.winner
    assert winner is not None
    kept = set(winner.made.float_nodes if winner.made else ())
    plans = []
    fuller = _fuller(portable.candidates, winner)
    if fuller is not None and fuller.made is not None:
        count = len(kept) - len(fuller.made.float_nodes)
        name = f"{plural(count, 'more node', 'more nodes')} in INT8 ({fuller.name})"
        plans.append(Try(name, "not-int8", made=fuller.made))
    floats = tuple(n for n in stranded(seen.int8, seen.heavy) if n not in kept)
    name = f"{plural(len(floats), 'quantised layer')} that ran in float left unquantised"
    plans.append(Try(name, "not-int8", floats))
    alone = tuple(n for n in lone(seen.int8, seen.heavy) if n not in kept)
    both = tuple(dict.fromkeys((*floats, *alone))) if alone else ()
    name = f"{plural(len(alone), 'lone INT8 layer')} in float"
    name += ", with these" if floats and alone else ""
    plans.append(Try(name, "islands", both))
    slower = tuple(n for n in seen.slower if n not in kept)
    name = f"{plural(len(slower), 'layer')} slower in INT8 in float"
    plans.append(Try(name, "slower-kernels", slower))
    once: dict[frozenset[str], Try] = {}
    for one in plans:
        once.setdefault(frozenset(one.nodes) if one.made is None else frozenset([one.name]), one)
    return list(once.values())


def _fuller(candidates: Sequence[Candidate], winner: Candidate) -> Candidate | None:
    """The candidate of the core with the fewest nodes in float, if fewer than the winner's."""
    able = [
        c
        for c in candidates
        if c is not winner and c.recipe is not None and c.made is not None and c.made.ref
    ]
    if winner.made is None or not able:
        return None
    best = min(able, key=lambda c: len(c.made.float_nodes) if c.made else 0)
    fewer = best.made is not None and len(best.made.float_nodes) < len(winner.made.float_nodes)
    return best if fewer else None


def _row(beside: Mapping[str, Contestant], one: Try) -> rows.Row:
    """A counter-measure as the report has it, against what was timed beside it."""
    own = one.contestant.timing if one.contestant is not None else None

    def over(name: str) -> Ratio | None:
        other = beside[name].timing if name in beside else None
        return ratio(own, other) if own is not None and other is not None else None

    of_fp32, of_int8 = over("fp32"), over("int8")
    median = own.quantiles.get("p50") if own is not None else None
    outcome = UNTRIED
    if of_int8 is not None:
        outcome = NOTHING if not of_int8.distinguishable else HELPS if of_int8.value > 1 else WORSE
    return speed_rows.pace_try(
        one.name,
        against=one.against,
        nodes=list(one.nodes)[:NAMED],
        p50_ms=median.value if median else None,
        ci95_ms=own.row()["ci95_ms"] if own is not None else None,
        of_fp32=of_fp32.value if of_fp32 else None,
        of_fp32_ci95=list(of_fp32.ci95) if of_fp32 and of_fp32.ci95 else None,
        of_int8=of_int8.value if of_int8 else None,
        of_int8_ci95=list(of_int8.ci95) if of_int8 and of_int8.ci95 else None,
        agreement=one.agreement,
        outcome=outcome,
        reason=one.reason,
    )
