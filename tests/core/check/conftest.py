"""``seatrial check`` as a user starts it, with a backend made on the fly beside the real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PLUGIN = """
import ctypes, time
from seatrial import hookimpl
from seatrial import results as r

@hookimpl
def seatrial_describe():
    target = r.Target(id="cpu", title="CPU", device="cpu", rules=r.InputRules(qdq=r.QdqDialect()))
    return r.Description(title="Sick", vendor="nobody", targets=(target,))

@hookimpl
def seatrial_probe(request, job):
    {probe}
    return r.Availability(usable=True)

@hookimpl
def seatrial_check_static(request, job):
    {static}
    return r.StaticReport(claims=())

@hookimpl
def seatrial_compile_check(request, job):
    {compile}
    (job.out / "made.bin").write_bytes(b"made")
    made = r.Artifact(format="sick", entry="made.bin", files=("made.bin",))
    return r.CompileReport(verdict=r.Verdict.SUPPORTED, depth=r.Depth.ARTEFACT, artifact=made)
"""


class Checked:
    """What one run left: exit code, report (``None`` after a refusal), what it printed."""

    def __init__(self, done: subprocess.CompletedProcess[str], *, as_text: bool) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.report = json.loads(done.stdout) if done.stdout and not as_text else None

    def target(self, name: str) -> dict:
        (row,) = [t for t in self.report["targets"] if t["target"] == name]
        return row


@pytest.fixture
def check(tmp_path: Path):
    """``check(path, *words)`` runs the command and gives a :class:`Checked`."""
    site = tmp_path / "site"
    site.mkdir()

    def run(path: Path, *words: str, as_text: bool = False) -> Checked:
        variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        variables["TMPDIR"] = str(tmp_path)  # a check with a fault leaves its folder there
        variables["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, sys.path)])
        command = [sys.executable, "-m", "seatrial", "check", str(path), *words]
        command += [] if as_text else ["--json", "-"]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            timeout=200,
        )
        assert "Traceback" not in done.stderr
        return Checked(done, as_text=as_text)

    def install(**acts: str) -> None:
        """Install the backend ``sick``: a Python statement for some of its hooks."""
        info = site / "sick-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sick\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[seatrial]\nsick = seatrial_sick\n")
        code = _PLUGIN.format(**{"probe": "pass", "static": "pass", "compile": "pass", **acts})
        (site / "seatrial_sick.py").write_text(code)

    run.install = install
    return run


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    """A model that every runtime takes."""
    import onnx

    path = tmp_path / "relu.onnx"
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) {'
    onnx.save(onnx.parser.parse_model(text + "y = Relu(x) }"), path)
    return path
