"""The INT8 stage: candidates for a portable Q/DQ model, tried on held-out calibration data.

One portable model goes forward per Q/DQ dialect that the chosen targets want. Ranges are
collected on one part of the calibration data and candidates are judged on the other; the winner is
made again on all of it. The test set has not been opened when this runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.calibration.types import RangesRequest
from seatrial.codec import encode
from seatrial.errors import UserError
from seatrial.quantize import bakeoff
from seatrial.quantize.schemes import candidate_name, scheme
from seatrial.quantize.types import InsertRequest, Score, ScoreRequest
from seatrial.report import rows
from seatrial.trial.child import SubsetRequest

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

CORE = "core"


@dataclasses.dataclass
class Made:
    """A portable Q/DQ model, or why there is none; ``table`` holds the core's ranges."""

    ref: r.Ref | None
    method: str = ""
    float_nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fault: r.Fault | None = None
    why_not: str = ""
    table: r.Ref | None = None


@dataclasses.dataclass
class Candidate:
    """One way to get a portable Q/DQ model.

    Attributes:
        make: makes it from a calibration store.
    """

    name: str
    source: str
    scheme: str
    make: Callable[[r.Ref], Made]
    made: Made | None = None
    score: Score | None = None
    fault: r.Fault | None = None
    chosen: bool = False
    reason: str = ""


@dataclasses.dataclass
class Portable:
    """What goes forward for one dialect."""

    dialect: r.QdqDialect
    candidates: list[Candidate]
    chosen: Made | None = None
    why_not: str = ""


@dataclasses.dataclass
class Split:
    """Calibration data in two parts: one collects ranges, the other judges candidates."""

    whole: r.Ref
    fit: r.Ref
    held_out: tuple[int, ...]


def split(trial: Trial, whole: r.Ref, groups: tuple[str, ...]) -> Split:
    """Divide a calibration store by group; with too few samples both parts are the whole.

    Args:
        trial: the command at work.
        whole: the calibration store.
        groups: one name per sample.
    """
    count = len(groups)
    held_out = bakeoff.held_out(count, groups)
    chosen = set(held_out)
    fit = tuple(i for i in range(count) if i not in chosen)
    if not fit or not held_out:
        return Split(whole, whole, tuple(range(count)))
    request = SubsetRequest(samples=whole, indices=fit)
    outcome = trial.runner.task(
        "seatrial.trial.child:subset", request, refs=[whole], limits=trial.limits()
    )
    if outcome.result is None:
        return Split(whole, whole, held_out)
    return Split(whole, trial.runner.adopt(outcome, outcome.result.artifact), held_out)


def as_given(trial: Trial, targets: Iterable[TargetState]) -> dict[r.QdqDialect, Portable]:
    """The model's own Q/DQ pairs, for models that come quantised."""
    dialects = {t.target.rules.qdq for t in targets if t.target is not None}
    made = Made(trial.model.ref, method="as given: the model carries its own Q/DQ pairs")
    return {d: Portable(d, [], chosen=made) for d in dialects if d is not None}


def bake_off(
    trial: Trial, targets: Iterable[TargetState], data: Split, *, vendors: bool = True
) -> dict[r.QdqDialect, Portable]:
    """Make and judge candidates for every dialect that the targets want.

    Args:
        trial: the command at work.
        targets: usable targets.
        data: the calibration data.
        vendors: also ask the quantizers that backends bring.

    Returns:
        One entry per dialect; an entry without ``chosen`` says why.
    """
    wanted: dict[r.QdqDialect, list[TargetState]] = {}
    for state in targets:
        dialect = state.target.rules.qdq if state.target else None
        if dialect is not None:
            wanted.setdefault(dialect, []).append(state)
    found = {}
    for dialect, states in wanted.items():
        candidates = [core_candidate(trial, dialect)]
        if vendors:
            candidates += _vendor_candidates(trial, states)
        found[dialect] = _judge(trial, Portable(dialect, candidates), data)
    return found


def core_candidate(trial: Trial, dialect: r.QdqDialect) -> Candidate:
    """The core's own: exact min-max ranges, Q/DQ pairs in the dialect."""
    ranges: dict[str, Made | r.Ref] = {}

    def make(store: r.Ref) -> Made:
        if store.sha256 not in ranges:
            ranges[store.sha256] = measure_ranges(trial, store)
        table = ranges[store.sha256]
        if isinstance(table, Made):
            return table
        made = insert(trial, InsertRequest(model=trial.model.ref, ranges=table, dialect=dialect))
        return dataclasses.replace(made, table=table)

    return Candidate(candidate_name("minmax", dialect), CORE, f"minmax-{scheme(dialect)}", make)


def measure_ranges(trial: Trial, store: r.Ref) -> Made | r.Ref:
    """The calibration table of the float model over a store, or why there is none."""
    request = RangesRequest(model=trial.model.ref, samples=store)
    outcome = trial.runner.task(
        "seatrial.calibration.child:ranges",
        request,
        refs=[trial.model.ref, store],
        limits=trial.limits(timeout_s=1800),
    )
    if outcome.result is None:
        return Made(None, fault=outcome.fault)
    return trial.runner.adopt(outcome, outcome.result.artifact)


