"""The layers of a Q/DQ model that have a place for a bias, and how to add to it.

Runs in a child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatrial.quantize.graph import Graph, attribute

#: ``onnx.TensorProto.INT32``.
INT32 = 6


@dataclass(frozen=True)
class Layer:
    """A layer with a place for a bias.

    Attributes:
        node: holds the bias: Conv, ConvTranspose, Gemm, or the Add behind a MatMul.
        slot: which input of ``node`` the bias is, or will be.
        output: the tensor that the bias shifts, in the Q/DQ model.
        known: its name in the float model.
        behind: name in the float model of the tensor behind the activation, or ``""``.
        low: lower limit of the activation.
        high: upper limit of the activation.
        axis: of the channels.
        channels: how many.
        product: the node with the weight; ``node`` itself but for MatMul.
    """

    node: Any
    slot: int
    output: str
    known: str
    behind: str
    low: float
    high: float
    axis: int
    channels: int
    product: Any


class Layers:
    """Finds and edits layers of one Q/DQ graph.

    Args:
        graph: the model with Q/DQ pairs; edited in place.
        plain: the prepared float model, with the same names.
    """

    def __init__(self, graph: Graph, plain: Graph) -> None:
        self.graph = graph
        self.known = {o for node in plain.nodes for o in node.output if o}
        self.makers, self.readers = graph.producers(), graph.readers()
        self.pinned, self.plain = graph.pinned(), plain.readers()
        self.taken = graph.names()
        self._new: dict[str, Any] = {}
        # Integer kernels want integer biases where the model has any.
        biases = (graph.constant_info(n.input[0]) for n in graph.nodes if _dequantizes(n))
        self.integer = any(info is not None and info[0] == INT32 for info in biases)

    def find(self) -> list[Layer]:
        """Every layer, in the order of the graph."""
        found = []
        for node in self.graph.nodes:
            if not node.domain and node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                layer = self._layer(node)
                if layer is not None:
                    found.append(layer)
        return found

    def _layer(self, node: Any) -> Layer | None:
        holder, slot = node, 2
        if node.op_type == "MatMul":
            following = self.readers.get(node.output[0], [])
            alone = len(following) == 1 and node.output[0] not in self.pinned
            if not alone or following[0].op_type != "Add":
                return None
            holder = following[0]
            slots = [k for k, n in enumerate(holder.input) if n in self.graph.initializers]
            if len(slots) != 1:
                return None
            slot = slots[0]
        channels = self._channels(node, holder, slot)
        output = holder.output[0]
        name = output if output in self.known else output.removesuffix("_float")
        if not channels or name not in self.known:
            return None
        behind, low, high = self._activation(output, name)
        axis = -1 if node.op_type in ("Gemm", "MatMul") else 1
        return Layer(holder, slot, output, name, behind, low, high, axis, channels, node)

    def _channels(self, node: Any, holder: Any, slot: int) -> int:
        """Number of channels, 0 where no bias can be added."""
        if holder is not node:
            info = self.graph.constant_info(holder.input[slot])
            if info is None or info[0] != 1 or not info[1]:
                return 0
            return info[1][-1] if all(d == 1 for d in info[1][:-1]) else 0
        weight = self._shape(node.input[1])
        if weight is None or attribute(node, "beta", 1.0) != 1.0:
            return 0
        if node.op_type == "Gemm":
            channels = weight[0 if attribute(node, "transB", 0) else 1]
        elif node.op_type == "ConvTranspose":
            channels = weight[1] * attribute(node, "group", 1)
        else:
            channels = weight[0]
        bias = node.input[2] if len(node.input) > 2 else ""
        fits = not bias or self._shape(bias) in ((channels,), (1, channels))
        return int(channels) if fits else 0

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant, directly or behind a DequantizeLinear that nobody else reads."""
        info = self.graph.constant_info(name)
        if info is not None:
            return info[1]
        maker = self.makers.get(name)
        if maker is None or not _dequantizes(maker):
            return None
        info = self.graph.constant_info(maker.input[0])
        return info[1] if info is not None else None

    def _activation(self, output: str, name: str) -> tuple[str, float, float]:
        """The float model's tensor behind the ReLU or Clip that alone reads a layer's output."""
        following, there = self.readers.get(output, []), self.plain.get(name, [])
        if len(following) != 1 or len(there) != 1 or following[0].op_type != there[0].op_type:
            return "", 0.0, 0.0
        node = following[0]
        if node.op_type == "Relu":
            return there[0].output[0], 0.0, float("inf")
        if node.op_type != "Clip":
            return "", 0.0, 0.0
        limits = [self.graph.constant(n) if n else None for n in [*node.input[1:], "", ""][:2]]
        low = float("-inf") if limits[0] is None else float(limits[0].reshape(-1)[0])
        high = float("inf") if limits[1] is None else float(limits[1].reshape(-1)[0])
        return there[0].output[0], low, high

    def bias(self, layer: Layer) -> Any:
        """The bias of a layer that has one, float32, shape (channels,)."""
        import numpy as np

        name = layer.node.input[layer.slot]
        maker = self.makers.get(name)
        if maker is None:
            return self._value(name).reshape(-1)
        steps, scale = (self._value(n).reshape(-1) for n in maker.input[:2])
        return (steps.astype(np.float64) * scale).astype(np.float32)

    def add(self, layer: Layer, delta: Any) -> Any:
        """Add to the bias of a layer.

        Args:
            layer: from :meth:`find`.
            delta: float32, shape (channels,).

        Returns:
            What was really added: an integer bias moves in steps.
        """
        import numpy as np

        node = layer.node
        name = node.input[layer.slot] if len(node.input) > layer.slot else ""
        maker = self.makers.get(name) if name else None
        if maker is not None:
            return self._add_steps(layer, maker, delta)
        if not name and self.integer and self._quantised(node):
            return self._add_steps(layer, self._integer_bias(layer), delta)
        before = self._value(name) if name else np.zeros(layer.channels, np.float32)
        after = (before.reshape(-1) + delta).astype(np.float32)
        new = self._constant(f"{node.name}_bias_corrected", after.reshape(before.shape))
        if name:
            node.input[layer.slot] = new
        else:
            _append(node, layer.slot, new)
        return after - before.reshape(-1)

    def _add_steps(self, layer: Layer, maker: Any, delta: Any) -> Any:
        import numpy as np

        before = self._value(maker.input[0])
        scale = self._value(maker.input[1]).astype(np.float64).reshape(-1)
        wide = before.astype(np.float64).reshape(-1) + delta / scale
        after = np.clip(np.rint(wide), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        moved = (after.astype(np.float64) - before.reshape(-1)) * scale
        maker.input[0] = self._constant(
            f"{layer.node.name}_bias_corrected", after.reshape(before.shape)
        )
        return moved.astype(np.float32)

    def _quantised(self, node: Any) -> bool:
        return all(_dequantizes(self.makers.get(n)) for n in node.input[:2])

    def _integer_bias(self, layer: Layer) -> Any:
        """A DequantizeLinear of zeros with scale input x weight, not yet in the graph."""
        import numpy as np
        import onnx

        node = layer.node
        scales = [self._value(self.makers[n].input[1]) for n in node.input[:2]]
        step = np.broadcast_to(scales[0] * scales[1].reshape(-1), (layer.channels,))
        names = [
            self._constant(f"{node.name}_bias_{part}", value)
            for part, value in (
                ("quantized", np.zeros(layer.channels, np.int32)),
                ("scale", np.ascontiguousarray(step, np.float32)),
                ("zero_point", np.zeros(layer.channels, np.int32)),
            )
        ]
        result = self.graph.unique(f"{node.name}_bias_dequantized", self.taken)
        label = self.graph.unique(f"{node.name}_bias_DequantizeLinear", self.taken)
        maker = onnx.helper.make_node("DequantizeLinear", names, [result], name=label, axis=0)
        _append(node, layer.slot, result)
        self._new[node.name] = maker
        return maker

    def _value(self, name: str) -> Any:
        """Value of a name that is known to be constant."""
        value: Any = self.graph.constant(name)
        return value

    def _constant(self, name: str, value: Any) -> str:
        return self.graph.set_constant(self.graph.unique(name, self.taken), value)

    def finish(self) -> None:
        """Put new nodes in front of the layers that read them, and drop what nothing reads."""
        nodes = []
        for node in self.graph.nodes:
            nodes += [self._new[node.name], node] if node.name in self._new else [node]
        self.graph.set_nodes(nodes)
        self.graph.drop_unused()


def _dequantizes(node: Any) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"


def _append(node: Any, slot: int, name: str) -> None:
    """Give a node an input that it did not have."""
    del node.input[slot:]
    node.input.append(name)
