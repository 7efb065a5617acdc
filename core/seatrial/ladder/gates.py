"""From the judge's numbers to the rows of the ladder, each with a gate and a sentence.

Pure functions: the same numbers give the same rows. A gate passes only on evidence: a figure that
is missing, not finite or not precise enough is ``fail`` or ``not proven``, never ``pass``.
"""

from __future__ import annotations

from typing import Any

from seatrial.codec import encode, record
from seatrial.report import rows
from seatrial.sla import SLA
from seatrial.verdict.proportions import clopper_pearson
from seatrial.verdict.stats import Paired

from .equality import NOT_THE_PAIRS, branches, equal, float_step, int8_equality, rung_facts
from .falls import FAR
from .health import FAIL, NONE, NOTE, PASS, UNPROVEN, Gate, broken, doubts, gate_of, rank
from .records import (
    DEVICE_FLOAT,
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
    ClassFall,
    Comparison,
    JudgeResult,
    OutputDifference,
    RungFacts,
    base_of,
)


@record
class Graded:
    """One row of the ladder, and what the verdict needs beside it.

    Attributes:
        row: as in the report.
        code: stable name of the rule that decided the gate.
        value_ci95: 95 % interval of the metric itself; ``None`` when there is none.
    """

    row: dict[str, Any]
    code: str
    value_ci95: tuple[float, ...] | None = None


def grade(result: JudgeResult, sla: SLA) -> tuple[Graded, ...]:
    """All rows of a ladder, the rungs from the bottom up.

    Args:
        result: from the judge.
        sla: with its defaults filled in.
    """
    graded = []
    for facts in result.rungs:
        steps = [c for c in result.comparisons if _key(c) == _key(facts)]
        if not base_of(facts.rung, facts.source) or (facts.rung == ONNX_FP32 and not steps):
            graded.append(_alone(facts, result, sla))
        made = {step.against for step in steps}
        for name in base_of(facts.rung, facts.source):
            if name not in made and name != PYTORCH:
                graded.append(_missing(facts, name, result))
        for step in steps:
            graded.append(_step(step, facts, result, sla))
            graded += [_output_row(step, output) for output in step.outputs]
    return tuple(graded)


def _key(of: RungFacts | Comparison) -> tuple[str, str | None, str | None]:
    return of.rung, of.target, of.source


def _alone(facts: RungFacts, result: JudgeResult, sla: SLA) -> Graded:
    """The bottom rung: nothing to compare with, but it can be broken by itself."""
    gate = broken(facts, None) or doubts(facts, result, sla.max_drop)
    if gate is None:
        gate = Gate(gate=NONE, code="ladder.baseline", reason="the baseline")
    row = _row(facts, None, result, gate, None)
    return Graded(row=row, code=gate.code, value_ci95=facts.value_ci95)


def _missing(facts: RungFacts, name: str, result: JudgeResult) -> Graded:
    """A rung whose reference did not run: whatever it gave is not proven."""
    gate = broken(facts, None)
    if gate is None:
        text = f"nothing to compare with: there is no run of {name}"
        gate = Gate(gate=UNPROVEN, code="ladder.reference", reason=text)
    row = _row(facts, None, result, gate, None) | {"against": name}
    return Graded(row=row, code=gate.code, value_ci95=facts.value_ci95)


def _step(step: Comparison, facts: RungFacts, result: JudgeResult, sla: SLA) -> Graded:
    base = rung_facts(result, step.against, step.source)
    gate = broken(facts, base, step)
    limit = sla.device_drop if step.against == ONNX_INT8 else sla.max_drop
    if gate is None and base is not None and (below := broken(base, None)) is not None:
        text = f"nothing to compare with: {step.against} itself is broken: {below.reason}"
        gate = Gate(gate=UNPROVEN, code="ladder.reference", reason=text)
    if gate is None and facts.rung == ONNX_FP32:
        gate = doubts(facts, result, sla.max_drop)
    if gate is None:
        gate = _judged(step, facts, result, sla)
    row = _row(facts, step, result, gate, limit)
    return Graded(row=row, code=gate.code, value_ci95=facts.value_ci95)


