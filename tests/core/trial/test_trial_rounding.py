"""Adaptive rounding within ``quantize``: by name and by the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial import api
from seatrial.options import QuantizeOptions
from seatrial.reference import open_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

WIDTH = 96


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: Any) -> Any:
    """A net whose second layer has a large weight per channel and many of a few steps.

    The channels that it reads are nearly one signal: errors of rounding to the nearest add up.
    The curve between the layers keeps channels from being scaled.
    """
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    first = rng.normal(size=(WIDTH, 3, 3, 3)) * 0.02 + rng.normal(size=(1, 3, 3, 3))
    second = rng.uniform(0.006, 0.028, size=(8, WIDTH, 1, 1))
    second[np.arange(8), np.arange(8)] = -4.0
    constants = {
        "w1": first, "b1": np.zeros(WIDTH), "w2": second, "b2": np.zeros(8),
        "w3": rng.normal(size=(8, 10)) * 12, "b3": np.zeros(10),
    }  # fmt: skip
    weights = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1"),
        node("Sigmoid", ["c1"], ["r1"], name="curve"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2"),
        node("GlobalAveragePool", ["c2"], ["a"], name="pool"),
        node("Flatten", ["a"], ["f"], name="flat"),
        node("Gemm", ["f", "w3", "b3"], ["y"], name="fc"),
    ]
    sides = {"x": ["N", 3, 8, 8], "y": ["N", 10]}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sides.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    x = (rng.normal(size=(96, 3, 8, 8)) + rng.normal(size=(96, 3, 1, 1))).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    # Scores about 0: then a divergence says something.
    scores = open_model(proto.SerializeToString()).run({"x": x})["y"]
    proto.graph.initializer[-1].CopyFrom(numpy_helper.from_array(-scores.mean(0), "b3"))
    onnx.save(proto, folder / "m.onnx")
    return folder


def candidates(shelf: Any, out: Any, *methods: str) -> dict[str, Any]:
    report = api.quantize(
        QuantizeOptions(
            model=str(shelf / "m.onnx"),
            calibration=str(shelf / "x.npz"),
            out=str(out / "made.onnx"),
            methods=methods,
            targets=("onnxruntime:cpu",),
            all_int8=True,
        )
    )
    assert (out / "made.onnx").exists()
    return {c["name"]: c for c in report.data["candidates"]}


def test_the_plan_rounds_where_weights_have_few_steps(shelf: Any, tmp_path: Any) -> None:
    found = candidates(shelf, tmp_path, "7-bit")
    (rounded,) = [c for name, c in found.items() if "adaround" in name]
    assert "-7bit+adaround+bias" in rounded["name"]
    plain = found[rounded["name"].replace("+adaround", "")]
    assert plain["scores"]["kl"] > 0.02
    assert rounded["scores"]["kl"] < plain["scores"]["kl"] / 2
    assert rounded["chosen"]
    assert "adaptive rounding changed" in rounded["reason"]
    assert "where it was not fitted" in rounded["reason"]
    before, after = (c["scores"]["kl"] for c in (plain, rounded))
    figures = f"{before:.4g} -> {after:.4g} by rounding"
    assert figures in rounded["reason"]


@pytest.mark.long
def test_it_can_be_named(shelf: Any, tmp_path: Any) -> None:
    found = candidates(shelf, tmp_path, "mse", "adaround")
    rounded = found["core:mse-u8-perchannel+adaround+bias"]
    assert rounded["scores"]["kl"] < found["core:mse-u8-perchannel"]["scores"]["kl"]
    assert "adaptive rounding changed" in rounded["reason"]
