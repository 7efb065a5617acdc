"""Write Q/DQ pairs into a prepared graph. Runs in a child only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seatrial.results import QdqDialect

from .graph import Graph
from .plan import Plan
from .scales import (
    Scale,
    activation_scale,
    bias_scale,
    quantize_bias,
    quantize_weight,
    weight_scale,
)
from .units import Unit

#: Gives the range of a tensor.
Range = Callable[[str], tuple[float, float]]


@dataclass
class Insertion:
    """State of one insertion.

    Attributes:
        graph: edited in place.
        plan: what to insert.
        dialect: in which form.
    """

    graph: Graph
    plan: Plan
    dialect: QdqDialect
    taken: set[str] = field(default_factory=set)
    scales: dict[str, Scale] = field(default_factory=dict)
    constants: dict[str, tuple[str, str]] = field(default_factory=dict)
    weights: dict[tuple[object, ...], str] = field(default_factory=dict)

    def run(self, range_of: Range) -> None:
        """Insert all pairs; every scale group takes the union of its tensors' ranges."""
        self.taken = self.graph.names()
        for root, names in self.plan.groups.items():
            found = [range_of(name) for name in names]
            lo, hi = min(r[0] for r in found), max(r[1] for r in found)
            self.scales[root] = activation_scale(lo, hi, self.dialect)
        units = {unit.nodes[0].name: unit for unit in self.plan.units}
        pairs = self._activation_pairs()
        nodes = [n for name in self.graph.inputs for n in pairs.pop(name, ())]
        for node in self.graph.nodes:
            unit = units.get(node.name)
            if unit is not None and unit.weight:
                nodes += self._weight(unit, node)
            nodes.append(node)
            for name in node.output:
                nodes += pairs.pop(self._original.get(name, name), ())
        self.graph.set_nodes(nodes)
        self.graph.drop_unused()
        if self.dialect.domain:
            self.graph.use_domain(self.dialect.domain)

    def _activation_pairs(self) -> dict[str, list[Any]]:
        """Make the pair of each quantised tensor and rewire whoever reads it.

        All readers take the dequantised value: an integer kernel has no float output to give.
        A graph output keeps its name, so there the node that writes it is renamed.
        """
        outputs, inputs = set(self.graph.outputs), set(self.graph.inputs)
        producers, readers = self.graph.producers(), self.graph.readers()
        self._original: dict[str, str] = {}
        pairs = {}
        for name, root in self.plan.roots.items():
            source, result = name, name
            if name in outputs and name not in inputs:
                source = self.graph.unique(f"{name}_float", self.taken)
                self._original[source] = name
                _rename(producers[name].output, name, source)
            else:
                result = self.graph.unique(f"{name}_dequantized", self.taken)
                for node in readers[name]:
                    _rename(node.input, name, result)
            pairs[name] = self._pair(source, result, self._shared(root))
        return pairs

    def _shared(self, root: str) -> tuple[str, str]:
        """Names of the scale and zero point of a group."""
        if root not in self.constants:
            scale = self.scales[root]
            self.constants[root] = (
                self._constant(f"{root}_scale", scale.scale),
                self._constant(f"{root}_zero_point", scale.zero),
            )
        return self.constants[root]

    def _pair(self, source: str, result: str, constants: tuple[str, str]) -> list[Any]:
        import onnx

        middle = self.graph.unique(f"{source}_quantized", self.taken)
        return [
            onnx.helper.make_node(
                op,
                [x, *constants],
                [y],
                name=self.graph.unique(f"{source}_{op}", self.taken),
                domain=self.dialect.domain,
            )
            for op, x, y in (
                ("QuantizeLinear", source, middle),
                ("DequantizeLinear", middle, result),
            )
        ]

    def _constant(self, name: str, value: Any) -> str:
        return self.graph.set_constant(self.graph.unique(name, self.taken), value)

    def _bias(self, unit: Unit) -> Any | None:
        """Values of a bias that may become int32, shape (channels,)."""
        value = self.graph.constant(unit.bias) if unit.bias else None
        return None if value is None else value.reshape(-1)

    def _weight(self, unit: Unit, node: Any) -> list[Any]:
        """Store a weight as integers, and its bias too where the dialect wants that.

        Returns:
            The new DequantizeLinear nodes.
        """
        axis = unit.axis if self.dialect.per_channel else None
        bias = self._bias(unit) if self.dialect.bias == "int32" else None
        root = self.plan.roots.get(unit.inputs[0])  # none where only weights are quantised
        input_scale = float(self.scales[root].scale) if root is not None else 0.0
        key = (unit.weight, axis) if bias is None else (unit.weight, axis, unit.bias, input_scale)
        nodes = []
        if key not in self.weights:
            weight = self.graph.constant(unit.weight)
            scale = weight_scale(weight, axis, self.dialect, bias, input_scale)
            integers = quantize_weight(weight, scale, axis, self.dialect)
            nodes += self._dequantize(unit.weight, integers, scale, axis)
            self.weights[key] = nodes[-1].output[0]
            self.scales[self.weights[key]] = scale
        result = self.weights[key]
        slot = list(node.input).index(unit.weight, 1)
        node.input[slot] = result
        if bias is not None:
            scale = bias_scale(input_scale, self.scales[result])
            nodes += self._dequantize(unit.bias, quantize_bias(bias, scale), scale, 0)
            node.input[2] = nodes[-1].output[0]
        return nodes

    def _dequantize(self, name: str, integers: Any, scale: Scale, axis: int | None) -> list[Any]:
        import onnx

        inputs = [
            self._constant(f"{name}_quantized", integers),
            self._constant(f"{name}_scale", scale.scale),
            self._constant(f"{name}_zero_point", scale.zero),
        ]
        output = self.graph.unique(f"{name}_dequantized", self.taken)
        label = self.graph.unique(f"{name}_DequantizeLinear", self.taken)
        extra = {"axis": axis} if scale.per_channel else {}
        return [onnx.helper.make_node("DequantizeLinear", inputs, [output], name=label, **extra)]


def insert_pairs(graph: Graph, plan: Plan, dialect: QdqDialect, range_of: Range) -> None:
    """Turn a planned graph into its Q/DQ form, in place.

    Args:
        graph: prepared; it becomes the Q/DQ model.
        plan: made from this graph.
        dialect: the form of the pairs.
        range_of: the range of every tensor of ``plan.roots``.
    """
    Insertion(graph, plan, dialect).run(range_of)


def _rename(names: Any, old: str, new: str) -> None:
    for k, name in enumerate(names):
        if name == old:
            names[k] = new
