"""Element types, opsets and shapes."""

from __future__ import annotations

from typing import Any

from .maker import Maker, model, value
from .nets import cnn

#: Which dimensions are free, and the shape that is fed.
_FREE: tuple[tuple[str, list[int | str | None], tuple[int, ...]], ...] = (
    ("batch", ["n", 3, 16, 16], (3, 3, 16, 16)),
    ("image", [1, 3, "h", "w"], (1, 3, 20, 12)),
    ("everything", ["n", 3, None, None], (2, 3, 9, 10)),
)

#: Lowest opset of the ladder: exporters before it are gone.
OLDEST = 7


def fill(maker: Maker) -> None:
    """Add the families ``dtypes``, ``opsets`` and ``shapes``."""
    _dtypes(maker)
    _casts(maker)
    _opsets(maker)
    _meanings(maker)
    _shapes(maker)


def _dtypes(maker: Maker) -> None:
    """A matrix product, a sum or a logical operator in each element type."""
    import numpy as np
    from onnx import helper

    rng = maker.rng()
    for name in ("float16", "float64", "int32", "int64", "int8", "uint8"):
        a, b = (rng.integers(0, 5, (2, 4)).astype(name) for _ in range(2))
        node = helper.make_node("Add", ["a", "b"], ["y"], name="only")
        made = model([node], [value("a", a), value("b", b)], ["y"])
        maker.add(f"dtypes/Add-{name}", made, {"a": a, "b": b})
    for name in ("float16", "float64", "int32"):
        x = rng.integers(-3, 4, (2, 4)).astype(name)
        w = rng.integers(-3, 4, (4, 3)).astype(name)
        node = helper.make_node("MatMul", ["x", "w"], ["y"], name="only")
        made = model([node], [value("x", x)], ["y"], {"w": w})
        maker.add(f"dtypes/MatMul-{name}", made, {"x": x})
    x = rng.normal(0, 1, (1, 2, 5, 5)).astype(np.float16)
    w = rng.normal(0, 0.3, (3, 2, 3, 3)).astype(np.float16)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="only")
    maker.add("dtypes/Conv-float16", model([node], [value("x", x)], ["y"], {"w": w}), {"x": x})


def _casts(maker: Maker) -> None:
    """There and back: a network that takes bytes, as a camera gives them."""
    import numpy as np
    from onnx import TensorProto, helper

    rng = maker.rng()
    x = rng.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    w = rng.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "scale"], ["s"], name="scale"),
        helper.make_node("Conv", ["s", "w"], ["y"], name="conv"),
    ]
    weights = {"scale": np.array(1 / 255, np.float32), "w": w}
    maker.add("dtypes/uint8-image", model(nodes, [value("x", x)], ["y"], weights), {"x": x})
    h = rng.normal(0, 1, (2, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], name="half", to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["h", "h"], ["m"], name="square"),
        helper.make_node("Cast", ["m"], ["y"], name="back", to=TensorProto.FLOAT),
    ]
    maker.add("dtypes/mixed-float16", model(nodes, [value("x", h)], ["y"]), {"x": h})


def _opsets(maker: Maker) -> None:
    """The same network at every opset."""
    import numpy as np
    from onnx import defs

    for at in range(OLDEST, defs.onnx_opset_version() + 1):
        rng = maker.rng()
        net = cnn(rng)
        x = rng.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
        made = model(net.nodes, [value("x", x)], ["y"], net.weights, at=at)
        maker.add(f"opsets/{at}", made, {"x": x})


def _meanings(maker: Maker) -> None:
    """Operators whose meaning or form changed between opsets."""
    import numpy as np
    from onnx import helper

    x = maker.rng().normal(0, 1, (2, 3, 4)).astype(np.float32)
    given = [value("x", x)]
    # Until opset 12 the axis splits the shape in two and both halves are flattened.
    soft = [helper.make_node("Softmax", ["x"], ["y"], name="only", axis=1)]
    flat = np.exp(x.reshape(2, 12) - x.reshape(2, 12).max(1, keepdims=True))
    old = (flat / flat.sum(1, keepdims=True)).reshape(x.shape)
    out = [value("y", x)]
    maker.add("opsets/Softmax-11", model(soft, given, out, at=11), {"x": x}, truth={"y": old})
    maker.add("opsets/Softmax-13", model(soft, given, out, at=13), {"x": x})
    clip = [helper.make_node("Clip", ["x"], ["y"], name="only", min=-0.5, max=0.5)]
    truth = {"y": np.clip(x, -0.5, 0.5)}
    maker.add("opsets/Clip-7", model(clip, given, out, at=7), {"x": x}, truth=truth)
    pad = [helper.make_node("Pad", ["x"], ["y"], name="only", pads=[0, 0, 1, 0, 0, 1])]
    truth = {"y": np.pad(x, ((0, 0), (0, 0), (1, 1)))}
    out = [value("y", truth["y"])]
    maker.add("opsets/Pad-7", model(pad, given, out, at=7), {"x": x}, truth=truth)
    mean = [helper.make_node("ReduceMean", ["x", "a"], ["y"], name="only")]
    axes = {"a": np.array([1], np.int64)}
    maker.add("opsets/ReduceMean-18", model(mean, given, ["y"], axes, at=18), {"x": x})


def _shapes(maker: Maker) -> None:
    """Free dimensions, scalars, empty tensors, and shapes that are computed."""
    import numpy as np
    from onnx import helper

    rng = maker.rng()
    net = cnn(rng)
    for name, free, shape in _FREE:
        x = rng.normal(0, 1, shape).astype(np.float32)
        out = [value("y", x, [free[0], 10])]
        made = model(net.nodes, [value("x", x, free)], out, net.weights)
        maker.add(f"shapes/dynamic-{name}", made, {"x": x}, dynamic=True)
    x = rng.normal(0, 1, (5, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], name="rows"),
        helper.make_node("Concat", ["n", "rest"], ["t"], name="target", axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"], name="reshape"),
    ]
    weights = {"zero": np.array([0], np.int64), "rest": np.array([2, 4], np.int64)}
    out = [value("y", x, ["n", 2, 4])]
    made = model(nodes, [value("x", x, ["n", 8])], out, weights)
    maker.add("shapes/computed", made, {"x": x}, dynamic=True)
    _odd_shapes(maker, rng)


def _odd_shapes(maker: Maker, rng: Any) -> None:
    import numpy as np
    from onnx import helper

    relu = [helper.make_node("Relu", ["x"], ["y"], name="only")]
    for name, shape in (("scalar", ()), ("one", (1,)), ("rank-6", (1, 2, 1, 2, 1, 3))):
        x = np.asarray(rng.normal(0, 1, shape), np.float32)
        maker.add(f"shapes/{name}", model(relu, [value("x", x)], ["y"]), {"x": x})
    x = np.zeros((0, 4), np.float32)
    maker.add("shapes/empty", model(relu, [value("x", x)], ["y"]), {"x": x})
