"""The quantisers of a Q/DQ model, whoever made it, and the layers they belong to.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph, attribute, subgraphs

from .parameters import DEQUANTIZE, QUANTIZE, Weights, kind_of, parameters, scalar

#: A layer ends before these: what they write is theirs, not of the layer before them.
OWN_LAYER = ops.HEAVY | {
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Softmax",
}

#: These read a tensor but not its values, or are looked at by themselves.
NO_VALUES = frozenset({QUANTIZE, "Shape", "Size"})

#: A tensor is put in the class of its most sensitive reader, in this order.
SENSITIVE = ("depthwise Conv", "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul")


@dataclass
class Activation:
    """A QuantizeLinear of a computed tensor and the DequantizeLinear nodes that read it.

    Attributes:
        tensor: what is quantised.
        restored: outputs of the DequantizeLinear nodes.
        scale: float32, shape () or (channels,).
        zero: its zero point, of the quantised type.
        back: scale and zero point that the first DequantizeLinear uses.
        axis: of the channels, for a scale per channel.
        node: label of the layer that writes the tensor; ``""``: an input of the model.
        kind: class of that layer, see :func:`kind_of`.
        nodes: labels of the nodes of that layer behind its last quantiser.
        readers: labels of the nodes that read the restored tensor.
        reader: class of the most sensitive of them.
        dropped: the quantizer dropped the activation before it, for the range to do its work.
        to_softmax: its values reach a Softmax through nothing but scaling.
    """

    tensor: str
    restored: tuple[str, ...]
    scale: Any
    zero: Any
    back: tuple[Any, Any]
    axis: int
    node: str = ""
    kind: str = "input"
    nodes: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    reader: str = ""
    to_softmax: bool = False
    dropped: bool = False


@dataclass
class Quantisers:
    """All quantisers of a model, by the name of their switch.

    Attributes:
        bare: tensor behind an activation that the quantizer dropped -> the tensor before it.
    """

    activations: dict[str, list[Activation]]
    weights: dict[str, Weights]
    bare: dict[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Every switch."""
        return (*self.activations, *self.weights)


def find(graph: Graph, bare: Mapping[str, str] | None = None) -> Quantisers:
    """Read the quantisers of a prepared Q/DQ graph.

    Args:
        graph: the graph.
        bare: what :func:`seatrial.diagnosis.match.put_back` gave for it.
    """
    weights, constants = parameters(graph)
    activations = _activations(graph, constants)
    dropped = dict(bare or {})
    for one in activations:
        one.dropped = one.tensor in dropped
    return Quantisers(_grouped(activations, graph), weights, dropped)


def _activations(graph: Graph, constants: set[str]) -> list[Activation]:
    producers, readers = graph.producers(), graph.readers()
    quantised = {
        d.output[0]: n.input[0]
        for n in graph.nodes
        if n.op_type == QUANTIZE
        for d in readers.get(n.output[0], ())
        if d.op_type == DEQUANTIZE
    }
    found = []
    for node in graph.nodes:
        if node.op_type != QUANTIZE or node.input[0] in constants:
            continue
        pairs = readers.get(node.output[0], [])
        scale = graph.constant(node.input[1])
        if scale is None or not pairs or any(d.op_type != DEQUANTIZE for d in pairs):
            continue
        restored = tuple(d.output[0] for d in pairs)
        one = Activation(
            tensor=node.input[0],
            restored=restored,
            scale=scalar(scale),
            zero=_zero(graph, node, scale),
            back=_back(graph, pairs[0], node),
            axis=attribute(node, "axis", 1),
        )
        _place(one, graph, producers, quantised)
        _read(one, graph, readers, producers)
        found.append(one)
    return found


def _zero(graph: Graph, node: Any, scale: Any) -> Any:
    import numpy as np

    value = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return scalar(np.zeros(scale.shape, np.uint8) if value is None else value)


def _back(graph: Graph, restoring: Any, quantising: Any) -> tuple[Any, Any]:
    """Scale and zero point that restore; the same as those that quantise, if all is well."""
    scale = graph.constant(restoring.input[1])
    if scale is None:
        restoring, scale = quantising, graph.constant(quantising.input[1])
    return scalar(scale), _zero(graph, restoring, scale)


def _place(
    one: Activation, graph: Graph, producers: dict[str, Any], quantised: dict[str, str]
) -> None:
    """Find the layer that writes the tensor, back to the last quantiser."""
    node, inside = producers.get(one.tensor), []
    one.kind = "input"
    while node is not None:
        inside.append(node.name)
        one.node, one.kind = node.name, kind_of(node, graph, producers)
        data = [n for n in node.input if n and graph.constant_info(n) is None]
        ends = node.op_type in OWN_LAYER or one.kind == "LayerNorm" or len(set(data)) != 1
        # What a body captures is no input: nothing before it can be told to be its only source.
        ends = ends or any(True for _ in subgraphs(node))
        if ends or data[0] in quantised:
            break
        before = producers.get(data[0])
        if before is None or before.op_type == DEQUANTIZE:
            break
        node = before
    one.nodes = tuple(inside)


def _read(
    one: Activation, graph: Graph, readers: dict[str, list[Any]], producers: dict[str, Any]
) -> None:
    """Note who reads the restored tensor, through operators that only move values."""
    found, waiting, kinds = [], list(one.restored), []
    while waiting:
        for node in readers.get(waiting.pop(), ()):
            if node.op_type in ops.PASS and node.op_type not in ops.ALL_DATA:
                waiting += [o for o in node.output if o]
            elif node.op_type not in NO_VALUES:
                found.append(node.name)
                kinds.append(kind_of(node, graph, producers))
    one.readers = tuple(dict.fromkeys(found))
    ranked = sorted(kinds, key=lambda k: SENSITIVE.index(k) if k in SENSITIVE else len(SENSITIVE))
    one.reader = ranked[0] if ranked else "output"
    one.to_softmax = _to_softmax(one, readers)


def _to_softmax(one: Activation, readers: dict[str, list[Any]]) -> bool:
    """Whether a Softmax over the last axis reads the values, scaled or masked at most."""
    names = list(one.restored)
    for _ in range(8):  # Q/DQ pairs, a factor, a mask
        nodes = [n for name in names for n in readers.get(name, ())]
        if any(n.op_type == "Softmax" and attribute(n, "axis", -1) in (-1, 3) for n in nodes):
            return True
        through = (QUANTIZE, DEQUANTIZE, "Mul", "Div", "Add")
        names = [n.output[0] for n in nodes if n.op_type in through]
    return False


def _grouped(found: list[Activation], graph: Graph) -> dict[str, list[Activation]]:
    """One switch for pairs with one scale that only data movement separates.

    The second of two equal pairs changes nothing that the first left, so either alone means little.
    """
    import numpy as np

    producers = graph.producers()
    pairs = {name: one for one in found for name in one.restored}
    root: dict[str, str] = {}
    groups: dict[str, list[Activation]] = {}
    for one in found:
        node = producers.get(one.tensor)
        before = None
        if node is not None and node.op_type in ops.PASS:
            before = pairs.get(node.input[0])
        same = before is not None and np.array_equal(before.scale, one.scale)
        same = same and before is not None and np.array_equal(before.zero, one.zero)
        if before is not None and same and before.tensor in root:
            root[one.tensor] = root[before.tensor]
        else:
            root[one.tensor] = f"a:{one.tensor}"
        groups.setdefault(root[one.tensor], []).append(one)
    return groups
