"""The constants of a Q/DQ model that are restored from integers. Runs in a child only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


def parameters(graph: Graph) -> tuple[dict[str, Weights], set[str]]:
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
        scale=scalar(scale),
        axis=axis % max(value.ndim, 1),
        limits=bounds,
        zero=0 if zero is None else scalar(zero),
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


def scalar(value: Any) -> Any:
    """One value as shape (), several as they are."""
    return value.reshape(()) if value.size == 1 else value
