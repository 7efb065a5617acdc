"""Nets of well-known sizes with random weights, and picture-like samples: nothing is downloaded.

What calibration costs depends on shapes, not on what a net has learned. Batch normalisation is
folded into the convolutions, as exporters do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Side of the square inputs in pixels.
SIZE = 224

#: Pictures made; larger sample stores repeat them.
PICTURES = 64


class Net:
    """A chain of layers with one input ``x`` of shape (N, 3, 224, 224)."""

    def __init__(self) -> None:
        import numpy as np

        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, op_type: str, sources: list[str], **attributes: Any) -> str:
        """Append a node; its output carries the node's name."""
        import onnx

        name = f"{op_type.lower()}_{len(self.nodes)}"
        node = onnx.helper.make_node(op_type, sources, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, value: Any) -> str:
        """Append an initializer of float32."""
        import numpy as np
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def conv(
        self, source: str, shape: tuple[int, int], k: int = 1, *, stride: int = 1, **more: Any
    ) -> str:
        """A convolution with bias; ``shape`` is (channels out, channels in)."""
        group, gain = more.pop("group", 1), more.pop("gain", 1.0)
        size = (shape[0], shape[1] // group, k, k)
        scale = gain * (2 / (size[1] * k * k)) ** 0.5
        weight = self.constant(scale * self.rng.standard_normal(size, dtype="float32"))
        bias = self.constant(0.1 * self.rng.standard_normal(shape[0], dtype="float32"))
        pads = more.pop("pads", k // 2)
        attributes = {"strides": [stride] * 2, "pads": [pads] * 4, "group": group}
        return self.add("Conv", [source, weight, bias], kernel_shape=[k, k], **attributes)

    def pool(self, source: str, *, pads: int = 0) -> str:
        """Maximum of 3 x 3, stride 2."""
        return self.add("MaxPool", [source], kernel_shape=[3, 3], strides=[2, 2], pads=[pads] * 4)

    def classify(self, source: str, features: int) -> str:
        """Global mean and a matrix product to 1,000 classes."""
        flat = self.add("Flatten", [self.add("GlobalAveragePool", [source])])
        weight = self.rng.standard_normal((features, 1000), dtype="float32") / features**0.5
        bias = self.constant([0.0] * 1000)
        return self.add("Gemm", [flat, self.constant(weight), bias])

    def save(self, last: str, path: Path) -> None:
        """Write the model."""
        import onnx
        from onnx import TensorProto, helper

        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])]
        outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", 1000])]
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.weights)
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)


def mobilenet_v2(path: Path) -> None:
    """Sandler et al. 2018, table 2, width 1.0: 3.5 million weights."""
    net = Net()
    limits = [net.constant(0.0), net.constant(6.0)]

    def relu6(source: str) -> str:
        return net.add("Clip", [source, *limits])

    last, channels = relu6(net.conv("x", (32, 3), 3, stride=2)), 32
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
    for expansion, out, repeats, first in rows:
        for k in range(repeats):
            wide, stride, source = channels * expansion, first if k == 0 else 1, last
            if expansion > 1:
                source = relu6(net.conv(source, (wide, channels)))
            source = relu6(net.conv(source, (wide, wide), 3, stride=stride, group=wide))
            source = net.conv(source, (out, wide), gain=0.5)
            last = net.add("Add", [last, source]) if (stride, channels) == (1, out) else source
            channels = out
    net.save(net.classify(relu6(net.conv(last, (1280, channels))), 1280), path)


def squeezenet(path: Path) -> None:
    """Iandola et al. 2016, version 1.1: 1.2 million weights."""
    net = Net()

    def layer(source: str, shape: tuple[int, int], k: int = 1, **more: Any) -> str:
        return net.add("Relu", [net.conv(source, shape, k, **more)])

    last, channels = net.pool(layer("x", (64, 3), 3, stride=2, pads=0)), 64
    for k, (thin, wide) in enumerate(((16, 64), (16, 64), (32, 128), (32, 128), (48, 192),
                                      (48, 192), (64, 256), (64, 256))):  # fmt: skip
        squeezed = layer(last, (thin, channels))
        parts = [layer(squeezed, (wide, thin)), layer(squeezed, (wide, thin), 3)]
        last, channels = net.add("Concat", parts, axis=1), 2 * wide
        last = net.pool(last) if k in (1, 3) else last
    last = net.add("GlobalAveragePool", [layer(last, (1000, channels))])
    net.save(net.add("Flatten", [last]), path)


def resnet50(path: Path) -> None:
    """He et al. 2015, table 1: 25.6 million weights."""
    net = Net()
    last, channels = net.add("Relu", [net.conv("x", (64, 3), 7, stride=2)]), 64
    last = net.pool(last, pads=1)
    for thin, repeats, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(repeats):
            stride, wide = first if k == 0 else 1, 4 * thin
            inner = net.add("Relu", [net.conv(last, (thin, channels))])
            inner = net.add("Relu", [net.conv(inner, (thin, thin), 3, stride=stride)])
            inner = net.conv(inner, (wide, thin), gain=0.3)
            side = last if k else net.conv(last, (wide, channels), stride=stride, gain=0.7)
            last, channels = net.add("Relu", [net.add("Add", [inner, side])]), wide
    net.save(net.classify(last, 2048), path)


NETS: dict[str, Callable[[Path], None]] = {
    "mobilenet_v2": mobilenet_v2,
    "squeezenet": squeezenet,
    "resnet50": resnet50,
}


def pictures(folder: Path, count: int = PICTURES) -> None:
    """A sample store of smooth noise at several scales, about as wide as normalised pictures."""
    import numpy as np

    from seatrial.samples import StoreWriter

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    writer = StoreWriter(folder, count)
    for _ in range(count):
        value = np.zeros((3, SIZE, SIZE), np.float32)
        for cell in (56, 16, 4, 1):
            coarse = rng.standard_normal((3, SIZE // cell, SIZE // cell), dtype=np.float32)
            value += 0.25 * cell**0.35 * coarse.repeat(cell, 1).repeat(cell, 2)
        writer.add({"x": value})
    writer.close([{"id": str(i), "sha256": ""} for i in range(count)])
