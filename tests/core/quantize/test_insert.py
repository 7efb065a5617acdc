"""Q/DQ models against the float model with fake-quantised numbers, on the real runtime."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.choose import chosen
from seatrial.calibration.table import load
from seatrial.calibration.types import METHODS, RangesRequest
from seatrial.errors import UserError
from seatrial.quantize.child import insert
from seatrial.quantize.scales import (
    activation_scale,
    bias_scale,
    fake_quantize,
    quantize_bias,
    quantize_weight,
    weight_scale,
)
from seatrial.quantize.schemes import scheme
from seatrial.quantize.types import InsertRequest
from seatrial.reference import open_model, optimised
from seatrial.results import QdqDialect
from seatrial.testing.local import LocalJob

U8 = QdqDialect()
S8 = QdqDialect(activations="int8", symmetric=True, bias="float")
DIALECTS = [U8, S8, QdqDialect(per_channel=False), QdqDialect(reduce_range=True)]
node = helper.make_node
NO_FIXTURE_RESET = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def run(proto: onnx.ModelProto | Path, feeds: dict[str, Any], optimize: str = "none") -> Any:
    source = proto if isinstance(proto, Path) else proto.SerializeToString()
    return next(iter(open_model(source, optimize=optimize, threads=1).run(feeds).values()))


def calibrated(proto: onnx.ModelProto, arrays: dict[str, Any], job: LocalJob, store: Any) -> Any:
    """The model's reference in the job, and its table."""
    path = job.scratch / "float.onnx"
    onnx.save_model(proto, path)
    ref = job.add(path)
    result = ranges(RangesRequest(model=ref, samples=job.add(store(arrays)), threads=1), job)
    return ref, job.adopt(result.artifact), load(job.out / result.artifact.entry)


def quantised(ref: Any, table: Any, job: LocalJob, dialect: QdqDialect, **more: Any) -> Any:
    return insert(InsertRequest(model=ref, ranges=table, dialect=dialect, **more), job)


def dequantised(weight: Any, axis: int | None, d: QdqDialect, bias: Any, step: float) -> Any:
    """Weight and bias as the integers represent them."""
    axis = axis if d.per_channel else None
    integer = bias if d.bias == "int32" else None
    scale = weight_scale(weight, axis, d, integer, step)
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    integers = quantize_weight(weight, scale, axis, d).astype(np.float32)
    wide = (integers * scale.scale.reshape(shape if axis is not None else ())).astype(np.float32)
    if integer is None:
        return wide, bias
    b = bias_scale(step, scale)
    return wide, (quantize_bias(bias, b) * b.scale).astype(np.float32)


