"""``quantize --ranges``: a saved calibration is gone on with, and refused where it does not fit."""

import json

import pytest

from seatrial.calibration import table as tables

ORT = ["-b", "onnxruntime:cpu"]


CONTRACT = """
[input.image]
mode = "image"
layout = "NCHW"
color = "GRAY"
scale = 0.5
"""


def quantize(start, folder, *words):
    process = start(folder, ["quantize", *map(str, words), *ORT, "-q"], extra=False)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def reloaded(start, shelf, quantized, tmp_path_factory):
    """The report of ``quantize`` from saved ranges alone, and its folder."""
    folder = tmp_path_factory.mktemp("reloaded")
    words = [f"{shelf}/digits.onnx", "--ranges", quantized / "out.ranges.json", "-o", "again.onnx"]
    code, _, err = quantize(start, folder, *words, "--json", "r.json")
    assert code == 0, err
    return json.loads((folder / "r.json").read_text()), folder


def test_without_samples_the_default_is_written_and_said_to_be_unmeasured(
    reloaded, quantized, valid
):
    report, folder = reloaded
    valid(report)
    told = {row["code"]: row for row in report["reasons"]}
    assert told["quantize.unmeasured"]["level"] == "warning"
    assert "reloaded" in told["quantize.ranges"]["text"]
    (candidate,) = report["candidates"]
    assert candidate["chosen"] and not any((candidate["scores"] or {}).values())
    assert candidate["name"].startswith("core:minmax-")
    assert candidate["reason"] == "not measured: there were no samples to judge by"
    assert report["data"]["calibration"] is None
    assert [s["stage"] for s in report["timings"]].count("calibration data") == 1
    assert {file["role"] for file in report["files"]} == {"int8-model", "ranges"}
    assert (folder / "again.onnx").stat().st_size > 0
    assert tables.load(folder / "again.ranges.json") == tables.load(quantized / "out.ranges.json")


def test_samples_only_judge(reloaded, start, shelf, quantized, tmp_path):
    words = [f"{shelf}/digits.onnx", "--ranges", quantized / "out.ranges.json"]
    words += ["--calibration", f"{shelf}/calibration.npz", "-o", "out.onnx", "--json", "r.json"]
    code, _, err = quantize(start, tmp_path, *words)
    assert code == 0, err
    report = json.loads((tmp_path / "r.json").read_text())
    found = {c["name"]: c for c in report["candidates"]}
    assert any((c["scores"] or {}).get("kl") for c in found.values())
    (alone,) = reloaded[0]["candidates"]
    assert found[alone["name"]]["sha256"] == alone["sha256"]
    assert {c["source"] for c in report["candidates"]} == {"core"}
    assert report["calibration"]["cost"] is None  # no pass over the samples was made
    texts = [row["text"] for row in report["reasons"] if row["code"] == "quantize.ranges"]
    assert any("judge are among those that made the ranges" in text for text in texts)


def damaged(path, folder):
    data = json.loads(path.read_text())
    name = next(iter(data["tensors"]))
    data["tensors"][name]["hi"] *= 1.5
    (folder / "table.json").write_text(json.dumps(data))


def cut(path, folder):
    (folder / "table.json").write_text(path.read_text()[:-30])


def same(path, folder):
    (folder / "table.json").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("model", "change", "more", "line"),
    [
        ("digits", damaged, [], "table.json is damaged: its content does not fit its digest"),
        ("digits", cut, [], "table.json is not a calibration table: "),
        ("outlier", same, [], "table.json: is of another model ("),
        ("digits", same, ["--config", "own.toml"], "was made by another input contract"),
        ("digits", same, ["--methods", "equalised"], "--methods: equalised needs calibration"),
        ("digits", same, ["--methods", "mse,minmax"], "no samples to choose among 2 methods by"),
    ],
)
def test_refused_in_one_line(start, shelf, quantized, tmp_path, model, change, more, line):
    change(quantized / "out.ranges.json", tmp_path)
    (tmp_path / "own.toml").write_text(CONTRACT)
    words = [f"{shelf}/{model}.onnx", "--ranges", "table.json", "-o", "q.onnx", *more]
    code, out, err = quantize(start, tmp_path, *words)
    assert code == 2, err
    assert out == ""
    assert err.startswith("seatrial: error: ") and err.count("\n") == 1
    assert line in err
    assert not (tmp_path / "q.onnx").exists()
