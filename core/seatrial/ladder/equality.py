"""Is a step of the ladder the same computation, and what a measured noise floor excuses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seatrial.verdict.proportions import clopper_pearson

from .health import FAIL, PASS, UNPROVEN, Gate
from .records import (
    DEVICE_INT8,
    INTEGERS,
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
    Comparison,
    JudgeResult,
    OutputDifference,
    RungFacts,
)

#: Outputs this close are the same computation. Measured on six models (residual, depthwise, fire
#: modules, transformer): two FP32 runtimes, or graph optimisation off and on, are 118 to 137 dB
#: apart, BF16 25 to 48, INT8 10 to 32, INT8 weights with 16-bit activations 18 to 40.
EQUAL_DB = 80.0

#: A measured floor counts down to here (a lower precision is below it) and within this margin.
FLOOR_DB, FLOOR_MARGIN_DB = 60.0, 6.0

#: What rounding may do to an output of 8 bits: two steps on every element, about. Sound runtimes
#: were 24 to 70 dB from the pairs taken literally (61 runs of 14 models on 3 runtimes), and 0.4 dB
#: or more closer to them than these are to float.
ROUNDING_DB = 24.0

#: Codes of a device's INT8 that is not what its Q/DQ model says.
IN_FLOAT = "ladder.in-float"
NOT_THE_PAIRS = ("ladder.noise", IN_FLOAT)

#: An output that no metric reads must follow this share of the reference's variance. INT8 on the
#: models above follows 90 % or more (10 dB); noise of half the signal's power is no answer.
FOLLOWS = 0.5


def rung_facts(result: JudgeResult, rung: str, source: str | None = None) -> RungFacts | None:
    """The facts of a rung; INT8 on the reference by its source."""
    for facts in result.rungs:
        if facts.rung == rung and (rung != ONNX_INT8 or facts.source == source):
            return facts
    return None


def branches(step: Comparison) -> Gate | None:
    """Output branches that the metric does not read: do they follow the float model at all?"""
    known = [o for o in step.outputs if o.output in step.unscored and o.explained is not None]
    worst = min(known, key=lambda o: o.explained or 0.0, default=None)
    if worst is None or worst.explained is None:
        return None
    if worst.explained >= FOLLOWS:
        return _columns(step, known)
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


def _columns(step: Comparison, outputs: Sequence[OutputDifference]) -> Gate | None:
    """A column of records (a score behind coordinates) that its large neighbours hide.

    It may be one that the test set hardly moves, as the score of a class that is never there:
    then nothing is wrong with it, and nothing shows that. So a column by itself is never red.
    """
    known = [o for o in outputs if o.column_explained is not None]
    worst = min(known, key=lambda o: o.column_explained or 0.0, default=None)
    if worst is None or worst.column_explained is None or worst.column_explained >= FOLLOWS:
        return None
    text = (
        f"column {worst.column} of output {worst.output!r}, which the metric does not read, "
        f"follows {max(0.0, worst.column_explained):.0%} of what varies in {step.against} "
        f"(standard deviation {worst.column_std or 0.0:.3g}; all columns together "
        f"{worst.explained or 0.0:.1%}): one scale for columns of different size leaves the "
        "small ones no steps; give it an output of its own or keep it in float"
    )
    return Gate(gate=UNPROVEN, code="ladder.branch", reason=text)


def equal(outputs: Sequence[OutputDifference]) -> bool:
    """Whether all float outputs are numerically the same computation's."""
    floats = [o for o in outputs if o.floating]
    return bool(floats) and all(_same(o) for o in floats)


def _same(output: OutputDifference) -> bool:
    return output.identical or (output.sqnr_db is not None and output.sqnr_db >= EQUAL_DB)


def float_step(step: Comparison, facts: RungFacts, result: JudgeResult) -> Gate | None:
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
    base = rung_facts(result, step.against)
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


