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
from seatrial.codec import encode
from seatrial.quantize import bakeoff
from seatrial.quantize.types import Score, ScoreRequest
from seatrial.report import rows
from seatrial.trial.candidates import Candidate, Made, Tables, plain, structural
from seatrial.trial.child import SubsetRequest

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState


@dataclasses.dataclass
class Portable:
    """What goes forward for one dialect.

    Attributes:
        chosen: the model that goes forward.
        winner: the candidate that made it; ``None`` for a model that came quantised. Its
            ``remake`` gives the same with more nodes in float, its ``made.table`` the ranges.
        why_not: why nothing goes forward.
    """

    dialect: r.QdqDialect
    candidates: list[Candidate]
    chosen: Made | None = None
    winner: Candidate | None = None
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
    tables = Tables(trial)
    for dialect, states in wanted.items():
        candidates = plain(tables, dialect)
        if vendors:
            candidates += _vendor_candidates(trial, states)
        found[dialect] = _judge(trial, Portable(dialect, candidates), data, tables)
    return found


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


def _vendor(
    trial: Trial, state: TargetState, recipe: str
) -> Callable[[r.Ref, tuple[str, ...]], Made]:
    def remake(store: r.Ref, keep_float: tuple[str, ...]) -> Made:
        request = r.QuantizeRequest(
            model=trial.model.ref,
            target=state.target.id if state.target else "",
            calibration=store,
            scheme=recipe,
            keep_float=keep_float,
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

    return remake


def _judge(trial: Trial, portable: Portable, data: Split, tables: Tables) -> Portable:
    """Make all candidates on the fitting part, score them on the rest, make the winner again."""
    _try(trial, portable.candidates, data)
    more = structural(tables, portable.dialect, portable.candidates)
    portable.candidates += more
    _try(trial, more, data, always=0)
    entries = [c.entry() for c in portable.candidates]
    choice = bakeoff.choose(entries)
    for candidate in portable.candidates:
        candidate.reason = choice.reasons.get(candidate.name, candidate.reason)
        candidate.chosen = candidate.name == choice.name
    winner = next((c for c in portable.candidates if c.chosen), None)
    if winner is None:
        first = portable.candidates[0]
        portable.why_not = first.reason or (first.fault.reason if first.fault else choice.reason)
        return portable
    portable.winner, portable.chosen = winner, winner.made
    if data.fit != data.whole and trial.clock.left_s > trial.clock.reserve_s:
        again = winner.make(data.whole)
        if again.ref is not None:
            # The row names the model that goes forward; its scores are of the one made on less.
            portable.chosen = winner.made = again
            winner.reason += "; made again on all calibration samples"
    return portable


def _try(trial: Trial, candidates: list[Candidate], data: Split, *, always: int = 1) -> None:
    """Make and score candidates; beyond the first ``always`` only while there is time."""
    for number, candidate in enumerate(candidates):
        if number >= always and trial.clock.left_s < trial.clock.reserve_s:
            candidate.reason = "not tried: the time budget was spent"
            continue
        trial.progress("quantize", candidate.name, number / len(candidates))
        candidate.made = candidate.make(data.fit)
        candidate.fault = candidate.made.fault
        candidate.reason = candidate.made.why_not
        if candidate.made.ref is not None:
            _score(trial, candidate, data)


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
