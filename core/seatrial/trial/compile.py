"""The stage that answers "does it compile?": static tables, then the real compilers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.export import recipes
from seatrial.report import target_rows
from seatrial.trial import built
from seatrial.trial.context import Clock

if TYPE_CHECKING:
    from seatrial.isolation import Outcome
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Q/DQ form of the model for a target: a reference, or the reason why there is none.
Int8Form = Callable[["TargetState"], "tuple[r.Ref | None, str]"]

#: A static table is read in no more seconds than this.
STATIC_S = 60.0
#: Time for a child to start and to say something, however little of a budget is left, seconds.
LEAST_S = 5.0
#: The clock of a command without a budget.
UNHURRIED = Clock()


def each(trial: Trial, ask: Callable[[TargetState], None]) -> None:
    """Ask every target: compilers one after the other, tables of what is not here side by side."""
    for state in trial.usable:
        trial.progress("compile", state.id)
        ask(state)
    absent = [state for state in trial.targets if not state.usable]
    trial.runner.together([functools.partial(ask, state) for state in absent])


def check_float(
    trial: Trial,
    state: TargetState,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    clock: Clock = UNHURRIED,
) -> None:
    """Ask tables and the compiler about the model as it is; the answers go to ``state.facts``.

    Args:
        trial: the command at work.
        state: the target.
        shapes: static shapes the user gave, or that the samples have.
        clock: the target's time; table and compiler are given no more than is left.
    """
    ref = trial.model.ref
    request = _request(trial, state, ref, "fp32", shapes)
    outcome = None
    # The compiler first: what it says is evidence, so the table gets the time that it leaves.
    if state.usable:
        left = _left(clock)
        outcome = trial.call(state, "seatrial_compile_check", request, [ref], timeout_s=left)
        trial.blame(state, outcome.fault)
        outcome = _honest(outcome)
    static = _static(trial, state, request, clock)
    state.facts["claimed"] = built.claimed(static)
    state.facts["columns"] = {"fp32": None, "int8": None}
    state.facts["findings"] = []
    if outcome is None:
        return
    report = outcome.result
    _add(state, "fp32", report.findings if report else ())
    _add(state, "fp32", built.disagreements(static, report))
    column = built.column(outcome, precision="FP32", artifact=_artifact(trial, outcome))
    state.facts["columns"]["fp32"] = column


def free_shapes(trial: Trial, state: TargetState, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Ask again with the model's own free shapes, where the static form alone is refused.

    Shapes that follow from samples are a convenience for compilers; a model whose control flow
    changes ranks can be one that only free shapes let through. What is built is then what ships.

    Args:
        trial: the command at work.
        state: the target, after :func:`check_float`; its facts are replaced if this is taken.
        shapes: the static shapes that were asked for, which nobody typed.

    Returns:
        Whether the target is to be built with free shapes.
    """
    column = state.facts["columns"]["fp32"]
    if column is None or column["verdict"] != r.Verdict.UNSUPPORTED.value or not shapes:
        return False
    if state.target is None or state.target.rules.static_shapes:
        return False
    if all(isinstance(d, int) for t in trial.model.facts.inputs for d in t.shape):
        return False
    before = dict(state.facts)
    check_float(trial, state, shapes={})
    again = state.facts["columns"]["fp32"]
    if again is None or again["verdict"] not in ("supported", "partial"):
        state.facts.update(before)
        return False
    errors = [f for _, f in before["findings"] if f.severity == "error"]
    told = ", ".join(f"{name} {'x'.join(map(str, dims))}" for name, dims in shapes.items())
    reason = f"with the static shapes of the samples ({told}) the compiler refuses it"
    reason += f": {errors[0].reason}" if errors else ""
    reason += "; it is built, judged and timed with free shapes"
    state.facts["findings"].append(("fp32", r.Finding(reason=reason, severity="warning")))
    state.facts["free"] = True
    return True


