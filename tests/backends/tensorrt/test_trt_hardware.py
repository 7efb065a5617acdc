"""The real thing, in one run, on a machine with an NVIDIA GPU and TensorRT 10 or 11.

    pip install 'seatrial[tensorrt,testing]'
    pytest tests/backends/tensorrt/test_trt_hardware.py tests/backends/test_kit_tensorrt.py

Everything here is skipped elsewhere. Nothing of it has run on hardware so far: what the fake was
told to do is what the real one has to confirm here.
"""

import numpy as np
import pytest
from onnx import TensorProto, helper

import seatrial_tensorrt as backend
from seatrial.results import (
    BenchmarkRequest,
    BuildRequest,
    Depth,
    Int8Request,
    LayoutRequest,
    LoadRequest,
    Placement,
    ProbeRequest,
    Verdict,
)


@pytest.fixture(scope="module", autouse=True)
def here():
    found = backend.seatrial_probe(request=ProbeRequest(target="gpu"), job=None)
    if not found.usable:
        pytest.skip(f"not run on hardware: {found.reason}")
    print(f"TensorRT on hardware: {found.versions} {found.devices}")
    return found


def opened(zoo, artifact, **keywords):
    request = LoadRequest(
        artifact=zoo.job.adopt(artifact),
        format=artifact.format,
        target="gpu",
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        **keywords,
    )
    return backend.seatrial_load(request=request, job=zoo.job)


def cosine(a, b):
    a, b = (np.asarray(v, np.float64).ravel() for v in (a, b))
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def test_versions_tell_what_an_engine_is_bound_to(here):
    assert {"tensorrt", "GPU", "SM", "CUDA of the driver"} <= set(here.versions)


def test_fp32_is_fp32(zoo):
    path, x = zoo.cnn(), zoo.images()
    request = BuildRequest(model=zoo.job.add(path), target="gpu")
    build = backend.seatrial_build(request=request, job=zoo.job)
    assert build.precision == "FP32"
    session = opened(zoo, build.artifact, profile=True)
    for _ in range(3):
        given = session.run({"x": x})["y"].copy()
    np.testing.assert_allclose(given, zoo.reference(path, {"x": x})["y"], rtol=1e-4, atol=1e-5)
    ran = session.ran()
    assert ran.layers, "the inspector tells layers"
    assert {n for layer in ran.layers for n in layer.nodes} & {"first", "head"}
    assert any(layer.ms >= 0 for layer in ran.layers), "the profiler tells times"
    assert not any(layer.precision in ("TF32", "FP16") for layer in ran.layers)
    assert min(session.times) > 0
    session.close()


def test_int8_is_int8(zoo):
    path, x = zoo.qdq(), zoo.images()
    request = Int8Request(model=zoo.job.add(path), target="gpu", form="qdq")
    build = backend.seatrial_build_int8(request=request, job=zoo.job)
    print(build.notes)
    assert "conv" in build.int8_nodes, build
    session = opened(zoo, build.artifact, precision="int8")
    assert cosine(session.run({"x": x})["y"], zoo.reference(path, {"x": x})["y"]) > 0.999
    session.close()


@pytest.mark.parametrize("made", [{"zero": 3}, {"bias": True}, {"zero": 128, "kind": np.uint8}])
def test_dialects_that_the_rules_refuse_are_refused(zoo, made):
    request = zoo.check(zoo.qdq(**made), precision="int8")
    report = backend.seatrial_compile_check(request=request, job=zoo.job)
    assert report.verdict is Verdict.UNSUPPORTED, "the Q/DQ rules of the table are stale"
    assert any(f.node for f in report.findings)


def test_a_refused_operator_is_named(zoo):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Det", ["a"], ["b"], name="bad"),
        helper.make_node("MyOp", ["b"], ["y"], name="custom", domain="acme.ops"),
    ]
    fed, out = [zoo.value("x", [2, 3, 3])], [zoo.value("y", None)]
    path = zoo.save(nodes, fed, out, domains=("acme.ops",))
    report = backend.seatrial_compile_check(request=zoo.check(path), job=zoo.job)
    assert report.verdict is Verdict.UNSUPPORTED and report.depth is Depth.PARSE
    assert {f.node for f in report.findings} >= {"bad", "custom"}
    assert {p.node: p.placement for p in report.placements}["bad"] is Placement.NOWHERE


def test_channels_last(zoo):
    path, x = zoo.cnn(), zoo.images()
    request = LayoutRequest(model=zoo.job.add(path), target="gpu", layout="NHWC", inputs=("x",))
    made = backend.seatrial_transform_layout(request=request, job=zoo.job)
    session = opened(zoo, made.artifact)
    given = session.run({"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})["y"]
    np.testing.assert_allclose(given, zoo.reference(path, {"x": x})["y"], rtol=1e-4, atol=1e-5)
    session.close()


def test_sizes_that_depend_on_values(zoo):
    node = helper.make_node("NonZero", ["x"], ["y"], name="n")
    out = zoo.value("y", [2, None], TensorProto.INT64)
    path = zoo.save([node], [zoo.value("x", [2, 3])], [out])
    report = backend.seatrial_compile_check(request=zoo.check(path), job=zoo.job)
    assert report.verdict is Verdict.SUPPORTED and [f.node for f in report.findings] == ["n"]
    session = opened(zoo, report.artifact)
    for x in (np.eye(2, 3), np.ones((2, 3))):
        given = session.run({"x": x.astype(np.float32)})["y"]
        np.testing.assert_array_equal(given, np.array(np.nonzero(x)))
    session.close()


def test_timings_speed_up_the_next_build(zoo):
    options = {"timing_cache": str(zoo.root / "timings")}
    notes = []
    for _ in range(2):
        request = zoo.check(zoo.cnn(), options=options)
        notes.append(backend.seatrial_compile_check(request=request, job=zoo.job).notes)
    assert any("timings of tactics were taken" in n for n in notes[1])


def test_events_time_the_computation(zoo):
    request = BuildRequest(model=zoo.job.add(zoo.cnn()), target="gpu")
    artifact = backend.seatrial_build(request=request, job=zoo.job).artifact
    load = LoadRequest(artifact=zoo.job.adopt(artifact), format=artifact.format, target="gpu")
    request = BenchmarkRequest(load=load, samples=zoo.store({"x": zoo.images(4)}), n=50)
    found = backend.seatrial_benchmark(request=request, job=zoo.job)
    assert len(found.latencies_ns) == 50 and min(found.latencies_ns) > 0
