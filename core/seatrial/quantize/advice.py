"""Said before any time is spent: can INT8 help this model at all? Pure, standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seatrial.intake.facts import ModelFacts, is_tree_ensemble


@dataclass(frozen=True)
class Advice:
    """Whether quantisation is worth trying.

    Attributes:
        gain: False: nothing can be gained, do not start.
        code: for programs: ``tree-ensemble``, ``nothing-to-quantize``, ``already-quantized``,
            ``not-float32`` or ``worthwhile``.
        text: one line.
    """

    gain: bool
    code: str
    text: str


def advise(facts: ModelFacts) -> Advice:
    """Advice from the operators of a model; no measurement is needed for it."""
    if facts.has_qdq:
        return Advice(False, "already-quantized", "the model carries Q/DQ pairs already")
    if is_tree_ensemble(facts):
        text = "decision trees compare and look up: there is no arithmetic to do in INT8"
        return Advice(False, "tree-ensemble", f"{text}, and the model stays the same size")
    if not facts.quantizable:
        inner = sum(n.constant_weights for n in facts.nodes if n.scope and not n.function)
        where = f" outside the bodies of control flow, which hold {inner}" if inner else ""
        text = f"no convolution or matrix product with constant weights{where}"
        text += f" ({_ops(facts.op_types)})"
        return Advice(False, "nothing-to-quantize", f"{text}: size and speed stay as they are")
    floats = {t.dtype for t in facts.inputs} & {"float16", "bfloat16", "float64"}
    if floats and not any(t.dtype == "float32" for t in facts.inputs):
        text = f"the model takes {', '.join(sorted(floats))}: quantise its float32 original"
        return Advice(False, "not-float32", text)
    what = ", ".join(f"{n} {op}" for op, n in facts.quantizable.items())
    return Advice(True, "worthwhile", f"can be quantised: {what}")


def _ops(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{n} {op}" for op, n in most) or "no nodes"
