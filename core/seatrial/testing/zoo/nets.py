"""Whole small networks: what is put together breaks differently from its parts."""

from __future__ import annotations

from typing import Any

from .maker import Maker, model, value


class Parts:
    """Collects nodes and weights of one network.

    Args:
        rng: for the weights.
    """

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}

    def weight(self, name: str, *shape: int, scale: float = 0.3) -> str:
        """A float32 weight; its name."""
        import numpy as np

        self.weights[name] = self.rng.normal(0, scale, shape).astype(np.float32)
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """A node named like its only output; that name."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def cnn(rng: Any) -> Parts:
    """Conv, Relu, depthwise Conv, Add, mean, Gemm on (n, 3, 16, 16); operators of opset 7."""
    net = Parts(rng)
    h = net.node(
        "Conv", ["x", net.weight("w1", 8, 3, 3, 3), net.weight("b1", 8)], "first", pads=[1] * 4
    )
    h = net.node("Relu", [h], "act")
    d = net.node("Conv", [h, net.weight("w2", 8, 1, 3, 3)], "depth", pads=[1] * 4, group=8)
    h = net.node("Add", [d, h], "sum")
    h = net.node("GlobalAveragePool", [h], "mean")
    h = net.node("Flatten", [h], "flat")
    net.node("Gemm", [h, net.weight("w3", 10, 8), net.weight("b3", 10)], "y", transB=1)
    return net


def plain(rng: Any) -> Parts:
    """Relu and two sums on (1, 3, 16, 16): what even the smallest backend takes."""
    net = Parts(rng)
    net.node("Relu", ["x"], "act")
    net.node("Add", ["act", net.weight("w", 3, 1, 1)], "shifted")
    net.node("Add", ["shifted", "x"], "y")
    return net


def attention(rng: Any) -> Parts:
    """One block of self-attention with layer norm on (1, 6, 8)."""
    import numpy as np

    net = Parts(rng)
    for name in "qkv":
        net.node("MatMul", ["x", net.weight(f"w{name}", 8, 8)], name)
    net.node("Transpose", ["k"], "kt", perm=[0, 2, 1])
    net.node("MatMul", ["q", "kt"], "scores")
    net.weights["scale"] = np.array(0.35, np.float32)
    net.node("Mul", ["scores", "scale"], "scaled")
    net.node("Softmax", ["scaled"], "weights", axis=-1)
    net.node("MatMul", ["weights", "v"], "mixed")
    net.node("Add", ["mixed", "x"], "residual")
    net.node("LayerNormalization", ["residual", net.weight("g", 8), net.weight("b", 8)], "y")
    return net


def mobile(rng: Any) -> Parts:
    """An inverted residual with squeeze-and-excite and hard swish on (1, 4, 8, 8)."""
    net = Parts(rng)
    h = net.node("Conv", ["x", net.weight("w1", 12, 4, 1, 1)], "expand")
    h = net.node("HardSwish", [h], "swish1")
    h = net.node("Conv", [h, net.weight("w2", 12, 1, 3, 3)], "depth", pads=[1] * 4, group=12)
    s = net.node("GlobalAveragePool", [h], "squeeze")
    s = net.node("Conv", [s, net.weight("w3", 3, 12, 1, 1)], "reduce")
    s = net.node("Relu", [s], "act")
    s = net.node("Conv", [s, net.weight("w4", 12, 3, 1, 1)], "excite")
    s = net.node("HardSigmoid", [s], "gate")
    h = net.node("Mul", [h, s], "gated")
    h = net.node("Conv", [h, net.weight("w5", 4, 12, 1, 1)], "project")
    net.node("Add", [h, "x"], "y")
    return net


def upsampling(rng: Any) -> Parts:
    """Down, up and a skip connection, as in a segmentation net, on (1, 3, 8, 8)."""
    import numpy as np

    net = Parts(rng)
    a = net.node("Conv", ["x", net.weight("w1", 6, 3, 3, 3)], "down1", pads=[1] * 4)
    a = net.node("Relu", [a], "act1")
    b = net.node("MaxPool", [a], "pool", kernel_shape=[2, 2], strides=[2, 2])
    b = net.node("Conv", [b, net.weight("w2", 6, 6, 3, 3)], "down2", pads=[1] * 4)
    net.weights["twice"] = np.array([1, 1, 2, 2], np.float32)
    b = net.node(
        "Resize",
        [b, "", "twice"],
        "up",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
    )
    h = net.node("Concat", [a, b], "skip", axis=1)
    h = net.node("Conv", [h, net.weight("w3", 2, 12, 1, 1)], "head")
    net.node("Softmax", [h], "y", axis=1)
    return net


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    import numpy as np

    shapes = {
        "cnn": (cnn, (1, 3, 16, 16)),
        "plain": (plain, (1, 3, 16, 16)),
        "attention": (attention, (1, 6, 8)),
        "mobile": (mobile, (1, 4, 8, 8)),
        "upsampling": (upsampling, (1, 3, 8, 8)),
    }
    for name, (build, shape) in shapes.items():
        rng = maker.rng()
        net = build(rng)
        x = rng.normal(0, 1, shape).astype(np.float32)
        made = model(net.nodes, [value("x", x)], ["y"], net.weights)
        maker.add(f"nets/{name}", made, {"x": x})
