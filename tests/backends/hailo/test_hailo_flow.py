"""The whole flow against a stand-in for the SDK: parse, cut, optimise, compile, emulate, run."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from hailo_models import cnn, detector, samples, with_topk

import seatrial_hailo as hailo
from seatrial.results import (
    BuildRequest,
    CheckRequest,
    Depth,
    Int8Request,
    LoadRequest,
    TargetKind,
    Verdict,
)
from seatrial_hailo.errors import refusal
from seatrial_hailo.graph import read


def check(job, path, **options):
    request = CheckRequest(model=job.add(path), target="hailo8", options=options)
    return hailo.seatrial_compile_check(request, job)


def quantised(job, path, tmp_path, target="hailo8", **options):
    store = job.add(samples(tmp_path / "store"))
    request = Int8Request(
        model=job.add(path), target=target, form="float", calibration=store, options=options
    )
    return hailo.seatrial_build_int8(request, job)


def opened(job, artifact, target):
    return hailo.seatrial_load(
        LoadRequest(
            artifact=job.adopt(artifact),
            format=artifact.format,
            target=target,
            inputs=artifact.inputs,
            outputs=artifact.outputs,
        ),
        job,
    )


def run(job, artifact, target, x):
    """Outputs by ONNX name and layout, as the core maps them."""
    session = opened(job, artifact, target)
    feeds = {io.name: np.transpose(x, io.perm) if io.perm else x for io in artifact.inputs}
    given = session.run(feeds)
    found = {
        io.onnx: np.transpose(given[io.name], np.argsort(io.perm)) if io.perm else given[io.name]
        for io in artifact.outputs
    }
    ran = session.ran()
    session.close()
    session.close()
    return found, ran


def truth(path, x):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


X = np.random.default_rng(5).normal(0, 1, (1, 3, 12, 8)).astype(np.float32)


def test_a_model_that_parses_is_not_yet_supported(sdk, job, tmp_path):
    report = check(job, cnn(tmp_path / "m.onnx"))
    assert (report.verdict, report.depth) == (Verdict.UNKNOWN, Depth.PARSE)
    assert not report.findings
    assert "calibration data" in report.notes[0]


@pytest.mark.parametrize("ends", ["attribute", "text"])
def test_a_refused_node_is_named_and_the_cut_is_tried(sdk, job, tmp_path, ends):
    sdk.setenv("FAKE_DFC_ENDS", ends)
    report = check(job, with_topk(tmp_path / "m.onnx"))
    assert report.verdict is Verdict.UNSUPPORTED
    (finding,) = report.findings
    assert (finding.node, finding.op_type) == ("best", "TopK")
    assert "TopK operation is unsupported" in finding.reason
    assert "up to head" in finding.advice
    assert 'end_nodes = "head"' in report.notes[0]


def test_an_error_without_structure_is_told_as_it_is(sdk, job, tmp_path):
    path = tmp_path / "m.onnx"
    from hailo_models import save, weight
    from onnx import TensorProto, helper

    flat = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])]
    save(path, [helper.make_node("Gemm", ["x", "w"], ["y"], name="g")], [weight("w", 4, 5)], flat)
    report = check(job, path)
    assert report.verdict is Verdict.UNSUPPORTED
    assert report.findings[0].reason == "IndexError: list index out of range"
    assert report.findings[0].node == ""


def test_mapping_is_tried_where_it_is_asked_for(sdk, job, tmp_path):
    path = cnn(tmp_path / "m.onnx")
    report = check(job, path, map=True)
    assert (report.verdict, report.depth) == (Verdict.UNKNOWN, Depth.MAP)
    assert report.artifact is None
    assert "made-up ranges" in report.notes[0]
    sdk.setenv("FAKE_DFC_MAPPING", "fails")
    report = check(job, path, map=True)
    assert (report.verdict, report.depth) == (Verdict.UNSUPPORTED, Depth.MAP)
    assert "Agent infeasible" in report.findings[0].reason


@pytest.mark.parametrize("make", [cnn, detector])
def test_the_translated_float_model_is_the_model(sdk, job, tmp_path, make):
    path = make(tmp_path / "m.onnx")
    built = hailo.seatrial_build(BuildRequest(model=job.add(path), target="hailo8"), job)
    assert built.precision == "FP32"
    found, ran = run(job, built.artifact, "hailo8", X)
    wanted = truth(path, X)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
    assert ran.where is TargetKind.SIMULATOR, "no chip computes in float"
    assert {layer.precision for layer in ran.layers} == {"FP32"}


@pytest.mark.parametrize(
    ("target", "form", "where"),
    [
        ("hailo8", "hef", TargetKind.DEVICE),
        ("hailo8/emulator", "hailo-har-int8", TargetKind.SIMULATOR),
    ],
)
@pytest.mark.parametrize("make", [cnn, detector])
def test_int8_is_close_to_the_float_model_and_not_equal(
    sdk, job, tmp_path, make, target, form, where
):
    path = make(tmp_path / "m.onnx")
    built = quantised(job, path, tmp_path, target)
    assert built.artifact.format == form
    assert "12 samples" in built.method
    assert {"first", "head"} <= set(built.int8_nodes) or {"boxes", "scores"} <= set(
        built.int8_nodes
    )
    found, ran = run(job, built.artifact, target, X)
    assert ran.where is where
    for name, value in truth(path, X).items():
        noise = float(np.sqrt(np.mean((found[name] - value) ** 2) / np.mean(value**2)))
        assert 1e-5 < noise < 0.2


def test_a_part_is_built_where_the_end_is_named(sdk, job, tmp_path):
    path = with_topk(tmp_path / "m.onnx")
    with pytest.raises(Exception, match=r"best: UnsupportedOperationError.*up to head"):
        quantised(job, path, tmp_path)
    built = quantised(job, path, tmp_path / "again", end_nodes="head")
    assert [io.onnx for io in built.artifact.outputs] == ["y"]
    found, _ = run(job, built.artifact, "hailo8", X)
    assert found["y"].shape == (1, 5)


def test_calibration_is_nhwc_and_counted(sdk, job, tmp_path):
    import hailo_sdk_client

    seen = {}
    real = hailo_sdk_client.ClientRunner.optimize

    def spy(self, data):
        seen["shape"], seen["script"] = data.shape, self._script
        seen["first"] = np.array(data[0])
        return real(self, data)

    sdk.setattr(hailo_sdk_client.ClientRunner, "optimize", spy)
    quantised(job, cnn(tmp_path / "m.onnx"), tmp_path, optimization_level=2, script="extra_line()")
    assert seen["shape"] == (12, 12, 8, 3)
    assert "calibset_size=12" in seen["script"]
    assert "model_optimization_flavor(optimization_level=2)" in seen["script"]
    assert "extra_line()" in seen["script"]
    first = np.random.default_rng(0).normal(0, 1, (3, 12, 8)).astype(np.float32)
    np.testing.assert_array_equal(seen["first"], np.transpose(first, (1, 2, 0)))


def test_what_the_chip_cannot_do_is_refused(sdk, job, tmp_path):
    path = job.add(cnn(tmp_path / "m.onnx"))
    store = job.add(samples(tmp_path / "store"))
    with pytest.raises(ValueError, match="quantises float models itself"):
        hailo.seatrial_build_int8(Int8Request(model=path, target="hailo8", form="qdq"), job)
    request = Int8Request(
        model=path, target="hailo8", form="float", calibration=store, keep_float=("head",)
    )
    with pytest.raises(ValueError, match="no layer can stay in float"):
        hailo.seatrial_build_int8(request, job)


def test_several_errors_of_one_parse_are_several_findings(tmp_path):
    graph = read(cnn(tmp_path / "m.onnx"))
    text = (
        "Parsing failed. The errors found in the graph are:\n"
        " UnsupportedShuffleLayerError in op flat: Failed to determine type of layer to create in "
        "node flat\n UnsupportedActivationLayerError in op act: Unexpected activation at act, "
        "op=Erf\n"
        "Please try to parse the model again, using these end node names: first, mean"
    )
    said = refusal(RuntimeError(text), graph)
    assert [(f.node, f.op_type) for f in said.findings] == [("flat", "Flatten"), ("act", "Relu")]
    assert said.ends == ("first", "mean")
    assert all(f.advice for f in said.findings)


def test_a_whole_run_in_an_interpreter_of_its_own(dfc_python, tmp_path):
    """`-b hailo@dfc:hailo8/emulator`: INT8 by the compiler's own quantisation, never a SHIP."""
    cnn(tmp_path / "m.onnx")
    draw = np.random.default_rng(3)
    for name, count in (("calib", 300), ("test", 40)):
        np.save(tmp_path / f"{name}.npy", draw.normal(0, 1, (count, 3, 12, 8)).astype(np.float32))
    (tmp_path / "seatrial.toml").write_text(f'[env.dfc]\npython = "{dfc_python}"\n')
    code = subprocess.run(
        [
            *(sys.executable, "-m", "seatrial", "run", "m.onnx", "--config", "seatrial.toml"),
            *("--calibration", "calib.npy", "--test", "test.npy", "--force-synthetic", "--quick"),
            *("-b", "hailo@dfc:hailo8/emulator", "-o", "trial"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code.returncode == 3, code.stdout + code.stderr
    report = json.loads((tmp_path / "trial" / "report.json").read_text())
    (target,) = report["targets"]
    assert target["fault"] is None, target["fault"]
    assert target["ran"]["where"] == "simulator"
    assert target["availability"]["versions"]["hailo_sdk_client"] == "3.33.1"
    rungs = {row["rung"] for row in report["ladder"] if row["target"] == target["target"]}
    assert {"device-float", "device-int8"} <= rungs
    assert target["verdict"] == "NOT PROVEN"
