"""The INT8 stage: candidates for a portable Q/DQ model, tried on held-out calibration data.

One portable model goes forward per Q/DQ dialect that the chosen targets want. Ranges are
collected on one part of the calibration data and candidates are judged on the other; the winner is
made again on all of it. The test set has not been opened when this runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.codec import encode
from seatrial.errors import UserError
from seatrial.quantize import bakeoff
from seatrial.quantize.types import Score
from seatrial.recovery import plan
from seatrial.report import quantize_rows, rows
from seatrial.trial.candidates import Candidate, Tables
from seatrial.trial.child import SubsetRequest
from seatrial.trial.contest import Contest, settle
from seatrial.trial.making import Made
from seatrial.trial.reference import reference_outputs

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
        given: the model that goes forward was named by the user.
        table: ranges of the float model over all calibration samples, if they were collected.
        why_not: why nothing goes forward.
    """

    dialect: r.QdqDialect
    candidates: list[Candidate]
    chosen: Made | None = None
    winner: Candidate | None = None
    given: bool = False
    table: r.Ref | None = None
    why_not: str = ""


@dataclasses.dataclass
class Split:
    """Calibration data in two parts: one collects ranges, the other judges candidates.

    Attributes:
        reference: the float model's outputs over the held-out samples, once they were made.
    """

    whole: r.Ref
    fit: r.Ref
    held_out: tuple[int, ...]
    reference: r.Ref | r.Fault | None = None


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
        "seatrial.trial.child:subset",
        request,
        refs=[whole],
        limits=trial.limits(),
        remember=trial.remembers,
    )
    if outcome.result is None:
        return Split(whole, whole, held_out)
    return Split(whole, trial.runner.adopt(outcome, outcome.result.artifact), held_out)


def as_given(trial: Trial, targets: Iterable[TargetState]) -> dict[r.QdqDialect, Portable]:
    """The model's own Q/DQ pairs, for models that come quantised."""
    dialects = {t.target.rules.qdq for t in targets if t.target is not None}
    made = Made(trial.model.ref, method="as given: the model carries its own Q/DQ pairs")
    return {d: Portable(d, [], chosen=made) for d in dialects if d is not None}


def reference(trial: Trial, data: Split) -> r.Ref | r.Fault:
    """The float model's outputs over the held-out samples; run once."""
    if data.reference is None:
        data.reference = reference_outputs(
            trial, trial.model.ref, data.whole, data.held_out, remember=True
        )
    return data.reference


def bake_off(
    trial: Trial,
    targets: Iterable[TargetState],
    data: Split,
    *,
    vendors: bool = True,
    first: Sequence[plan.Recipe] = (),
    table: r.Ref | None = None,
) -> dict[r.QdqDialect, Portable]:
    """Make and judge candidates for every dialect that the targets want.

    Args:
        trial: the command at work.
        targets: usable targets.
        data: the calibration data.
        vendors: also ask the quantizers that backends bring.
        first: what the core tries first; empty: as planned.
        table: ranges from an earlier command; ``None``: they are collected.

    Returns:
        One entry per dialect; an entry without ``chosen`` says why.
    """
    wanted = _wanted(targets)
    expected = reference(trial, data) if wanted else None
    found: dict[r.QdqDialect, Portable] = {}
    tables = Tables(trial, table)
    elders: dict[r.QdqDialect, list[plan.Recipe]] = {}
    for dialect, states in wanted.items():
        if not isinstance(expected, r.Ref):
            why = expected.reason if expected is not None else ""
            found[dialect] = Portable(dialect, [], why_not=f"the float model did not run: {why}")
            continue
        contest = Contest(trial, dialect, data, tables, expected)
        # Biases are where dialects differ without a difference: what is close in one is in all.
        family = dataclasses.replace(dialect, bias="")
        contest.run(
            _vendor_candidates(trial, states) if vendors else [],
            first=first,
            elders=elders.get(family, [])[:1],
        )
        elders.setdefault(family, contest.ranking())
        found[dialect] = _settle(trial, Portable(dialect, contest.candidates), data)
        found[dialect].table = tables.plain(data.whole)
    return found


def unmeasured(
    trial: Trial, targets: Iterable[TargetState], table: r.Ref, one: plan.Recipe
) -> dict[r.QdqDialect, Portable]:
    """One candidate per dialect from ranges at hand: there are no samples to judge it by.

    Raises:
        UserError: the recipe needs samples.
    """
    if not one.simple or one.method == plan.WEIGHTED:
        text = f"{one.rewrite or one.method} needs calibration samples"
        raise UserError("--methods", text, advice="add --calibration SRC")
    tables, found = Tables(trial, table), {}
    for dialect in _wanted(targets):
        candidate = tables.candidate(dialect, one)
        made = candidate.make(table)  # stands for the store, which nothing reads
        candidate.made, candidate.fault = made, made.fault
        candidate.chosen = made.ref is not None
        candidate.reason = made.why_not or "not measured: there were no samples to judge by"
        portable = Portable(dialect, [candidate], table=table, why_not=made.why_not)
        if candidate.chosen:
            portable.winner, portable.chosen = candidate, made
        found[dialect] = portable
    return found


def _wanted(targets: Iterable[TargetState]) -> dict[r.QdqDialect, list[TargetState]]:
    """The targets that want each dialect, in order."""
    found: dict[r.QdqDialect, list[TargetState]] = {}
    for state in targets:
        dialect = state.target.rules.qdq if state.target else None
        if dialect is not None:
            found.setdefault(dialect, []).append(state)
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


def _settle(trial: Trial, portable: Portable, data: Split) -> Portable:
    """Choose, and make the winner again on all samples."""
    winner, why = settle(portable.candidates)
    if winner is None:
        portable.why_not = why
        return portable
    portable.winner, portable.chosen = winner, winner.made
    if data.fit != data.whole and trial.clock.left_s > trial.clock.reserve_s:
        trial.progress("quantize", f"{winner.name} on all calibration samples", 1.0)
        again = winner.make(data.whole)
        if again.ref is not None:
            # The row names the model that goes forward; its scores are of the one made on less.
            portable.chosen = winner.made = again
            winner.reason += "; made again on all samples"
    return portable


def candidate_rows(found: Iterable[Portable]) -> list[rows.Row]:
    """The bake-off as rows of the report, losers and faulted candidates included."""
    return [_candidate_row(c) for portable in found for c in portable.candidates]


def _candidate_row(candidate: Candidate) -> rows.Row:
    made = candidate.made
    return quantize_rows.candidate(
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
