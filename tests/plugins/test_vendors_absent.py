"""Packages of vendors where their toolchain is missing: they say so, and judge nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Package -> a module of its toolchain.
HEAVY = {"seatrial-tvm": "tvm", "seatrial-litert": "onnx2tf", "seatrial-rknn": "rknn"}
#: What the kit asks of a backend whatever is installed.
ASKED = (
    "test_light or entry_point or describe or light_import or contract_version or probe"
    " or unusable or static"
)


@pytest.mark.parametrize(("dist", "toolchain"), HEAVY.items())
def test_without_its_toolchain_a_vendor_package_says_so(dist, toolchain, tmp_path):
    if find_spec(toolchain) is not None:
        pytest.skip(f"{toolchain} is installed here: make vendors runs the whole kit")
    home = ROOT / "plugins" / dist
    project = tomllib.loads((home / "pyproject.toml").read_text("utf-8"))["project"]
    ((backend, module),) = project["entry-points"]["seatrial"].items()
    info = tmp_path / f"{dist.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(facts)
    (info / "entry_points.txt").write_text(f"[seatrial]\n{backend} = {module}\n")
    (tmp_path / "test_vendor.py").write_text(
        "from seatrial.testing import BackendSuite\n"
        f"class TestVendor(BackendSuite):\n    backend = {backend!r}\n"
    )
    if (light := home / "tests" / "test_light.py").exists():
        (tmp_path / light.name).symlink_to(light)
    path = os.pathsep.join(filter(None, [str(tmp_path), str(home / "src"), *sys.path]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", ASKED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "SEATRIAL_KIT": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seatrial kit {backend}:" in done.stdout and ": PASSED" in done.stdout
