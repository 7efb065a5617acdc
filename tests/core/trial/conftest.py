"""Whole runs of the program, made once and looked at by many tests.

A run takes ten seconds, so each is made once for all workers (a lock in their common folder), and
tests of the same run only read its report.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

_HERE = Path(__file__).parent


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"seatrial_trial_{name}", _HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def nets():
    """The module that makes models and data."""
    return _load("nets")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """``once(name, make)``: a folder that ``make`` fills, one time for all workers."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    root = root / "trial"
    root.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], None]) -> Path:
        folder = root / name
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / f"{name}.done").exists():
                folder.mkdir()
                make(folder)
                (root / f"{name}.done").touch()
        return folder

    return get


@pytest.fixture(scope="session")
def shelf(once, nets):
    """The folder of models and data."""
    return once("shelf", nets.make)


@dataclass(frozen=True)
class Ran:
    """One finished run of the program."""

    name: str
    folder: Path
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report that was written."""
        return json.loads((self.folder / "out" / "report.json").read_text("utf-8"))

    def target(self, name: str) -> dict[str, Any]:
        """The row of a target."""
        (row,) = [t for t in self.report["targets"] if t["target"] == name]
        return row

    def rungs(self, rung: str, target: str | None = None) -> list[dict[str, Any]]:
        """The judged rows of a rung, without the figures of single outputs."""
        return [
            row
            for row in self.report["ladder"]
            if (row["rung"], row["target"]) == (rung, target) and row["metric"] != "cosine"
        ]

    def object(self, sha256: str) -> Path:
        """The only file of an object in the run's store."""
        (file,) = (self.folder / "out" / ".seatrial" / "objects" / sha256).iterdir()
        return file


@pytest.fixture(scope="session")
def environment(once):
    """Variables of a user with an empty home."""
    home = once("home", lambda folder: None)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEATRIAL", "COLUMNS", "XDG"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


@pytest.fixture(scope="session")
def seatrial(once, environment):
    """``seatrial(name, *words)``: the program run once with these words; ``{out}`` is its folder.

    ``files`` are written into the working folder before it starts, ``path`` goes on the search
    path of Python.
    """

    def run(name: str, *words: str, files: Mapping[str, str] | None = None, path: str = "") -> Ran:
        def make(folder: Path) -> None:
            for file, content in (files or {}).items():
                (folder / file).write_text(content)
            done = subprocess.run(
                [sys.executable, "-m", "seatrial", *(w.format(out=folder / "out") for w in words)],
                cwd=folder,
                env={**environment, **({"PYTHONPATH": path} if path else {})},
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            (folder / "done.json").write_text(
                json.dumps({"code": done.returncode, "out": done.stdout, "err": done.stderr})
            )

        folder = once(name, make)
        return Ran(name=name, folder=folder, **json.loads((folder / "done.json").read_text()))

    return run


@pytest.fixture(scope="session")
def schema_of_the_report():
    """Validates a report; raises what is wrong with it."""
    text = importlib.resources.files("seatrial.report").joinpath("schema/report-1.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text)).validate
