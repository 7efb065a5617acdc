"""What becomes INT8, what stays float, and why."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from seatrial.quantize.plan import Plan, make_plan
from seatrial.quantize.prepare import prepare

node = helper.make_node
RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4, 1, 1)).astype(np.float32)


def planned(proto: onnx.ModelProto, folder: Path, **more: Any) -> tuple[Plan, dict[str, str]]:
    onnx.save_model(proto, folder / "m.onnx")
    plan = make_plan(prepare(folder / "m.onnx").graph, **more)
    return plan, {n.node: n.reason for n in plan.floats.values()}


def test_an_attention_block(model: Any, tmp_path: Path) -> None:
    """Products are INT8; softmax, normalisation and the residual stream stay float."""
    square = RNG.normal(size=(8, 8)).astype(np.float32)
    nodes = [
        node("LayerNormalization", ["x", "g", "b"], ["n"], name="norm"),
        node("MatMul", ["n", "q"], ["mq"], name="query"),
        node("Add", ["mq", "b"], ["aq"], name="query_bias"),
        node("MatMul", ["n", "k"], ["ak"], name="key"),
        node("Transpose", ["ak"], ["t"], name="turn", perm=[0, 2, 1]),
        node("MatMul", ["aq", "t"], ["s"], name="scores"),
        node("Softmax", ["s"], ["p"], name="softmax"),
        node("MatMul", ["p", "n"], ["o"], name="mix"),
        node("Add", ["o", "x"], ["y"], name="residual"),
    ]
    constants = {"q": square, "k": square, "g": np.ones(8, np.float32),
                 "b": np.zeros(8, np.float32)}  # fmt: skip
    proto = model(nodes, {"x": [1, 5, 8]}, ["y"], constants)
    plan, floats = planned(proto, tmp_path)
    assert {u.nodes[0].name for u in plan.units} == {"query", "key", "turn", "scores", "mix"}
    assert [n.name for n in plan.units[0].nodes] == ["query", "query_bias"]
    assert set(plan.roots) == {"n", "aq", "ak", "t", "p"}
    assert plan.roots["t"] == plan.roots["ak"]
    assert set(plan.observe) == {"n", "aq", "ak", "p"}
    assert floats["softmax"] == floats["norm"] == "no kernel dialect"
    assert floats["residual"] == "float neighbours: x is float"


def test_squeeze_and_excite_gates_stay_float(model: Any, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("GlobalAveragePool", ["c"], ["g"], name="gap"),
        node("Conv", ["g", "w"], ["e"], name="excite"),
        node("Sigmoid", ["e"], ["s"], name="gate"),
        node("Mul", ["c", "s"], ["m"], name="scale"),
        node("Conv", ["m", "w"], ["y"], name="last"),
    ]
    plan, floats = planned(model(nodes, {"x": [1, 4, 6, 6]}, ["y"], {"w": W}), tmp_path)
    assert {u.nodes[0].name for u in plan.units} == {"conv", "gap", "excite", "last"}
    assert floats == {
        "gate": "no kernel dialect",
        "scale": "float neighbours: s is float",
    }
    assert "m" in plan.roots


def test_reasons_of_nodes_that_never_can(model: Any, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "v"], ["c"], name="dynamic"),
        node("Shape", ["c"], ["h"], name="shape"),
        node("Concat", ["h", "h"], ["hh"], name="join", axis=0),
        node("Add", ["c", "one"], ["a"], name="shift"),
        node("Acme", ["a"], ["y"], name="own", domain="acme"),
    ]
    proto = model(nodes[:4], {"x": [1, 4, 6, 6], "v": [4, 4, 1, 1]}, ["a", "hh"],
                  {"one": np.float32(1)})  # fmt: skip
    proto.graph.node.append(nodes[4])
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    plan, floats = planned(proto, tmp_path)
    assert plan.units == []
    assert floats["dynamic"] == "not quantizable: its weight is not constant"
    assert floats["join"].startswith("not quantizable: h is not known to be float32")
    assert floats["shift"] == "not quantizable: an operand is constant"
    assert floats["own"] == "no kernel dialect: domain acme"


def test_a_tensor_without_range_keeps_its_nodes_float(model: Any, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="first"),
        node("Conv", ["c", "w"], ["d"], name="second"),
        node("Conv", ["d", "w"], ["y"], name="third"),
    ]
    proto = model(nodes, {"x": [1, 4, 6, 6]}, ["y"], {"w": W})
    plan, floats = planned(proto, tmp_path, has_range=lambda t: t != "c")
    assert [u.nodes[0].name for u in plan.units] == ["third"]
    assert floats["first"] == floats["second"] == "no calibrated range: c"


def test_an_activation_is_fused_only_where_nobody_else_looks(model: Any, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Add", ["c", "r"], ["a"], name="add"),
        node("Conv", ["a", "w"], ["y"], name="last"),
    ]
    plan, _ = planned(model(nodes, {"x": [1, 4, 6, 6]}, ["y"], {"w": W}), tmp_path)
    assert [[n.name for n in u.nodes] for u in plan.units] == [
        ["conv"],
        ["relu"],
        ["add"],
        ["last"],
    ]
    assert {"c", "r", "a", "y"} < set(plan.roots)


def test_grouped_transposed_convolutions_get_one_scale(model: Any, tmp_path: Path) -> None:
    for group, axis in ((1, 1), (2, None)):
        weight = np.ones((4, 4 // group, 2, 2), np.float32)
        nodes = [node("ConvTranspose", ["x", "w"], ["y"], name="up", group=group)]
        proto = model(nodes, {"x": [1, 4, 6, 6]}, ["y"], {"w": weight})
        plan, _ = planned(proto, tmp_path)
        assert plan.units[0].axis == axis