def _judged(step: Comparison, facts: RungFacts, result: JudgeResult, sla: SLA) -> Gate:
    """The gate of a step whose numbers are sound."""
    if step.rung in (ONNX_FP32, DEVICE_FLOAT):
        gate = float_step(step, facts, result)
    elif step.against == ONNX_FP32 and equal(step.outputs):
        text = "its outputs are those of the float model: what ran is not INT8"
        gate = Gate(gate=FAIL, code="ladder.not-int8", reason=text)
    else:
        gate = int8_equality(step, result)
    gate = gate or _doubted(step)
    if gate is not None:
        return gate
    limit = sla.device_drop if step.against == ONNX_INT8 else sla.max_drop
    if step.paired is None:
        return agreement_gate(step, sla.accept_agreement)
    drop = drop_gate(step.paired, limit if limit is not None else 0.0, step, facts.unit)
    branch, fall = branches(step), class_gate(step, sla)
    if branch is not None and drop.gate in (PASS, branch.gate):
        drop = branch
    # A class tells more than a mean that is merely open, and less than one that failed.
    return fall if fall is not None and drop.gate in (PASS, UNPROVEN) else drop


def _doubted(step: Comparison) -> Gate | None:
    """What the task itself found between two rungs."""
    return next((gate_of(d) for d in sorted(step.doubts, key=rank) if d.gate != NOTE), None)


def agreement_gate(step: Comparison, accepted: float | None) -> Gate:
    """Without labels: what agreement shows, and whether the user takes it for an answer."""
    if step.agreed < 0:
        text = "no labels and no class scores: likeness of outputs proves no accuracy"
        return Gate(gate=UNPROVEN, code="accuracy.no-labels", reason=text)
    low, high = (100 * x for x in clopper_pearson(step.agreed, step.n))
    share = (
        f"{100 * step.agreed / step.n:.2f} % of {step.n} samples keep their class against "
        f"{step.against} (95 % interval {low:.2f} to {high:.2f})"
    )
    if accepted is None:
        text = f"no labels: {share}, which proves sameness, not accuracy"
        return Gate(gate=UNPROVEN, code="accuracy.no-labels", reason=text)
    text = f"agreement accepted instead of labels: {share}; {accepted:g} % is asked"
    gate = PASS if low >= accepted else FAIL if high < accepted else UNPROVEN
    return Gate(gate=gate, code="accuracy.agreement", reason=text)


def drop_gate(drop: Paired, limit: float, step: Comparison, unit: str) -> Gate:
    """Non-inferiority: the whole 95 % interval of the drop lies at or below the limit."""
    if step.vanished:
        lost = step.vanished[0]
        text = (
            f"loses class {lost.index} against {step.against}: of its {lost.n} cases "
            f"{100 * lost.before:.1f} % were right there, {100 * lost.after:.1f} % are here"
            + (f"; {len(step.vanished)} classes vanished" if len(step.vanished) > 1 else "")
        )
        return Gate(gate=FAIL, code="accuracy.class-vanished", reason=text)
    form = "z.2f" if unit == "points" else ".4g"
    verb = "loses" if drop.drop >= 0 else "gains"
    text = f"{verb} {abs(drop.drop):{form}}{f' {unit}' if unit else ''} against {step.against}"
    if drop.ci95 is None:
        text = f"{text}, without an interval: {drop.reason}"
        return Gate(gate=UNPROVEN, code="accuracy.too-little", reason=text)
    low, high = drop.ci95
    text += (
        f" (95 % interval of the loss {low:{form}} to {high:{form}}, {drop.n} {drop.unit}); "
        f"the limit is {limit:{form}}"
    )
    if high <= limit:
        return Gate(gate=PASS, code="accuracy.drop", reason=text)
    if low > limit:
        return Gate(gate=FAIL, code="accuracy.drop", reason=text)
    return Gate(gate=UNPROVEN, code="accuracy.drop", reason=f"{text}; {wanted(drop)}")


