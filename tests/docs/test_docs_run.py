"""Every command that README and docs show is typed, in their order, in a folder of real digits."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: In the order in which somebody would read them.
PAGES = (
    "README.md", "docs/index.md", "docs/check.md", "docs/speed.md", "docs/calibration.md",
    "docs/export.md", "docs/qat.md", "docs/report.md", "docs/ci/compare.md",
    "docs/backends/hailo.md",
)  # fmt: skip
#: Needs a toolchain that is not here, or a model that is refused: one line says so.
ELSEWHERE = ("hailo@", "tensorrt", "repro")
#: The trial of one page serves the commands of another.
MADE = {"baseline.json": "trial/report.json", "model.int8.onnx": "model.onnx"}


def commands():
    """(page, words) of every seatrial command in a block of shell, each once."""
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for block in re.findall(r"^```(?:sh|console|bash)[^\n]*\n(.*?)^```$", text, re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
                if words[:1] == ["seatrial"]:
                    found.setdefault(tuple(words), page)
    return [(page, words) for words, page in found.items()]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_command_does_what_it_says(tmp_path):
    root = tmp_path / "sandbox"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                str(Path(__file__).with_name("sandbox.py")),
                str(root),
            ],
            check=True,
            capture_output=True,
        )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    wrong = []
    for page, words in commands():
        for name, source in MADE.items():
            if name in words and not (root / name).exists() and (root / source).exists():
                shutil.copy(root / source, root / name)
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        elsewhere = any(mark in word for mark in ELSEWHERE for word in words)
        allowed = (0, 1, 2, 3) if elsewhere else (0, 1, 3)
        print(f"{done.returncode} {page}: {shlex.join(words)}")
        if done.returncode not in allowed or "Traceback" in done.stderr:
            wrong.append(f"{page}: {shlex.join(words)}\n{done.returncode} {done.stderr[-400:]}")
    assert not wrong, "\n".join(wrong)
