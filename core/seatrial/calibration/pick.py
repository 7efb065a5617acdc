"""Which elements of an activation go into its histogram, as nodes of the observed graph.

About 2**14 elements per tensor and sample. Feature maps in the runtime's blocked layout are not
reordered for this: a depthwise convolution with one 1 per channel, at a random place of its
kernel, picks one element of every cell of a grid. All other tensors are flattened and gathered at
random places, one in each of 2**14 equal stretches. The places depend on the seed alone.
Runs in a child only.
"""

from __future__ import annotations

import math
from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph

#: Elements picked of a tensor per sample, about.
PICKS = 1 << 14

#: Tensors up to this size are taken whole: sampling them would save little.
WHOLE = 2 * PICKS

#: Operators that write feature maps in the blocked layout, and those that hand it on.
BLOCKED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization"})
HANDED_ON = ops.LIGHT | ops.FUSED | {"Concat", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"}


def feature_maps(graph: Graph) -> set[str]:
    """Tensors (N, C, H, W) that probably lie in the blocked layout, by their operators."""
    found: set[str] = set()
    for node in graph.nodes:
        handed = node.op_type in HANDED_ON and any(n in found for n in node.input)
        if not node.domain and (node.op_type in BLOCKED or handed):
            found.update(o for o in node.output if o)
    return found


def places(seed: int) -> Any:
    """One random place in each of :data:`PICKS` equal parts of [0, 1), float64."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return (np.arange(PICKS) + rng.random(PICKS)) / PICKS


class Picker:
    """Adds picking nodes and the constants they share.

    Args:
        model: a ``ModelProto``; its initializers are extended.
        mark: prefix of every name.
        seed: of the places.
        everything: take every element.
    """

    def __init__(self, model: Any, mark: str, seed: int, *, everything: bool = False) -> None:
        self.model = model
        self.mark = mark
        self.seed = seed
        self.everything = everything
        self.known: set[str] = set()

    def nodes(
        self, source: str, result: str, shape: tuple[int | None, ...] | None, *, blocked: bool
    ) -> list[Any]:
        """The nodes that write the picked elements of ``source``.

        Args:
            source: the observed tensor.
            result: name for the picked elements.
            shape: of the tensor, as far as known, with its batch axis.
            blocked: it lies in the blocked layout.
        """
        inner = shape[1:] if shape else (None,)
        known = [d for d in inner if d]
        size = math.prod(known) if len(known) == len(inner) else 0
        if self.everything or 0 < size <= WHOLE:
            return [self.flat(source, result)]
        if blocked and size and len(inner) == 3:
            channels, height, width = known
            return [self._grid(source, result, channels, height, width)]
        return self._scattered(source, result)

    def constant(self, name: str, value: Any) -> str:
        """The full name of a constant that is added once."""
        from onnx import numpy_helper

        name = f"{self.mark}_{name}"
        if name not in self.known:
            self.known.add(name)
            self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def flat(self, source: str, result: str) -> Any:
        """The node that lays all elements in a row."""
        import numpy as np

        return node("Reshape", [source, self.constant("flat", np.array([-1], np.int64))], result)

    def _grid(self, source: str, result: str, channels: int, height: int, width: int) -> Any:
        """One element of each grid cell; the last cells reach to the border."""
        import numpy as np

        stride = round(math.sqrt(channels * height * width / PICKS))
        strides = [max(1, min(stride, n)) for n in (height, width)]
        kernel = [n - s * (n // s - 1) for n, s in zip((height, width), strides, strict=True)]
        rng = np.random.default_rng([self.seed, channels, *kernel])
        weight = np.zeros((channels, 1, *kernel), np.float32)
        rows, columns = (rng.integers(0, k, channels) for k in kernel)
        weight[np.arange(channels), 0, rows, columns] = 1
        name = self.constant(f"grid_{channels}_{kernel[0]}_{kernel[1]}", weight)
        return node("Conv", [source, name], result, group=channels, strides=strides)

    def _scattered(self, source: str, result: str) -> list[Any]:
        """Elements at fixed fractions of whatever length the flattened tensor has."""
        from onnx import TensorProto

        at = self.constant("places", places(self.seed))
        size, real, far, index, flat = (f"{result}_{k}" for k in "abcde")
        return [
            node("Size", [source], size),
            node("Cast", [size], real, to=TensorProto.DOUBLE),
            node("Mul", [real, at], far),
            node("Cast", [far], index, to=TensorProto.INT64),
            self.flat(source, flat),
            node("Gather", [flat, index], result),
        ]


def pick(values: Any, at: Any) -> Any:
    """The same for an array at hand: elements at fractions ``at``, or all of a small one."""
    import numpy as np

    flat = np.asarray(values).reshape(-1)
    return flat if flat.size <= WHOLE else flat[(at * flat.size).astype(np.int64)]


def node(op_type: str, sources: list[str], result: str, **attributes: Any) -> Any:
    """A node named as its only output."""
    import onnx

    return onnx.helper.make_node(op_type, sources, [result], name=result, **attributes)
