"""What makes a rung worthless whatever its metric says, and a baseline not worth the name."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.tasks import base as tasks
from seatrial.verdict.proportions import clopper_pearson

from .records import ANOTHERS, Baseline, Comparison, JudgeResult, RungFacts

PASS, NONE = "pass", "not applicable"
FAIL, UNPROVEN, NOTE = tasks.FAIL, tasks.UNPROVEN, tasks.NOTE

#: Runs of one model change less than this share of their classes: 0 of 64 on the nets at hand.
UNSTEADY = 0.01

#: With fewer samples one class for all of them may be honest.
LEAST_FOR_CONSTANT = 10

#: A baseline this many standard deviations above guessing is one.
SIGMAS = 2.0

#: Cohen's kappa below this is "slight" (Landis and Koch, Biometrics 33 (1977) 159-174). A baseline
#: whose upper limit is no more is at chance level if it cannot be told from guessing, and proves
#: nothing if it can; above it, or with few samples, one that cannot be told merely cannot.
KAPPA = 0.2
LEAST_FOR_CHANCE = 30


@record
class Gate:
    """The outcome of one rule: ``code`` is its stable name, ``reason`` one sentence."""

    gate: str
    code: str
    reason: str


def gate_of(doubt: tasks.Doubt) -> Gate:
    """A task's own finding as the outcome of a rule."""
    return Gate(gate=doubt.gate, code=doubt.code, reason=doubt.text)


def rank(found: tasks.Doubt | Gate) -> int:
    """Failures first, notes last."""
    return (FAIL, UNPROVEN, NOTE).index(found.gate)


def broken(facts: RungFacts, base: RungFacts | None, step: Comparison | None = None) -> Gate | None:
    """Why a rung's outputs are no answer at all, or ``None``.

    Args:
        facts: the rung.
        base: what it is judged against: an output that is constant there may be so here.
        step: their comparison, for shapes and missing outputs.
    """
    for code, text in (
        ("ladder.nonfinite", _nonfinite(facts)),
        ("ladder.shape", _misshapen(step)),
        ("ladder.constant", _constant(facts, base)),
    ):
        if text:
            return Gate(gate=FAIL, code=code, reason=text)
    return None


def _nonfinite(facts: RungFacts) -> str:
    if bad := [o for o in facts.outputs if o.nonfinite]:
        first = max(bad, key=lambda o: o.samples)
        return (
            f"output {first.output!r} holds {first.nonfinite:,} NaN or infinite numbers "
            f"in {first.samples} of {facts.n} samples"
        )
    if facts.bad_scores:
        return f"the metric is not finite for {facts.bad_scores} of {facts.n} samples"
    return ""


def _misshapen(step: Comparison | None) -> str:
    if step is None:
        return ""
    if step.unmatched:
        return f"only one of it and {step.against} has the output {step.unmatched[0]!r}"
    for output in step.outputs:
        if output.misshapen:
            return (
                f"output {output.output!r} has another shape than in {step.against} "
                f"for {output.misshapen} of {step.n} samples"
            )
    return ""


def _constant(facts: RungFacts, base: RungFacts | None) -> str:
    same = [o.output for o in facts.outputs if o.constant]
    if same and len(same) == len(facts.outputs):
        return f"all {facts.n} samples give the same output: it is constant, whatever the input"
    moving = {o.output for o in base.outputs if not o.constant} if base else set()
    if stuck := [name for name in same if name in moving]:
        return (
            f"output {stuck[0]!r} is the same for all {facts.n} samples, which it is not in "
            f"{base.rung if base else ''}"
        )
    varied = base is not None and base.classes_given > 1
    if facts.classes_given == 1 and varied and facts.n >= LEAST_FOR_CONSTANT:
        return f"all {facts.n} samples get the same class"
    return ""


def doubts(facts: RungFacts, result: JudgeResult, limit: float | None = None) -> Gate | None:
    """Why the float baseline cannot serve as one, or not for all of its outputs.

    Args:
        facts: the baseline.
        result: with what the judge found of it.
        limit: of the drop against it, in the metric's unit.
    """
    told = [gate_of(d) for d in result.doubts if d.gate != NOTE]
    asked = [_unfit(facts, result), _unsteady(facts), *told, _blind(facts, result, limit)]
    found = min((gate for gate in asked if gate is not None), key=rank, default=None)
    stuck = [o.output for o in facts.outputs if o.constant]
    if found is None and stuck and facts.n >= LEAST_FOR_CONSTANT:
        text = (
            f"output {stuck[0]!r} is constant, the same for all {facts.n} samples: nothing shows "
            "that INT8 keeps it; if it is meant to be constant, take it out of the model's outputs"
        )
        return Gate(gate=UNPROVEN, code="baseline.constant-output", reason=text)
    return found


