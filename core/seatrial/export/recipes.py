"""Changes of an exported graph that make a target take it; every one is proven on samples.

=====================  ===========================================================================
``opset:N``            convert to opset N, up or down
``static``             fix every free size to what the samples have, then fold what became constant
``fold``               fold constants and remove what nothing reads
``plain:OP,OP``        write operators out in simple ones, with constant sizes: HardSwish and
                       HardSigmoid, GroupNormalization, LayerNormalization, Attention and the
                       fused ``com.microsoft`` attentions
``fuse:OP,OP``         the way back: what is written out becomes HardSwish, GroupNormalization or
                       LayerNormalization
``decompose:OP,OP``    replace operators by the standard's own definition of them (Gelu, Mish ...)
=====================  ===========================================================================

A module's fused attention is no recipe: ``nn.MultiheadAttention``'s fast path is always off while
exporting, and parity is judged against the module with whatever path it takes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.export.parity_records import PASS, ParityRequest, ParityResult
from seatrial.results import Artifact, Fault, Ref

if TYPE_CHECKING:
    from seatrial.export.stage import Stage

#: Operators that ``plain`` writes out.
PLAIN = frozenset(
    (
        *("HardSwish", "HardSigmoid", "GroupNormalization", "LayerNormalization"),
        *("Attention", "MultiHeadAttention"),
    )
)
#: Operators that ``fuse`` gives, with the opset that each needs. GroupNormalization has been there
#: since 18, but with one factor per group; one per channel, as everybody trains, came with 21.
FUSED = {"HardSwish": 14, "LayerNormalization": 17, "GroupNormalization": 21}
#: Operators that the standard itself defines by simpler ones: ``decompose`` replaces them.
DECOMPOSABLE = frozenset(
    (
        *("Celu", "Clip", "Elu", "Gelu", "GroupNormalization"),
        *("HardSigmoid", "HardSwish", "LayerNormalization", "LeakyRelu", "LogSoftmax"),
        *("MeanVarianceNormalization", "Mish", "PRelu", "ReduceL1", "ReduceL2", "ReduceLogSum"),
        *("ReduceLogSumExp", "ReduceSumSquare", "Selu", "Shrink", "Softmax", "Softplus"),
        *("Softsign", "ThresholdedRelu", "Attention", "RMSNormalization", "RotaryEmbedding"),
        *("AffineGrid", "Swish", "CenterCropPad"),
    )
)
#: Operators that are there for shapes that stayed open: fixed shapes and folding remove them.
FOLDING = frozenset(
    ("Shape", "ConstantOfShape", "Range", "Expand", "NonZero", "Loop", "If", "Where", "Gather")
)


def known(op_type: str) -> str:
    """The recipe that may make a target take a model with this operator, or ``""``."""
    if op_type in PLAIN:
        return f"plain:{op_type}"
    if op_type in DECOMPOSABLE:
        return f"decompose:{op_type}"
    return "static" if op_type in FOLDING else ""


_FORM = re.compile(r"opset:\d{1,2}|static|fold|(plain|fuse|decompose):[A-Za-z]\w*(,[A-Za-z]\w*)*")


@record
class RecipeRequest:
    """Ask for a changed graph.

    Attributes:
        recipe: as in the table above.
        shapes: sizes of the inputs, for ``static``.
    """

    model: Ref
    recipe: str
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


@record
class Changed:
    """The changed graph, or why there is none.

    Attributes:
        before: nodes.
        after: nodes.
        opset: of the result, read back.
    """

    artifact: Artifact | None = None
    reason: str = ""
    before: int = 0
    after: int = 0
    opset: int = 0


@record
class Answer:
    """What a target says of a model before and after a recipe.

    Attributes:
        target: whose compiler, or whose table, was asked.
        before: nodes that it refuses.
        after: likewise.
    """

    target: str
    before: int
    after: int


@record
class Applied:
    """One recipe as it went.

    Attributes:
        model: the changed model; ``None``: nothing was changed, ``reason`` says why.
        equal: it gives what the model before it gave, on all samples.
        worst: largest error over scale between the two; ``None``: could not be compared.
        targets: those that refuse something of the model before or after.
    """

    recipe: str
    model: Ref | None
    equal: bool
    reason: str
    worst: float | None = None
    before: int = 0
    after: int = 0
    opset: int = 0
    targets: tuple[Answer, ...] = ()


def check(recipes: tuple[str, ...]) -> tuple[str, ...]:
    """The recipes as typed.

    Raises:
        UserError: one that does not exist.
    """
    for text in recipes:
        if not _FORM.fullmatch(text):
            raise UserError(
                "--recipe",
                f"no recipe {text!r}",
                advice="opset:N, static, fold, plain:OP,OP, fuse:OP,OP or decompose:OP,OP",
            )
    return recipes


def apply(
    stage: Stage,
    model: Ref,
    recipe: str,
    samples: Ref,
    *,
    count: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> Applied:
    """Apply one recipe and prove the result equal on samples; otherwise it is not kept.

    Args:
        stage: the command at work.
        model: the model to change.
        recipe: see the module.
        samples: what both are fed.
        count: how many of them.
        shapes: of the inputs as fed.
    """
    from seatrial.export.pipeline import reference_outputs

    outcome = stage.runner.task(
        "seatrial.export.recipes_child:change",
        RecipeRequest(model=model, recipe=recipe, shapes=shapes),
        limits=stage.limits(timeout_s=600),
    )
    changed: Changed | None = outcome.result
    if changed is None or changed.artifact is None:
        reason = changed.reason if changed else str(outcome.fault and outcome.fault.reason)
        same = changed.before if changed else 0
        return Applied(
            recipe=recipe, model=None, equal=False, reason=reason, before=same, after=same
        )
    new = stage.runner.adopt(outcome, changed.artifact)
    facts: dict[str, Any] = {
        "before": changed.before,
        "after": changed.after,
        "opset": changed.opset,
    }
    indices = tuple(range(count))
    one = reference_outputs(stage, model, samples, indices)
    two = reference_outputs(stage, new, samples, indices)
    for given in (one, two):
        if isinstance(given, Fault):
            return Applied(recipe=recipe, model=None, equal=False, reason=given.reason, **facts)
    request = ParityRequest(torch=one, onnx=two)  # type: ignore[arg-type]  # faults are out
    compared = stage.runner.task("seatrial.export.parity_child:compare", request)
    parity: ParityResult | None = compared.result
    if parity is None:
        reason = compared.fault.reason if compared.fault else "could not be compared"
        return Applied(recipe=recipe, model=None, equal=False, reason=reason, **facts)
    equal = parity.gate == PASS
    bad = next((o.reason for o in parity.outputs if o.gate != PASS), parity.reason)
    return Applied(
        recipe=recipe,
        model=new if equal else None,
        equal=equal,
        reason="" if equal else bad,
        worst=max((o.max_rel for o in parity.outputs if o.max_rel is not None), default=None),
        **facts,
    )
