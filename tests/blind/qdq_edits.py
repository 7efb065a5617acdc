"""Faults put into one place of a finished Q/DQ file, as a bug in a converter would.

The author of this module had not seen the checks that are tried on it. The edits find their place
by the float model's names (a tensor that is quantised, a node whose weight is), so that they work
on a Q/DQ file of any tool that keeps the names. What is edited gets initialisers of its own first:
the damage stays in one place even where tools share a scale among tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]
Edit = Callable[[bytes], bytes]


class _File:
    """A Q/DQ model, its initialisers and who reads them."""

    def __init__(self, data: bytes) -> None:
        self.model = onnx.load_model_from_string(data)
        self.graph = self.model.graph
        self.producers = {o: n for n in self.graph.node for o in n.output}

    def value(self, name: str) -> Array:
        for item in self.graph.initializer:
            if item.name == name:
                return np.asarray(numpy_helper.to_array(item))
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        raise LookupError(f"{name} is not a constant of this file")

    def own(
        self, nodes: list[onnx.NodeProto], index: int, change: Callable[[Array], Array]
    ) -> None:
        """Replace input `index` of all nodes by one changed copy of it."""
        old = nodes[0].input[index]
        value = self.value(old)
        new = change(value)
        assert new.dtype == value.dtype and new.shape == value.shape
        name = f"{old}__edited_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(new, name))
        for node in nodes:
            node.input[index] = name

    def pair(self, tensor: str) -> list[onnx.NodeProto]:
        """The QuantizeLinear of a float tensor and the DequantizeLinears behind it."""
        first = [n for n in self.graph.node if n.op_type == "QuantizeLinear" and tensor in n.input]
        if not first:
            raise LookupError(f"{tensor} is not quantised in this file")
        made = {n.output[0] for n in first}
        rest = [
            n for n in self.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in made
        ]
        return [*first, *rest]

    def feeder(self, node_name: str, index: int) -> onnx.NodeProto:
        """The DequantizeLinear that makes input `index` of a node."""
        node = next((n for n in self.graph.node if n.name == node_name), None)
        if node is None:
            raise LookupError(f"no node {node_name} in this file")
        maker = self.producers.get(node.input[index])
        if maker is None or maker.op_type != "DequantizeLinear":
            raise LookupError(f"input {index} of {node_name} is not dequantised in this file")
        return maker

    def data(self) -> bytes:
        out: bytes = self.model.SerializeToString()
        return out


def scale_activation(tensor: str, factor: float) -> Edit:
    """Scale of one tensor times factor: above 1 coarse steps, below 1 a clipped range."""

    def edit(data: bytes) -> bytes:
        file = _File(data)
        file.own(file.pair(tensor), 1, lambda v: (v * np.float32(factor)).astype(v.dtype))
        return file.data()

    return edit


def shift_zero_point(tensor: str, by: int) -> Edit:
    """Zero point of one tensor moved: one side of its range is cut off."""

    def move(v: Array) -> Array:
        info = np.iinfo(v.dtype)
        moved: Array = np.clip(v.astype(np.int64) + by, info.min, info.max).astype(v.dtype)
        return moved

    def edit(data: bytes) -> bytes:
        file = _File(data)
        file.own(file.pair(tensor), 2, move)
        return file.data()

    return edit


def mismatch_zero_point(tensor: str, by: int) -> Edit:
    """Quantised with one zero point, dequantised with another: a constant is added."""

    def edit(data: bytes) -> bytes:
        file = _File(data)
        readers = [n for n in file.pair(tensor) if n.op_type == "DequantizeLinear"]
        info = np.iinfo(file.value(readers[0].input[2]).dtype)
        change = lambda v: np.clip(v.astype(np.int64) + by, info.min, info.max).astype(v.dtype)  # noqa: E731
        file.own(readers, 2, change)
        return file.data()

    return edit


def change_weight_scale(node: str, change: Callable[[Array], Array]) -> Edit:
    """Change the scale(s) that a node's weight is dequantised with."""

    def edit(data: bytes) -> bytes:
        file = _File(data)
        file.own([file.feeder(node, 1)], 1, change)
        return file.data()

    return edit


def change_integers(node: str, index: int, change: Callable[[Array], Array]) -> Edit:
    """Change the stored integers of a node's weight (index 1) or bias (index 2)."""

    def edit(data: bytes) -> bytes:
        file = _File(data)
        file.own([file.feeder(node, index)], 0, change)
        return file.data()

    return edit


def swap_axis(node: str) -> Edit:
    """Per-channel scales laid along the other of the weight's first two axes."""

    def edit(data: bytes) -> bytes:
        file = _File(data)
        maker = file.feeder(node, 1)
        shape = file.value(maker.input[0]).shape
        if shape[0] != shape[1] or file.value(maker.input[1]).size != shape[0]:
            raise LookupError(f"the weight of {node} is not square and per channel: {shape}")
        found = [a for a in maker.attribute if a.name == "axis"]
        axis = found[0].i if found else 1
        for old in found:
            maker.attribute.remove(old)
        maker.attribute.append(onnx.helper.make_attribute("axis", 0 if axis % len(shape) else 1))
        return file.data()

    return edit
