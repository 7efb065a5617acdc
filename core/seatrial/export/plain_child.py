"""Operators written out in simpler ones that nearly every compiler has, with static shapes.

The standard's own definitions serve any shape, and so read sizes off the graph with Shape, Slice
and Concat. Here the sizes that shape inference knows become constants. Only forms that are right
for every value an input can take are written; what is not known is refused by name, and the caller
proves the result on samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seatrial.export.recipes import PLAIN


class Refused(Exception):
    """The recipe does not apply; the text says why."""


def write_out(model: Any, wanted: Sequence[str]) -> Any:
    """Replace every node of some types by its plain form.

    Args:
        model: the ``ModelProto``.
        wanted: operators, of :data:`seatrial.export.recipes.PLAIN`.

    Raises:
        Refused: one has no plain form, is not there, or is used in a way that is not covered.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    unknown = [op for op in wanted if op not in PLAIN]
    if unknown:
        raise Refused(f"there is no plain form of {', '.join(unknown)}")
    held = ir.serde.deserialize_model(model)
    common.ShapeInferencePass()(held)
    opset = held.opset_imports.get("", 0)
    nodes = [n for n in held.graph.all_nodes() if n.op_type in wanted and _domain(n)]
    if not nodes:
        raise Refused(f"the model has no {', '.join(wanted)}")
    for node in nodes:
        tape = _Tape(opset, node)
        new = _FORMS[node.op_type](tape, node)
        ir.convenience.replace_nodes_and_values(
            node.graph, node, [node], tape.nodes, [node.outputs[0]], [new]
        )
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(held)
    common.RemoveUnusedOpsetsPass()(held)
    return ir.serde.serialize_model(held)


def _domain(node: Any) -> bool:
    return (node.domain or "ai.onnx") in ("ai.onnx", "com.microsoft")


class _Tape:
    """Records the nodes that replace one; each carries where that one came from."""

    def __init__(self, opset: int, node: Any) -> None:
        import onnx_ir as ir

        self.opset = opset
        self.nodes: list[Any] = []
        self._tape = ir.tape.Tape()
        self._origin = dict(node.metadata_props)
        self._name = node.name or node.outputs[0].name
        if node.inputs[0].dtype is None:
            raise Refused(f"{self._name}: the type of its input is not known")
        self.dtype = node.inputs[0].dtype.numpy()

    def op(self, op_type: str, *inputs: Any, **attributes: Any) -> Any:
        name = f"{self._name}/plain_{len(self.nodes)}_{op_type}"
        value = self._tape.op(
            op_type, inputs, attributes, name=name, metadata_props=dict(self._origin)
        )
        value.name = name
        self.nodes.append(value.producer())
        return value

    def constant(self, value: Any, dtype: Any = None) -> Any:
        import onnx_ir as ir

        return self.op("Constant", value=ir.tensor(np.asarray(value, dtype or self.dtype)))

    def whole(self, *values: int) -> Any:
        return self.constant(values, np.int64)

    def refuse(self, why: str) -> Refused:
        return Refused(f"{self._name}: {why}")

    def mean(self, x: Any, axes: Sequence[int]) -> Any:
        if self.opset < 18:  # axes became an input
            return self.op("ReduceMean", x, axes=list(axes), keepdims=1)
        return self.op("ReduceMean", x, self.whole(*axes), keepdims=1)

    def clip(self, x: Any, low: float, high: float) -> Any:
        if self.opset < 11:  # its limits became inputs
            return self.op("Clip", x, min=low, max=high)
        return self.op("Clip", x, self.constant(low), self.constant(high))


def _hard_swish(tape: _Tape, node: Any) -> Any:
    """Of x: x * Clip(x + 3, 0, 6) / 6."""
    x = node.inputs[0]
    gate = tape.clip(tape.op("Add", x, tape.constant(3)), 0.0, 6.0)
    return tape.op("Div", tape.op("Mul", x, gate), tape.constant(6))


def _hard_sigmoid(tape: _Tape, node: Any) -> Any:
    """Clip(alpha x + beta, 0, 1)."""
    alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
    line = tape.op("Mul", node.inputs[0], tape.constant(alpha))
    return tape.clip(tape.op("Add", line, tape.constant(beta)), 0.0, 1.0)