def assert_same_steps(got: Any, expected: Any, step: float) -> None:
    """Equal, except where rounding of a sum falls on the other side of a half step."""
    assert got.shape == expected.shape
    off = np.abs(got - expected) > 0.01 * step
    assert np.abs(got - expected).max() <= 1.01 * step
    assert off.mean() < 0.01


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """One multiply-accumulate operator with random shapes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "Gemm", "MatMul"]))
    if kind in ("Conv", "ConvTranspose"):
        group = draw(st.sampled_from([1, 2, 4]))
        k = draw(st.sampled_from([1, 3]))
        into, out = 4, draw(st.sampled_from([4, 8]))
        shape = (out, into // group, k, k) if kind == "Conv" else (into, out // group, k, k)
        axis = 0 if kind == "Conv" else (1 if group == 1 else None)
        spec = {"attributes": {"group": group}, "axis": axis, "x": (into, 6, 6), "out": out}
    elif kind == "Gemm":
        transposed = draw(st.integers(0, 1))
        shape = (5, 7) if transposed else (7, 5)
        axis = 0 if transposed else 1
        spec = {"attributes": {"transB": transposed}, "axis": axis, "x": (7,), "out": 5}
    else:
        shape = (7, 5)
        spec = {"attributes": {}, "axis": 1, "x": (3, 7), "out": 5}
    spread = 10.0 ** rng.uniform(
        -2, 1, size=[1 if k != spec["axis"] else n for k, n in enumerate(shape)]
    )
    weight = (rng.normal(size=shape) * spread).astype(np.float32)
    bias = rng.normal(size=spec["out"]).astype(np.float32)
    return {"kind": kind, "weight": weight, "bias": bias, "relu": draw(st.booleans()), **spec}


def layer_model(build: Any, spec: dict[str, Any], weight: Any, bias: Any) -> onnx.ModelProto:
    inputs = ["x", "w"] if spec["kind"] == "MatMul" else ["x", "w", "b"]
    nodes = [node(spec["kind"], inputs, ["c"], name="op", **spec["attributes"])]
    last = "c"
    if spec["kind"] == "MatMul":
        nodes.append(node("Add", ["c", "b"], ["a"], name="add"))
        last = "a"
    nodes.append(node("Relu" if spec["relu"] else "Tanh", [last], ["y"], name="act"))
    return build(nodes, {"x": ["N", *spec["x"]]}, ["y"], {"w": weight, "b": bias})


@NO_FIXTURE_RESET
@given(spec=layers(), dialect=st.sampled_from(DIALECTS))
def test_one_layer_equals_its_simulation(
    spec: dict[str, Any], dialect: QdqDialect, model: Any, store: Any, tmp_path_factory: Any
) -> None:
    job = LocalJob(tmp_path_factory.mktemp("job"))
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, *spec["x"])).astype(np.float32)
    proto = layer_model(model, spec, spec["weight"], spec["bias"])
    ref, table, found = calibrated(proto, {"x": x}, job, store)
    result = quantised(ref, table, job, dialect)
    assert "op" in result.int8_nodes
    lo, hi = found.range("x")
    input_scale = activation_scale(lo, hi, dialect)
    bias = spec["bias"]
    integer_bias = spec["kind"] != "MatMul"
    d = (
        dialect
        if integer_bias
        else QdqDialect(
            per_channel=dialect.per_channel, bias="float", reduce_range=dialect.reduce_range
        )
    )
    weight, bias = dequantised(spec["weight"], spec["axis"], d, bias, float(input_scale.scale))
    got = run(job.out / result.artifact.entry, {"x": x})
    simulated = {"x": fake_quantize(x, input_scale)}
    heavy_output = spec["kind"] in ("Conv", "ConvTranspose")
    if not heavy_output:
        expected = run(layer_model(model, spec, weight, bias), simulated)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
        return
    name = "y" if spec["relu"] else "c"
    out = activation_scale(*found.range(name), dialect)
    if spec["relu"]:
        expected = fake_quantize(run(layer_model(model, spec, weight, bias), simulated), out)
        assert_same_steps(got, expected, float(out.scale))
    else:
        inner = layer_model(model, spec, weight, bias)
        inner.graph.output[0].name = "c"
        expected = fake_quantize(run(inner, simulated), out)
        assert_same_steps(
            np.arctanh(np.clip(got, -0.999, 0.999)),
            np.clip(expected, np.arctanh(-0.999), np.arctanh(0.999)),
            max(float(out.scale), 0.05),
        )


def residual(build: Any, rng: Any, *, clip: bool = False) -> onnx.ModelProto:
    """conv-bn-relu, a residual block, concat, max pool, global pool, gemm."""

    def w(*shape: int) -> Any:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w0": w(8, 3, 3, 3),
        "gamma": rng.uniform(0.5, 2, 8).astype(np.float32),
        "beta": w(8),
        "mean": w(8),
        "var": rng.uniform(0.5, 2, 8).astype(np.float32),
        "w1": w(8, 1, 3, 3),
        "b1": w(8),
        "w2": w(8, 8, 1, 1),
        "w3": w(6, 16),
        "b3": w(6),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], name="conv0", pads=[1] * 4),
        node("BatchNormalization", ["c0", "gamma", "beta", "mean", "var"], ["n0"], name="bn0"),
        node("Clip", ["n0", "zero", "six"], ["r0"], name="relu0") if clip
        else node("Relu", ["n0"], ["r0"], name="relu0"),
        node("Conv", ["r0", "w1", "b1"], ["c1"], name="conv1", pads=[1] * 4, group=8),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2"], ["c2"], name="conv2"),
        node("Add", ["c2", "r0"], ["s"], name="add"),
        node("MaxPool", ["s"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxPool", ["r1"], ["q"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["p", "q"], ["k"], name="concat", axis=1),
        node("GlobalAveragePool", ["k"], ["g"], name="gap"),
        node("Flatten", ["g"], ["f"], name="flatten"),
        node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
    ]  # fmt: skip
    return build(nodes, {"x": ["N", 3, 12, 12]}, ["y"], constants)


@pytest.mark.parametrize("clip", [False, True])
def test_a_residual_net_is_all_int8_and_runs_so(
    model: Any, job: LocalJob, store: Any, clip: bool
) -> None:
    rng = np.random.default_rng(0)
    proto = residual(model, rng, clip=clip)
    x = rng.normal(size=(8, 3, 12, 12)).astype(np.float32)
    ref, table, found = calibrated(proto, {"x": x}, job, store)
    result = quantised(ref, table, job, U8)
    assert result.float_nodes == ()
    assert result.folded == ("bn0",)
    assert set(result.int8_nodes) == {n.name for n in proto.graph.node} - {"bn0"}
    path = job.out / result.artifact.entry
    onnx.checker.check_model(path, full_check=True)
    expected, got = run(proto, {"x": x}), run(path, {"x": x})
    noise = np.abs(got - expected).max() / np.abs(expected).max()
    assert 1e-5 < noise < 0.1
    np.testing.assert_allclose(run(path, {"x": x}, "all"), got, atol=0.05 * np.abs(got).max())
    optimised(path.read_bytes(), job.scratch / "o.onnx")
    kernels = Counter(n.op_type for n in onnx.load(job.scratch / "o.onnx").graph.node)
    assert kernels["QLinearConv"] == 3
    assert kernels["QGemm"] == 1
    assert not {"Conv", "Gemm", "Add", "Concat", "FusedConv"} & set(kernels)
    scales = scale_of(onnx.load(path))
    assert scales["p"] == scales["s"]
    assert scales["q"] == scales["r1"] != scales["k"]
    assert scales["r1"] == pytest.approx(found.range("r1")[1] / 255, rel=1e-6)
    hi = max(found.range(t)[1] for t in ("s", "r1"))
    lo = min(*(found.range(t)[0] for t in ("s", "r1")), 0.0)
    assert scales["k"] == pytest.approx((hi - lo) / 255, rel=1e-6)


def test_concatenated_relus_share_one_scale(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    constants = {n: rng.normal(size=(4, 3, 1, 1)).astype(np.float32) for n in "uv"}
    constants["w"] = rng.normal(size=(2, 8, 1, 1)).astype(np.float32)
    nodes = [
        node("Conv", ["x", "u"], ["a"], name="a"), node("Relu", ["a"], ["ra"], name="ra"),
        node("Conv", ["x", "v"], ["b"], name="b"), node("Relu", ["b"], ["rb"], name="rb"),
        node("Concat", ["ra", "rb"], ["k"], name="k", axis=1),
        node("Conv", ["k", "w"], ["y"], name="y"),
    ]  # fmt: skip
    x = rng.normal(size=(3, 3, 4, 4)).astype(np.float32)
    proto = model(nodes, {"x": [1, 3, 4, 4]}, ["y"], constants)
    ref, table, found = calibrated(proto, {"x": x}, job, store)
    result = quantised(ref, table, job, U8)
    scales = scale_of(onnx.load(job.out / result.artifact.entry))
    assert scales["ra"] == scales["rb"] == scales["k"]
    assert scales["k"] == pytest.approx(max(found.range(t)[1] for t in ("ra", "rb")) / 255)
    assert set(found.tensors) == {"x", "ra", "rb", "y"}


def scale_of(proto: onnx.ModelProto) -> dict[str, float]:
    """Scale of each quantised activation."""
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    pairs = [n for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    return {n.input[0]: float(values[n.input[1]]) for n in pairs}


def test_weights_are_stored_as_integers_and_names_are_unique(
    model: Any, job: LocalJob, store: Any
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    ref, table, _ = calibrated(residual(model, rng), {"x": x}, job, store)
    result = quantised(ref, table, job, U8)
    graph = onnx.load(job.out / result.artifact.entry).graph
    kinds = Counter(t.data_type for t in graph.initializer if len(t.dims) > 1)
    assert kinds == {onnx.TensorProto.INT8: 4}
    names = [n.name for n in graph.node] + [o for n in graph.node for o in n.output]
    names += [t.name for t in graph.initializer]
    assert len(set(names)) == len(names)


def test_symmetric_dialect_has_zero_points_of_zero_and_float_biases(
    model: Any, job: LocalJob, store: Any
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    ref, table, _ = calibrated(residual(model, rng), {"x": x}, job, store)
    result = quantised(ref, table, job, S8)
    graph = onnx.load(job.out / result.artifact.entry).graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    points = [values[n.input[2]] for n in graph.node if n.op_type.endswith("quantizeLinear")]
    points += [values[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert points
    assert all(p.dtype == np.int8 and not p.any() for p in points)


def test_kept_nodes_stay_float_with_their_reason(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    proto = residual(model, rng)
    ref, table, _ = calibrated(proto, {"x": x}, job, store)
    result = quantised(ref, table, job, U8, keep_float=("conv1", "bn0"))
    reasons = {n.node: n.reason for n in result.float_nodes}
    assert reasons["conv1"] == reasons["relu1"] == reasons["conv0"] == "keep_float"
    assert "conv2" in result.int8_nodes
    assert reasons["concat"].startswith("float neighbours")
    got = run(job.out / result.artifact.entry, {"x": x})
    expected = run(proto, {"x": x})
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()
    with pytest.raises(UserError, match="nowhere"):
        quantised(ref, table, job, U8, keep_float=("nowhere",))


def test_unit_ranges_need_no_calibration(model: Any, job: LocalJob) -> None:
    proto = residual(model, np.random.default_rng(0))
    onnx.save_model(proto, job.scratch / "m.onnx")
    ref = job.add(job.scratch / "m.onnx")
    result = insert(InsertRequest(model=ref, unit_ranges=True), job)
    path = job.out / result.artifact.entry
    assert result.float_nodes == ()
    scales = scale_of(onnx.load(path))
    assert scales["x"] == pytest.approx(2 / 255)
    assert scales["r0"] == pytest.approx(1 / 255)
    assert np.isfinite(run(path, {"x": np.zeros((1, 3, 12, 12), np.float32)})).all()
    with pytest.raises(UserError, match="calibration table"):
        insert(InsertRequest(model=ref), job)


def test_a_quantised_model_passes_through_unchanged(model: Any, job: LocalJob) -> None:
    onnx.save_model(residual(model, np.random.default_rng(0)), job.scratch / "m.onnx")
    first = insert(InsertRequest(model=job.add(job.scratch / "m.onnx"), unit_ranges=True), job)
    source = job.scratch / "again.onnx"
    source.write_bytes((job.out / first.artifact.entry).read_bytes())
    again = insert(InsertRequest(model=job.add(source)), job)
    assert again.method == "already Q/DQ"
    assert (job.out / again.artifact.entry).read_bytes() == source.read_bytes()


def test_a_graph_output_keeps_its_name_and_is_quantised(
    model: Any, job: LocalJob, store: Any
) -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    v = rng.normal(size=(4, 4, 1, 1)).astype(np.float32)
    nodes = [node("Conv", ["x", "w"], ["y"], name="a"), node("Conv", ["y", "v"], ["z"], name="b")]
    proto = model(nodes, {"x": [1, 3, 4, 4]}, ["y", "z"], {"w": w, "v": v})
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    ref, table, _ = calibrated(proto, {"x": x}, job, store)
    result = quantised(ref, table, job, U8)
    session = open_model(job.out / result.artifact.entry, optimize="none")
    assert session.outputs == ("y", "z")
    got = session.run({"x": x[:1]})
    assert len(np.unique(got["y"])) <= 256
    optimised((job.out / result.artifact.entry).read_bytes(), job.scratch / "o.onnx")
    kernels = Counter(n.op_type for n in onnx.load(job.scratch / "o.onnx").graph.node)
    assert kernels["QLinearConv"] == 2


def test_old_opsets_are_converted_and_hopeless_ones_refused(
    model: Any, job: LocalJob, store: Any
) -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    old = model(
        [node("Conv", ["x", "w"], ["c"], name="conv"),
         node("Clip", ["c"], ["y"], name="clip", min=0.0, max=6.0)],
        {"x": [1, 3, 4, 4]}, ["y"], {"w": w}, opset=9, ir=4,
    )  # fmt: skip
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    ref, table, _ = calibrated(old, {"x": x}, job, store)
    result = quantised(ref, table, job, U8)
    assert any("opset 13" in note for note in result.notes)
    assert set(result.int8_nodes) == {"conv", "clip"}
    got = run(job.out / result.artifact.entry, {"x": x[:1]})
    np.testing.assert_allclose(got, run(old, {"x": x[:1]}), atol=0.1)
    odd = model([node("Crop", ["x"], ["y"], name="crop", border=[0, 0, 0, 0])],
                {"x": [1, 3, 4, 4]}, ["y"], {}, opset=7, ir=3)  # fmt: skip
    onnx.save_model(odd, job.scratch / "odd.onnx")
    with pytest.raises(UserError, match="opset 7"):
        insert(InsertRequest(model=job.add(job.scratch / "odd.onnx"), unit_ranges=True), job)


def test_nothing_inside_control_flow_is_touched(model: Any, job: LocalJob) -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(f"{name}_y", 1, None)
        return helper.make_graph([node(op, ["c"], [f"{name}_y"])], name, [], [output])

    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("If", ["flag"], ["y"], name="if", then_branch=branch("then", "Abs"),
             else_branch=branch("else", "Neg")),
        node("Add", ["y", "r"], ["z"], name="add"),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 3, 1, 1)).astype(np.float32), "flag": np.array(True)}
    proto = model(nodes, {"x": [1, 3, 4, 4]}, ["z"], constants)
    onnx.save_model(proto, job.scratch / "m.onnx")
    result = insert(InsertRequest(model=job.add(job.scratch / "m.onnx"), unit_ranges=True), job)
    reasons = {n.node: n.reason for n in result.float_nodes}
    assert reasons["if"] == "no kernel dialect"
    assert set(result.int8_nodes) == {"conv"}
    x = rng.uniform(-0.2, 0.2, size=(1, 3, 4, 4)).astype(np.float32)
    got = run(job.out / result.artifact.entry, {"x": x})
    np.testing.assert_allclose(got, run(proto, {"x": x}), atol=0.1)


def test_a_model_without_arithmetic_gives_no_artifact(model: Any, job: LocalJob) -> None:
    proto = model([node("Sqrt", ["x"], ["y"], name="root")], {"x": [1, 4]}, ["y"])
    onnx.save_model(proto, job.scratch / "m.onnx")
    result = insert(InsertRequest(model=job.add(job.scratch / "m.onnx"), unit_ranges=True), job)
    assert result.artifact is None
    assert "Sqrt" in result.notes[-1]


def test_external_data_stays_usable(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    proto = residual(model, rng)
    x = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    inline, _, _ = calibrated(proto, {"x": x}, job, store)
    expected = quantised(inline, None, job, U8, unit_ranges=True)
    text = (job.out / expected.artifact.entry).read_bytes()
    folder = job.scratch / "external"
    folder.mkdir()
    onnx.save_model(proto, folder / "m.onnx", save_as_external_data=True, location="w.bin",
                    size_threshold=0)  # fmt: skip
    ref = job.add(folder / "m.onnx")
    result = ranges(RangesRequest(model=ref, samples=job.add(store({"x": x}))), job)
    assert result.count == 2
    got = insert(InsertRequest(model=ref, unit_ranges=True), job)
    assert (job.out / got.artifact.entry).read_bytes() == text


def test_weights_beyond_one_file_go_beside_it(
    model: Any, job: LocalJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [1, 64]}, ["y"],
        {"w": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)},
    )  # fmt: skip
    onnx.save_model(proto, job.scratch / "m.onnx")
    monkeypatch.setattr("seatrial.quantize.graph.EXTERNAL_ABOVE", 0)
    result = insert(InsertRequest(model=job.add(job.scratch / "m.onnx"), unit_ranges=True), job)
    assert result.artifact.files == ("model.qdq.onnx", "model.qdq.onnx.data")
    x = np.random.default_rng(1).uniform(-1, 1, size=(1, 64)).astype(np.float32)
    got = run(job.out / result.artifact.entry, {"x": x})
    np.testing.assert_allclose(got, run(proto, {"x": x}), atol=0.5)


def test_one_table_serves_every_method(model: Any, job: LocalJob, store: Any) -> None:
    """The scale of the input follows the method; symmetric dialects choose for themselves."""
    rng = np.random.default_rng(0)
    proto = model([node("Conv", ["x", "w"], ["y"], name="c")], {"x": ["N", 3, 16, 16]}, ["y"],
                  {"w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32)})  # fmt: skip
    x = rng.standard_t(3, size=(20, 3, 16, 16)).astype(np.float32)
    path = job.scratch / "float.onnx"
    onnx.save_model(proto, path)
    ref = job.add(path)
    request = RangesRequest(model=ref, samples=job.add(store({"x": x})), statistics="sampled")
    table = job.adopt(ranges(request, job).artifact)
    whole = load(job.path(table))
    steps = {}
    for method in METHODS:
        for dialect in (U8, S8):
            result = quantised(ref, table, job, dialect, method=method)
            assert result.method == f"core:{method}-{scheme(dialect)}"
            written = onnx.load(job.out / result.artifact.entry)
            first = next(n for n in written.graph.node if n.input[0] == "x")
            constants = {t.name: numpy_helper.to_array(t) for t in written.graph.initializer}
            found = chosen(whole, method, symmetric=dialect.symmetric)["x"]
            assert constants[first.input[1]] == activation_scale(*found, dialect).scale
            steps[method, dialect.symmetric] = float(constants[first.input[1]])
    assert steps["percentile-99.9", False] < steps["percentile-99.999", False]
    assert steps["mse", False] < steps["minmax", False]
    with pytest.raises(UserError, match="magic"):
        quantised(ref, table, job, U8, method="magic")
    bare = job.adopt(ranges(RangesRequest(model=ref, samples=request.samples), job).artifact)
    with pytest.raises(UserError, match="mse needs histograms"):
        quantised(ref, bare, job, U8, method="mse")
