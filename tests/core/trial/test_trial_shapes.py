"""A model that only free shapes let through is built with them, and the report says so."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def conditional(path):
    """Rows one by one or many: with a batch of one the other body's ranks contradict each other."""
    bodies = {
        "then_branch": [
            helper.make_node("Squeeze", ["x"], ["s"]),
            helper.make_node("Transpose", ["s"], ["t"], perm=[0, 1]),
            helper.make_node("MatMul", ["t", "w"], ["a"]),
        ],
        "else_branch": [helper.make_node("MatMul", ["x", "w"], ["b"], "product")],
    }
    branches = {
        name: helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])])
        for name, nodes in bodies.items()
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"], axis=0),
        helper.make_node("Greater", ["rows", "one"], ["many"]),
        helper.make_node("If", ["many"], ["y"], "either", **branches),
    ]
    weights = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    constants = {"w": weights, "zero": np.int64(0), "one": np.int64(1)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return weights


@pytest.mark.long
def test_control_flow_that_static_shapes_contradict_is_tried_with_free_ones(start, tmp_path, valid):
    weights = conditional(tmp_path / "net.onnx")
    x = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=x, labels=(x @ weights).argmax(1))
    np.savez(tmp_path / "calibration.npz", x=x[::-1][:40] * 0.9)
    words = ["run", "net.onnx", "--calibration", "calibration.npz", "--test", "test.npz"]
    words += ["--quick", "-b", "onnxruntime:cpu", "-o", "out", "--max-latency", "p50=1s"]
    process = start(tmp_path, words, extra=False)
    _, err = process.communicate(timeout=180)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    valid(report)
    assert process.returncode == 0, err
    (target,) = report["targets"]
    assert target["verdict"] == "SHIP" and target["answers"]["fast"] == "SHIP"
    (told,) = [f for f in target["built"]["findings"] if "free shapes" in f["reason"]]
    assert told["severity"] == "warning" and "x 1x8" in told["reason"]
    assert {row["form"] for row in target["benchmark"]} == {"dynamic"}
    assert any("bodies of control flow, which hold 2" in row["text"] for row in report["reasons"])
