"""Who imports what: the parent process stays clean, and the core knows no vendor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core"
#: Native toolchains and what only children need. The parent owns the verdict and must not crash.
NATIVE = {
    *("onnx", "onnxruntime", "openvino", "torch", "PIL", "nncf", "sklearn", "scipy"),
    *("onnxscript", "tensorrt", "google.protobuf"),
}
BACKENDS = ("seatrial_onnxruntime", "seatrial_openvino", "seatrial_tensorrt")
#: Not even these before a command does something.
LATER = {"numpy", "rich", "pluggy"}


def modules_after(code, *, cwd):
    """Names of all modules that a fresh interpreter holds after running some code."""
    tail = "\nimport json, sys\nsys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        cwd=cwd,
        env={**os.environ, "XDG_CACHE_HOME": str(cwd / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def command(*words):
    return f"from seatrial.cli import main\ncode = main({list(words)!r})\nassert code == 0, code"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A net that every runtime takes: one convolution."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = tmp_path_factory.mktemp("model") / "model.onnx"
    weight = np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], "conv"),
            helper.make_node("Relu", ["h"], ["y"], "relu"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_importing_the_package_imports_nothing_heavy(tmp_path):
    loaded = modules_after("import seatrial", cwd=tmp_path)
    assert not loaded & (NATIVE | LATER)


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(tmp_path, words):
    loaded = modules_after(command(*words), cwd=tmp_path)
    assert not loaded & (NATIVE | LATER)


def test_a_whole_check_leaves_the_parent_clean(tmp_path, model):
    loaded = modules_after(command("check", str(model), "-o", "out"), cwd=tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    built = {t["target"]: t["built"]["verdict"] for t in report["targets"] if t["built"]}
    assert built == {"onnxruntime:cpu": "supported", "openvino:CPU": "supported"}
    assert not loaded & NATIVE
    assert not [m for m in loaded if m.startswith(BACKENDS)]


@pytest.mark.slow
def test_a_whole_run_leaves_the_parent_clean(tmp_path, model):
    rng = np.random.default_rng(0)
    for name, count in (("calibration", 8), ("test", 16)):
        np.savez(tmp_path / f"{name}.npz", x=rng.random((count, 1, 8, 8), dtype=np.float32))
    words = ["run", str(model), "--calibration", "calibration.npz", "--test", "test.npz"]
    words += ["-b", "onnxruntime:cpu", "--quick", "-o", "out", "--fail-on", "never"]
    loaded = modules_after(command(*words, "--force-synthetic"), cwd=tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    rungs = {row["rung"] for row in report["ladder"]}
    assert rungs == {"onnx-fp32", "onnx-int8", "device-float", "device-int8"}
    assert not loaded & NATIVE


# --- no vendor in the core ------------------------------------------------------------------------

VENDORS = r"openvino|tensorrt|hailo|nncf|litert|tflite|rknn|\bqnn\b|snpe|\btvm\b|coreml|edgetpu"
REFERENCE = r"onnxruntime|onnx runtime"
#: ONNX Runtime is a plain dependency, because it is the reference. Only these name it.
REFERENCE_ALLOWED = {
    "seatrial/reference.py": "the reference itself",
    "seatrial/trial/machine.py": "its version belongs to every claim, as numpy's does",
    "seatrial/trial/targets.py": "an example of a target, one that exists everywhere",
    "seatrial/jobs/memory.py": "its version is part of the key of a step that is remembered",
    "seatrial/export/origin.py": "its frames of a stack trace are not the user's code",
}


def said(pattern):
    """The words that the files of the core say, by file."""
    found = {}
    for path in sorted((CORE / "seatrial").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            words = re.findall(pattern, path.read_text("utf-8"), re.IGNORECASE)
            if words:
                found[str(path.relative_to(CORE))] = {w.lower() for w in words}
    return found


def test_the_core_names_no_vendor():
    assert said(VENDORS) == {}


def test_the_core_names_its_reference_only_where_there_is_a_reason():
    assert set(said(REFERENCE)) == set(REFERENCE_ALLOWED)


def test_only_the_reference_imports_its_runtime():
    importing = said(r"(?m)^\s*(?:import|from) onnxruntime")
    assert set(importing) == {"seatrial/reference.py"}


@pytest.mark.parametrize("folder", BACKENDS)
def test_the_core_never_imports_a_backend(folder):
    assert said(rf"\b{folder}\b") == {}
