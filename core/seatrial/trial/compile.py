"""The stage that answers "does it compile?": static tables, then the real compilers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.report import rows
from seatrial.trial import built

if TYPE_CHECKING:
    from seatrial.isolation import Outcome
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Q/DQ form of the model for a target: a reference, or the reason why there is none.
Int8Form = Callable[["TargetState"], "tuple[r.Ref | None, str]"]


def check_target(
    trial: Trial,
    state: TargetState,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    int8_form: Int8Form | None,
    structure_only: bool = True,
    budget_s: float | None = None,
) -> None:
    """Fill the ``claimed`` and ``built`` columns of one target.

    Args:
        trial: the command at work.
        state: the target; what is learnt goes to ``state.facts``.
        shapes: static shapes the user gave, or that the samples have.
        int8_form: gives the Q/DQ form of the model, ``None``: INT8 is not asked for.
        structure_only: the Q/DQ form carries ranges that nobody measured.
        budget_s: no deeper step is begun after this many seconds.
    """
    started = time.monotonic()
    ref = trial.model.ref
    request = _request(trial, state, ref, "fp32", shapes)
    static = _static(trial, state, request)
    state.facts["claimed"] = built.claimed(static)
    if not state.usable:
        state.facts["built"] = None
        return
    fp32 = trial.call(state, "seatrial_compile_check", request, [ref], timeout_s=_left(budget_s))
    state.blame(fp32.fault)
    report = _honest(fp32)
    findings = [("fp32", f) for f in (report.findings if report else ())]
    findings += [("fp32", f) for f in built.disagreements(static, report)]
    first = built.column(fp32, precision="FP32", artifact=_artifact(trial, fp32))
    second = None
    if int8_form is not None:
        spent = time.monotonic() - started
        second, more = _int8(trial, state, int8_form, shapes, structure_only, budget_s, spent)
        findings += [("int8", f) for f in more]
    state.facts["built"] = built.assemble(first, second, findings)


def _static(trial: Trial, state: TargetState, request: r.CheckRequest) -> r.StaticReport | None:
    if state.target is None or not state.offers("seatrial_check_static"):
        return None
    outcome = trial.call(state, "seatrial_check_static", request, [request.model], timeout_s=60)
    if outcome.result is None and state.usable:
        state.facts["static_fault"] = outcome.fault
    result: r.StaticReport | None = outcome.result
    return result


def _int8(
    trial: Trial,
    state: TargetState,
    int8_form: Int8Form,
    shapes: Mapping[str, tuple[int, ...]],
    structure_only: bool,
    budget_s: float | None,
    spent_s: float,
) -> tuple[dict[str, Any], tuple[r.Finding, ...]]:
    """The INT8 half of the built column."""

    def empty(note: str) -> tuple[dict[str, Any], tuple[r.Finding, ...]]:
        column = built.column(None, precision="INT8", structure_only=structure_only, note=note)
        return column, ()

    if budget_s is not None and spent_s > budget_s:
        return empty(f"not asked: the float build took {spent_s:.0f} s of {budget_s:.0f} s; --deep")
    ref, why_not = int8_form(state)
    if ref is None:
        return empty(why_not)
    request = _request(trial, state, ref, "int8", shapes)
    left = _left(budget_s, spent_s)
    outcome = trial.call(state, "seatrial_compile_check", request, [ref], timeout_s=left)
    state.blame(outcome.fault)
    report = _honest(outcome)
    column = built.column(
        outcome,
        precision="INT8",
        structure_only=structure_only,
        artifact=_artifact(trial, outcome),
        note=why_not,
    )
    return column, report.findings if report else ()


def _request(
    trial: Trial,
    state: TargetState,
    ref: r.Ref,
    precision: str,
    shapes: Mapping[str, tuple[int, ...]],
) -> r.CheckRequest:
    return r.CheckRequest(
        model=ref,
        target=state.target.id if state.target else "",
        precision=precision,
        shapes=dict(shapes),
        options=dict(trial.options(state)),
    )


def _honest(outcome: Outcome[r.CompileReport]) -> r.CompileReport | None:
    """Correct a verdict that the plugin's own evidence does not bear; kept in the outcome."""
    if outcome.result is not None:
        outcome.result = built.honest(outcome.result)
    return outcome.result


def _artifact(trial: Trial, outcome: Outcome[r.CompileReport]) -> dict[str, Any] | None:
    report = outcome.result
    if report is None or report.artifact is None:
        return None
    ref = trial.runner.adopt(outcome, report.artifact)
    return rows.artifact(report.artifact.format, ref.sha256, ref.bytes)


def _left(budget_s: float | None, spent_s: float = 0.0) -> float:
    """A deadline for the next call: the budget's rest, but time enough to start a child."""
    return 0.0 if budget_s is None else max(5.0, budget_s - spent_s)
