"""What is said without the SDK: tables, rules, and what is missing."""

import numpy as np
import onnx
import pytest
from hailo_models import cnn, save, weight, with_topk
from onnx import TensorProto, helper, numpy_helper

import seatrial_hailo as hailo
from seatrial.results import CheckRequest, Claim, ProbeRequest
from seatrial_hailo.table import KNOWN, rows
from seatrial_hailo.targets import CHIPS, describe


def claims(job, path, target="hailo8", **more):
    request = CheckRequest(model=job.add(path), target=target, **more)
    report = hailo.seatrial_check_static(request, job)
    return {c.node: c for c in report.claims}, report.notes


def test_every_row_says_how_it_is_known():
    assert len(rows()) > 80
    assert {row.known for row in rows().values()} <= set(KNOWN)
    assert {row.confidence for row in rows().values()} == {"medium", "low"}, (
        "nothing is the vendor's"
    )


def test_nothing_is_ever_supported_and_unknown_operators_are_unknown(job, tmp_path):
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="acme")]
    found, _ = claims(job, save(tmp_path / "m.onnx", nodes, []))
    assert found["odd"].claim is Claim.UNKNOWN
    assert "acme.Frobnicate" in found["odd"].reason


def test_refused_operators_have_their_reason_and_confidence(job, tmp_path):
    found, _ = claims(job, with_topk(tmp_path / "m.onnx"))
    assert found["best"].claim is Claim.UNSUPPORTED
    assert found["best"].confidence == "medium"
    assert "unsupported" in found["best"].reason
    assert found["first"].claim is Claim.LISTED


def test_what_only_folds_is_listed_where_it_folds(job, tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "zero"], ["g"], name="pick"),
        helper.make_node("Gather", ["x", "zero"], ["y"], name="look"),
    ]
    zero = numpy_helper.from_array(np.array([0]), "zero")
    found, _ = claims(job, save(tmp_path / "m.onnx", nodes, [zero]))
    assert found["shape"].claim is found["pick"].claim is Claim.LISTED
    assert found["look"].claim is Claim.UNKNOWN
    assert "fold" in found["look"].reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: setattr(m, "ir_version", 11), "IR version 11"),
        (lambda m: setattr(m.opset_import[0], "version", 11), "opset 11"),
        (lambda m: dim(m, 0, None), "free dimensions"),
        (lambda m: dim(m, 0, 4), "batch 4"),
    ],
)
def test_what_the_parser_asks_of_a_whole_model_is_noted(job, tmp_path, change, words):
    path = cnn(tmp_path / "m.onnx")
    assert not any(words in note for note in claims(job, path)[1])
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    assert any(words in note for note in claims(job, path)[1])


def dim(model, axis, value):
    found = model.graph.input[0].type.tensor_type.shape.dim[axis]
    found.Clear()
    if value:
        found.dim_value = value


def test_quantised_models_are_refused_with_what_to_give_instead(job, tmp_path):
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    zero = numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="dq"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="conv"),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 10, 6])]
    weights = [scale, zero, weight("w", 4, 3, 3, 3)]
    found, notes = claims(job, save(tmp_path / "m.onnx", nodes, weights, outputs=outputs))
    assert found["q"].claim is found["dq"].claim is Claim.UNSUPPORTED
    assert any("give the float model" in note for note in notes)


def test_each_chip_has_a_device_and_an_emulator():
    targets = {t.id: t for t in describe().targets}
    assert len(targets) == 2 * len(CHIPS)
    assert targets["hailo8"].device == targets["hailo8/emulator"].device
    assert [t.id for t in targets.values() if t.default] == ["hailo8"]
    assert describe().hardware_run == "never"


def probe(target="hailo8"):
    return hailo.seatrial_probe(ProbeRequest(target=target))


def test_without_the_compiler_it_says_how_to_get_it():
    found = probe()
    assert not found.usable
    assert "Dataflow Compiler is not installed" in found.reason
    assert "env.dfc" in found.install_hint


@pytest.mark.parametrize(
    ("target", "version", "devices", "words"),
    [
        ("hailo8", "5.2.0", "0000:01:00.0", "does not build for hailo8"),
        ("hailo15h", "3.33.1", "0000:01:00.0", "does not build for hailo15h"),
        ("hailo8", "3.33.1", "", "no Hailo device found"),
        ("hailo8", "3.33.1", "no driver", "cannot look for devices"),
        ("hailo99", "3.33.1", "", "there is no target"),
    ],
)
def test_what_is_missing_is_told_apart(sdk, target, version, devices, words):
    sdk.setenv("FAKE_DFC_VERSION", version)
    sdk.setenv("FAKE_HAILO_DEVICES", devices)
    found = probe(target)
    assert not found.usable
    assert words in found.reason


@pytest.mark.parametrize(
    ("target", "version", "devices"),
    [
        ("hailo8", "3.33.1", "0000:01:00.0"),
        ("hailo8/emulator", "3.33.1", ""),
        ("hailo10h/emulator", "5.2.0", ""),
    ],
)
def test_what_is_there_is_usable_with_its_versions(sdk, target, version, devices):
    sdk.setenv("FAKE_DFC_VERSION", version)
    sdk.setenv("FAKE_HAILO_DEVICES", devices)
    found = probe(target)
    assert found.usable, found.reason
    assert found.versions["hailo_sdk_client"] == version
    assert found.devices == tuple(devices.split())


def test_importing_the_backend_imports_no_toolchain():
    import subprocess
    import sys

    code = (
        "import sys, seatrial_hailo as h; h.seatrial_describe();"
        "print([m for m in ('onnx','numpy','hailo_sdk_client','tensorflow') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
