"""What each operator does to sizes, for :mod:`sizes`.

A rule gives the first output of one call. A call that the operator does not allow may raise
IndexError, ValueError and their like: that is for compilers to refuse, and means unknown here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from . import dtypes, limits
from .model import Attribute, Node, Tensor

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one value.

    Attributes:
        shape: ``None``: rank unknown; a ``None`` dimension is free.
        least: lower bound of the number of elements.
        bits: per element; 8 when unknown.
        values: the numbers in it, flattened, when it is a small constant.
        constant: it follows from constants alone.
    """

    shape: Shape | None = None
    least: int = 1
    bits: int = 8
    values: tuple[float, ...] | None = None
    constant: bool = False


UNKNOWN = Fact()

Facts = dict[str, Fact]
Inputs = list[Fact]


def known_shape(shape: Shape, bits: int, **more: object) -> Fact:
    """A fact from a shape; free dimensions count as one."""
    least = math.prod(1 if d is None else d for d in shape)
    return Fact(shape=shape, least=least, bits=bits, **more)  # type: ignore[arg-type]  # kwargs


def _dims(fact: Fact) -> tuple[int, ...] | None:
    """The fact's numbers as dimensions: integers, none negative."""
    if fact.values is None:
        return None
    dims = tuple(int(v) for v in fact.values)
    return None if any(d < 0 for d in dims) or len(dims) > limits.MAX_RANK else dims


def _integer(value: Attribute, default: int) -> int:
    return value if isinstance(value, int) else default


def _broadcast(shapes: list[Shape]) -> Shape:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    return tuple(_joint(dims) for dims in zip(*padded, strict=True))


def _joint(dims: tuple[int | None, ...]) -> int | None:
    numbers = [d for d in dims if d is not None]
    if 0 in numbers:
        return 0
    largest = max(numbers, default=1)
    return None if largest == 1 and None in dims else largest


def _same(node: Node, inputs: Inputs) -> Fact:
    """One output of the first input's shape and, for whole copies, values."""
    first = inputs[0]
    values = first.values if node.op_type in ("Identity", "Cast") else None
    bits = first.bits
    if node.op_type == "Cast":
        bits = dtypes.bits(dtypes.numpy_name(_integer(node.attributes.get("to"), 0)))
    return Fact(first.shape, first.least, bits, values)


