"""Legal models of unusual form: names, functions, external data, outputs."""

from __future__ import annotations

from typing import Any

from .maker import Maker, model, value

#: Node names that have broken somebody's parser, log or report.
_NAMES = {
    "empty": "",
    "unicode": "Schicht→1 ✓",
    "markup": "[bold red]<b>&amp;",
    "slashes": "/model/layer.0/conv/../Conv",
    "long": "layer" * 60,
}


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    _names(maker)
    _outputs(maker)
    _function(maker)
    _external(maker)
    _old_ir(maker)


def _chain(first: str, second: str) -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("Relu", ["x"], ["h"], name=first),
        helper.make_node("Add", ["h", "x"], ["y"], name=second),
    ]


def _x(maker: Maker) -> Any:
    import numpy as np

    return maker.rng().normal(0, 1, (2, 4)).astype(np.float32)


def _names(maker: Maker) -> None:
    x = _x(maker)
    for title, name in _NAMES.items():
        made = model(_chain(name, f"{name}2" if name else ""), [value("x", x)], ["y"])
        maker.add(f"form/name-{title}", made, {"x": x})
    made = model(_chain("same", "same"), [value("x", x)], ["y"])
    maker.add("form/name-twice", made, {"x": x})


def _outputs(maker: Maker) -> None:
    import numpy as np
    from onnx import helper

    x = _x(maker)
    inner = model(_chain("relu", "add"), [value("x", x)], [value("y", x), value("h", x)])
    maker.add("form/output-inside", inner, {"x": x})
    both = model(
        [helper.make_node("Identity", ["x"], ["y"], name="pass")], [value("x", x)], [value("y", x)]
    )
    maker.add("form/output-is-input", both, {"x": x})
    unused = model(_chain("relu", "add"), [value("x", x), value("extra", x)], [value("y", x)])
    maker.add("form/input-unused", unused, {"x": x, "extra": x})
    w = np.arange(4, dtype=np.float32)
    constant = helper.make_node("Mul", ["w", "w"], ["y"], name="constant")
    relu = helper.make_node("Relu", ["x"], ["z"], name="relu")
    made = model([constant, relu], [value("x", x)], [value("y", w), value("z", x)], {"w": w})
    maker.add("form/output-constant", made, {"x": x})


def _function(maker: Maker) -> None:
    """A local function, called twice."""
    from onnx import helper

    x = _x(maker)
    double = helper.make_function(
        "kit.local",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Double", ["x"], ["h"], name="one", domain="kit.local"),
        helper.make_node("Double", ["h"], ["y"], name="two", domain="kit.local"),
    ]
    made = model(
        nodes, [value("x", x)], [value("y", x)], domains=("kit.local",), functions=[double]
    )
    maker.add("form/function", made, {"x": x}, truth={"y": x * 4})


def _external(maker: Maker) -> None:
    """Weights in a file beside the model."""
    import numpy as np
    from onnx import TensorProto, helper

    x = _x(maker)
    w = maker.rng().normal(0, 1, (4, 3)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="only")
    made = model([node], [value("x", x)], [value("y", x @ w)], {"w": w})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "weights.bin"), ("offset", "0"), ("length", str(w.nbytes))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    files = {"weights.bin": w.tobytes()}
    maker.add("form/external-data", made, {"x": x}, truth={"y": x @ w}, files=files)


def _old_ir(maker: Maker) -> None:
    """IR version 3: weights are inputs with a default."""
    import numpy as np
    from onnx import helper

    x = _x(maker)
    w = np.full((2, 4), 2, np.float32)
    node = helper.make_node("Mul", ["x", "w"], ["y"], name="only")
    made = model([node], [value("x", x), value("w", w)], [value("y", x)], {"w": w}, at=8)
    made.ir_version = 3
    maker.add("form/ir-3", made, {"x": x}, truth={"y": x * 2})
