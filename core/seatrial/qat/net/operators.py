"""ONNX operators in torch: arithmetic, and whatever moves or chooses values.

Each function takes the node's attributes and its inputs (``None`` where one is left out) and gives
a tensor or a tuple of them, as the ONNX operator of opset 13 and later defines it. Whether they do
is checked on real samples against the reference before anything is trained. Runs in a child only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

#: Attributes of a node, by name.
Attributes = Mapping[str, Any]

#: Gives the value of a node.
Operator = Callable[..., Any]

#: ONNX element types that a Cast may name, from ``onnx.TensorProto.DataType``.
_DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}


class NotOffered(Exception):
    """A form of an operator that cannot be run here."""


def _ints(value: Any) -> list[int]:
    return [int(v) for v in (value.tolist() if hasattr(value, "tolist") else value)]


def axes_of(a: Attributes, given: Any) -> list[int] | None:
    """Axes from the second input (later opsets) or the attribute (earlier ones)."""
    if given is not None:
        return _ints(given.reshape(-1))
    return list(a["axes"]) if "axes" in a else None


def _reduce(how: Callable[..., Any]) -> Operator:
    def run(a: Attributes, x: Any, given: Any = None) -> Any:
        axes = axes_of(a, given)
        if axes is None or not axes:
            if a.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return how(x, axes, bool(a.get("keepdims", 1)))

    return run


def _clip(a: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    low = a.get("min") if low is None else float(low)
    high = a.get("max") if high is None else float(high)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _reshape(a: Attributes, x: Any, shape: Any) -> Any:
    wanted = _ints(shape)
    if not a.get("allowzero", 0):
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(a: Attributes, x: Any) -> Any:
    axis = a.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _slice(a: Attributes, x: Any, starts: Any, ends: Any, *rest: Any) -> Any:
    axes, steps = (*rest, None, None)[:2]
    first, last = _ints(starts), _ints(ends)
    where = _ints(axes) if axes is not None else list(range(len(first)))
    strides = _ints(steps) if steps is not None else [1] * len(first)
    for start, end, axis, step in zip(first, last, where, strides, strict=True):
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
            continue
        # Backwards both ends are clamped to the axis, the end to just before its first element.
        size = x.shape[axis]
        begin = min(max(start + size * (start < 0), 0), size - 1)
        stop = min(max(end + size * (end < 0), -1), size - 1)
        chosen = range(begin, stop, step)
        x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64))
    return x


def _split(a: Attributes, x: Any, sizes: Any = None) -> Any:
    axis = a.get("axis", 0)
    if sizes is not None:
        return torch.split(x, _ints(sizes), dim=axis)
    parts = a.get("num_outputs", a["outputs"])
    return torch.split(x, -(-x.shape[axis] // parts), dim=axis)


def _squeeze(a: Attributes, x: Any, given: Any = None) -> Any:
    axes = axes_of(a, given)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(a: Attributes, x: Any, given: Any = None) -> Any:
    axes = axes_of(a, given) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _gather(a: Attributes, x: Any, index: Any) -> Any:
    axis = a.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index).long()
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, index.reshape(-1)).reshape(shape)


def _expand(a: Attributes, x: Any, shape: Any) -> Any:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(_ints(shape))))


def _pad(a: Attributes, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    amounts = _ints(pads)
    where = [i % x.ndim for i in _ints(axes)] if axes is not None else list(range(x.ndim))
    around = {axis: (amounts[k], amounts[k + len(where)]) for k, axis in enumerate(where)}
    last = min((axis for axis, p in around.items() if any(p)), default=x.ndim)
    flat = [n for axis in reversed(range(last, x.ndim)) for n in around.get(axis, (0, 0))]
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}.get(
        a.get("mode", b"constant")
    )
    if mode is None:
        raise NotOffered(f"mode {a['mode']!r}")
    if not flat:
        return x
    fill = float(value) if value is not None and value.numel() else 0.0
    return F.pad(x, flat, mode, fill) if mode == "constant" else F.pad(x, flat, mode)


def _shape(a: Attributes, x: Any) -> Any:
    return torch.tensor(list(x.shape)[a.get("start", 0) : a.get("end")], dtype=torch.int64)


def _constant_of_shape(a: Attributes, shape: Any) -> Any:
    value = a.get("value")
    fill = torch.zeros(1) if value is None else value
    return fill.reshape(()).expand(_ints(shape)).clone()


def _cast(a: Attributes, x: Any) -> Any:
    if a["to"] not in _DTYPES:
        raise NotOffered(f"element type {a['to']}")
    return x.to(_DTYPES[a["to"]])


def _gelu(a: Attributes, x: Any) -> Any:
    return F.gelu(x, approximate=a.get("approximate", b"none").decode())


def _power(a: Attributes, x: Any, exponent: Any) -> Any:
    return torch.pow(x, exponent.to(x.dtype))


def _divide(a: Attributes, x: Any, y: Any) -> Any:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _softmax(a: Attributes, x: Any) -> Any:
    return torch.softmax(x, a.get("axis", -1))


def _trilu(a: Attributes, x: Any, k: Any = None) -> Any:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if a.get("upper", 1) else torch.tril(x, diagonal)


def _concat(a: Attributes, *parts: Any) -> Any:
    return torch.cat(parts, a["axis"])


def _transpose(a: Attributes, x: Any) -> Any:
    return x.permute(a.get("perm", tuple(reversed(range(x.ndim)))))


def _leaky(a: Attributes, x: Any) -> Any:
    return F.leaky_relu(x, a.get("alpha", 0.01))


def _elu(a: Attributes, x: Any) -> Any:
    return F.elu(x, a.get("alpha", 1.0))


def _hard_sigmoid(a: Attributes, x: Any) -> Any:
    return torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1)


def _log_softmax(a: Attributes, x: Any) -> Any:
    return torch.log_softmax(x, a.get("axis", -1))


def _argmax(a: Attributes, x: Any) -> Any:
    return torch.argmax(x, a.get("axis", 0), bool(a.get("keepdims", 1)))


def _range(a: Attributes, start: Any, end: Any, step: Any) -> Any:
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _einsum(a: Attributes, *parts: Any) -> Any:
    return torch.einsum(a["equation"].decode().replace(" ", ""), *parts)


def _tile(a: Attributes, x: Any, times: Any) -> Any:
    return x.repeat(_ints(times))


def _prelu(a: Attributes, x: Any, slope: Any) -> Any:
    return torch.where(x >= 0, x, slope * x)


def plain(function: Callable[..., Any]) -> Operator:
    """An operator without attributes."""
    return lambda a, *x: function(*x)


OPERATORS: dict[str, Operator] = {
    "Abs": plain(torch.abs),
    "Add": plain(torch.add),
    "And": plain(torch.logical_and),
    "ArgMax": _argmax,
    "Cast": _cast,
    "Ceil": plain(torch.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Cos": plain(torch.cos),
    "Div": _divide,
    "Dropout": lambda a, x, *rest: x,
    "Einsum": _einsum,
    "Elu": _elu,
    "Equal": plain(torch.eq),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": plain(torch.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Greater": plain(torch.gt),
    "GreaterOrEqual": plain(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": plain(F.hardswish),
    "Identity": plain(lambda x: x),
    "LeakyRelu": _leaky,
    "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le),
    "Log": plain(torch.log),
    "LogSoftmax": _log_softmax,
    "MatMul": plain(torch.matmul),
    "Max": plain(lambda *x: torch.stack(torch.broadcast_tensors(*x)).amax(0)),
    "Min": plain(lambda *x: torch.stack(torch.broadcast_tensors(*x)).amin(0)),
    "Mish": plain(F.mish),
    "Mul": plain(torch.mul),
    "Neg": plain(torch.neg),
    "Not": plain(torch.logical_not),
    "Or": plain(torch.logical_or),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _power,
    "Range": _range,
    "Reciprocal": plain(torch.reciprocal),
    "ReduceL2": _reduce(lambda x, d, k: x.square().sum(d, k).sqrt()),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": plain(torch.sigmoid),
    "Sin": plain(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": plain(F.softplus),
    "Split": _split,
    "Sqrt": plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": plain(torch.sub),
    "Sum": plain(lambda *x: sum(x[1:], x[0])),
    "Tanh": plain(torch.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": plain(torch.where),
}
