"""The tests of each package under ``plugins/`` pass, run as its vendor would."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Packages that need nothing but the wheel; others bring toolchains, and have rules of their own.
LIGHT = ("seatrial-example",)


@pytest.mark.parametrize("dist", LIGHT)
def test_the_package_passes_its_own_tests(dist, tmp_path):
    home = ROOT / "plugins" / dist
    project = tomllib.loads((home / "pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / f"{dist.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(facts)
    lines = [f"{k} = {v}" for k, v in project["entry-points"]["seatrial"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[seatrial]", *lines, ""]))
    path = os.pathsep.join(filter(None, [str(tmp_path), str(home / "src"), *sys.path]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    badge = next(x for x in done.stdout.splitlines() if x.startswith("badge: "))
    assert " PASSED | " in badge


@pytest.mark.parametrize("home", sorted((ROOT / "plugins").iterdir()), ids=lambda p: p.name)
def test_a_plugin_uses_the_public_contract_only(home):
    """What a stranger has: seatrial's public names, nothing private, nothing of our tree."""
    import ast

    allowed = {"seatrial", "seatrial.hookspecs", "seatrial.results", "seatrial.testing"}
    allowed |= {"seatrial.samples", "seatrial.errors", "seatrial.models"}
    seen = set()
    for path in sorted(home.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                seen.add(node.module)
            elif isinstance(node, ast.Import):
                seen |= {alias.name for alias in node.names}
    ours = {m for m in seen if m.partition(".")[0] == "seatrial"}
    assert ours <= allowed, ours - allowed
    assert not {m for m in seen if m.partition(".")[0] in ("tests", "core", "backends")}
