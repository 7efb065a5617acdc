"""From the judge's numbers to the rows of the ladder, each with a gate and a sentence.

Pure functions: the same numbers give the same rows. A gate passes only on evidence: a figure that
is missing, not finite or not precise enough is ``fail`` or ``not proven``, never ``pass``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.codec import record
from seatrial.options import SLA
from seatrial.report import rows
from seatrial.verdict.proportions import clopper_pearson
from seatrial.verdict.stats import Paired

from .health import FAIL, NONE, PASS, UNPROVEN, Gate, broken, doubts
from .records import (
    DEVICE_FLOAT,
    DEVICE_INT8,
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
    Comparison,
    JudgeResult,
    OutputDifference,
    RungFacts,
    base_of,
)

#: Outputs this close are the same computation. Measured on six models (residual, depthwise, fire
#: modules, transformer): two FP32 runtimes, or graph optimisation off and on, are 118 to 137 dB
#: apart, BF16 25 to 48, INT8 10 to 32, INT8 weights with 16-bit activations 18 to 40.
EQUAL_DB = 80.0

#: A measured floor counts down to here (a lower precision is below it) and within this margin.
FLOOR_DB, FLOOR_MARGIN_DB = 60.0, 6.0

#: An output that no metric reads must follow this share of the reference's variance. INT8 on the
#: models above follows 90 % or more (10 dB); noise of half the signal's power is no answer.
FOLLOWS = 0.5


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
            graded.append(_alone(facts, result))
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


def _facts(result: JudgeResult, rung: str, source: str | None = None) -> RungFacts | None:
    for facts in result.rungs:
        if facts.rung == rung and (rung != ONNX_INT8 or facts.source == source):
            return facts
    return None


def _alone(facts: RungFacts, result: JudgeResult) -> Graded:
    """The bottom rung: nothing to compare with, but it can be broken by itself."""
    gate = broken(facts, None) or doubts(facts, result)
    if gate is None:
        gate = Gate(gate=NONE, code="ladder.baseline", reason="the baseline")
    row = _row(facts, None, result, gate, None)
    return Graded(row=row, code=gate.code, value_ci95=facts.value_ci95)


def _missing(facts: RungFacts, name: str, result: JudgeResult) -> Graded:
    """A rung whose reference did not run: whatever it gave is not proven."""
    gate = broken(facts, None)
    if gate is None:
        text = f"nothing to compare with: {name} did not run"
        gate = Gate(gate=UNPROVEN, code="ladder.reference", reason=text)
    row = _row(facts, None, result, gate, None) | {"against": name}
    return Graded(row=row, code=gate.code)


def _step(step: Comparison, facts: RungFacts, result: JudgeResult, sla: SLA) -> Graded:
    base = _facts(result, step.against, step.source)
    gate = broken(facts, base, step)
    limit = sla.device_drop if step.against == ONNX_INT8 else sla.max_drop
    if gate is None and base is not None and (below := broken(base, None)) is not None:
        text = f"nothing to compare with: {step.against} itself is broken: {below.reason}"
        gate = Gate(gate=UNPROVEN, code="ladder.reference", reason=text)
    if gate is None and facts.rung == ONNX_FP32:
        gate = doubts(facts, result)
    if gate is None:
        gate = _judged(step, facts, result, sla)
    row = _row(facts, step, result, gate, limit)
    return Graded(row=row, code=gate.code, value_ci95=facts.value_ci95)


def _judged(step: Comparison, facts: RungFacts, result: JudgeResult, sla: SLA) -> Gate:
    """The gate of a step whose numbers are sound."""
    if step.rung in (ONNX_FP32, DEVICE_FLOAT):
        gate = _float_step(step, facts, result)
    elif step.against == ONNX_FP32 and equal(step.outputs):
        text = "its outputs are those of the float model: what ran is not INT8"
        gate = Gate(gate=FAIL, code="ladder.not-int8", reason=text)
    else:
        gate = _int8_equality(step, result)
    if gate is not None:
        return gate
    limit = sla.device_drop if step.against == ONNX_INT8 else sla.max_drop
    if step.paired is None:
        return agreement_gate(step, sla.accept_agreement)
    drop = drop_gate(step.paired, limit if limit is not None else 0.0, step, facts.unit)
    branch = _branches(step)
    return branch if branch is not None and drop.gate in (PASS, branch.gate) else drop


def _branches(step: Comparison) -> Gate | None:
    """Output branches that the metric does not read: do they follow the float model at all?"""
    known = [o for o in step.outputs if o.output in step.unscored and o.explained is not None]
    worst = min(known, key=lambda o: o.explained or 0.0, default=None)
    if worst is None or worst.explained is None or worst.explained >= FOLLOWS:
        return None
    share = max(0.0, worst.explained)
    text = (
        f"output {worst.output!r}, which the metric does not read, follows {share:.0%} of what "
        f"varies in {step.against}"
    )
    if worst.explained <= 0:
        text += ": its mean would do as well"
        return Gate(gate=FAIL, code="ladder.branch", reason=text)
    text += f"; less than {FOLLOWS:.0%} shows too little of that branch"
    return Gate(gate=UNPROVEN, code="ladder.branch", reason=text)


def equal(outputs: Sequence[OutputDifference]) -> bool:
    """Whether all float outputs are numerically the same computation's."""
    floats = [o for o in outputs if o.floating]
    return bool(floats) and all(_same(o) for o in floats)