def int8_equality(step: Comparison, result: JudgeResult) -> Gate | None:
    """A device's INT8 against the same Q/DQ on the reference: more than rounding apart?

    Two INT8 kernels may round differently, so some classes flip. They may not flip more than they
    do between the reference's own two ways to compute the pairs, and more than quantisation itself
    did: then another model runs. Where neither was measured there is no claim: runs that repeat
    themselves to the bit say nothing of other kernels' rounding.
    """
    if step.rung != DEVICE_INT8 or step.against != ONNX_INT8:
        return None
    quantised = [
        c.n - c.agreed
        for c in result.comparisons
        if c.rung == ONNX_INT8 and c.source == step.source and c.agreed >= 0
    ]
    base = rung_facts(result, step.against, step.source)
    rounding = any(f.what == INTEGERS for f in (base.noise if base else ()))
    beyond = _beyond(step, quantised) if quantised or rounding else ""
    if beyond:
        return Gate(gate=FAIL, code="ladder.noise", reason=beyond)
    if floating := _in_float(step, result):
        return Gate(gate=UNPROVEN, code=IN_FLOAT, reason=floating)
    louder = _louder(step, result)
    return Gate(gate=UNPROVEN, code="ladder.noise", reason=louder) if louder else None


def _in_float(step: Comparison, result: JudgeResult) -> str:
    """Why a device's INT8 is rather the float model than its own Q/DQ model, or ``""``.

    A device that leaves quantisers out is better than the model that it was given: its drop says
    nothing of that model. Sound runtimes were never closer to float than to their pairs, also those
    that compute in float between them (75 outputs of 3 runtimes: by 1 to 132 dB the other way).
    """
    floats = {
        o.output: math.inf if o.identical else o.sqnr_db
        for c in result.comparisons
        if (c.rung, c.target, c.source, c.against)
        == (step.rung, step.target, step.source, ONNX_FP32)
        for o in c.outputs
    }
    told = [
        (floats.get(o.output), o.sqnr_db, o.output)
        for o in step.outputs
        if o.floating and o.sqnr_db is not None and o.sqnr_db < ROUNDING_DB
    ]
    found = [(f, q, name) for f, q, name in told if f is not None and f - q >= FLOOR_MARGIN_DB]
    if not found:
        return ""
    near, far, name = max(found, key=lambda t: t[0] - t[1])
    size = f"{near:.0f} dB" if near < math.inf else "equal"
    return (
        f"output {name!r} is closer to the float model ({size}) than to its own Q/DQ model "
        f"({far:.0f} dB): part of it did not run in INT8, so neither its latency nor its answers "
        "stand for INT8"
    )


def _louder(step: Comparison, result: JudgeResult) -> str:
    """Why a device's INT8 is further from the Q/DQ model than rounding takes it, or ``""``.

    The classes of a test set may hold still while the numbers do not. Two sound ways to compute
    the same pairs differ by less than the pairs themselves differ from float: each is that far
    from float at most, and independent of the other they would be 3 dB further apart.
    """
    quantised = {
        o.output: o.sqnr_db
        for c in result.comparisons
        if (c.rung, c.source, c.against) == (ONNX_INT8, step.source, ONNX_FP32)
        for o in c.outputs
        if o.floating and o.sqnr_db is not None
    }
    told = [
        (o.sqnr_db, quantised[o.output], o.output)
        for o in step.outputs
        if o.floating and o.sqnr_db is not None and o.output in quantised
    ]
    worst = min(told, key=lambda t: t[0] - t[1], default=None)
    if worst is None or worst[0] >= min(worst[1] - FLOOR_MARGIN_DB, ROUNDING_DB):
        return ""
    return (
        f"output {worst[2]!r} is {worst[0]:.0f} dB from {step.against}, which quantisation itself "
        f"left {worst[1]:.0f} dB from float: more than rounding moves, so this step is not the "
        "same computation"
    )


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