def _group_normalization(tape: _Tape, node: Any) -> Any:
    """Groups as the channels of an InstanceNormalization.

    Up to opset 20 the scale is one number per group, from 21 on one per channel.
    """
    x, scale, bias = node.inputs
    shape = _shape(tape, x)
    groups = node.attributes["num_groups"].as_int()
    per_group = tape.opset < 21
    parts = tape.op("Reshape", x, tape.whole(0, groups, -1))
    ones, zeros = np.ones(groups), np.zeros(groups)
    factors = (scale, bias) if per_group else (tape.constant(ones), tape.constant(zeros))
    normal = tape.op(
        "InstanceNormalization", parts, *factors, epsilon=_number(node, "epsilon", 1e-5)
    )
    back = tape.op("Reshape", normal, tape.whole(*_target(tape, shape)))
    if per_group:
        return back
    factor, shift = (_per_channel(tape, v, len(shape)) for v in (scale, bias))
    return tape.op("Add", tape.op("Mul", back, factor), shift)


def _per_channel(tape: _Tape, value: Any, rank: int) -> Any:
    """One number per channel, shaped to stand beside (batch, channels, ...)."""
    import onnx_ir as ir

    wide = (-1, *[1] * (rank - 2))
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        return tape.op("Reshape", value, tape.whole(*wide))
    return tape.constant(tensor.numpy().reshape(wide))


def _layer_normalization(tape: _Tape, node: Any) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias."""
    if any(v is not None and v.uses() for v in node.outputs[1:]):
        raise tape.refuse("its mean or deviation is read")
    x, scale, *rest = node.inputs
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    axes = range(axis if axis < 0 else axis - len(_shape(tape, x)), 0)
    centred = tape.op("Sub", x, tape.mean(x, axes))
    variance = tape.mean(tape.op("Mul", centred, centred), axes)
    epsilon = tape.constant(_number(node, "epsilon", 1e-5))
    deviation = tape.op("Sqrt", tape.op("Add", variance, epsilon))
    scaled = tape.op("Mul", tape.op("Div", centred, deviation), scale)
    return tape.op("Add", scaled, rest[0]) if rest and rest[0] is not None else scaled


def _attention(tape: _Tape, node: Any) -> Any:
    """The standard's Attention (opset 23): a mask that is added, no cache, no softcap."""
    if node.domain == "com.microsoft":
        return _packed_attention(tape, node)
    query, key, value, *rest = node.inputs
    unusual = [n for n in ("softcap", "qk_matmul_output_mode") if _number(node, n, 0.0)]
    unusual += ["a cache"] * any(v is not None for v in rest[1:])
    unusual += ["is_causal"] * bool(_number(node, "is_causal", 0))
    unusual += ["its further outputs"] * any(v.uses() for v in node.outputs[1:])
    mask = rest[0] if rest else None
    unusual += ["a mask of truth values"] * (mask is not None and mask.dtype != query.dtype)
    flat = len(_shape(tape, query)) == 3
    heads = [int(_number(node, f"{p}_num_heads", 0)) for p in ("q", "kv")]
    heads = heads if flat else [_shape(tape, v)[1] for v in (query, key)]
    unusual += ["heads that share keys"] * (heads[0] != heads[1])
    if unusual:
        raise tape.refuse(f"uses {', '.join(unusual)}: no plain form")
    return _heads(tape, node, (query, key, value), heads[0] if flat else 0, mask=mask)


def _multi_head(tape: _Tape, node: Any) -> Any:
    """``com.microsoft`` MultiHeadAttention on separate (batch, steps, hidden) tensors."""
    inputs = [*node.inputs, *[None] * 8][:8]
    query, key, value, bias, padding, mask, *cache = inputs
    flat = all(v is not None and len(_shape(tape, v)) == 3 for v in (query, key, value))
    if not flat or padding is not None or any(v is not None for v in cache):
        raise tape.refuse("uses packed tensors, a padding mask or a cache: no plain form")
    if _number(node, "unidirectional", 0) or any(v.uses() for v in node.outputs[1:]):
        raise tape.refuse("is causal or keeps its cache: no plain form")
    triple = [query, key, value]
    if bias is not None:
        sizes = [int(_shape(tape, v)[-1]) for v in triple]
        parts = np.split(_held(tape, bias), np.cumsum(sizes)[:-1])
        triple = [tape.op("Add", v, tape.constant(p)) for v, p in zip(triple, parts, strict=True)]
    known = int(_shape(tape, query)[-1])
    heads = int(_number(node, "num_heads", 1))
    return _heads(tape, node, triple, heads, mask=mask, hidden=known)


