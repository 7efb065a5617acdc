"""The nodes that belong together in INT8: an operator with its bias addition and activation.

Runs in a child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import ops
from .graph import Graph, attribute
from .types import NO_DIALECT, NOT_QUANTIZABLE, FloatNode


@dataclass(frozen=True)
class Unit:
    """Nodes without a Q/DQ pair between them.

    Attributes:
        kind: ``heavy``, ``light`` or ``pass``, see :mod:`seatrial.quantize.ops`.
        nodes: the operator, then its bias addition and activation, if any.
        inputs: the activations it reads.
        outputs: what the last node writes.
        weight: name of the constant operand, or ``""``.
        axis: channel axis of the weight; ``None``: only one scale is possible.
        bias: name of a constant (channels,) that may become int32, or ``""``.
    """

    kind: str
    nodes: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: str = ""
    axis: int | None = None
    bias: str = ""

    @property
    def op_type(self) -> str:
        """Operator of the first node."""
        return str(self.nodes[0].op_type)

    @property
    def needs_output(self) -> bool:
        """Whether the integer kernel needs a scale of the output."""
        return self.op_type in ops.NEEDS_OUTPUT


def units(graph: Graph) -> tuple[list[Unit], dict[str, FloatNode]]:
    """Every unit that could be INT8, in graph order, and the nodes that never can."""
    readers, pinned = graph.readers(), graph.pinned()
    found: list[Unit] = []
    floats: dict[str, FloatNode] = {}
    inside: set[str] = set()
    for node in graph.nodes:
        if node.name in inside:
            continue
        unit = _unit(node, graph)
        if isinstance(unit, str):
            floats[node.name] = FloatNode(node=node.name, op_type=node.op_type, reason=unit)
            continue
        if unit.kind == "heavy" or unit.op_type in ops.BINARY:
            unit = _with_tail(unit, graph, readers, pinned)
        inside |= {n.name for n in unit.nodes[1:]}
        found.append(unit)
    return found, floats


def _unit(node: Any, graph: Graph) -> Unit | str:
    """The unit that starts at a node, or the reason why there is none."""
    if node.domain not in ("", "ai.onnx"):
        return f"{NO_DIALECT}: domain {node.domain}"
    makers = {"Conv": _conv, "ConvTranspose": _conv, "Gemm": _gemm, "MatMul": _matmul}
    if node.op_type in makers:
        unit = makers[node.op_type](node, graph)
    elif node.op_type in ops.LIGHT:
        unit = _light(node, graph)
    elif node.op_type in ops.PASS:
        unit = _pass(node, graph)
    else:
        return NO_DIALECT
    if isinstance(unit, str):
        return f"{NOT_QUANTIZABLE}: {unit}"
    for name in (*unit.inputs, *unit.outputs):
        real = graph.is_float(name)
        if real is False or (real is None and not unit.weight):
            return f"{NOT_QUANTIZABLE}: {name} is not known to be float32"
    return unit


def _weight_problem(name: str, graph: Graph) -> str:
    if graph.constant_info(name) is None:
        return "its weight is not constant"
    return "" if graph.is_float(name) else "its weight is not float32"


def _bias(node: Any, slot: int, channels: int, graph: Graph) -> str:
    """The bias, if it is a constant of one value per channel."""
    name = node.input[slot] if len(node.input) > slot else ""
    info = graph.constant_info(name) if name else None
    fits = info is not None and info[1] in ((channels,), (1, channels)) and graph.is_float(name)
    return name if fits else ""


def _conv(node: Any, graph: Graph) -> Unit | str:
    weight = node.input[1]
    problem = _weight_problem(weight, graph)
    if problem:
        return problem
    dims = graph.initializers[weight].dims
    group = attribute(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
    # A grouped transposed weight is (in, out / group, ...): its channels share an axis.
    axis = (1 if group == 1 else None) if transposed else 0
    channels = dims[1] * group if transposed else dims[0]
    return Unit(
        kind="heavy",
        nodes=(node,),
        inputs=(node.input[0],),
        outputs=(node.output[0],),
        weight=weight,
        axis=axis,
        bias=_bias(node, 2, channels, graph),
    )


def _gemm(node: Any, graph: Graph) -> Unit | str:
    weight = node.input[1]
    problem = _weight_problem(weight, graph)
    if problem:
        return problem
    if graph.constant_info(node.input[0]) is not None:
        return "its left operand is constant"
    axis = 0 if attribute(node, "transB", 0) else 1
    # Only with both factors 1 is the accumulator's scale input x weight.
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    channels = graph.initializers[weight].dims[axis]
    return Unit(
        kind="heavy",
        nodes=(node,),
        inputs=(node.input[0],),
        outputs=(node.output[0],),
        weight=weight,
        axis=axis,
        bias=_bias(node, 2, channels, graph) if plain else "",
    )


def _matmul(node: Any, graph: Graph) -> Unit | str:
    left, right = node.input
    if graph.constant_info(left) is not None:
        return "its left operand is constant"
    outputs = (node.output[0],)
    info = graph.constant_info(right)
    if info is None:
        return Unit(kind="heavy", nodes=(node,), inputs=(left, right), outputs=outputs)
    if not graph.is_float(right):
        return "its weight is not float32"
    axis = 1 if len(info[1]) == 2 else None
    return Unit(
        kind="heavy", nodes=(node,), inputs=(left,), outputs=outputs, weight=right, axis=axis
    )


def _light(node: Any, graph: Graph) -> Unit | str:
    inputs = tuple(node.input) if node.op_type in ops.BINARY else (node.input[0],)
    if any(graph.constant_info(n) is not None for n in inputs):
        return "an operand is constant"
    return Unit(kind="light", nodes=(node,), inputs=inputs, outputs=(node.output[0],))


def _pass(node: Any, graph: Graph) -> Unit | str:
    inputs = tuple(node.input) if node.op_type in ops.ALL_DATA else (node.input[0],)
    if any(graph.constant_info(n) is not None for n in inputs):
        return "an operand is constant"
    outputs = tuple(o for o in node.output if o)
    if node.op_type == "MaxPool" and len(outputs) > 1:
        return "it gives indices as well"
    return Unit(kind="pass", nodes=(node,), inputs=tuple(dict.fromkeys(inputs)), outputs=outputs)


def _with_tail(unit: Unit, graph: Graph, readers: dict[str, list[Any]], pinned: set[str]) -> Unit:
    """Add the bias addition of a MatMul and the activation that follows."""
    nodes = list(unit.nodes)
    if unit.op_type == "MatMul" and unit.weight:
        follower = _only_reader(nodes[-1].output[0], readers, pinned)
        if follower is not None and follower.op_type == "Add" and _adds_bias(follower, graph):
            nodes.append(follower)
    follower = _only_reader(nodes[-1].output[0], readers, pinned)
    if follower is not None and follower.op_type in ops.FUSED and not follower.domain:
        limits = [n for n in follower.input[1:] if n]
        if all(graph.constant_info(n) is not None for n in limits):
            nodes.append(follower)
    return Unit(
        kind=unit.kind,
        nodes=tuple(nodes),
        inputs=unit.inputs,
        outputs=(nodes[-1].output[0],),
        weight=unit.weight,
        axis=unit.axis,
        bias=unit.bias,
    )


def _only_reader(name: str, readers: dict[str, list[Any]], pinned: set[str]) -> Any | None:
    """The node that alone reads a tensor as its first data, if nobody else does."""
    found = readers.get(name, [])
    if name in pinned or len(found) != 1:
        return None
    return found[0] if found[0].op_type == "Add" or found[0].input[0] == name else None


def _adds_bias(node: Any, graph: Graph) -> bool:
    """An Add of a constant with at most one axis that is not 1, the last."""
    infos = [graph.constant_info(n) for n in node.input]
    constants = [i for i in infos if i is not None]
    if node.domain or len(constants) != 1:
        return False
    return all(d == 1 for d in constants[0][1][:-1])
