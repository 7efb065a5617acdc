"""The kit asks the backend that is there: what an earlier test run was told is not told again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "plugins" / "seatrial-example"
ADD = "TestExample::test_case[operators/Add]"


@pytest.fixture
def package(tmp_path):
    """A vendor's package, installed."""
    home = tmp_path / "package"
    shutil.copytree(EXAMPLE, home, ignore=shutil.ignore_patterns("__pycache__"))
    info = home / "src" / "seatrial_example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: seatrial-example\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seatrial]\nexample = seatrial_example\n")
    return home


def _run(home, number, *more, **variables):
    """What pytest says of one case; the folders of runs lie side by side, as pytest's own do."""
    path = os.pathsep.join(filter(None, [str(home / "src"), *sys.path]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more]
    command += ["--basetemp", str(home.parent / f"run-{number}")]
    done = subprocess.run(
        [*command, f"tests/test_conformance.py::{ADD}"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["alone", "workers"])
def test_a_backend_that_changed_is_asked_again(package, more):
    inherited = {"PYTEST_XDIST_WORKER": "gw0"}
    assert "1 passed" in _run(package, 1, *more, **inherited)
    toolchain = package / "src" / "seatrial_example" / "toolchain.py"
    text = toolchain.read_text("utf-8")
    assert text.count('    "Add": np.add,\n') == 1
    toolchain.write_text(text.replace('    "Add": np.add,\n', ""), "utf-8")
    said = _run(package, 2, *more, **inherited)
    assert "1 failed" in said
    assert "no rule for ai.onnx.Add" in said
