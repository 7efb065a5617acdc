import numpy as np
import onnxruntime
import pytest

import seatrial_openvino as backend
from seatrial.codec import decode, encode
from seatrial.results import Build, BuildRequest, Int8Build, Int8Request, LoadRequest, TargetKind
from seatrial.testing import LocalJob
from seatrial_openvino.probing import CPUINFO, cpu_flags


def build(zoo, path, **request):
    wanted = {"target": "CPU", **request}
    result = backend.seatrial_build(BuildRequest(model=zoo.job.add(path), **wanted), zoo.job)
    assert decode(Build, encode(result)) == result
    return result


def build_int8(zoo, path, form, **request):
    wanted = {"target": "CPU", "form": form, **request}
    result = backend.seatrial_build_int8(Int8Request(model=zoo.job.add(path), **wanted), zoo.job)
    assert decode(Int8Build, encode(result)) == result
    return result


def load(zoo, artifact, **request):
    wanted = {"target": "CPU", "format": artifact.format, **request}
    ref = zoo.job.adopt(artifact)
    return backend.seatrial_load(LoadRequest(artifact=ref, **wanted), zoo.job)


def reference(path, feeds):
    session = onnxruntime.InferenceSession(path)
    outputs = session.run(None, feeds)
    return {o.name: v for o, v in zip(session.get_outputs(), outputs, strict=True)}


def test_pinned_fp32_matches_the_reference(zoo):
    path = zoo.cnn()
    result = build(zoo, path)
    assert result.precision == "FP32"
    feeds = {"x": zoo.images(1)}
    session = load(zoo, result.artifact, profile=True)
    np.testing.assert_allclose(session.run(feeds)["y"], reference(path, feeds)["y"], atol=1e-5)
    precisions = {layer.precision for layer in session.ran().layers}
    assert precisions == {"FP32"}


def test_native_states_the_precision_that_then_runs(zoo):
    result = build(zoo, zoo.cnn(), precision="native")
    bf16 = bool({"avx512_bf16", "amx_bf16"} & cpu_flags(CPUINFO))
    assert result.precision == ("BF16" if bf16 else "FP32")
    session = load(zoo, result.artifact, precision="native", profile=True)
    session.run({"x": zoo.images(1)})
    convs = {ly.precision for ly in session.ran().layers if "Conv" in ly.op_type}
    assert convs == {result.precision}


def test_option_asks_for_another_precision(zoo):
    if "avx512_bf16" not in cpu_flags(CPUINFO):
        pytest.skip("this CPU has no BF16")
    result = build(zoo, zoo.cnn(), options={"inference_precision": "bf16"})
    assert result.precision == "BF16"


@pytest.mark.parametrize("batch", [1, "N"])
def test_int8_from_qdq_runs_int8_kernels(zoo, batch):
    result = build_int8(zoo, zoo.qdq(batch=batch), "qdq")
    assert "conv" in result.int8_nodes
    assert "head" in result.float_nodes
    assert not set(result.int8_nodes) & set(result.float_nodes)
    session = load(zoo, result.artifact, precision="int8", profile=True)
    session.run({"x": zoo.images(1)})
    ran = session.ran()
    layers = {n: layer for layer in ran.layers for n in layer.nodes}
    assert layers["conv"].precision == "INT8"
    assert layers["conv"].kernel.endswith("I8")
    assert layers["head"].precision == "FP32"
    assert ran.where is TargetKind.DEVICE
    assert all(layer.ms >= 0 for layer in ran.layers)


def test_int8_from_float_lists_every_weighted_node_once(zoo):
    store = zoo.store({"x": zoo.images()})
    result = build_int8(zoo, zoo.cnn(), "float", calibration=store)
    assert "16 samples, one per item" in result.method
    assert "TRANSFORMER" not in result.method
    assert {"first", "head"} <= set(result.int8_nodes)
    told = [*result.int8_nodes, *result.float_nodes]
    assert len(told) == len(set(told))
    assert "depth" in told
    session = load(zoo, result.artifact, precision="int8", profile=True)
    session.run({"x": zoo.images(1)})
    layers = {n: layer for layer in session.ran().layers for n in layer.nodes}
    for node in ("first", "depth", "head"):
        expected = "INT8" if node in result.int8_nodes else "FP32"
        assert layers[node].precision == expected


def test_a_node_kept_in_float_stays_float(zoo):
    store = zoo.store({"x": zoo.images()})
    result = build_int8(zoo, zoo.cnn(), "float", calibration=store, keep_float=("first",))
    assert "first" in result.float_nodes
    assert "head" in result.int8_nodes
    with pytest.raises(ValueError, match="'nowhere', which the model does not have"):
        build_int8(zoo, zoo.cnn(), "float", calibration=store, keep_float=("nowhere",))


def test_bad_requests_are_refused(zoo):
    with pytest.raises(ValueError, match="needs calibration"):
        build_int8(zoo, zoo.cnn(), "float")
    with pytest.raises(ValueError, match="there are qdq and float"):
        build_int8(zoo, zoo.cnn(), "magic")
    with pytest.raises(ValueError, match="there are fp32 and native"):
        build(zoo, zoo.cnn(), precision="fp8")


def test_artefact_alone_keeps_names_and_labels(zoo, tmp_path):
    """What was built is read in another job, from its files only."""
    result = build(zoo, zoo.cnn())
    folder = tmp_path / "moved"
    folder.mkdir()
    for file in result.artifact.files:
        (zoo.job.out / file).rename(folder / file)
    job = LocalJob(tmp_path / "later")
    ref = job.add(folder, result.artifact.entry)
    request = LoadRequest(artifact=ref, format="openvino-ir", target="CPU")
    session = backend.seatrial_load(request, job)
    assert set(session.run({"x": zoo.images(1)})) == {"y"}
    assert {"first", "head"} <= {n for layer in session.ran().layers for n in layer.nodes}
