"""A vendor with nothing but the wheel: a clean environment, ``new-backend``, the kit.

The environment holds the wheel and what it says that it needs, and nothing else: third-party
packages are linked in one by one from here, so no network is used and a requirement that the wheel
forgets to name is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def run(*command, cwd, expect=0):
    """Run without anything of this environment on the path."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def build(source, out):
    """Build a wheel with the tools that are here."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    run(*command, cwd=out)
    return max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def closure(requirements, extra=""):
    """Distributions that requirements stand for, theirs included."""
    found = {}
    left = [(Requirement(r), extra) for r in requirements]
    while left:
        requirement, extra = left.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-")
        if name in found or name == "seatrial":
            continue
        found[name] = metadata.distribution(name)
        for inner in found[name].requires or ():
            left.append((Requirement(inner), ",".join(requirement.extras)))
    return found.values()


def link(dist, site):
    """Make one installed distribution importable in another environment."""
    tops = {Path(f).parts[0] for f in dist.files or ()} - {"..", "__pycache__"}
    for top in tops:
        source = Path(dist.locate_file(top))
        if source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Interpreter of an environment with the wheel, its requirements and the extra ``testing``."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = build(ROOT, folder)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    install(python, wheel)
    code = "from importlib.metadata import requires; print('\\n'.join(requires('seatrial')))"
    for dist in closure(run(python, "-c", code, cwd=folder).splitlines(), "testing"):
        link(dist, site)
    return python


def install(python, wheel):
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*command, "--no-deps", "--no-index", "--no-compile", wheel, cwd=wheel.parent)


@pytest.mark.slow
def test_a_new_backend_passes_the_kit_with_nothing_but_the_wheel(clean, tmp_path):
    seatrial = clean.with_name("seatrial")
    run(seatrial, "new-backend", "acme", "--title", "Acme NPU", cwd=tmp_path)
    package = tmp_path / "seatrial-acme"
    install(clean, build(package, tmp_path))
    where = "import seatrial, seatrial_acme; print(seatrial.__file__, seatrial_acme.__file__)"
    for file in run(clean, "-c", where, cwd=tmp_path).split():
        assert Path(file).is_relative_to(clean.parent.parent)
    listed = run(seatrial, "backends", cwd=tmp_path)
    assert "acme:cpu *" in listed and "seatrial-acme 0.1.0" in listed
    said = run(clean, "-m", "pytest", "-q", "-p", "no:cacheprovider", package, cwd=tmp_path)
    assert "badge: seatrial kit acme:cpu contract 1.0: PASSED |" in said
    assert "notimpl: map the operator in toolchain.py" in said
