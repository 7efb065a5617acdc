"""What is built is what was meant: nothing missing, nothing more."""

from __future__ import annotations

import configparser
import email
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NAMES = {
    "seatrial",
    "seatrial_hailo",
    "seatrial_onnxruntime",
    "seatrial_openvino",
    "seatrial_tensorrt",
}
BACKENDS = {"hailo", "onnxruntime", "openvino", "tensorrt"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it, as a user's installer does."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel, opened."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """The wheel's files in a folder, as installed."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def python(folder, code):
    """Run code with the unpacked wheel in front of everything, in an unrelated folder."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_listed_package_exists():
    listed = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(p).name for p in listed} == NAMES
    for package in listed:
        assert (ROOT / package / "__init__.py").is_file(), package


def test_only_our_packages_are_in_the_wheel(wheel):
    version = PROJECT["project"]["version"]
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == NAMES | {f"seatrial-{version}.dist-info"}
    tests = ("test_", "conftest")
    names = wheel.namelist()
    assert not [n for n in names if "__pycache__" in n or Path(n).name.startswith(tests)]


def test_every_module_of_the_tree_is_in_the_wheel(wheel):
    listed = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    files = {
        str(Path(package).name / path.relative_to(ROOT / package))
        for package in listed
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {n for n in wheel.namelist() if ".dist-info/" not in n}
    assert inside == files
    assert "seatrial/py.typed" in inside
    schema = json.loads(wheel.read("seatrial/report/schema/report-1.json"))
    assert schema["properties"]["schema"]["const"] == "seatrial.report/1"


def test_the_metadata_says_what_the_project_says(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    said = email.message_from_bytes(wheel.read(name))
    project = PROJECT["project"]
    assert (said["Name"], said["Version"]) == (project["name"], project["version"])
    assert said["Requires-Python"] == project["requires-python"]
    assert said["License-Expression"] == project["license"]
    assert set(said.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert said.get_payload().startswith("# Seatrial")
    assert [n for n in wheel.namelist() if n.endswith("licenses/LICENSE")]
    plain = {r for r in said.get_all("Requires-Dist") if "extra ==" not in r}
    assert plain == set(project["dependencies"])


def test_the_versions_agree():
    from seatrial import _VERSION

    assert PROJECT["project"]["version"] == _VERSION


def test_every_entry_point_loads_from_the_wheel(wheel, unpacked):
    (name,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    assert dict(parser["console_scripts"]) == {"seatrial": "seatrial.cli:main"}
    assert set(parser["seatrial"]) == BACKENDS
    code = (
        "from importlib.metadata import distribution\n"
        "for e in distribution('seatrial').entry_points:\n"
        "    loaded = e.load()\n"
        "    module = getattr(loaded, '__module__', None) or loaded.__name__\n"
        "    print(e.name, __import__('sys').modules[module].__file__)\n"
    )
    lines = dict(line.split(" ", 1) for line in python(unpacked, code).splitlines())
    assert set(lines) == {"seatrial", *BACKENDS}
    for path in lines.values():
        assert Path(path).is_relative_to(unpacked)


def test_the_wheel_works_without_the_tree(unpacked):
    code = (
        "import sys, seatrial\n"
        "from seatrial.cli import main\n"
        "print(seatrial.__file__)\n"
        "sys.exit(main(['backends', '-q', '--json', '-']))\n"
    )
    first, _, document = python(unpacked, code).partition("\n")
    assert Path(first).is_relative_to(unpacked)
    assert all(f'"{backend}"' in document for backend in BACKENDS)


def test_the_sdist_has_what_builds_and_tests_it(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {"/".join(n.split("/")[1:]) for n in archive.getnames()}
    for wanted in (
        *("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile"),
        *("constraints.txt", "core/seatrial/__init__.py", "core/seatrial/py.typed"),
        *("backends/seatrial_openvino/__init__.py", "tests/packaging/test_wheel.py"),
        "tests/plugins_for_tests/faults/seatrial_faults.py",
    ):
        assert wanted in names, wanted
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".onnx"))]


# --- imports --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "import core",
        "import core.seatrial",
        "from core.seatrial import results",
        "from backends.seatrial_openvino import targets",
        "from tests.core import conftest",
    ],
)
def test_folders_of_the_tree_are_not_packages_to_import(tmp_path, line):
    assert "TID251" in lint(tmp_path, line)


@pytest.mark.parametrize(
    "module", ["torch", "onnx", "onnxruntime", "openvino", "tensorrt", "nncf", "PIL"]
)
def test_heavy_imports_at_module_level_are_refused(tmp_path, module):
    assert "TID253" in lint(tmp_path, f"import {module}")


def test_our_own_imports_are_allowed(tmp_path):
    assert lint(tmp_path, "import seatrial\nimport seatrial_openvino") == set()


def lint(folder, line):
    """Codes that ruff gives a module of one line under the project's own rules."""
    file = folder / "module.py"
    file.write_text(f"{line}\n")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config"]
    command += [str(ROOT / "pyproject.toml"), "--select", "TID", "--output-format", "json"]
    done = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {found["code"] for found in json.loads(done.stdout)}
