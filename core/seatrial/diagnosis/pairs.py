"""The quantisers of a Q/DQ model, whoever made it, and the layers they belong to.

Runs in a child only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph, attribute

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

#: What an operator is called in reports where several have the same part.
KINDS = {
    "BatchNormalization": "BatchNorm",
    "InstanceNormalization": "InstanceNorm",
    "LayerNormalization": "LayerNorm",
    "Relu": "activation",
    "Clip": "activation",
    "LeakyRelu": "activation",
    "PRelu": "activation",
    "Elu": "activation",
    "Gelu": "activation",
    "Erf": "activation",
    "Sigmoid": "activation",
    "HardSigmoid": "activation",
    "HardSwish": "activation",
    "Tanh": "activation",
    "AveragePool": "pooling",
    "GlobalAveragePool": "pooling",
    "MaxPool": "pooling",
    "GlobalMaxPool": "pooling",
}

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


@dataclass
class Parameter:
    """A constant that a DequantizeLinear restores.

    Attributes:
        name: output of the DequantizeLinear.
        value: restored, float32.
        scale: float32, shape () or (channels,).
        axis: of the channels.
        limits: the least and the greatest integer of its type.
        zero: zero point.
        original: the float model's values; ``None``: not found.
        kept: it is a float constant that the quantizer changed, a corrected bias.
    """

    name: str
    value: Any
    scale: Any
    axis: int
    limits: tuple[int, int]
    zero: Any
    original: Any = None
    kept: bool = False


@dataclass
class Weights:
    """The quantised constants of one node: a weight, perhaps a bias."""

    node: str
    kind: str
    slots: dict[int, Parameter] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """The float model's values were found."""
        return any(p.original is not None for p in self.slots.values())


@dataclass
class Quantisers:
    """All quantisers of a model, by the name of their switch."""

    activations: dict[str, list[Activation]]
    weights: dict[str, Weights]

    def names(self) -> tuple[str, ...]:
        """Every switch."""
        return (*self.activations, *self.weights)


def kind_of(node: Any, graph: Graph, producers: dict[str, Any] | None = None) -> str:
    """Class of a node for reports: depthwise convolutions and normalisations set apart."""
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = attribute(node, "group", 1)
        info = graph.constant_info(node.input[1]) or (0, graph.shape(node.input[1]) or ())
        if groups > 1 and (len(info[1]) < 2 or info[1][1] == 1 or node.op_type != "Conv"):
            return f"depthwise {node.op_type}"
    if node.op_type == "Div" and producers is not None:
        root = producers.get(node.input[1]) if len(node.input) > 1 else None
        if root is not None and root.op_type == "Sqrt":
            return "LayerNorm"
    return KINDS.get(node.op_type, str(node.op_type))


def find(graph: Graph) -> Quantisers:
    """Read the quantisers of a prepared Q/DQ graph."""
    weights, constants = _weights(graph)
    activations = _activations(graph, constants)
    return Quantisers(_grouped(activations, graph), weights)


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
            scale=_scalar(scale),
            zero=_zero(graph, node, scale),
            back=_back(graph, pairs[0], node),
            axis=attribute(node, "axis", 1),
        )
        _place(one, graph, producers, quantised)
        _read(one, graph, readers, producers)
        found.append(one)
    return found


def _scalar(value: Any) -> Any:
    """One value as shape (), several as they are."""
    return value.reshape(()) if value.size == 1 else value


def _zero(graph: Graph, node: Any, scale: Any) -> Any:
    import numpy as np

    value = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return _scalar(np.zeros(scale.shape, np.uint8) if value is None else value)


def _back(graph: Graph, restoring: Any, quantising: Any) -> tuple[Any, Any]:
    """Scale and zero point that restore; the same as those that quantise, if all is well."""
    scale = graph.constant(restoring.input[1])
    if scale is None:
        restoring, scale = quantising, graph.constant(quantising.input[1])
    return _scalar(scale), _zero(graph, restoring, scale)


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


def _weights(graph: Graph) -> tuple[dict[str, Weights], set[str]]:
    """Constants behind DequantizeLinear, by the node that uses them; and what was constant."""
    producers, readers = graph.producers(), graph.readers()
    found: dict[str, Weights] = {}
    constants = set(graph.initializers)
    for node in graph.nodes:
        if node.op_type == QUANTIZE and node.input[0] in constants:
            constants.add(node.output[0])
        if node.op_type != DEQUANTIZE or node.input[0] not in constants:
            continue
        parameter = _parameter(graph, node, producers)
        for reader in readers.get(node.output[0], ()):
            slot = list(reader.input).index(node.output[0])
            key = f"w:{reader.name}"
            entry = found.setdefault(key, Weights(reader.name, kind_of(reader, graph)))
            if reader.op_type in ("Conv", "ConvTranspose") and slot == 1:
                groups, shape = attribute(reader, "group", 1), parameter.value.shape
                deep = groups > 1 and (shape[1] == 1 or reader.op_type != "Conv")
                entry.kind = f"depthwise {reader.op_type}" if deep else reader.op_type
            entry.slots[slot] = parameter
    return found, constants


def _parameter(graph: Graph, node: Any, producers: dict[str, Any]) -> Parameter:
    """A restored constant: x = (q - zero) * scale, per tensor, per axis or in blocks."""
    import numpy as np

    scale: Any = graph.constant(node.input[1])
    zero = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    stored: Any = graph.constant(node.input[0])
    original: Any = None
    bounds = limits(np.uint8 if zero is None else zero.dtype)
    if stored is not None:
        bounds = limits(stored.dtype)
    else:  # a float constant that the model itself quantises
        source = producers[node.input[0]]
        original = graph.constant(source.input[0])
        steps = original / spread(scale, original, axis, block)
        shift = 0 if zero is None else spread(zero.astype(np.float64), original, axis, block)
        stored = np.clip(np.rint(steps) + shift, *bounds)
    offset = 0 if zero is None else spread(zero.astype(np.float64), stored, axis, block)
    steps = stored.astype(np.float64) - offset
    value = (steps * spread(scale.astype(np.float64), stored, axis, block)).astype(np.float32)
    return Parameter(
        name=node.output[0],
        value=value,
        scale=_scalar(scale),
        axis=axis % max(value.ndim, 1),
        limits=bounds,
        zero=0 if zero is None else _scalar(zero),
        original=original,
    )


def spread(parameter: Any, value: Any, axis: int, block: int) -> Any:
    """Scale or zero point in a shape that numpy can lay over the value."""
    import numpy as np

    if parameter.size == 1:
        return parameter.reshape(())
    if block:
        wide = np.repeat(parameter, block, axis=axis)
        return np.take(wide, range(value.shape[axis]), axis=axis)
    shape = [1] * value.ndim
    shape[axis] = -1
    return parameter.reshape(shape)


def limits(kind: Any) -> tuple[int, int]:
    """The least and the greatest integer of a quantised type."""
    import numpy as np

    if np.issubdtype(kind, np.integer):
        info = np.iinfo(kind)
        return int(info.min), int(info.max)
    name = str(kind)  # four-bit types that numpy does not know
    bits = 4 if "4" in name else 8
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
