"""A layer of a Q/DQ model as a matrix product: its integers as a matrix, its inputs as rows.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.quantize.graph import Graph, attribute

#: Inputs of one output beyond which second moments would take too much memory.
INPUTS_MAX = 4608

#: Operators that are seen.
OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass
class Weights:
    """The weights of one layer.

    Attributes:
        exact: float, shape (groups, outputs of a group, inputs of a group).
        integers: float32 with the zero point taken off, same shape.
        step: of each output, shape (groups, outputs of a group, 1).
    """

    exact: Any
    integers: Any
    step: Any


@dataclass(frozen=True)
class Linear:
    """One layer.

    Attributes:
        node: of the Q/DQ model.
        source: name in the float model of its weight.
        maker: the DequantizeLinear of its weight.
        shape: of the stored weight.
        groups: independent parts.
    """

    node: Any
    source: str
    maker: Any
    shape: tuple[int, ...]
    groups: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Groups, inputs and outputs of a group."""
        if self.node.op_type != "Conv":
            inputs, outputs = self.shape[::-1] if _by_rows(self.node) else self.shape
            return 1, inputs, outputs
        inputs = 1
        for size in self.shape[1:]:
            inputs *= size
        return self.groups, inputs, self.shape[0] // self.groups

    def weights(self, graph: Graph, plain: Graph) -> Weights:
        """Read the weights of both models."""
        import numpy as np

        values: list[Any] = [graph.constant(name) for name in self.maker.input]
        stored, scale, zero = values
        groups, _, outputs = self.sizes
        step = np.broadcast_to(np.asarray(scale, np.float32).reshape(-1), (groups * outputs,))
        integers = stored.astype(np.float32) - np.float32(np.reshape(zero, -1)[0])
        exact = self._matrix(plain.constant(self.source))
        return Weights(exact, self._matrix(integers), step.reshape(groups, outputs, 1))

    def _matrix(self, value: Any) -> Any:
        import numpy as np

        groups, inputs, outputs = self.sizes
        flat = value if self.node.op_type == "Conv" or _by_rows(self.node) else value.T
        return np.ascontiguousarray(flat.reshape(groups, outputs, inputs), np.float32)

    def store(self, graph: Graph, integers: Any) -> None:
        """Put integers, shape as in :class:`Weights`, in the place of the model's."""
        import numpy as np

        name, _, zero = self.maker.input
        like: Any = graph.constant(name)
        offset: Any = graph.constant(zero)
        values = np.rint(integers).astype(np.int32) + int(np.reshape(offset, -1)[0])
        if self.node.op_type != "Conv":
            values = values[0] if _by_rows(self.node) else values[0].T
        values = values.reshape(like.shape).astype(like.dtype)
        graph.set_constant(name, np.ascontiguousarray(values))

    def rows(self, x: Any, y: Any, most: int, rng: Any) -> tuple[Any, Any]:
        """Inputs and outputs at random places of one sample.

        Args:
            x: the layer's input.
            y: its output in the float model.
            most: rows at most.
            rng: picks them.

        Returns:
            (groups, rows, inputs) and (groups, rows, outputs), float32.
        """
        if self.node.op_type == "Conv":
            return self._patches(x, y, most, rng)
        x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        if len(x) > most:
            chosen = rng.integers(0, len(x), most)
            x, y = x[chosen], y[chosen]
        return x[None], y[None]

    def _patches(self, x: Any, y: Any, most: int, rng: Any) -> tuple[Any, Any]:
        import numpy as np

        groups, inputs, outputs = self.sizes
        spatial = y.shape[2:]
        whole = len(y) * int(np.prod(spatial))
        flat = np.arange(whole) if whole <= most else rng.integers(0, whole, most)
        batch, *places = np.unravel_index(flat, (len(y), *spatial))
        kernel = _kernel(self.node, self.shape[2:], x.shape[2:], spatial)
        padded = np.pad(x, ((0, 0), (0, 0), *(k.pads for k in kernel)))
        index = []
        for a, (one, place) in enumerate(zip(kernel, places, strict=True)):
            across = [1] * len(kernel)
            across[a] = one.size
            taps = (np.arange(one.size) * one.dilation).reshape(1, *across)
            index.append(place.reshape(-1, *[1] * len(kernel)) * one.stride + taps)
        first = batch.reshape(-1, *[1] * len(kernel))
        every: Any = slice(None)
        # Around a slice, what is indexed comes first: (rows, *kernel, channels).
        found = np.moveaxis(padded[(first, every, *index)], -1, 1)
        wanted = y[(batch, every, *places)].reshape(len(flat), groups, outputs)
        found = found.reshape(len(flat), groups, inputs)
        return found.transpose(1, 0, 2), wanted.transpose(1, 0, 2)


@dataclass(frozen=True)
class _Axis:
    size: int
    stride: int
    dilation: int
    pads: tuple[int, int]


def _kernel(
    node: Any, sizes: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> list[_Axis]:
    """The spatial axes of a convolution; ``before`` and ``after`` are its input's and output's."""
    rank = len(sizes)
    strides = attribute(node, "strides") or [1] * rank
    dilations = attribute(node, "dilations") or [1] * rank
    pads = list(attribute(node, "pads") or [0] * 2 * rank)
    auto = attribute(node, "auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        for a in range(rank):
            reach = (after[a] - 1) * strides[a] + (sizes[a] - 1) * dilations[a] + 1
            total = max(0, reach - before[a])
            pads[a] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads[a + rank] = total - pads[a]
    ends = [(pads[a], pads[a + rank]) for a in range(rank)]
    return [_Axis(*one) for one in zip(sizes, strides, dilations, ends, strict=True)]


def find(graph: Graph, plain: Graph) -> list[Linear]:
    """The layers with integer weights that nobody else reads, in the order of the graph.

    Args:
        graph: the Q/DQ model.
        plain: the prepared float model with the same labels.
    """
    makers, readers = graph.producers(), graph.readers()
    floats = {node.name: node for node in plain.nodes}
    found = []
    for node in graph.nodes:
        twin = floats.get(node.name)
        if node.op_type not in OPERATORS or node.domain or twin is None:
            continue
        maker = makers.get(node.input[1])
        if maker is None or maker.op_type != "DequantizeLinear" or len(maker.input) != 3:
            continue
        infos = [graph.constant_info(name) for name in maker.input]
        exact = plain.constant_info(twin.input[1])
        if exact is None or None in infos or len(readers[node.input[1]]) != 1:
            continue
        groups = attribute(node, "group", 1) if node.op_type == "Conv" else 1
        one = Linear(node, twin.input[1], maker, exact[1], groups)
        if infos[0] is not None and infos[0][1] == exact[1] and _fits(one):
            found.append(one)
    return found


def _fits(one: Linear) -> bool:
    if one.node.op_type != "Conv":
        turned = attribute(one.node, "transA", 0) or attribute(one.node, "alpha", 1.0) != 1.0
        if len(one.shape) != 2 or turned:
            return False
    return one.sizes[1] <= INPUTS_MAX


def _by_rows(node: Any) -> bool:
    """Whether the rows of a stored matrix are the outputs."""
    return node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