def _packed_attention(tape: _Tape, node: Any) -> Any:
    """``com.microsoft`` Attention: one weight for query, key and value; no mask, no cache."""
    x, weight, *rest = node.inputs
    told = {"num_heads", "scale", "mask_filter_value"}
    odd = [n for n, a in node.attributes.items() if n not in told and a.value]
    if odd or any(v is not None for v in rest[1:]) or any(v.uses() for v in node.outputs[1:]):
        raise tape.refuse(f"uses {', '.join(odd) or 'a mask or a cache'}: no plain form")
    weights = np.split(_held(tape, weight), 3, axis=1)
    bias = (
        _held(tape, rest[0]) if rest and rest[0] is not None else np.zeros(3 * weights[0].shape[1])
    )
    triple = [
        tape.op("Add", tape.op("MatMul", x, tape.constant(w)), tape.constant(b))
        for w, b in zip(weights, np.split(bias, 3), strict=True)
    ]
    heads = int(_number(node, "num_heads", 1))
    return _heads(tape, node, triple, heads, hidden=weights[0].shape[1])


def _heads(
    tape: _Tape,
    node: Any,
    triple: Sequence[Any],
    heads: int,
    *,
    mask: Any = None,
    hidden: int = 0,
) -> Any:
    """softmax(scale Q K^T + mask) V, per head.

    Args:
        tape: takes the nodes.
        node: the attention.
        triple: query, key and value, (batch, steps, heads x size), or (batch, heads, steps, size).
        heads: heads of the flat form; 0: the heads are an axis already.
        mask: added to the products, or ``None``.
        hidden: last size of the query where the graph does not say it.
    """
    last = hidden or _shape(tape, triple[0])[-1]
    if not isinstance(last, int):
        raise tape.refuse("the size of a head is open: no plain form")
    size = last // heads if heads else last
    scale = _number(node, "scale", 0.0) or 1 / math.sqrt(size)
    if heads:
        split = tape.whole(0, 0, heads, -1)
        triple = [
            tape.op("Transpose", tape.op("Reshape", v, split), perm=[0, 2, 1, 3]) for v in triple
        ]
    query, key, value = triple
    turned = tape.op("Transpose", key, perm=[0, 1, 3, 2])
    scaled = tape.op("Mul", query, tape.constant(scale))
    scores = tape.op("MatMul", scaled, turned)
    scores = scores if mask is None else tape.op("Add", scores, mask)
    mixed = tape.op("MatMul", tape.op("Softmax", scores, axis=-1), value)
    if not heads:
        return mixed
    joined = tape.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return tape.op("Reshape", joined, tape.whole(0, 0, -1))


def _number(node: Any, name: str, otherwise: float) -> float:
    return float(node.attributes[name].value) if name in node.attributes else otherwise


def _shape(tape: _Tape, value: Any) -> tuple[Any, ...]:
    """Sizes, ``int`` or a name.

    Raises:
        Refused: not even the rank is known.
    """
    if value.shape is None:
        raise tape.refuse(f"the rank of {value.name} is not known")
    return tuple(d if isinstance(d, int) else str(d) for d in value.shape)


def _target(tape: _Tape, shape: Sequence[Any]) -> list[int]:
    """What a Reshape back needs: the batch is copied, and one more size may be open."""
    target = [0, *(d if isinstance(d, int) else -1 for d in shape[1:])]
    if target.count(-1) > 1:
        raise tape.refuse("more than one of its sizes is open: --recipe static first")
    return target


def _held(tape: _Tape, value: Any) -> Any:
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise tape.refuse(f"{value.name} is computed, not a constant")
    return tensor.numpy()


_FORMS: dict[str, Callable[[_Tape, Any], Any]] = {
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head,
}
