"""Sessions, layouts and timing: the fake computes on host memory through the stand-in driver."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import seatrial_tensorrt as backend
from seatrial.errors import UserError
from seatrial.results import (
    BenchmarkRequest,
    BuildRequest,
    Int8Request,
    LayoutRequest,
    LoadRequest,
    TargetKind,
)
from seatrial_tensorrt import _cuda
from seatrial_tensorrt._targets import FORMAT


def built(zoo, path, **keywords):
    request = BuildRequest(model=zoo.job.add(path), target="gpu", **keywords)
    return backend.seatrial_build(request=request, job=zoo.job).artifact


def opened(zoo, artifact, **keywords):
    request = LoadRequest(
        artifact=zoo.job.adopt(artifact),
        format=artifact.format,
        target=keywords.pop("target", "gpu"),
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        **keywords,
    )
    return backend.seatrial_load(request=request, job=zoo.job)


def test_a_session_computes_what_the_model_says_and_gives_all_back(trt, zoo, driver):
    path, x = zoo.cnn(), zoo.images()
    session = opened(zoo, built(zoo, path))
    for value in (x, x * 2):
        (y,) = session.run({"x": value}).values()
        np.testing.assert_allclose(y, zoo.reference(path, {"x": value})["y"], rtol=1e-6)
    assert len(session.times) == 2 and min(session.times) > 0
    ran = session.ran()
    assert ran.where is TargetKind.DEVICE and "Stand-In GPU, SM 9.0" in ran.device
    assert any("by CUDA events" in n for n in ran.notes)
    conv = ran.layers[0]
    assert conv.nodes == ("first", "act") and conv.precision == "FP32" and conv.kernel
    assert all(layer.ms == -1 for layer in ran.layers)
    assert driver() > 0
    session.close()
    session.close()
    assert driver() == 0


def test_layers_are_timed_in_a_profiled_session_only(trt, zoo):
    session = opened(zoo, built(zoo, zoo.cnn()), profile=True)
    session.run({"x": zoo.images()})
    assert {layer.ms for layer in session.ran().layers} == {0.25}
    session.close()


def test_int8_layers_are_told_with_their_format(trt, zoo):
    path = zoo.qdq()
    request = Int8Request(model=zoo.job.add(path), target="gpu", form="qdq")
    artifact = backend.seatrial_build_int8(request=request, job=zoo.job).artifact
    session = opened(zoo, artifact, precision="int8")
    x = zoo.images()
    np.testing.assert_allclose(
        session.run({"x": x})["y"], zoo.reference(path, {"x": x})["y"], rtol=1e-5
    )
    (conv,) = [layer for layer in session.ran().layers if "conv" in layer.nodes]
    assert conv.precision == "INT8" and "Thirty-two wide channel" in conv.layout
    session.close()


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        ({"z": (1, 3, 16, 16)}, "are wanted"),
        ({"x": (1, 3, 16, 17)}, "has shape"),
        ({"x": (3, 16, 16)}, "has shape"),
    ],
)
def test_wrong_feeds_are_refused_and_do_no_harm(trt, zoo, feeds, text):
    session = opened(zoo, built(zoo, zoo.cnn()))
    with pytest.raises(ValueError, match=text):
        session.run({k: np.zeros(v, np.float32) for k, v in feeds.items()})
    with pytest.raises(ValueError, match="float64"):
        session.run({"x": np.zeros((1, 3, 16, 16))})
    assert session.run({"x": zoo.images()})["y"].shape == (1, 10)
    session.close()


def test_a_run_that_fails_says_what_the_logger_said(trt, zoo):
    session = opened(zoo, built(zoo, zoo.cnn()))
    trt.fail_run = "Error Code 1: Cuda Runtime (misaligned address)"
    with pytest.raises(RuntimeError, match="misaligned address"):
        session.run({"x": zoo.images()})
    session.close()


def test_a_varying_batch_grows_the_buffers(trt, zoo, driver):
    path = zoo.cnn(batch="n")
    artifact = built(zoo, path, options={"max_batch": 8})
    session = opened(zoo, artifact, options={"max_batch": 8})
    for count in (1, 5, 2):
        x = zoo.images(count)
        (y,) = session.run({"x": x}).values()
        np.testing.assert_allclose(y, zoo.reference(path, {"x": x})["y"], rtol=1e-5)
    session.close()
    assert driver() == 0


def test_outputs_sized_by_values_come_through_the_allocator(trt, zoo, driver):
    node = helper.make_node("NonZero", ["x"], ["y"], name="n")
    out = zoo.value("y", [2, None], TensorProto.INT64)
    session = opened(zoo, built(zoo, zoo.save([node], [zoo.value("x", [2, 3])], [out])))
    for x in (np.eye(2, 3), np.ones((2, 3)), np.zeros((2, 3))):
        feeds = {"x": x.astype(np.float32)}
        np.testing.assert_array_equal(session.run(feeds)["y"], np.array(np.nonzero(x)))
    session.close()
    assert driver() == 0


def test_types_other_than_float_pass_through(trt, zoo):
    for kind, dtype in ((TensorProto.INT64, np.int64), (TensorProto.BOOL, np.bool_)):
        path = zoo.one("Transpose", ["x"], shape=(2, 3), out=[3, 2], kind=kind)
        x = np.arange(6).reshape(2, 3).astype(dtype)
        session = opened(zoo, built(zoo, path))
        np.testing.assert_array_equal(session.run({"x": x})["y"], x.T)
        session.close()


def test_an_output_that_is_an_input_keeps_its_onnx_name(trt, zoo):
    node = helper.make_node("Relu", ["x"], ["y"], name="act")
    value = zoo.value("x", [2, 3])
    artifact = built(zoo, zoo.save([node], [value], [value, zoo.value("y", [2, 3])]))
    assert [(io.name, io.onnx) for io in artifact.outputs] == [("__x", "x"), ("y", "")]
    session = opened(zoo, artifact)
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    given = session.run({"x": x})
    np.testing.assert_array_equal(given["__x"], x)
    np.testing.assert_array_equal(given["y"], np.maximum(x, 0))
    session.close()


def test_double_comes_back_as_double(trt, zoo):
    path = zoo.one("Tanh", ["x"], shape=(2, 3), out=[2, 3], kind=TensorProto.DOUBLE)
    artifact = built(zoo, path)
    assert (artifact.inputs[0].dtype, artifact.outputs[0].dtype) == ("float32", "float64")
    session = opened(zoo, artifact)
    x = zoo.rng.normal(0, 1, (2, 3)).astype(np.float32)
    y = session.run({"x": x})["y"]
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-6)
    session.close()


# --- what is not loaded ---------------------------------------------------------------------------


def test_damaged_foreign_and_tapped_artefacts_are_refused(trt, zoo, driver):
    artifact = built(zoo, zoo.cnn())
    with pytest.raises(ValueError, match="no inner tensors"):
        opened(zoo, artifact, taps=("r1",))
    request = LoadRequest(artifact=zoo.job.adopt(artifact), format="onnx", target="gpu")
    with pytest.raises(ValueError, match=f"this backend loads {FORMAT}"):
        backend.seatrial_load(request=request, job=zoo.job)
    plan, facts = zoo.job.out / "model.engine", zoo.job.out / "engine.json"
    kept = plan.read_bytes()
    plan.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(RuntimeError, match="the plan is damaged"):
        opened(zoo, artifact)
    plan.write_bytes(kept)
    known = json.loads(facts.read_text())
    known["versions"]["SM"] = "8.7"
    facts.write_text(json.dumps(known))
    with pytest.raises(ValueError, match=r"built for SM 8.7, here is 9.0: build it again"):
        opened(zoo, artifact)
    facts.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        opened(zoo, artifact)
    assert driver() == 0


def test_the_facts_beside_an_engine_name_what_it_is_bound_to(trt, zoo):
    built(zoo, zoo.cnn())
    versions = json.loads((zoo.job.out / "engine.json").read_text())["versions"]
    assert versions["tensorrt"] == trt.__version__
    assert (versions["GPU"], versions["SM"]) == ("Stand-In GPU", "9.0")
    assert versions["CUDA of the driver"] == "13.0"


# --- layout ---------------------------------------------------------------------------------------


def layout(zoo, path, **keywords):
    request = LayoutRequest(
        model=zoo.job.add(path), target="gpu", **{"layout": "NHWC", "inputs": ("x",), **keywords}
    )
    return backend.seatrial_transform_layout(request=request, job=zoo.job)


def test_channels_last_is_a_format_of_the_inputs_memory(trt, zoo):
    path, x = zoo.cnn(), zoo.images()
    made = layout(zoo, path)
    assert (made.method, made.transposes_added, made.transposes_removed) == ("reconfigured", 1, 0)
    (turned,) = made.artifact.inputs
    assert turned.perm == (0, 2, 3, 1) and turned.shape == (1, 16, 16, 3)
    session = opened(zoo, made.artifact)
    wanted = zoo.reference(path, {"x": x})["y"]
    given = session.run({"x": np.ascontiguousarray(x.transpose(turned.perm))})["y"]
    np.testing.assert_allclose(given, wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="has shape"):
        session.run({"x": x})
    session.close()


def test_channels_first_is_a_transpose_behind_the_input(trt, zoo):
    nodes = [
        helper.make_node("Transpose", ["x"], ["c"], name="turn", perm=[0, 3, 1, 2]),
        helper.make_node("Relu", ["c"], ["y"], name="act"),
    ]
    path = zoo.save(nodes, [zoo.value("x", [1, 4, 5, 3])], [zoo.value("y", [1, 3, 4, 5])])
    made = layout(zoo, path, layout="NCHW")
    assert (made.method, made.transposes_added) == ("rewritten", 1)
    (turned,) = made.artifact.inputs
    assert turned.perm == (0, 3, 1, 2) and turned.shape == (1, 3, 4, 5)
    x = zoo.rng.normal(0, 1, (1, 4, 5, 3)).astype(np.float32)
    session = opened(zoo, made.artifact)
    given = session.run({"x": np.ascontiguousarray(x.transpose(turned.perm))})["y"]
    np.testing.assert_array_equal(given, zoo.reference(path, {"x": x})["y"])
    session.close()


def test_what_has_no_layout_is_refused(trt, zoo):
    for keywords, text in (
        ({"layout": "CHWN"}, "no 'CHWN'"),
        ({"inputs": ("z",)}, "no input 'z'"),
    ):
        with pytest.raises(UserError, match=text):
            layout(zoo, zoo.cnn(), **keywords)
    path = zoo.one("Relu", ["x"], shape=(2, 3), out=[2, 3])
    with pytest.raises(UserError, match="not four axes"):
        layout(zoo, path)


# --- timing ---------------------------------------------------------------------------------------


def test_the_vendors_clock_times_the_computation_alone(trt, zoo, driver):
    made = layout(zoo, zoo.cnn())
    load = LoadRequest(
        artifact=zoo.job.adopt(made.artifact),
        format=made.artifact.format,
        target="gpu",
        inputs=made.artifact.inputs,
    )
    samples = zoo.store({"x": zoo.images(3)})
    request = BenchmarkRequest(load=load, samples=samples, warmup=2, n=7)
    found = backend.seatrial_benchmark(request=request, job=zoo.job)
    assert len(found.latencies_ns) == 7 and min(found.latencies_ns) > 0
    assert "CUDA events" in found.clock and not found.includes_copies
    assert driver() == 0


# --- driver ---------------------------------------------------------------------------------------


def test_device_memory_that_runs_out_is_a_memory_error(driver):
    device = _cuda.Device(_cuda.Driver())
    with pytest.raises(MemoryError, match="out of memory on the GPU"):
        device.allocate(1 << 40)
    device.close()
    assert driver() == 0


def test_a_model_with_weights_beside_it_keeps_them_there(trt, zoo):
    """The bytes that are parsed hold no weights; the path says where they are."""
    path = zoo.cnn()
    model = onnx.load(path)
    (weight,) = [t.raw_data for t in model.graph.initializer if t.name == "w1"]
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    from seatrial_tensorrt._model import prepare

    prepared = prepare(path, {})
    assert weight not in prepared.data and weight in (zoo.root / "w.bin").read_bytes()
    assert prepared.path == path
