"""Weights of channels against the error that they really cause."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.choose import chosen
from seatrial.calibration.table import load
from seatrial.calibration.types import RangesRequest
from seatrial.errors import UserError
from seatrial.quantize.graph import Graph
from seatrial.recovery.child import weigh
from seatrial.recovery.importance import Importance
from seatrial.recovery.types import WeighRequest
from seatrial.reference import open_model
from seatrial.testing.local import LocalJob

node = helper.make_node


def graph_of(nodes: Any, shapes: Any, constants: Any) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    weights = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(["Conv", "grouped", "depthwise", "Gemm", "MatMul", "norm"]),
    seed=st.integers(0, 1000),
)
def test_weights_are_the_output_error_of_noise_in_one_channel(kind: str, seed: int) -> None:
    """One linear layer: error variance of the output per variance of the channel's noise."""
    rng = np.random.default_rng(seed)
    channels, size = 4, 12
    spread = 10.0 ** rng.uniform(-1, 1, channels)
    image = kind not in ("Gemm", "MatMul")
    shape = ["N", channels, size, size] if image else ["N", channels]
    if kind == "norm":
        constants = {"s": spread, "b": np.zeros(4), "m": np.zeros(4), "v": np.ones(4)}
        layer = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
        out: list[Any] = shape
    elif image:
        group = {"Conv": 1, "grouped": 2, "depthwise": 4}[kind]
        weight = rng.normal(size=(4, channels // group, 3, 3))
        if group == 1:
            weight *= spread[None, :, None, None]
        constants = {"w": weight}
        layer = node("Conv", ["x", "w"], ["y"], group=group)
        out = ["N", 4, size - 2, size - 2]
    else:
        constants = {"w": rng.normal(size=(channels, 5)) * spread[:, None]}
        layer = node(kind, ["x", "w"], ["y"])
        out = ["N", 5]
    model = graph_of([layer], {"x": shape, "y": out}, constants)
    graph = Graph(model, Path())
    graph.infer()
    found = Importance(graph).of("x")
    assert found is not None
    axis, weights = found
    assert axis == 1
    assert weights.mean() == pytest.approx(1, rel=0.01)
    session = open_model(model.SerializeToString())
    noise = rng.normal(size=(64, channels, size, size) if image else (8192, channels))
    zero = session.run({"x": np.zeros(noise.shape, np.float32)})["y"]
    errors = []
    for c in range(channels):
        x = np.zeros(noise.shape, np.float32)
        x[:, c] = noise[:, c]
        errors.append(np.square(session.run({"x": x})["y"] - zero).sum())
    share = np.array(errors) / np.sum(errors)
    # Positions at the border are read less often: the same for all channels, up to noise.
    np.testing.assert_allclose(weights / weights.sum(), share, rtol=0.35, atol=0.01)


def test_a_channel_that_nothing_reads_does_not_widen_the_range(tmp_path: Path, store: Any) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 4, 1, 1))
    weight[:, 3] *= 1e-3
    nodes = [node("Relu", ["x"], ["r"]), node("Conv", ["r", "w"], ["y"])]
    shape = ["N", 4, 16, 16]
    model = graph_of(nodes, {"x": shape, "y": shape}, {"w": weight})
    onnx.save_model(model, tmp_path / "m.onnx")
    x = rng.normal(size=(32, 4, 16, 16)).astype(np.float32)
    x[:, 3] *= 8
    job = LocalJob(tmp_path / "job")
    ref, samples = job.add(tmp_path / "m.onnx"), job.add(store({"x": x}))
    request = RangesRequest(model=ref, samples=samples, statistics="sampled")
    made = ranges(request, job).artifact
    plain = load(job.out / made.entry)
    (job.out / made.entry).rename(tmp_path / "plain.json")
    table = job.add(tmp_path / "plain.json")
    result = weigh(WeighRequest(model=ref, ranges=table, samples=samples), job)
    assert result.uneven >= 1
    weighed = load(job.out / result.artifact.entry)
    assert weighed.range("r") == plain.range("r")
    assert chosen(weighed, "mse")["r"][1] < 0.7 * chosen(plain, "mse")["r"][1]


def test_a_table_without_histograms_is_refused(tmp_path: Path, store: Any) -> None:
    model = graph_of(
        [node("Conv", ["x", "w"], ["y"])],
        {"x": ["N", 1, 4, 4], "y": ["N", 1, 4, 4]},
        {"w": np.ones((1, 1, 1, 1))},
    )
    onnx.save_model(model, tmp_path / "m.onnx")
    x = np.ones((1, 1, 4, 4), np.float32)
    job = LocalJob(tmp_path / "job")
    ref, samples = job.add(tmp_path / "m.onnx"), job.add(store({"x": x}))
    table = job.adopt(ranges(RangesRequest(model=ref, samples=samples), job).artifact)
    with pytest.raises(UserError, match="histograms"):
        weigh(WeighRequest(model=ref, ranges=table, samples=samples), job)