def _unfit(facts: RungFacts, result: JudgeResult) -> Gate | None:
    """Labels shifted, or no better than guessing."""
    baseline = result.baseline
    if baseline is None or baseline.rung != facts.rung or facts.value is None:
        return None
    if baseline.shift:
        text = (
            f"labels are off by one: {facts.value:.1f} % right as given, {baseline.shifted:.1f} % "
            f"with {baseline.shift:+d} (label_offset = {baseline.shift:+d}?)"
        )
        return Gate(gate=FAIL, code="baseline.labels-shifted", reason=text)
    if baseline.swapped:
        a, b, n_a, as_b, n_b, as_a = baseline.swapped
        text = (
            f"the labels {a} and {b} are the wrong way round, or the model's classes are: it "
            f"answers {b} for {as_b} of the {n_a} samples labelled {a}, and {a} for {as_a} of the "
            f"{n_b} labelled {b}"
        )
        return Gate(gate=UNPROVEN, code="baseline.labels-swapped", reason=text)
    if baseline.classes == 1:
        text = "all test samples have the same label: a constant answer would score as well"
        return Gate(gate=UNPROVEN, code="baseline.one-class", reason=text)
    return _guessing(facts, result, baseline) or _untested(facts, baseline)


def _untested(facts: RungFacts, baseline: Baseline) -> Gate | None:
    if baseline.untested < 0:
        return None
    text = (
        f"no sample of the test set is of class {baseline.untested}, which the float model answers "
        f"for {baseline.answered} of {facts.n}: nothing shows that INT8 keeps that class; add "
        "samples of it (or promise nothing of single classes: --class-drop 100)"
    )
    return Gate(gate=UNPROVEN, code="baseline.untested-class", reason=text)


def _unsteady(facts: RungFacts) -> Gate | None:
    """A model that answers otherwise when it is run again: no comparison of two runs holds."""
    told = [f for f in facts.noise if f.agreed >= 0]
    worst = max(told, key=lambda f: (f.n - f.agreed) / max(f.n, 1), default=None)
    if worst is None or clopper_pearson(worst.n - worst.agreed, worst.n)[0] <= UNSTEADY:
        return None
    text = (
        f"run again ({worst.what}), the model itself gives {worst.n - worst.agreed} of {worst.n} "
        "samples another class: random numbers, a state kept between calls, or samples of a batch "
        "that touch each other; no two runs of it can be compared"
    )
    return Gate(gate=UNPROVEN, code="baseline.unsteady", reason=text)


def _guessing(facts: RungFacts, result: JudgeResult, baseline: Baseline) -> Gate | None:
    """At chance level, or hardly above it and nobody said that this is all there is."""
    known = baseline.known and not any(d.code == "baseline.expected" for d in result.doubts)
    above = baseline.excess >= SIGMAS
    if above and (baseline.kappa_high >= KAPPA or known):
        return None
    figures = (
        f"{facts.value:.1f} % of {facts.n} are right, guessing with its own class shares "
        f"gives {baseline.expected:.1f} %"
    )
    if above:
        text = (
            f"the float model is hardly better than guessing: {figures}; a drop from there says "
            "little: see labels, preprocessing and class order, or say what it reaches in training "
            "([task] expected)"
        )
        return Gate(gate=UNPROVEN, code="baseline.chance", reason=text)
    if facts.n < LEAST_FOR_CHANCE or baseline.kappa_high >= KAPPA:
        text = f"the float model cannot be told from guessing: {figures}"
        return Gate(gate=UNPROVEN, code="baseline.chance", reason=text)
    text = (
        f"the float model is at chance level: {figures}: labels, preprocessing or class order "
        "do not fit the model"
    )
    return Gate(gate=FAIL, code="baseline.chance", reason=text)


def _blind(facts: RungFacts, result: JudgeResult, limit: float | None) -> Gate | None:
    """Whether an answer that never looks at the input could meet the limit as well."""
    blind = result.blind
    if blind is None or facts.value is None:
        return None
    unit = f" {facts.unit}" if facts.unit else ""
    text = (
        f"{facts.metric} is {facts.value:.4g}{unit}, and {blind.value:.4g}{unit} for the answer "
        f"that is {blind.answer}, whatever the input"
    )
    if blind.least is None or blind.least <= 0:
        text += ": on these samples the float model is not proven to be better"
        if blind.answer == ANOTHERS:
            text += " (does the metric read the outputs, and is higher_is_better right?)"
        return Gate(gate=UNPROVEN, code="baseline.blind", reason=text)
    if limit is None or limit < blind.least:
        return None
    text += (
        f": it is proven to be {blind.least:.3g}{unit} ahead, so that answer may meet a limit of "
        f"{limit:.4g}{unit} as well"
    )
    return Gate(gate=UNPROVEN, code="baseline.blind", reason=text)
