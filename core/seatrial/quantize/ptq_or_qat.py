"""PTQ or QAT? From the graph and from what was measured, each with its evidence. Pure.

The rule of thumb reads the graph. The measurements are the bake-off's (divergence and agreement on
held-out calibration samples), the ladder's (the drop on the test set, with its interval) and the
search for a model that meets the limit. Where they contradict the rule, they win, and the text says
so. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seatrial.intake.facts import ModelFacts

from .recipe import KL_FINE
from .sensitive import NEARLY_ALWAYS, OFTEN, blocks

PTQ, QAT, MEASURE, NEITHER = "ptq", "qat", "measure", "neither"
PTQ_ENOUGH = "ptq"

#: Mean divergence to the float model from which on the drop is not lost in noise, nats: models of
#: one real net lost 1 to 3 points of top-1 between 0.05 and 0.15 and up to 1 below.
KL_FAR = 0.05
#: Labels shown of each kind of block.
SHOWN = 3


@dataclass(frozen=True)
class Evidence:
    """One thing that speaks for or against training.

    Attributes:
        code: for programs.
        speaks: ``ptq``, ``qat`` or ``neither``.
        kind: ``graph`` or ``measured``.
        text: one sentence.
        nodes: the first labels.
    """

    code: str
    speaks: str
    kind: str
    text: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What a run knows of the best model without training.

    Attributes:
        name: the candidate.
        kl: mean divergence to the float model on held-out samples, nats.
        agreement: same top answer there, percent.
        n: held-out samples.
        drop: on the test set, points; ``None``: not measured with labels.
        low: lower end of the drop's 95 % interval.
        high: upper end.
        limit: highest allowed drop, points.
        test_n: test samples.
        trained: it is a trained model that was judged, not one without training.
        recovered: the search for a model that meets the limit: met, not met, or not run.
    """

    name: str = ""
    kl: float | None = None
    agreement: float | None = None
    n: int = 0
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    test_n: int = 0
    trained: bool = False
    recovered: bool | None = None


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        says: ``ptq``, ``qat``, ``measure`` or ``neither``.
        rule: what the rule of thumb says of the graph.
        contradicts: the measurements overrule it.
        text: one or two sentences.
        evidence: measurements first.
    """

    says: str
    rule: str
    contradicts: bool
    text: str
    evidence: tuple[Evidence, ...] = field(default=())


def advise(facts: ModelFacts, measured: Measured, *, gain: bool = True) -> Advice:
    """Weigh graph and measurements.

    Args:
        facts: the float model.
        measured: what the run found.
        gain: INT8 can gain anything at all.
    """
    rule, seen = _graph(facts)
    if not gain:
        return Advice(NEITHER, rule, False, "INT8 gains nothing here: neither PTQ nor QAT", ())
    numbers = _numbers(measured)
    loud = [e for e in numbers if e.speaks != NEITHER]
    # The test set weighs more than held-out calibration samples; it comes first in the list.
    says = loud[0].speaks if loud else (PTQ if rule == PTQ_ENOUGH else MEASURE)
    ruled = PTQ if rule == PTQ_ENOUGH else QAT
    contradicts = bool(loud) and says != ruled
    return Advice(says, rule, contradicts, _text(says, rule, loud, contradicts), (*numbers, *seen))


def _graph(facts: ModelFacts) -> tuple[str, list[Evidence]]:
    found = blocks(facts)
    evidence = [
        Evidence(
            f"graph.{b.kind}",
            QAT,
            "graph",
            f"{len(b.nodes)} x {b.title}: the rule of thumb says {b.rule}",
            b.nodes[:SHOWN],
        )
        for b in found
    ]
    if not found:
        text = "none of the blocks that PTQ is known to hurt: the rule of thumb says PTQ is enough"
        return PTQ_ENOUGH, [Evidence("graph.plain", PTQ, "graph", text)]
    rules = {b.rule for b in found}
    return (NEARLY_ALWAYS if NEARLY_ALWAYS in rules else OFTEN), evidence


def _numbers(m: Measured) -> list[Evidence]:
    """What was measured, the weightiest first."""
    found = []
    if m.drop is not None and m.low is not None and m.high is not None and not m.trained:
        found.append(_drop(m))
    if m.recovered is not None:
        text = "the search for a model that meets the limit without training "
        text += "found one" if m.recovered else "found none"
        found.append(Evidence("measured.recovery", PTQ if m.recovered else QAT, "measured", text))
    if m.kl is not None:
        found.append(_divergence(m))
    elif m.agreement is not None:
        text = f"{m.name} agrees with float on {m.agreement:.1f} % of {m.n} held-out samples"
        found.append(Evidence("measured.agreement", NEITHER, "measured", text))
    return found


def _drop(m: Measured) -> Evidence:
    limit = m.limit if m.limit is not None else 1.0
    said = f"without training the drop on {m.test_n} test samples is {m.drop:.2f} points"
    said += f" [{m.low:.2f}, {m.high:.2f}], limit {limit:g}"
    if m.high is not None and m.high <= limit:
        return Evidence("measured.drop", PTQ, "measured", f"{said}: within it")
    if m.low is not None and m.low > limit:
        return Evidence("measured.drop", QAT, "measured", f"{said}: beyond it")
    return Evidence("measured.drop", NEITHER, "measured", f"{said}: too few samples to decide")


def _divergence(m: Measured) -> Evidence:
    agree = "" if m.agreement is None else f", {m.agreement:.1f} % agree"
    text = f"{m.name} is {m.kl:.2g} nats from float on {m.n} held-out samples{agree}"
    assert m.kl is not None
    if m.kl <= KL_FINE:
        return Evidence(
            "measured.kl", PTQ, "measured", f"{text}: close enough for a drop to be lost in noise"
        )
    if m.kl > KL_FAR:
        return Evidence("measured.kl", QAT, "measured", f"{text}: far enough to cost points")
    return Evidence("measured.kl", NEITHER, "measured", f"{text}: neither close nor far")


def _text(says: str, rule: str, loud: Sequence[Evidence], contradicts: bool) -> str:
    if says == MEASURE:
        return f"The rule of thumb says {rule} for such a graph; nothing measured here decides it."
    if says == PTQ:
        head = "PTQ is enough"
        tail = f": the rule of thumb says {rule} for such a graph, the numbers say otherwise"
    else:
        head = "Train with quantisation in the loop (seatrial qat)"
        tail = ": the rule of thumb says PTQ for such a graph, the numbers say otherwise"
    if contradicts:
        return f"{head}{tail}."
    why = " by the numbers" if loud else " by the rule of thumb; nothing was measured"
    return f"{head}{why}."
