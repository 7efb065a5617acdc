"""Q/DQ models that the user gives beside the float model (``--qdq``): trained ones, or a vendor's.

A given model goes forward for every target whose form it fits, and is judged against the float
model like any other; the bake-off runs all the same, so that the report shows both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import intake
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.quantize.schemes import scheme
from seatrial.quantize.types import Form, FormRequest, ScoreRequest
from seatrial.report import rows
from seatrial.trial.candidates import Candidate
from seatrial.trial.making import Made
from seatrial.trial.quantise import Portable, Split

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState


@dataclasses.dataclass(frozen=True)
class Given:
    """A model that was named with ``--qdq``."""

    path: str
    ref: r.Ref
    form: r.QdqDialect


def enter(trial: Trial, found: Evidence, targets: Iterable[TargetState]) -> None:
    """Let each given model take the place of the bake-off's winner where it fits."""
    if not found.given:
        return
    for state in targets:
        dialect = state.target.rules.qdq if state.target else None
        known = found.portables.get(dialect) if dialect is not None else None
        if dialect is None or (known is not None and known.given):
            continue
        fitting = sorted(
            (rank, k)
            for k, model in enumerate(found.given)
            if (rank := fits(model.form, dialect)) is not None
        )
        if not fitting:
            forms = ", ".join(scheme(model.form) for model in found.given)
            text = f"takes {scheme(dialect)}, and what --qdq gave is {forms}: the best "
            text += "model without training goes forward here"
            row = rows.reason("qdq.form", text, target=state.id, level="warning")
            found.given_reasons.append(row)
            continue
        model = found.given[fitting[0][1]]
        portable = found.portables.setdefault(dialect, Portable(dialect, []))
        _place(trial, found, portable, model.path, model.ref)


def fits(form: r.QdqDialect, wanted: r.QdqDialect) -> int | None:
    """How well a form serves a target: 0 exactly, 1 but for the bias, ``None`` not at all.

    A target that pins its zero points takes no others; one that does not takes either.
    """
    if form.activations != wanted.activations or (wanted.symmetric and not form.symmetric):
        return None
    if wanted.bias == "float" and form.bias != "float" and wanted.symmetric:
        return None
    return 0 if form.bias == wanted.bias else 1


def read(trial: Trial, text: str) -> Given:
    """Take a Q/DQ model in.

    Raises:
        UserError: it is refused, carries no pairs, or has other inputs than the model.
    """
    if trial.model.facts.has_qdq:
        raise UserError(trial.model.facts.path, "carries Q/DQ pairs itself", place="--qdq")
    admitted = intake.admit(Path(text), trial.workspace)
    if not admitted.facts.has_qdq:
        raise UserError(text, "carries no Q/DQ pairs", place="--qdq")
    model = trial.model.facts
    for mine, theirs in (
        (model.inputs, admitted.facts.inputs),
        (model.outputs, admitted.facts.outputs),
    ):
        names = [t.name for t in mine]
        if [t.name for t in theirs] != names:
            got = ", ".join(t.name for t in theirs)
            reason = f"has {got} where {Path(model.path).name} has {', '.join(names)}"
            raise UserError(text, reason, place="--qdq", advice="give the float model it came from")
    outcome = trial.runner.task(
        "seatrial.quantize.form_child:form",
        FormRequest(model=admitted.ref),
        refs=[admitted.ref],
        limits=trial.limits(),
        remember=trial.remembers,
    )
    result: Form | None = outcome.result
    if result is None or result.dialect is None:
        why = outcome.fault.reason if outcome.fault else "quantises no activation"
        raise UserError(text, why, place="--qdq")
    return Given(text, admitted.ref, result.dialect)


def _place(trial: Trial, found: Evidence, portable: Portable, path: str, ref: r.Ref) -> None:
    """Enter the model, with its likeness to the float model where calibration data is at hand."""
    made = Made(ref, method=f"as given: {Path(path).name}")
    entered = Candidate(
        f"given:{Path(path).name}", "given", "as given", lambda *_: made, made=made, chosen=True
    )
    if found.split is not None:
        score(trial, entered, found.split)
    for other in portable.candidates:
        if other.chosen:
            other.chosen = False
            other.reason = other.reason.replace("chosen: ", "best of the bake-off: ", 1)
    entered.reason = "chosen: named with --qdq; training may move it away from the float model"
    portable.candidates.insert(0, entered)
    portable.chosen, portable.winner = made, None
    portable.given, portable.why_not = True, ""


def score(trial: Trial, candidate: Candidate, data: Split) -> None:
    """Judge a model that nobody made here on the held-out samples."""
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
        remember=trial.remembers,
    )
    candidate.score = outcome.result
    candidate.fault = outcome.fault
