"""The numbers of a report against a direct computation, to the image."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

#: run -> model, test data, first samples of it.
CASES = {
    "ship": ("digits", "test", 800),
    "outlier": ("outlier", "test", 256),
    "few": ("two", "two-test", 40),
    "overlap": ("digits", "calibration", 96),
    "agreement": ("fixed", "unlabelled", 256),
    "unlabelled": ("nhwc", "nhwc-test", 256),
    "tree": ("tree", "tree-test", 256),
    "qdq": (None, "test", 256),
}


def classes(path, data, n, *, literal, batch):
    """Top-1 classes by ONNX Runtime; ``literal``: no graph optimisation."""
    options = onnxruntime.SessionOptions()
    if literal:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    found = [
        session.run(None, {name: data[name][i : i + batch] for name in names})[0].argmax(1)
        for i in range(0, n, batch)
    ]
    return np.concatenate(found)


@pytest.fixture(scope="module")
def computed(trial, shelf, quantized):
    """``computed(name)``: the run, its labels, and the classes of every judged row."""

    def get(name):
        ran = trial(name)
        model, source, n = CASES[name]
        path = quantized / "out.onnx" if model is None else shelf / f"{model}.onnx"
        data = dict(np.load(shelf / f"{source}.npz"))
        batch = 4 if model == "fixed" else 1
        found = []
        for row in ran.report["ladder"]:
            if row["metric"] == "cosine" or row["target"] not in (None, "onnxruntime:cpu"):
                continue
            own = path if row["rung"] == "onnx-fp32" else ran.object(row["artifact"])
            literal = row["rung"] == "onnx-int8"
            found.append((row, classes(own, data, n, literal=literal, batch=batch)))
        assert found
        return data.get("labels", [None])[:n], found

    return get


@pytest.mark.parametrize("name", CASES)
def test_accuracy_and_agreement_to_the_image(computed, name):
    labels, found = computed(name)
    seen = {row["rung"]: got for row, got in found}
    for row, got in found:
        assert row["n"] == len(got)
        if labels[0] is None:
            continue
        assert row["metric"] == "top-1 accuracy"
        assert row["value"] == pytest.approx(100 * np.mean(got == labels), abs=1e-9), row["rung"]
    for row, got in found:
        base = seen.get(row["against"])
        if base is None or row["gate"] == "not applicable":
            continue
        assert row["agreement"] == pytest.approx(100 * np.mean(got == base), abs=1e-9)
        if labels[0] is not None:
            drop = 100 * (np.mean(base == labels) - np.mean(got == labels))
            assert row["drop"] == pytest.approx(drop, abs=1e-9)


def test_the_model_in_the_report_is_the_file(trial, shelf, nets):
    report = trial("ship").report
    model = report["model"]
    assert model["path"] == str(shelf / "digits.onnx")
    assert model["bytes"] == (shelf / "digits.onnx").stat().st_size
    assert model["op_types"] == {"Conv": 4, "Relu": 2, "Add": 1, "Flatten": 1, "Gemm": 1}
    sizes = [w.size for w in nets.weights().values()]
    assert model["parameters"] == sum(sizes) + nets.FEATURES * 16 * 10 + 10
    assert report["ladder"][0]["artifact"] == model["sha256"]


def test_the_int8_rung_is_the_model_that_the_device_was_built_from(trial):
    ran = trial("ship")
    (portable,) = ran.rungs("onnx-int8")
    for row in ran.rungs("device-int8", "onnxruntime:cpu"):
        assert row["source"] == portable["source"] == f"qdq:{portable['artifact'][:16]}"
    artifact = ran.target("onnxruntime:cpu")["int8"]["artifact"]["sha256"]
    assert {r["artifact"] for r in ran.rungs("device-int8", "onnxruntime:cpu")} == {artifact}


def test_quantize_wrote_what_it_reports(quantized):
    import hashlib
    import json

    report = json.loads((quantized / "q.json").read_text())
    files = {file["role"]: file for file in report["files"]}
    for role, name in (("int8-model", "out.onnx"), ("ranges", "out.ranges.json")):
        if role in files:
            content = (quantized / name).read_bytes()
            assert files[role]["bytes"] == len(content)
            assert files[role]["sha256"] == hashlib.sha256(content).hexdigest()
    # A backend's own quantizer leaves no table.
    (chosen,) = [c for c in report["candidates"] if c["chosen"]]
    assert set(files) == {"int8-model", *(["ranges"] if chosen["source"] == "core" else [])}
    cost = report["calibration"]["cost"]
    assert cost["samples"] == 96 and cost["seconds"] > 0 and cost["memory_mb"] > 0


def test_the_chosen_candidate_is_the_model_that_went_forward(trial):
    ran = trial("ship")
    (chosen,) = [c for c in ran.report["candidates"] if c["chosen"]]
    (portable,) = ran.rungs("onnx-int8")
    assert chosen["sha256"] == portable["artifact"]