def _elementwise(node: Node, inputs: Inputs) -> Fact:
    """Broadcast; small integer constants are computed for the four basic operators."""
    bits = 8 if node.op_type in _LOGICAL else max(f.bits for f in inputs)
    if any(f.shape is None for f in inputs):
        return Fact(None, max(f.least for f in inputs) if all(f.least for f in inputs) else 0, bits)
    shape = _broadcast([f.shape for f in inputs if f.shape is not None])
    values = None
    work = _ARITHMETIC.get(node.op_type)
    if work and len(inputs) == 2 and all(f.values is not None for f in inputs):
        a, b = inputs[0].values or (), inputs[1].values or ()
        count = max(len(a), len(b))
        if min(len(a), len(b)) in (1, count):
            wide = zip(a * (count // max(len(a), 1)), b * (count // max(len(b), 1)), strict=True)
            values = tuple(work(x, y) for x, y in wide)
            if any(abs(v) > 2**63 for v in values):
                values = None
    return known_shape(shape, bits, values=values)


def _shape(node: Node, inputs: Inputs) -> Fact:
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    start = _integer(node.attributes.get("start"), 0)
    end = node.attributes.get("end")
    part = shape[start:] if end is None else shape[start : _integer(end, len(shape))]
    numbers = tuple(d for d in part if d is not None)
    return Fact((len(part),), len(part), 64, numbers if len(numbers) == len(part) else None)


def _filled(node: Node, inputs: Inputs) -> Fact:
    """ConstantOfShape."""
    dims = _dims(inputs[0])
    value = node.attributes.get("value")
    dtype = value.dtype if isinstance(value, Tensor) else 1
    bits = dtypes.bits(dtypes.numpy_name(dtype))
    return Fact(bits=bits) if dims is None else known_shape(dims, bits)


def _expand(_: Node, inputs: Inputs) -> Fact:
    dims = _dims(inputs[1])
    first = inputs[0]
    if dims is None:
        return Fact(bits=first.bits)
    shape = _broadcast([first.shape, dims]) if first.shape is not None else dims
    return known_shape(shape, first.bits)


def _tile(node: Node, inputs: Inputs) -> Fact:
    repeats = _dims(inputs[1])
    first = inputs[0]
    if repeats is None or len(inputs) != 2:
        return Fact(bits=first.bits)
    if first.shape is None:
        return Fact(None, first.least * math.prod(repeats), first.bits)
    shape = tuple(
        None if d is None and r == 1 else (1 if d is None else d) * r
        for d, r in zip(first.shape, repeats, strict=True)
    )
    return known_shape(shape, first.bits)


def _pad(node: Node, inputs: Inputs) -> Fact:
    first = inputs[0]
    pads: tuple[float, ...] | None = None
    if len(inputs) > 1:
        pads = inputs[1].values
    else:
        listed = node.attributes.get("pads", node.attributes.get("paddings"))
        pads = listed if isinstance(listed, tuple) else None
    axes_given = len(inputs) > 3 and bool(node.inputs[3])
    if pads is None or axes_given or first.shape is None:
        if pads is not None and max(pads, default=0) > 0:
            return Fact(None, int(max(pads)), first.bits)
        return Fact(bits=first.bits)
    rank = len(first.shape)
    if len(pads) != 2 * rank:
        return Fact(bits=first.bits)
    shape = tuple(
        None if d is None and pads[i] + pads[i + rank] <= 0
        else max(0, (1 if d is None else d) + int(pads[i] + pads[i + rank]))
        for i, d in enumerate(first.shape)
    )  # fmt: skip
    return known_shape(shape, first.bits)


def _range(_: Node, inputs: Inputs) -> Fact:
    numbers = [f.values for f in inputs]
    if any(v is None or len(v) != 1 for v in numbers):
        return Fact(bits=inputs[0].bits)
    start, limit, delta = (v[0] for v in numbers if v)
    if not all(map(math.isfinite, (start, limit, delta))):
        return Fact(bits=inputs[0].bits)
    return known_shape((max(0, math.ceil((limit - start) / delta)),), inputs[0].bits)


def _onehot(_: Node, inputs: Inputs) -> Fact:
    depth = inputs[1].values
    bits = inputs[2].bits
    if depth is None or len(depth) != 1 or depth[0] < 0:
        return Fact(bits=bits)
    return Fact(None, inputs[0].least * int(depth[0]), bits)


def _eye(node: Node, inputs: Inputs) -> Fact:
    dtype = _integer(node.attributes.get("dtype"), 0)
    bits = dtypes.bits(dtypes.numpy_name(dtype)) if dtype else inputs[0].bits
    shape = inputs[0].shape
    return Fact(bits=bits) if shape is None else known_shape(shape, bits)


def _concat(node: Node, inputs: Inputs) -> Fact:
    bits = max(f.bits for f in inputs)
    shapes = [f.shape for f in inputs if f.shape is not None]
    axis = _integer(node.attributes.get("axis"), 1)
    whole = len(shapes) == len(inputs) and len({len(s) for s in shapes}) == 1
    if not whole:
        return Fact(None, sum(f.least for f in inputs), bits)
    rank = len(shapes[0])
    axis += rank if axis < 0 else 0
    shape: list[int | None] = []
    for i in range(rank):
        along = [s[i] for s in shapes]
        if i == axis:
            free = any(d is None for d in along) and sum(d or 0 for d in along) == 0
            shape.append(None if free else sum(1 if d is None else d for d in along))
        else:
            shape.append(next((d for d in along if d is not None), None))
    values = None
    if rank == 1 and all(f.values is not None for f in inputs):
        joined = tuple(v for f in inputs for v in f.values or ())
        values = joined if len(joined) <= limits.MAX_KNOWN_VALUES else None
    fact = known_shape(tuple(shape), bits, values=values)
    return Fact(fact.shape, max(fact.least, sum(f.least for f in inputs)), bits, values)


def _matmul(_: Node, inputs: Inputs) -> Fact:
    a, b = inputs[0].shape, inputs[1].shape
    bits = max(f.bits for f in inputs[:2])
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return Fact(bits=bits)
    batch = _broadcast([a[:-2], b[:-2]]) if len(a) > 2 or len(b) > 2 else ()
    return known_shape((*batch, a[-2], b[-1]), bits)


def _reshape(_: Node, inputs: Inputs) -> Fact:
    """Reshape and friends: as many elements as before, in some other shape."""
    first = inputs[0]
    return Fact(None, first.least, first.bits, first.values)


def _transpose(node: Node, inputs: Inputs) -> Fact:
    first = inputs[0]
    perm = node.attributes.get("perm")
    if first.shape is None or (perm is not None and not isinstance(perm, tuple)):
        return Fact(None, first.least, first.bits)
    axes = range(len(first.shape))[::-1] if perm is None else [int(p) for p in perm]
    return known_shape(tuple(first.shape[i] for i in axes), first.bits)


def _quantized(node: Node, inputs: Inputs) -> Fact:
    """QuantizeLinear and DequantizeLinear: the same shape in other numbers."""
    first = inputs[0]
    return Fact(first.shape, first.least, 32 if node.op_type == "DequantizeLinear" else 8)


def _resize(node: Node, inputs: Inputs) -> Fact:
    """Resize and Upsample: sizes given outright, or scales times the input."""
    first = inputs[0]
    bits = first.bits
    sizes = _dims(inputs[3]) if len(inputs) > 3 and node.inputs[3] else None
    if sizes:
        return known_shape(sizes, bits) if "axes" not in node.attributes else Fact(bits=bits)
    at = 1 if len(inputs) < 3 else 2
    scales: object = inputs[at].values if len(inputs) > at and node.inputs[at] else None
    scales = scales or node.attributes.get("scales")
    if not isinstance(scales, tuple) or not all(map(math.isfinite, scales)):
        return Fact(bits=bits)
    return Fact(None, int(first.least * math.prod(scales)) if min(scales) > 0 else 1, bits)


def _space(_: Node, inputs: Inputs) -> Fact:
    """As many elements as before, in an unknown shape."""
    return Fact(None, inputs[0].least, inputs[0].bits)


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
}

_LOGICAL = {"And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not"}

_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Where", "Min", "Max", "Sum",
                 "Mean", "And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual",
                 "LessOrEqual", "BitShift")  # fmt: skip

_UNARY = ("Identity", "Cast", "Abs", "Neg", "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh",
          "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Erf", "Gelu", "Softplus",
          "Softsign", "HardSigmoid", "HardSwish", "Clip", "Softmax", "LogSoftmax", "Sign", "Sin",
          "Cos", "Not", "Dropout", "BatchNormalization", "LayerNormalization", "CumSum",
          "InstanceNormalization", "GroupNormalization")  # fmt: skip

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
           "Bernoulli")  # fmt: skip

RULES: dict[str, Callable[[Node, Inputs], Fact]] = {
    **dict.fromkeys(_BROADCASTING, _elementwise),
    **dict.fromkeys(_UNARY, _same),
    **dict.fromkeys(("Reshape", "Flatten", "Unsqueeze", "Squeeze"), _reshape),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _space),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantized),
    "Transpose": _transpose,
    "Shape": _shape,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "Range": _range,
    "OneHot": _onehot,
    "EyeLike": _eye,
    "Concat": _concat,
    "MatMul": _matmul,
    "Resize": _resize,
    "Upsample": _resize,
}