def class_gate(step: Comparison, sla: SLA) -> Gate | None:
    """A class that loses more than its limit although the mean may be fine."""
    if not step.fallen or sla.class_drop is None:
        return None
    worst = max(step.fallen, key=lambda f: f.least)
    text = (
        f"loses {100 * (worst.before - worst.after):.1f} points in class {worst.index} alone "
        f"against {step.against}{_cases(worst)}; at least "
        f"{worst.least:.1f} points with allowance for {worst.classes} classes, "
        f"{sla.class_drop:g} are allowed"
    )
    others = [str(f.index) for f in step.fallen if f is not worst]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        text += f"; too much as well in {', '.join(others[:5])}{more}"
    far = worst.least > sla.class_drop + FAR
    if not far:
        text += " (--class-drop says what a single class may lose)"
    return Gate(gate=FAIL if far else UNPROVEN, code="accuracy.class-drop", reason=text)


def _cases(fall: ClassFall) -> str:
    if fall.lost < 0:
        return f": {100 * fall.before:.1f} before, {100 * fall.after:.1f} after, {fall.n} cases"
    return f": {fall.lost} of {fall.n} cases lost, {fall.won} won"


def wanted(drop: Paired) -> str:
    """How much more data would decide, in words."""
    if drop.needed < 0:
        return f"at this drop no number of {drop.unit} would prove it"
    if drop.needed == 0:
        return f"more {drop.unit} are needed"
    sure = f" ({drop.needed_sure:,} for an 80 % chance)" if drop.needed_sure > drop.needed else ""
    return f"about {drop.needed:,} {drop.unit} would be needed{sure}"


def _row(
    facts: RungFacts, step: Comparison | None, result: JudgeResult, gate: Gate, limit: float | None
) -> dict[str, Any]:
    drop = step.paired if step else None
    agreed = 100.0 * step.agreed / step.n if step and step.agreed >= 0 else None
    short = gate.gate == UNPROVEN and drop is not None and drop.needed > 0
    short = short and gate.code not in ("accuracy.class-drop", "ladder.branch", *NOT_THE_PAIRS)
    return rows.ladder(
        facts.rung,
        target=facts.target,
        source=facts.source,
        against=step.against if step else None,
        ran_on=facts.ran_on,
        artifact=facts.artifact,
        metric=facts.metric or "agreement",
        unit=facts.unit,
        higher_is_better=facts.higher_is_better,
        also=dict(facts.also),
        classes=[encode(d) for d in step.worst_classes] if step else [],
        value=facts.value if facts.metric else agreed,
        value_ci95=list(facts.value_ci95) if facts.value_ci95 else None,
        right=list(facts.right),
        drop=drop.drop if drop else None,
        limit=limit if drop else None,
        ci95=list(drop.ci95) if drop and drop.ci95 else None,
        n=facts.n,
        groups=result.groups or None,
        n_needed=drop.needed if short and drop else None,
        agreement=agreed,
        gate=gate.gate,
        reason=gate.reason,
    )


def _output_row(step: Comparison, output: OutputDifference) -> Graded:
    """One output branch by itself: figures to read, no gate (what is broken fails the step)."""
    figures = []
    if output.cosine_mean is not None:
        figures.append(f"mean cosine {output.cosine_mean:.6f}")
    if output.max_abs is not None:
        figures.append(f"largest difference {output.max_abs:.3g}")
    if output.sqnr_db is not None:
        figures.append(f"signal to quantisation noise {output.sqnr_db:.1f} dB")
    if output.worst >= 0 and not output.identical:
        figures.append(f"worst at sample {output.worst}")
    text = ", ".join(figures) or "no sample could be compared"
    row = rows.ladder(
        step.rung,
        target=step.target,
        source=step.source,
        against=step.against,
        metric="cosine",
        unit="",
        value=output.cosine_min,
        n=output.compared,
        gate=NONE,
        reason=f"output {output.output!r}: {text}",
    )
    return Graded(row=row, code="ladder.output")
