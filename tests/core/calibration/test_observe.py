"""The observed graph: what is added, and in which order it runs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from seatrial.calibration.observe import may_be_nan, observed
from seatrial.calibration.order import eager, reads
from seatrial.calibration.types import MARK
from seatrial.quantize.graph import Graph

node = helper.make_node


def graph_of(proto: onnx.ModelProto) -> Graph:
    graph = Graph(proto, Path())
    graph.infer()
    return graph


def net(model: Any) -> Graph:
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
                 "m": rng.normal(size=(4, 2)).astype(np.float32)}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("GlobalAveragePool", ["r"], ["g"], name="gap"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("MatMul", ["f", "m"], ["y"], name="fc"),
        node("Softmax", ["y"], ["z"], name="softmax"),
    ]
    return graph_of(model(nodes, {"x": ["N", 3, 8, 8]}, ["z"], constants))


def test_only_what_is_needed_is_computed(model: Any) -> None:
    graph = net(model)
    before = graph.serialised()
    proto, reading = observed(graph, ["c", "r", "y"])
    assert graph.serialised() == before
    assert "softmax" not in {n.name for n in proto.graph.node}
    assert all(o.name.startswith(MARK) for o in proto.graph.output)
    assert reading.tensors == ("c", "r", "y")
    assert reading.sizes == (4, 4, 4)  # largest and smallest of c, largest of r, per channel
    assert (reading.high, reading.low) == ((0, 2, 3), (1, -1, 4))
    assert reading.negated == (True, True, False)
    assert reading.mean == (-1, -1, -1)


def test_nan_is_looked_for_behind_operators_that_make_it(model: Any) -> None:
    nodes = [
        node("Sqrt", ["x"], ["s"], name="a"),
        node("Relu", ["s"], ["r"], name="b"),
        node("Relu", ["r"], ["t"], name="c"),
        node("Neg", ["t"], ["u"], name="d"),
    ]
    graph = graph_of(model(nodes, {"x": [1, 3, 4, 4]}, ["u"]))
    assert may_be_nan(graph, ["r", "t", "u"]) == {"r"}
    graph.proto.node[3].domain = "acme"
    assert may_be_nan(graph, ["r", "t", "u"]) == {"r", "u"}
    assert may_be_nan(graph, ["t"]) == {"t"}


@given(st.integers(0, 10_000))
def test_statistics_follow_what_they_read(seed: int) -> None:
    """Random graphs: the order stays valid, and every statistic comes as early as it can."""
    rng = np.random.default_rng(seed)
    nodes, tensors = [], ["x"]
    for k in range(int(rng.integers(1, 12))):
        sources = rng.choice(tensors, size=int(rng.integers(1, 3))).tolist()
        nodes.append(node("Op", sources, [f"t{k}"], name=f"n{k}"))
        tensors.append(f"t{k}")
    outputs = []
    for k, name in enumerate(rng.choice(tensors[1:], size=int(rng.integers(1, 4)))):
        nodes.append(node("Neg", [str(name)], [f"flip{k}"], name=f"flip{k}"))
        nodes.append(node("Max", [f"flip{k}"], [f"{MARK}_{k}"], name=f"max{k}"))
        outputs.append(f"{MARK}_{k}")
    nodes.append(node("Join", tensors, ["end"], name="n_end"))
    outputs.append("end")
    ordered = eager(nodes, outputs, MARK)
    assert sorted(n.name for n in ordered) == sorted(n.name for n in nodes)
    written, place = {"x"}, {}
    for k, item in enumerate(ordered):
        assert written.issuperset(reads(item))
        written.update(item.output)
        place[item.name] = k
    main = [n.name for n in ordered if not n.name.startswith(("flip", "max"))]
    for k in range(len(outputs) - 1):
        assert place[f"max{k}"] == place[f"flip{k}"] + 1
        source = next(n for n in nodes if n.name == f"flip{k}").input[0]
        behind = [n for n in main if place[f"n{source[1:]}"] < place[n] < place[f"flip{k}"]]
        assert behind == []
