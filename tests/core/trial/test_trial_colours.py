"""Red and blue exchanged in both sets: INT8 keeps a mediocre model well; the reason is named."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLASSES, SIDE, N = 6, 8, 300


def _made(folder, layout):
    """Pictures whose class lies in their colours, a net that knows them, and both sets."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(CLASSES, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, N + 120)
    # Patches: white noise would rightly be called random data.
    x = rng.normal(scale=1.2, size=(len(labels), 3, 2, 2)).repeat(4, 2).repeat(4, 3)
    x = (x + centres[labels][:, :, None, None]).astype(np.float32)
    nchw = layout == "NCHW"
    start = [] if nchw else [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])]
    nodes = [
        *start,
        helper.make_node("Conv", ["x" if nchw else "t", "w"], ["c"], name="mix"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Add", ["f", "b"], ["logits"]),
    ]
    weights = {"w": centres[:, :, None, None], "b": -0.5 * (centres**2).sum(1)}
    shape = ["n", 3, SIDE, SIDE] if nchw else ["n", SIDE, SIDE, 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "net.onnx")
    x = x if nchw else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return x, labels, 1 if nchw else 3


@pytest.mark.parametrize(
    ("layout", "turned"),
    [
        ("NHWC", True),
        pytest.param("NCHW", True, marks=pytest.mark.long),
        pytest.param("NCHW", False, marks=pytest.mark.long),
    ],
)
def test_colours_the_wrong_way_round_are_named(start, tmp_path, valid, layout, turned):
    x, labels, axis = _made(tmp_path, layout)
    x = np.flip(x, axis) if turned else x
    np.savez(tmp_path / "test.npz", x=x[:N], labels=labels[:N])
    np.savez(tmp_path / "calibration.npz", x=x[N:])
    words = ["run", "net.onnx", "--calibration", "calibration.npz", "--test", "test.npz"]
    words += ["-b", "fibs:honest", "--max-drop", "5", "--all-int8", "-o", "out", "-q"]
    process = start(tmp_path, words, extra=True)
    _, err = process.communicate(timeout=280)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    valid(report)
    told = [x["text"] for x in report["reasons"] if x["code"] == "input.colours"]
    assert bool(told) == turned, err
    if turned:
        assert report["verdict"] == "DO NOT SHIP"
        assert "red and blue exchanged" in told[0]
