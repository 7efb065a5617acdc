"""kill -9 in the middle: the next run in the folder ends as if nothing had happened.

``benchmarks/killed.py`` does the same at thirty random instants, and compares every figure.
"""

from __future__ import annotations

import json
import random
import signal
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def _killed(start, folder, words, stage, wait_s):
    process = start(folder, words, extra=True)
    for line in process.stderr:
        if line.startswith(stage):
            break
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "out" / "report.json").exists()


def _spoiled(folder):
    """Turn a bit over in one entry that the rerun is sure to ask for; its key."""
    entries = sorted((folder / "out" / ".seatrial" / "cache").glob("*/files/*"))
    path = random.Random(0).choice([p for p in entries if p.is_file()])
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path.parts[-3]


def _gates(report, target):
    return [
        (row["rung"], row["against"], row["gate"], row["value"])
        for row in report["ladder"]
        if row["metric"] != "cosine" and row["target"] in (None, target)
    ]


@pytest.mark.parametrize(
    ("stage", "wait_s"),
    [
        pytest.param("[6/9]", 0.0, marks=pytest.mark.long),
        pytest.param("[2/9]", 0.3, marks=pytest.mark.long),
        pytest.param("[5/9]", 1.0, marks=pytest.mark.long),
    ],
)
def test_a_run_after_a_kill_ends_alike(start, shelf, trial, tmp_path, stage, wait_s):
    words = ["run", f"{shelf}/digits.onnx", "--calibration", f"{shelf}/calibration.npz"]
    words += ["--test", f"{shelf}/test.npz[0:256]", "--max-drop", "4", "--quick", "-o", "out"]
    words += ["-b", "onnxruntime:cpu", "--all-int8"]
    _killed(start, tmp_path, words, stage, wait_s)
    spoiled = _spoiled(tmp_path) if stage == "[6/9]" else ""
    process = start(tmp_path, words, extra=True)
    _, err = process.communicate(timeout=200)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    undisturbed = trial("default").report
    (twin,) = [t for t in undisturbed["targets"] if t["target"] == "onnxruntime:cpu"]
    (target,) = report["targets"]
    assert target["verdict"] == twin["verdict"] and target["answers"] == twin["answers"], err
    assert process.returncode == report["exit_code"]
    floats = [g for g in _gates(report, target["target"]) if g[0] in ("onnx-fp32", "device-float")]
    assert floats and floats == [
        g for g in _gates(undisturbed, target["target"]) if g[0] in ("onnx-fp32", "device-float")
    ]
    said = {row["code"]: row["text"] for row in report["reasons"]}
    if spoiled:
        assert "run.remembered" in said
        assert spoiled[:12] in said["run.damaged-cache"]
