"""Integer forms besides Q/DQ pairs around everything: weights only, and dynamic. Child only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from seatrial.results import QdqDialect

from . import types
from .graph import Graph, attribute
from .insert import insert_pairs
from .plan import Plan
from .scales import quantize_weight, weight_scale
from .units import Unit, units


@dataclass
class Done:
    """What was written.

    Attributes:
        names: labels of the nodes that use integers.
        floats: label -> reason, for the others.
    """

    names: tuple[str, ...] = ()
    floats: dict[str, str] = field(default_factory=dict)


def weight_only(graph: Graph, kept: Collection[str], dialect: QdqDialect) -> Done:
    """Store weights as integers with a DequantizeLinear each; activations and biases stay float.

    A quarter of the size, at the accuracy of the weights alone. Runtimes that unpack weights while
    they multiply are faster where memory is the limit; others fold them back to float.
    """
    chosen, done = _chosen(graph, kept)
    plan = Plan(chosen, {}, {})
    insert_pairs(graph, plan, replace(dialect, bias="float"), lambda _: (0.0, 0.0))
    return replace(done, names=tuple(u.nodes[0].name for u in chosen))


def _chosen(graph: Graph, kept: Collection[str]) -> tuple[list[Unit], Done]:
    """Units with constant weights that may be quantised, and the reasons for all other nodes."""
    found, floats = units(graph)
    reasons = {name: node.reason for name, node in floats.items()}
    chosen = []
    for unit in found:
        if unit.weight and not any(n.name in kept for n in unit.nodes):
            chosen.append(unit)
            reasons |= {n.name: "no weights" for n in unit.nodes[1:]}
        else:
            reason = types.KEEP_FLOAT if unit.weight else "no weights"
            reasons |= {n.name: reason for n in unit.nodes}
    return chosen, Done(floats=reasons)


def dynamic(graph: Graph, kept: Collection[str], dialect: QdqDialect) -> Done:
    """Matrix products in integers; every activation gets its range when it is there.

    y = cast(MatMulInteger(q(x), W)) * (scale(x) * scale(W)) + b, with q the ONNX operator
    DynamicQuantizeLinear (uint8, asymmetric) and W int8, symmetric, per column where the dialect
    has scales per channel. Convolutions stay float: their dynamic form is slow everywhere.
    """
    chosen, done = _chosen(graph, kept)
    writer = _Dynamic(graph, dialect)
    units_by_name = {}
    for unit in chosen:
        node = unit.nodes[0]
        if _is_product(node, graph):
            units_by_name[node.name] = unit
        else:
            done.floats[node.name] = f"{types.NO_DIALECT}: dynamic {node.op_type}"
    nodes: list[Any] = []
    for node in graph.nodes:
        nodes += writer.product(node) if node.name in units_by_name else [node]
    graph.set_nodes(nodes)
    graph.drop_unused()
    return replace(done, names=tuple(units_by_name))


def _is_product(node: Any, graph: Graph) -> bool:
    """A MatMul or a plain Gemm with a constant matrix on the right."""
    info = graph.constant_info(node.input[1])
    if info is None or len(info[1]) != 2:
        return False
    if node.op_type == "Gemm":
        plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
        return plain and not attribute(node, "transA", 0)
    return bool(node.op_type == "MatMul")


class _Dynamic:
    """Writes the nodes of integer products; activations are quantised once for all readers."""

    def __init__(self, graph: Graph, dialect: QdqDialect) -> None:
        self.graph = graph
        self.dialect = replace(dialect, weights="int8")
        self.taken = graph.names()
        self._inputs: dict[str, tuple[str, str, str]] = {}
        self._weights: dict[tuple[str, bool], tuple[str, str]] = {}

    def product(self, node: Any) -> list[Any]:
        """The nodes that take the place of one; the last one keeps its name and output."""
        nodes: list[Any] = []
        quantised, scale, zero = self._input(node.input[0], nodes)
        transposed = node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
        weight, step = self._weight(node.input[1], transposed)
        bias = node.input[2] if len(node.input) > 2 else ""
        total, real, both = (self._name(f"{node.name}_{part}") for part in ("sum", "real", "step"))
        product = self._name(f"{node.name}_product") if bias else node.output[0]
        nodes.append(self._node("MatMulInteger", [quantised, weight, zero], total, node))
        nodes.append(self._node("Cast", [total], real, node, to=1))
        nodes.append(self._node("Mul", [scale, step], both, node))
        nodes.append(self._node("Mul", [real, both], product, node))
        if bias:
            nodes.append(self._node("Add", [product, bias], node.output[0], node))
        nodes[-1].name = node.name
        return nodes

    def _input(self, name: str, nodes: list[Any]) -> tuple[str, str, str]:
        import onnx

        if name not in self._inputs:
            parts = tuple(self._name(f"{name}_{part}") for part in ("dynamic", "scale", "zero"))
            label = self._name(f"{name}_DynamicQuantizeLinear")
            nodes.append(
                onnx.helper.make_node("DynamicQuantizeLinear", [name], list(parts), name=label)
            )
            self._inputs[name] = (parts[0], parts[1], parts[2])
        return self._inputs[name]

    def _weight(self, name: str, transposed: bool) -> tuple[str, str]:
        import numpy as np

        key = (name, transposed)
        if key not in self._weights:
            value = self.graph.constant(name)
            assert value is not None
            matrix = np.ascontiguousarray(value.T) if transposed else value
            axis = 1 if self.dialect.per_channel else None
            scale = weight_scale(matrix, axis, self.dialect)
            integers = quantize_weight(matrix, scale, axis, self.dialect)
            self._weights[key] = (
                self.graph.set_constant(self._name(f"{name}_quantized"), integers),
                self.graph.set_constant(self._name(f"{name}_scale"), scale.scale),
            )
        return self._weights[key]

    def _name(self, name: str) -> str:
        return self.graph.unique(name, self.taken)

    def _node(self, op: str, inputs: list[str], output: str, owner: Any, **more: Any) -> Any:
        import onnx

        label = self._name(f"{owner.name}_{op}")
        return onnx.helper.make_node(op, inputs, [output], name=label, **more)
