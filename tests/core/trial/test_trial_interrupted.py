"""Ctrl-C in the middle: what was found is reported, nothing runs on, nothing ships."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def alive(folder):
    """Command lines of live processes that name a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    ("number", "stage"), [(signal.SIGINT, "[7/9] ladder"), (signal.SIGTERM, "[4/9] compile")]
)
def test_an_interrupted_run_reports_what_it_has(start, shelf, tmp_path, valid, number, stage):
    words = ["run", f"{shelf}/digits.onnx", "--calibration", f"{shelf}/calibration.npz"]
    words += ["--test", f"{shelf}/test.npz", "-b", "onnxruntime:cpu", "--quick"]
    process = start(tmp_path, [*words, "-o", str(tmp_path / "out")], extra=False)
    for line in process.stderr:
        if line.startswith(stage):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert alive(tmp_path) == []
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    valid(report)
    assert report["interrupted"] and report["exit_code"] == 130
    assert report["verdict"] == "NOT PROVEN"
    assert "run.interrupted" in {r["code"] for r in report["reasons"]}
    assert report["model"]["nodes"] == 9
    assert report["next"] == [" ".join(["seatrial", *words, "-o", str(tmp_path / "out")])]
    (target,) = report["targets"]
    assert target["availability"]["usable"]
    if number == signal.SIGINT:
        assert target["built"]["verdict"] == "supported"
        assert report["candidates"] and report["data"]["calibration"]["count"] == 64
    assert "interrupted" in (tmp_path / "out" / "report.md").read_text().lower()
