"""Control flow: If, Loop and Scan."""

from __future__ import annotations

from typing import Any

from .maker import Maker, model, value


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    _if(maker)
    _loop(maker)
    _scan(maker)


def _if(maker: Maker) -> None:
    import numpy as np
    from onnx import TensorProto, helper

    x = maker.rng().normal(0, 1, (2, 3)).astype(np.float32)
    out = value("y", x)
    inner = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])]

    def branch(op: str) -> Any:
        node = helper.make_node(op, ["x"], ["z"], name=op.lower())
        return helper.make_graph([node], op, [], inner)

    def chosen(name: str, condition: str) -> Any:
        return helper.make_node(
            "If",
            [condition],
            ["y"],
            name=name,
            then_branch=branch("Relu"),
            else_branch=branch("Neg"),
        )

    flag = np.array(False)
    made = model([chosen("choice", "c")], [value("x", x), value("c", flag)], [out])
    maker.add("flow/If", made, {"x": x, "c": flag})
    made = model([chosen("choice", "c")], [value("x", x)], [out], {"c": np.array(True)})
    maker.add("flow/If-constant", made, {"x": x})
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], name="total", keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"], name="positive"),
        chosen("choice", "c"),
    ]
    made = model(nodes, [value("x", x)], [out], {"zero": np.array(0, np.float32)})
    maker.add("flow/If-on-data", made, {"x": x})


def _loop(maker: Maker) -> None:
    import numpy as np
    from onnx import TensorProto, helper

    x = maker.rng().normal(0, 1, (2, 3)).astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "x"], ["v_out"], name="add"),
            helper.make_node("Identity", ["c"], ["c_out"], name="on"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [2, 3]),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, [2, 3]),
        ],
    )
    node = helper.make_node("Loop", ["n", "go", "x"], ["y"], name="loop", body=body)
    go = {"go": np.array(True)}
    times = np.array(4, np.int64)
    out = [value("y", x)]
    fixed = model([node], [value("x", x)], out, {**go, "n": times})
    maker.add("flow/Loop", fixed, {"x": x}, truth={"y": x * 5})
    fed = model([node], [value("x", x), value("n", times)], out, go)
    maker.add("flow/Loop-count-fed", fed, {"x": x, "n": times}, truth={"y": x * 5})


def _scan(maker: Maker) -> None:
    import numpy as np
    from onnx import TensorProto, helper

    x = maker.rng().normal(0, 1, (4, 3)).astype(np.float32)
    row = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "r"], ["s_out"], name="add"),
            helper.make_node("Identity", ["s_out"], ["o"], name="give"),
        ],
        "body",
        [row("s", TensorProto.FLOAT, [3]), row("r", TensorProto.FLOAT, [3])],
        [row("s_out", TensorProto.FLOAT, [3]), row("o", TensorProto.FLOAT, [3])],
    )
    node = helper.make_node("Scan", ["zero", "x"], ["last", "y"], name="scan", body=body)
    node.attribute.append(helper.make_attribute("num_scan_inputs", 1))
    start = {"zero": np.zeros(3, np.float32)}
    sums = np.cumsum(x, 0, dtype=np.float32)
    made = model([node], [value("x", x)], [value("last", sums[-1]), value("y", x)], start)
    maker.add("flow/Scan", made, {"x": x}, truth={"last": sums[-1], "y": sums})
