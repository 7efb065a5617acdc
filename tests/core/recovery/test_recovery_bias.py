"""Bias correction on real Q/DQ models: means match, sums of steps are told, nothing else moves."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.quantize.child import insert
from seatrial.quantize.types import InsertRequest
from seatrial.recovery.child import correct, make
from seatrial.recovery.types import CorrectRequest, MakeRequest
from seatrial.reference import open_model
from seatrial.results import QdqDialect, Ref
from seatrial.testing.local import LocalJob

node = helper.make_node
CHANNELS = 6


def net(*, relu: str, biased: bool, transformer: bool = False, seed: int = 0) -> onnx.ModelProto:
    """Two layers; the weights of the second are far from zero, so its bias error is large."""
    rng = np.random.default_rng(seed)
    constants: dict[str, Any] = {"low": np.float32(0), "high": np.float32(6)}
    if transformer:
        constants |= {"w1": rng.normal(size=(8, CHANNELS)), "b1": rng.normal(size=CHANNELS)}
        constants |= {"w2": rng.normal(size=(CHANNELS, 5)) + 1, "b2": rng.normal(size=5)}
        nodes = [
            node("MatMul", ["x", "w1"], ["m1"], name="fc1"),
            node("Add", ["m1", "b1"], ["a1"], name="add1"),
            node("Relu", ["a1"], ["r1"], name="relu"),
            node("MatMul", ["r1", "w2"], ["m2"], name="fc2"),
            node("Add", ["m2", "b2"], ["y"], name="add2"),
        ]
        shapes = [["N", 4, 8], ["N", 4, 5]]
    else:
        constants |= {"w1": rng.normal(size=(CHANNELS, 3, 3, 3)), "b1": rng.normal(size=CHANNELS)}
        constants |= {"w2": rng.normal(size=(5, CHANNELS, 1, 1)) + 1, "b2": rng.normal(size=5)}
        extra = {"Relu": [], "Clip": ["low", "high"], "Tanh": []}[relu]
        nodes = [
            node("Conv", ["x", "w1", *(["b1"] if biased else [])], ["c1"], name="conv1"),
            node(relu, ["c1", *extra], ["r1"], name="act"),
            node("Conv", ["r1", "w2", *(["b2"] if biased else [])], ["y"], name="conv2"),
        ]
        shapes = [["N", 3, 8, 8], ["N", 5, 6, 6]]
    kinds = zip(("x", "y"), shapes, strict=True)
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in kinds]
    used = {name for n in nodes for name in n.input}
    weights = [
        numpy_helper.from_array(np.asarray(v, np.float32), k)
        for k, v in constants.items()
        if k in used
    ]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def pairs(model: Ref, table: Ref, dialect: QdqDialect) -> InsertRequest:
    """What is asked of the insertion."""
    return InsertRequest(model=model, ranges=table, dialect=dialect, method="percentile-99.9")


def prepared(folder: Path, store: Any, proto: onnx.ModelProto, dialect: QdqDialect) -> Any:
    """A job, float model, samples, and a Q/DQ model whose ranges clip."""
    job = LocalJob(folder / "job")
    onnx.save_model(proto, folder / "m.onnx")
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    x = np.random.default_rng(1).normal(size=(24, *shape)).astype(np.float32) + 0.5
    model, samples = job.add(folder / "m.onnx"), job.add(store({"x": x}))
    request = RangesRequest(model=model, samples=samples, statistics="sampled")
    table = job.adopt(ranges(request, job).artifact)
    made = insert(pairs(model, table, dialect), job)
    kept = folder / "qdq.onnx"
    (job.out / made.artifact.entry).rename(kept)
    return job, model, samples, job.add(kept), x


def outputs(path: Path, x: Any, optimize: str = "literal") -> Any:
    return next(iter(open_model(path, optimize=optimize).run({"x": x}).values()))


def channel_error(a: Any, b: Any, axis: int) -> Any:
    axes = tuple(k for k in range(a.ndim) if k != axis % a.ndim)
    return np.abs(a.mean(axis=axes, dtype=float) - b.mean(axis=axes, dtype=float))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    relu=st.sampled_from(["Relu", "Clip", "Tanh"]),
    biased=st.booleans(),
    kind=st.sampled_from(["int32", "float"]),
    per_channel=st.booleans(),
    seed=st.integers(0, 50),
)
def test_the_means_of_the_outputs_become_those_of_the_float_model(
    relu: str,
    biased: bool,
    kind: str,
    per_channel: bool,
    seed: int,
    store: Any,
    tmp_path_factory: Any,
) -> None:
    folder = tmp_path_factory.mktemp("bias")
    dialect = QdqDialect(bias=kind, per_channel=per_channel, reduce_range=True)
    proto = net(relu=relu, biased=biased, seed=seed)
    job, model, samples, made, x = prepared(folder, store, proto, dialect)
    result = correct(CorrectRequest(model=model, candidate=made, samples=samples), job)
    assert result.layers == 2
    assert result.skipped == 0
    assert result.samples == 24
    expected = outputs(folder / "m.onnx", x, "all")
    before = channel_error(outputs(folder / "qdq.onnx", x), expected, 1)
    after = channel_error(outputs(job.out / result.artifact.entry, x), expected, 1)
    assert after.max() < 0.02 * expected.std()
    assert after.max() <= before.max() + 1e-5


def test_a_matrix_product_is_corrected_in_the_addition_behind_it(
    tmp_path: Path, store: Any
) -> None:
    proto = net(relu="Relu", biased=True, transformer=True)
    dialect = QdqDialect(reduce_range=True)
    job, model, samples, made, x = prepared(tmp_path, store, proto, dialect)
    result = correct(CorrectRequest(model=model, candidate=made, samples=samples), job)
    assert result.layers == 2
    expected = outputs(tmp_path / "m.onnx", x, "all")
    after = channel_error(outputs(job.out / result.artifact.entry, x), expected, -1)
    assert after.max() < 0.01 * expected.std()


def test_only_biases_change_and_integer_kernels_stay(tmp_path: Path, store: Any) -> None:
    proto = net(relu="Relu", biased=False)
    job, model, samples, made, _ = prepared(tmp_path, store, proto, QdqDialect())
    result = correct(CorrectRequest(model=model, candidate=made, samples=samples), job)
    before, after = (onnx.load(p) for p in (tmp_path / "qdq.onnx", job.out / result.artifact.entry))
    onnx.checker.check_model(after)
    kinds = [n.op_type for n in before.graph.node]
    assert [n.op_type for n in after.graph.node if "bias" not in n.name] == kinds
    old = {t.name: t.SerializeToString() for t in before.graph.initializer}
    new = {t.name: t.SerializeToString() for t in after.graph.initializer}
    assert {k: new[k] for k in old} == old
    assert all("bias" in name for name in set(new) - set(old))


def test_pairs_and_biases_in_one_child_are_those_of_two(tmp_path: Path, store: Any) -> None:
    job, model, samples, made, _ = prepared(
        tmp_path, store, net(relu="Relu", biased=False), QdqDialect()
    )
    two = correct(CorrectRequest(model=model, candidate=made, samples=samples), job)
    expected = (job.out / two.artifact.entry).read_bytes()
    request = RangesRequest(model=model, samples=samples, statistics="sampled")
    table = job.adopt(ranges(request, job).artifact)
    asked = MakeRequest(insert=pairs(model, table, QdqDialect()), samples=samples)
    one = make(asked, job)
    assert one.corrected is not None
    assert (job.out / one.corrected.artifact.entry).read_bytes() == expected
    assert (one.corrected.layers, one.corrected.samples) == (2, 24)
    assert one.inserted.int8_nodes and one.inserted.artifact is None


def test_nothing_to_quantise_is_nothing_to_correct(tmp_path: Path, store: Any) -> None:
    job, model, samples, _, _ = prepared(
        tmp_path, store, net(relu="Relu", biased=True), QdqDialect()
    )
    request = RangesRequest(model=model, samples=samples, statistics="sampled")
    table = job.adopt(ranges(request, job).artifact)
    asked = dataclasses.replace(
        pairs(model, table, QdqDialect()), keep_float=("conv1", "act", "conv2")
    )
    found = make(MakeRequest(insert=asked, samples=samples), job)
    assert found.corrected is None and found.inserted.notes


def test_a_deadline_leaves_the_rest_as_it_was(tmp_path: Path, store: Any) -> None:
    proto = net(relu="Relu", biased=True)
    job, model, samples, made, _ = prepared(tmp_path, store, proto, QdqDialect())
    request = CorrectRequest(model=model, candidate=made, samples=samples, seconds=1e-9)
    result = correct(request, job)
    assert (result.layers, result.skipped) == (0, 2)
    source = onnx.load(tmp_path / "qdq.onnx")
    assert onnx.load(job.out / result.artifact.entry).graph.node == source.graph.node


def test_memory_is_bounded_by_taking_fewer_samples(
    tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatrial.recovery.staged.KEEP_BYTES", 1)
    proto = net(relu="Relu", biased=True)
    job, model, samples, made, _ = prepared(tmp_path, store, proto, QdqDialect())
    result = correct(CorrectRequest(model=model, candidate=made, samples=samples), job)
    assert (result.layers, result.samples) == (2, 8)
