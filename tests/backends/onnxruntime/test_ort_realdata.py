"""Every stored model, valid, odd or broken: the verdict must be what the runtime itself does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

_ASK = """
import json, sys, tempfile
from pathlib import Path
import onnxruntime as ort
from seatrial.testing.local import LocalJob
from seatrial.results import CheckRequest
import seatrial_onnxruntime as backend

options = ort.SessionOptions()
options.log_severity_level = 4
for name in sys.argv[1:]:
    try:
        ort.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        direct = "supported"
    except Exception:
        direct = "unsupported"
    with tempfile.TemporaryDirectory() as folder:
        job = LocalJob(Path(folder))
        request = CheckRequest(model=job.add(Path(name)), target="cpu")
        try:
            report = backend.seatrial_compile_check(request, job)
            ours = report.verdict.value
            if ours != "supported" and not report.findings:
                ours += " without a finding"
        except Exception as error:
            ours = f"raised {error!r}"
        try:
            static = backend.seatrial_check_static(request, job)
            claims = sorted({c.claim.value for c in static.claims})
        except Exception as error:
            claims = [f"raised {type(error).__name__}"]
    print(json.dumps([direct, ours, claims]), flush=True)
"""


def _root() -> Path:
    stated = os.environ.get("SEATRIAL_DATA")
    root = Path(stated) if stated else Path(__file__).parents[4] / "shared"
    if not (root / "data" / "onnx").is_dir():
        pytest.skip(f"no real models under {root}: set SEATRIAL_DATA")
    return root / "data"


def _ask(files: list[Path]) -> dict[Path, list[object]]:
    """Ask about several files in one process; one that dies or hangs costs its file only."""
    answers: dict[Path, list[object]] = {}
    while len(answers) < len(files):
        left = [p for p in files if p not in answers]
        process = subprocess.Popen(
            [sys.executable, "-c", _ASK, *map(str, left)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            text, _ = process.communicate(timeout=60)
            fault = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            fault = "timed out"
        lines = [json.loads(line) for line in text.splitlines()]
        answers |= dict(zip(left, lines, strict=False))
        if len(lines) < len(left):
            answers[left[len(lines)]] = [fault, fault, []]
    return answers


def test_verdicts_agree_with_the_runtime(capsys):
    root = _root()
    files = sorted(p for part in ("onnx", "odd", "negative") for p in (root / part).glob("*.onnx"))
    with ThreadPoolExecutor(2) as pool:
        chunks = list(pool.map(_ask, [files[k::8] for k in range(8)]))
    found = {p: answer for chunk in chunks for p, answer in chunk.items()}
    apart = {p.name: a for p, a in found.items() if a[0] != a[1]}
    accepted = [p for p, a in found.items() if a[0] == "supported"]
    slandered = [p.name for p in accepted if "unsupported" in found[p][2]]
    with capsys.disabled():
        print(f"\n{len(files) - len(apart)} of {len(files)} agree, {len(accepted)} accepted")
        print(f"claims that refuse an accepted model: {len(slandered)}")
    assert len(files) > 100
    assert set(found) == set(files)
    assert apart == {}
    assert slandered == []