def insert(trial: Trial, request: InsertRequest, *, timeout_s: float = 0.0) -> Made:
    """Run the core's Q/DQ insertion; a model that it refuses is no fault and no end."""
    refs = [request.model, *([request.ranges] if request.ranges else [])]
    try:
        outcome = trial.runner.task(
            "seatrial.quantize.child:insert",
            request,
            refs=refs,
            limits=trial.limits(timeout_s=timeout_s),
        )
    except UserError as error:
        return Made(None, why_not=error.line())
    result = outcome.result
    if result is None:
        return Made(None, fault=outcome.fault)
    if result.artifact is None:
        reason = "; ".join(result.notes) or "no node of this model can be quantised"
        return Made(None, method=result.method, why_not=reason)
    return Made(
        trial.runner.adopt(outcome, result.artifact),
        method=result.method,
        float_nodes=tuple(n.node for n in result.float_nodes),
        notes=result.notes,
    )


def _vendor_candidates(trial: Trial, states: list[TargetState]) -> list[Candidate]:
    """Every recipe of every quantizer whose backend has a target of this dialect."""
    found = []
    seen: set[str] = set()
    for state in states:
        if not state.offers("seatrial_quantize") or state.plugin.id in seen:
            continue
        seen.add(state.plugin.id)
        for recipe in (state.description.schemes if state.description else ()) or ("",):
            name = f"{state.plugin.id}:{recipe or 'default'}"
            found.append(Candidate(name, state.plugin.id, recipe, _vendor(trial, state, recipe)))
    return found


def _vendor(trial: Trial, state: TargetState, recipe: str) -> Callable[[r.Ref], Made]:
    def make(store: r.Ref) -> Made:
        request = r.QuantizeRequest(
            model=trial.model.ref,
            target=state.target.id if state.target else "",
            calibration=store,
            scheme=recipe,
            seed=trial.seed,
            options=dict(trial.options(state)),
        )
        refs = [trial.model.ref, store]
        outcome = trial.call(state, "seatrial_quantize", request, refs, timeout_s=1800)
        if outcome.result is None:
            return Made(None, fault=outcome.fault)
        result = outcome.result
        return Made(
            trial.runner.adopt(outcome, result.artifact),
            method=result.method,
            float_nodes=result.float_nodes,
            notes=result.notes,
        )

    return make


def _judge(trial: Trial, portable: Portable, data: Split) -> Portable:
    """Make all candidates on the fitting part, score them on the rest, make the winner again."""
    for number, candidate in enumerate(portable.candidates):
        if number and trial.clock.left_s < trial.clock.reserve_s:
            candidate.reason = "not tried: the time budget was spent"
            continue
        trial.progress("quantize", candidate.name, number / len(portable.candidates))
        candidate.made = candidate.make(data.fit)
        candidate.fault = candidate.made.fault
        candidate.reason = candidate.made.why_not
        if candidate.made.ref is not None:
            _score(trial, candidate, data)
    entries = [
        bakeoff.Entry(name=c.name, score=c.score, fault=c.fault.reason if c.fault else c.reason)
        for c in portable.candidates
    ]
    choice = bakeoff.choose(entries)
    for candidate in portable.candidates:
        candidate.reason = choice.reasons.get(candidate.name, candidate.reason)
        candidate.chosen = candidate.name == choice.name
    winner = next((c for c in portable.candidates if c.chosen), None)
    if winner is None:
        first = portable.candidates[0]
        portable.why_not = first.reason or (first.fault.reason if first.fault else choice.reason)
        return portable
    portable.chosen = winner.made
    if data.fit != data.whole and trial.clock.left_s > trial.clock.reserve_s:
        again = winner.make(data.whole)
        if again.ref is not None:
            portable.chosen = again
    return portable


def _score(trial: Trial, candidate: Candidate, data: Split) -> None:
    if candidate.made is None or candidate.made.ref is None:
        return
    request = ScoreRequest(
        model=trial.model.ref,
        candidate=candidate.made.ref,
        samples=data.whole,
        indices=data.held_out,
    )
    outcome = trial.runner.task(
        "seatrial.quantize.child:score",
        request,
        refs=[request.model, request.candidate, request.samples],
        limits=trial.limits(),
    )
    candidate.score = outcome.result
    candidate.fault = outcome.fault


def candidate_rows(found: Iterable[Portable]) -> list[rows.Row]:
    """The bake-off as rows of the report, losers and faulted candidates included."""
    return [_candidate_row(c) for portable in found for c in portable.candidates]


def _candidate_row(candidate: Candidate) -> rows.Row:
    made = candidate.made
    return rows.candidate(
        candidate.name,
        source=candidate.source,
        scheme=candidate.scheme,
        sha256=made.ref.sha256 if made and made.ref else "",
        scores=score_row(candidate.score),
        n=0 if candidate.score is None else candidate.score.n,
        chosen=candidate.chosen,
        reason=candidate.reason,
        fault=encode(candidate.fault) if candidate.fault else None,
    )


def score_row(score: Score | None) -> dict[str, float | None] | None:
    """The figures of a candidate; agreement in percent, as everywhere in the report."""
    if score is None:
        return None
    agreement = None if score.agreement is None else 100.0 * score.agreement
    return {
        "agreement": agreement,
        "cosine": score.cosine,
        "sqnr_db": score.sqnr_db,
        "kl": score.kl,
    }
