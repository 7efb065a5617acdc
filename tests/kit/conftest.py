"""One test run of the kit over backends that misbehave, looked at by many tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SLY = Path(__file__).parents[1] / "plugins_for_tests" / "kit" / "seatrial_sly.py"

#: Writes what happened to each test into a file.
LISTENER = """
import json, os

ends = {}

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        word = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        text = getattr(report, "wasxfail", "") or str(report.longrepr or "")
        ends[report.nodeid.partition("::")[2]] = [word, text]

def pytest_sessionfinish(session):
    with open(os.environ["ENDS"], "w") as file:
        json.dump(ends, file)
"""


class KitRun:
    """What came of a run."""

    def __init__(self, ends, output):
        self.ends = ends
        self.output = output

    def __getitem__(self, name):
        return self.ends[name]


class Lab:
    """Runs test files of vendors in a process of their own, against installed backends."""

    def __init__(self, folder):
        self.folder = folder
        self.site = folder / "site"
        self.site.mkdir()

    def install(self, dist, backends):
        info = self.site / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in backends.items()]
        (info / "entry_points.txt").write_text("\n".join(["[seatrial]", *lines, ""]))

    def run(self, text, *select, paths=(), **variables):
        tests = self.folder / f"tests{len(list(self.folder.iterdir()))}"
        tests.mkdir()
        (tests / "conftest.py").write_text(LISTENER)
        (tests / "test_vendor.py").write_text(text)
        ends = tests / "ends.json"
        path = [str(self.site), *map(str, paths), *sys.path]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir"]
        command += [str(tests), *(f"test_vendor.py::{name}" for name in select)]
        done = subprocess.run(
            command,
            cwd=tests,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
                "ENDS": str(ends),
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return KitRun(json.loads(ends.read_text()), done.stdout)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("lab"))
    shutil.copy2(SLY, made.site)
    classes = [
        line.removeprefix("class ").partition("(")[0].rstrip(":")
        for line in SLY.read_text().splitlines()
        if line.startswith("class ") and not line.startswith("class Session")
    ]
    made.install("seatrial-sly", {c.lower(): f"seatrial_sly:{c}" for c in classes})
    return made
