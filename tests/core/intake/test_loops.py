"""Loops that never end: refused when they are certain to begin, noted when an input decides."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
info = helper.make_tensor_value_info
FLOAT, BOOL, INT = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64

CONSTANTS = {
    "limit": np.array([9], np.float32),
    "true": np.array(True),
    "false": np.array(False),
    "few": np.array(3, np.int64),
    "many": np.array(2**62, np.int64),
}


def boolean(name: str, value: bool) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(np.array(value)))


def loop(condition: str, count: str, first: str = "true") -> onnx.GraphProto:
    """A Loop that hands on ``condition``, up to ``count`` times, begun if ``first``."""
    body = helper.make_graph(
        [
            node("Identity", ["cond_in"], ["same"]),
            node("Less", ["carried", "limit"], ["computed"]),
            boolean("constant", True),
            boolean("once", False),
            node("Add", ["carried", "carried"], ["out"]),
        ],
        "body",
        [info("i", INT, []), info("cond_in", BOOL, []), info("carried", FLOAT, [1])],
        [info(condition, BOOL, []), info("out", FLOAT, [1])],
    )
    turn = node("Loop", [count, first, "x"], ["y"], name="turn", body=body)
    cast = node("Cast", ["x"], ["asked"], to=BOOL)
    constants = [numpy_helper.from_array(v, k) for k, v in CONSTANTS.items()]
    value = [info("x", FLOAT, [1])]
    return helper.make_graph([cast, turn], "g", value, [info("y", FLOAT, None)], constants)


def model(graph: onnx.GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("condition", "count", "first"),
    [
        ("same", "", "true"),
        ("same", "many", "true"),
        ("same", "", ""),
        ("constant", "", "true"),
        ("constant", "many", ""),
    ],
)
def test_refused(condition: str, count: str, first: str, refuse) -> None:
    assert "turn: this Loop never ends" in refuse(model(loop(condition, count, first)))


@pytest.mark.parametrize(
    ("condition", "count", "first"),
    [
        ("same", "few", "true"),
        ("same", "", "false"),
        ("constant", "", "false"),
        ("computed", "", "true"),
        ("computed", "many", "true"),
        ("once", "", "true"),
        ("once", "", "asked"),
    ],
)
def test_loops_that_end(condition: str, count: str, first: str, take) -> None:
    assert take(model(loop(condition, count, first))).notes == ()


@pytest.mark.parametrize(("condition", "count"), [("same", ""), ("constant", "many")])
def test_an_input_decides(condition: str, count: str, take) -> None:
    (note,) = take(model(loop(condition, count, "asked"))).notes
    assert (note.code, note.place) == ("loop-unbounded", "turn")


def test_a_branch_that_may_never_run(take) -> None:
    inner = loop("same", "")
    then = helper.make_graph(inner.node, "then", [], inner.output, inner.initializer)
    other = helper.make_graph([node("Neg", ["x"], ["z"])], "else", [], [info("z", FLOAT, None)])
    choice = node("If", ["is"], ["r"], name="choice", then_branch=then, else_branch=other)
    cast = node("Cast", ["x"], ["is"], to=BOOL)
    outputs = [info("r", FLOAT, None)]
    graph = helper.make_graph([cast, choice], "g", [info("x", FLOAT, [1])], outputs)
    (note,) = take(model(graph)).notes
    assert (note.code, note.place) == ("loop-unbounded", "choice/then_branch/turn")