def _same(output: OutputDifference) -> bool:
    return output.identical or (output.sqnr_db is not None and output.sqnr_db >= EQUAL_DB)


def _float_step(step: Comparison, facts: RungFacts, result: JudgeResult) -> Gate | None:
    """Float against float: equal within rounding, or judged by the drop if a precision is lower."""
    beyond = _beyond(step, ())
    if beyond and (step.against == PYTORCH or facts.precision in ("", "FP32")):
        return Gate(gate=FAIL, code="ladder.noise", reason=beyond)
    if equal(step.outputs):
        apart = max(o.max_abs or 0.0 for o in step.outputs if o.floating)
        text = f"equal within float rounding (largest difference {apart:.1e})"
        return Gate(gate=PASS, code="ladder.equal", reason=text)
    if step.against != PYTORCH and facts.precision != "FP32":
        return None
    if (floor := _within_floor(step, result)) is not None:
        return floor
    worst = min((o for o in step.outputs if not _same(o)), key=lambda o: o.sqnr_db or 0.0)
    size = "has no signal to compare" if worst.sqnr_db is None else f"{worst.sqnr_db:.0f} dB"
    text = (
        f"output {worst.output!r} differs by more than float rounding ({size}; two FP32 runs "
        f"reach {EQUAL_DB:.0f} dB or more): it is another computation, or a lower precision ran"
    )
    return Gate(gate=FAIL, code="ladder.not-equal", reason=text)


def _within_floor(step: Comparison, result: JudgeResult) -> Gate | None:
    """A net so sensitive that its own reference moves as much in ways that must not matter."""
    base = _facts(result, step.against)
    known = [f for f in (base.noise if base else ()) if f.sqnr_db is not None]
    loudest = min(known, key=lambda f: f.sqnr_db or 0.0, default=None)
    if loudest is None or loudest.sqnr_db is None or loudest.sqnr_db < FLOOR_DB:
        return None
    apart = [o.sqnr_db or 0.0 for o in step.outputs if o.floating and not o.identical]
    if not apart or min(apart) < loudest.sqnr_db - FLOOR_MARGIN_DB:
        return None
    text = (
        f"equal within the noise floor: {min(apart):.0f} dB from {step.against}, which itself "
        f"moves to {loudest.sqnr_db:.0f} dB with {loudest.what}"
    )
    return Gate(gate=PASS, code="ladder.equal", reason=text)


def _int8_equality(step: Comparison, result: JudgeResult) -> Gate | None:
    """A device's INT8 against the same Q/DQ on the reference: more than rounding apart?

    Two INT8 kernels may round differently, so some classes flip. They may not flip more than the
    noise floor and more than quantisation itself did: then another model runs.
    """
    if step.rung != DEVICE_INT8 or step.against != ONNX_INT8:
        return None
    quantised = [
        c.n - c.agreed
        for c in result.comparisons
        if c.rung == ONNX_INT8 and c.source == step.source and c.agreed >= 0
    ]
    beyond = _beyond(step, quantised)
    return Gate(gate=FAIL, code="ladder.noise", reason=beyond) if beyond else None


def _beyond(step: Comparison, allowed: Sequence[int]) -> str:
    """Why a step disagrees by more than the noise floor (and the other counts allowed), or ``""``.

    Shares are compared by their exact 95 % intervals. Without a measured floor there is no claim.
    """
    floors = [*allowed, *([step.n - step.noise_agreed] if step.noise_agreed >= 0 else [])]
    if step.agreed < 0 or not floors:
        return ""
    apart, floor = step.n - step.agreed, max(floors)
    if clopper_pearson(apart, step.n)[0] <= clopper_pearson(floor, step.n)[1]:
        return ""
    return (
        f"{apart} of {step.n} samples change class against {step.against}; "
        f"the noise floor is {floor}: this step is not the same computation"
    )


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
            f"class {lost.index} vanished: {lost.right_before} of {lost.n} were right, "
            f"{lost.right_after} are left"
            + (f"; {len(step.vanished)} classes vanished" if len(step.vanished) > 1 else "")
        )
        return Gate(gate=FAIL, code="accuracy.class-vanished", reason=text)
    form = ".2f" if unit == "points" else ".4g"
    verb = "loses" if drop.drop >= 0 else "gains"
    text = f"{verb} {abs(drop.drop):{form}} {unit} against {step.against}"
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
    return rows.ladder(
        facts.rung,
        target=facts.target,
        source=facts.source,
        against=step.against if step else None,
        ran_on=facts.ran_on,
        artifact=facts.artifact,
        metric=facts.metric or "agreement",
        unit=facts.unit,
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