def check_int8(
    trial: Trial,
    state: TargetState,
    int8_form: Int8Form,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    structure_only: bool,
    clock: Clock = UNHURRIED,
) -> None:
    """Ask the compiler about the Q/DQ form of the model.

    Args:
        trial: the command at work.
        state: the target, after :func:`check_float`.
        int8_form: gives the Q/DQ form, or the reason why there is none.
        shapes: static shapes.
        structure_only: the Q/DQ form carries ranges that nobody measured.
        clock: the target's time; nothing is begun when none is left.
    """
    first = state.facts["columns"]["fp32"]
    if first is None or first["fault"] is not None:
        return
    if not clock.left_s:
        note = f"not asked: the {clock.budget_s:g} s of this target are spent (--deep goes on)"
        ref = None
    else:
        ref, note = int8_form(state)
    outcome = None
    if ref is not None:
        request = _request(trial, state, ref, "int8", shapes)
        left = _left(clock)
        outcome = trial.call(state, "seatrial_compile_check", request, [ref], timeout_s=left)
        trial.blame(state, outcome.fault)
        outcome = _honest(outcome)
        _add(state, "int8", outcome.result.findings if outcome.result else ())
    state.facts["columns"]["int8"] = built.column(
        outcome,
        precision="INT8",
        structure_only=structure_only,
        artifact=_artifact(trial, outcome) if outcome is not None else None,
        note=note,
    )


def refused(
    trial: Trial,
    state: TargetState,
    model: r.Ref,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    clock: Clock,
) -> int | None:
    """How many nodes of any model a target refuses; nothing is kept of it.

    The compiler is asked; where it cannot be, the table. A model that is refused as a whole, or
    that brings the compiler down, counts as one node.

    Returns:
        ``None``: neither gave an answer.
    """
    request = _request(trial, state, model, "fp32", shapes)
    if state.usable:
        outcome = trial.call(
            state, "seatrial_compile_check", request, [model], timeout_s=_left(clock)
        )
        report: r.CompileReport | None = outcome.result
        if report is None:
            return 1
        named = {f.node or f.reason for f in report.findings if f.severity == "error"}
        return len(named) or int(report.verdict is r.Verdict.UNSUPPORTED)
    static = _static(trial, state, request, clock)
    if static is None:
        return None
    return sum(c.claim is r.Claim.UNSUPPORTED for c in static.claims)


def finish(state: TargetState) -> None:
    """Put the built column together."""
    columns = state.facts.get("columns")
    if columns is None or columns["fp32"] is None:
        state.facts["built"] = None
        return
    state.facts["built"] = built.assemble(columns["fp32"], columns["int8"], state.facts["findings"])


def _add(state: TargetState, precision: str, findings: Iterable[r.Finding]) -> None:
    state.facts["findings"] += [(precision, _advised(finding)) for finding in findings]


def _advised(finding: r.Finding) -> r.Finding:
    """With the recipe that may make the target take the operator, unless the plugin knows more."""
    name = recipes.known(finding.op_type)
    if finding.advice or finding.severity != "error" or not name:
        return finding
    advice = f"seatrial export MODEL -o changed.onnx --recipe {name}"
    return dataclasses.replace(finding, advice=advice)


def _static(
    trial: Trial, state: TargetState, request: r.CheckRequest, clock: Clock
) -> r.StaticReport | None:
    if state.target is None or not state.offers("seatrial_check_static"):
        return None
    seconds = clock.cap(STATIC_S, least_s=LEAST_S)
    outcome = trial.call(
        state, "seatrial_check_static", request, [request.model], timeout_s=seconds
    )
    if state.usable:
        trial.blame(state, outcome.fault, decisive=False)
    result: r.StaticReport | None = outcome.result
    return result


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


def _honest(outcome: Outcome[r.CompileReport]) -> Outcome[r.CompileReport]:
    """The outcome with a verdict that the plugin's own evidence bears."""
    if outcome.result is None:
        return outcome
    return dataclasses.replace(outcome, result=built.honest(outcome.result))


def _artifact(trial: Trial, outcome: Outcome[r.CompileReport]) -> dict[str, Any] | None:
    report = outcome.result
    if report is None or report.artifact is None:
        return None
    ref = trial.runner.adopt(outcome, report.artifact)
    return target_rows.artifact(report.artifact.format, ref.sha256, ref.bytes)


def _left(clock: Clock) -> float:
    """Deadline of the next call: what is left, but enough to start a child; 0: the usual."""
    return 0.0 if clock.budget_s is None else clock.cap(clock.budget_s, least_s=LEAST_S)
