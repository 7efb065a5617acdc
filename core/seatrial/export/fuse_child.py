"""Several nodes that are one operator of the standard, put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seatrial.export.plain_child import Refused
from seatrial.export.recipes import FUSED


def fuse(model: Any, wanted: Sequence[str]) -> Any:
    """Replace what several nodes compute by one operator.

    Raises:
        Refused: nothing of the kind is there, or the opset is too old for the operator.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common
    from onnxscript import rewriter

    held = ir.serde.deserialize_model(model)
    opset = held.opset_imports.get("", 0)
    common.ShapeInferencePass()(held)
    before = _count(held, wanted)
    for op in wanted:
        if op not in FUSED:
            raise Refused(f"there is no recipe that gives {op}")
        if opset < FUSED[op]:
            raise Refused(
                f"{op} needs opset {FUSED[op]}, the model has {opset}: --recipe opset:N first"
            )
        for rules in _rules(op):
            held = rewriter.rewrite(held, rules)
    if _count(held, wanted) == before:
        raise Refused(f"nothing in the model is a written-out {', '.join(wanted)}")
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(held)
    return ir.serde.serialize_model(held)


def _count(model: Any, wanted: Sequence[str]) -> int:
    return sum(n.op_type in wanted for n in model.graph.all_nodes())


def _rules(op: str) -> list[Any]:
    """Sets of rules, one after the other."""
    from onnxscript.rewriter import pattern
    from onnxscript.rewriter.rules import common
    from onnxscript.rewriter.rules.fusion import _layer_norm

    if op == "LayerNormalization":
        return [_layer_norm.layer_normalization_ruleset]
    if op == "GroupNormalization":
        rule = pattern.RewriteRule(_group_pattern, _group_written, _group_check)
        return [pattern.RewriteRuleSet([rule], commute=True)]
    limits = pattern.RewriteRuleSet([common.min_max_rule, common.max_min_rule])
    sixth = [
        pattern.RewriteRule(p, lambda op, x, **_: op.HardSwish(x), _swish_check)
        for p in (_swish_inner, _swish_outer, _swish_last)
    ]
    return [limits, pattern.RewriteRuleSet(sixth, commute=True), common.fuse_hardswish_rules()]


def _swish_inner(  # noqa: PLR0917  # the matcher passes by position
    op: Any, x: Any, three: Any, low: Any, high: Any, sixth: Any
) -> Any:
    return x * (op.Clip(x + three, low, high) * sixth)


def _swish_outer(  # noqa: PLR0917  # the matcher passes by position
    op: Any, x: Any, three: Any, low: Any, high: Any, sixth: Any
) -> Any:
    return (x * op.Clip(x + three, low, high)) * sixth


def _swish_last(  # noqa: PLR0917  # the matcher passes by position
    op: Any, x: Any, three: Any, low: Any, high: Any, sixth: Any
) -> Any:
    return (x * sixth) * op.Clip(x + three, low, high)


def _swish_check(context: Any, three: Any, low: Any, high: Any, sixth: Any, **_: Any) -> bool:
    told = ((three, 3), (low, 0), (high, 6), (sixth, 1 / 6))
    return all(_is(value, number) for value, number in told)


def _is(value: Any, number: float) -> bool:
    held = _array(value)
    return held is not None and held.size == 1 and bool(np.allclose(held, number, rtol=1e-4))


def _array(value: Any) -> Any:
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _group_pattern(  # noqa: PLR0917  # the matcher passes by position
    op: Any, x: Any, split: Any, ones: Any, zeros: Any, shape: Any, scale: Any, bias: Any
) -> Any:
    normal = op.InstanceNormalization(
        op.Reshape(x, split), ones, zeros, _allow_other_attributes=True, _outputs=["normal"]
    )
    return op.Reshape(normal, shape, _outputs=["back"]) * scale + bias


def _group_check(
    context: Any,
    *,
    x: Any,
    split: Any,
    ones: Any,
    zeros: Any,
    scale: Any,
    bias: Any,
    back: Any,
    **_: Any,
) -> bool:
    """Whether the groups are the channels' and the factors are one per channel.

    That the second Reshape gives the input's shape back is read off the inferred shapes.
    """
    held = [_array(v) for v in (split, ones, zeros, scale, bias)]
    if any(h is None for h in held) or x.shape is None or back.shape is None:
        return False
    parts, one, zero, factor, shift = held
    channels = x.shape[1] if len(x.shape) > 2 else None
    if not isinstance(channels, int) or len(parts) != 3 or parts[1] != one.size:
        return False
    wide = tuple([channels] + [1] * (len(x.shape) - 2))
    flat = [np.reshape(h, h.shape[1:]) if h.ndim == len(x.shape) else h for h in (factor, shift)]
    return (
        parts[0] in (0, x.shape[0])
        and bool(np.all(one == 1) and np.all(zero == 0))
        and _same(x.shape, back.shape)
        and all(f.shape == wide for f in flat)
    )


def _same(one: Any, two: Any) -> bool:
    return len(one) == len(two) and all(a == b for a, b in zip(one[1:], two[1:], strict=True))


def _group_written(
    op: Any, x: Any, *, ones: Any, scale: Any, bias: Any, normal: Any, **_: Any
) -> Any:
    import onnx_ir as ir

    node = normal.producer()
    epsilon = node.attributes["epsilon"].value if "epsilon" in node.attributes else 1e-5
    factors = [op.Constant(value=ir.tensor(_array(v).reshape(-1))) for v in (scale, bias)]
    return op.GroupNormalization(x, *factors, num_groups=_array(ones).size, epsilon=epsilon)
