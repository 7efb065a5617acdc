"""What an answer to a case is worth: right, refused, wrong, a fault, or dishonest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.jobs.answers import Answer
from seatrial.results import Claim, CompileReport, Depth, FaultKind, Placement, Verdict

from .cases import BROKEN, Case
from .gaps import DISHONEST, FAULT, REFUSED, RIGHT, WRONG

#: Only the table was asked, and it said nothing that it may not.
CLAIMED = "claimed"

#: A backend may raise on an invalid model; what it may not do is die, hang or say yes.
_HARMLESS = (FaultKind.RAISED, FaultKind.UNAVAILABLE)
#: Roundings that a sum may collect, in steps of its type at the size of the largest output.
_ROUNDINGS = 32
_ACCEPTED = (Verdict.SUPPORTED, Verdict.PARTIAL)


@dataclass(frozen=True)
class Found:
    """One case's end.

    Attributes:
        how: :data:`RIGHT` or one of the ways to go wrong.
        text: for the reader.
        ran: outputs were computed and, where the truth is fixed, compared.
        partial: accepted, but not all of it on the target.
        seconds: that the backend took.
    """

    how: str
    text: str = ""
    ran: bool = False
    partial: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Tolerance:
    """Allowed difference: ``atol + rtol * |truth|``."""

    rtol: float = 1e-3
    atol: float = 1e-5


def judge(case: Case, answer: Answer, data: Path, tolerance: Tolerance) -> Found:
    """Judge one answer.

    Args:
        case: what was asked.
        answer: what came back.
        data: the case's ``data.npz`` with the truth.
        tolerance: for values.
    """
    how, text, ran = _judge(case, answer, data, tolerance)
    partial = answer.report is not None and answer.report.verdict is Verdict.PARTIAL
    return Found(how=how, text=text, ran=ran, partial=partial, seconds=answer.seconds)


def _judge(case: Case, answer: Answer, data: Path, tolerance: Tolerance) -> tuple[str, str, bool]:
    lie = next(_lies(case, answer), "")
    if lie:
        return DISHONEST, lie, False
    report = answer.report
    if case.expect == BROKEN:
        return (*_refusal_of_broken(answer), False)
    if answer.fault is not None:
        fault = answer.fault
        signal = f" ({fault.signal})" if fault.signal else ""
        return FAULT, f"{fault.stage}: {fault.kind.value}{signal}: {fault.reason}", False
    if report is None or report.verdict not in _ACCEPTED:
        return REFUSED, _first(report), False
    if answer.file is None:
        return RIGHT, "compiled; it was not run", False
    difference = compare(case, answer, data, tolerance)
    return (WRONG, difference, True) if difference else (RIGHT, "", True)


def _refusal_of_broken(answer: Answer) -> tuple[str, str]:
    """An invalid model must be refused; raising is a way to do it, dying is not."""
    fault = answer.fault
    if fault is not None and fault.kind not in _HARMLESS:
        return FAULT, f"{fault.stage}: {fault.kind.value} {fault.signal}: {fault.reason}"
    if answer.report is not None and answer.report.verdict in _ACCEPTED:
        return WRONG, f"an invalid model is {answer.report.verdict.value}"
    return RIGHT, ""


def _first(report: CompileReport | None) -> str:
    """Why a model was refused, in a line."""
    if report is None:
        return "no report"
    findings = [f for f in report.findings if f.severity == "error"] or list(report.findings)
    where = f"{findings[0].node}: " if findings and findings[0].node else ""
    return f"{where}{findings[0].reason}" if findings else "no reason given"


def _lies(case: Case, answer: Answer) -> Iterator[str]:
    """What an answer may not say, whatever the backend can do."""
    report = answer.report
    if answer.static is not None:
        yield from _static_lies(case, answer)
    if report is None:
        return
    known = set(case.labels)
    named = [f.node for f in report.findings if f.node] + [p.node for p in report.placements]
    strange = [n for n in named if n not in known] if known else []
    if strange:
        yield f"{strange[0]!r} is no node's label: see seatrial.results.node_label"
    if report.verdict is Verdict.UNSUPPORTED and not any(f.reason for f in report.findings):
        yield "unsupported without a finding that says why"
    if report.verdict is Verdict.UNKNOWN and answer.fault is None and case.expect != BROKEN:
        yield "unknown, although the target is usable: the compiler was asked and must have said"
    if report.verdict in _ACCEPTED:
        yield from _accepting_lies(report)
    single = case.family == "operators" and report.verdict is Verdict.UNSUPPORTED
    if single and not any(f.node for f in report.findings):
        yield "a model of one node was refused, and no finding names the node"


def _accepting_lies(report: CompileReport) -> Iterator[str]:
    if report.verdict is Verdict.SUPPORTED:
        nowhere = [p.node for p in report.placements if p.placement is Placement.NOWHERE]
        elsewhere = [p.node for p in report.placements if p.placement is Placement.FALLBACK]
        if nowhere or elsewhere:
            yield f"supported, but {(nowhere + elsewhere)[0]} is not on the target"
        if any(f.severity == "error" for f in report.findings):
            yield f"supported, but a finding says: {_first(report)}"
    elif not report.findings:
        yield "partial without a finding that says what is elsewhere"
    if report.artifact is not None and report.depth is not Depth.ARTEFACT:
        yield f"there is an artefact, but the depth is {report.depth.value}"


def _static_lies(case: Case, answer: Answer) -> Iterator[str]:
    """A table speaks of every node once, and never against the compiler."""
    claims = answer.static.claims if answer.static else ()
    nodes = [c.node for c in claims]
    strange = [n for n in nodes if case.labels and n not in set(case.labels)]
    if strange:
        yield f"the table claims something of {strange[0]!r}, which is no node"
    if any(not c.source for c in claims):
        yield "a claim names no source"
    report = answer.report
    if report is not None and report.verdict is Verdict.SUPPORTED and case.expect != BROKEN:
        denied = [c for c in claims if c.claim is Claim.UNSUPPORTED]
        if denied:
            yield f"the table denies {denied[0].node} ({denied[0].reason}), the compiler takes it"


def judge_claims(case: Case, answer: Answer) -> Found:
    """Judge an answer of the table alone: where the toolchain is missing nothing else is there."""
    lie = next(_lies(case, answer), "")
    if lie:
        return Found(how=DISHONEST, text=lie, seconds=answer.seconds)
    fault = answer.fault
    if fault is not None and not (case.expect == BROKEN and fault.kind in _HARMLESS):
        text = f"{fault.stage}: {fault.kind.value} {fault.signal}: {fault.reason}"
        return Found(how=FAULT, text=text, seconds=answer.seconds)
    return Found(how=CLAIMED, seconds=answer.seconds)


def compare(case: Case, answer: Answer, data: Path, tolerance: Tolerance) -> str:
    """How the outputs differ from the truth, or ``""``. Outputs without a truth are not judged."""
    import numpy as np

    if answer.file is None:
        return ""
    missing = [n for n in case.outputs if n in case.tensors and n not in answer.outputs]
    own = not any(n in case.tensors for n in answer.outputs if n not in case.outputs)
    if missing and own:
        return f"output {missing[0]!r} is missing"
    with np.load(data, allow_pickle=False) as truth, np.load(answer.file) as given:
        for k, name in enumerate(answer.outputs):
            if name not in case.tensors:
                continue
            wanted = truth[str(case.tensors.index(name))]
            text = difference(given[str(k)], wanted, case, tolerance)
            if text:
                return f"output {name!r}: {text}"
    return ""


def difference(given: Any, wanted: Any, case: Case, tolerance: Tolerance) -> str:
    """How one output differs: in type, shape, place of NaN, or value."""
    import numpy as np

    if given.dtype != wanted.dtype:
        return f"type {given.dtype}, not {wanted.dtype}"
    if given.shape != wanted.shape:
        return f"shape {given.shape}, not {wanted.shape}"
    if not case.compare or not wanted.size:
        return ""
    a, b = (np.asarray(v, np.float64) for v in (given, wanted))
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return "NaN in other places"
    same = (a == b) | np.isnan(b)
    bound = tolerance.atol + tolerance.rtol * np.abs(b)
    if wanted.dtype.kind == "f":
        # Sums are rounded in the size of their terms, which the largest output tells of.
        largest = np.max(np.abs(b), where=np.isfinite(b), initial=0.0)
        bound = np.maximum(bound, _ROUNDINGS * np.finfo(wanted.dtype).eps * largest)
    if wanted.dtype == np.float16:
        bound = np.maximum(bound, 4e-3 * np.maximum(np.abs(b), 1.0))
    if case.steps:
        # A little more: whole steps are not whole in float32.
        bound = np.maximum(bound, case.steps * case.step * 1.0001)
    with np.errstate(invalid="ignore"):  # between infinities
        excess = np.where(same, -1.0, np.abs(a - b) - bound)
    excess = np.where(np.isfinite(b) | same, excess, 1.0)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if math.isnan(float(excess[worst])) or excess[worst] > 0:
        place = ",".join(map(str, worst))
        return f"{a[worst]:.6g} at [{place}], the truth is {b[worst]:.6g}"
    return ""
