"""Whole runs of the program, made once and looked at by many tests.

A run takes ten seconds, so each is made once for all workers (a lock in their common folder), and
tests of the same run only read its report.
"""

from __future__ import annotations

import fcntl
import importlib.resources
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
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
def once(request, tmp_path_factory):
    """``once(name, make)``: a folder that ``make`` fills, one time for all workers."""
    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
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
def plugins(once):
    """A folder with the backends of these tests; ``ruin`` dies when it is imported."""

    def make(folder: Path) -> None:
        for name in ("shaky", "sly", "fibs", "picky", "ruin"):
            info = folder / f"seatrial_{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: seatrial-{name}\nVersion: 1.0\n"
            )
            (info / "entry_points.txt").write_text(f"[seatrial]\n{name} = seatrial_{name}\n")
        for name in ("shaky", "sly", "fibs", "picky"):
            shutil.copy2(_HERE / f"seatrial_{name}.py", folder)
        (folder / "seatrial_ruin.py").write_text("import os\nos.abort()\n")

    return once("plugins", make)


@pytest.fixture(scope="session")
def start(environment, plugins):
    """Starts the program in a folder; ``extra``: the backends of these tests are installed."""

    def run(folder: Path, words: list[str], *, extra: bool) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "seatrial", *words],
            cwd=folder,
            env={**environment, **({"PYTHONPATH": str(plugins)} if extra else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def _faults_toml() -> str:
    """Limits that end what hangs and what eats."""
    lines = []
    for target in _load("seatrial_shaky").IDS:
        if target.endswith("hangs"):
            lines += [f'[target."shaky:{target}"]', "timeout_s = 2.0"]
        if target.endswith("eats"):
            lines += [f'[target."shaky:{target}"]', "memory_mb = 300"]
    return "\n".join(lines)


def _tree_toml() -> str:
    """A run of which only model and target are typed."""
    return """
    [run]
    out = "out"
    quick = true
    [data.test]
    source = "{shelf}/tree-test.npz[0:256]"
    [target."onnxruntime:cpu"]
    threads = 1
    """


def _catalogue() -> dict[str, tuple[str, dict[str, str]]]:
    """Command line and files of every run; ``{{shelf}}`` stands for the models and data."""
    sets = "--calibration {shelf}/calibration.npz --test {shelf}/test.npz"
    part = f"{sets}[0:256]"
    ort = "-b onnxruntime:cpu"
    quick = f"--quick {ort} -o out -q"
    # The same words but for the further targets: the numbers must be the same, too. What is put
    # back to float depends on measured times, and these are never the same.
    full = f"run {{shelf}}/digits.onnx {sets} {ort} --threads 1 --max-drop 2 --all-int8 -o out"
    shaky = " ".join(f"-b shaky:{i}" for i in _load("seatrial_shaky").IDS)
    two = "--calibration {shelf}/two-calibration.npz --test {shelf}/two-test.npz[0:40]"
    nhwc = "--calibration {shelf}/nhwc-calibration.npz --test {shelf}/nhwc-test.npz[0:256]"
    blind = "--calibration {shelf}/calibration.npz --test {shelf}/unlabelled.npz[0:256]"
    limits = "--max-latency p99=60s --max-memory 8GB"
    own = "--calibration {shelf}/calibration.npz --test {shelf}/calibration.npz"
    words = {
        "ship": f"{full} --json -",
        "faults": f"{full} -q --config shaky.toml {shaky}",
        "default": f"run {{shelf}}/digits.onnx {part} --max-drop 4 --quick -o out",
        "outlier": f"run {{shelf}}/outlier.onnx {part} {quick}",
        "unlabelled": f"run {{shelf}}/nhwc.onnx {nhwc} {quick}",
        "agreement": f"run {{shelf}}/fixed.onnx {blind} {quick} --accept-agreement 90",
        "few": f"run {{shelf}}/two.onnx {two} {quick} -b sly:liar -b sly:unable",
        "overlap": f"run {{shelf}}/digits.onnx {own} {quick} --max-drop 50",
        "tree": f"run {{shelf}}/tree.onnx {ort} --config tree.toml -q {limits}",
        "plain": f"run {{shelf}}/plain.onnx --test {{shelf}}/test.npz[0:256] {quick}",
        "qdq": f"run {{quantized}}/out.onnx --test {{shelf}}/test.npz[0:256] {quick}",
        "custom": f"check {{shelf}}/custom.onnx {ort} -b openvino:CPU -o out",
        "sly": f"check {{shelf}}/digits.onnx {ort} -b sly:boastful -b sly:shallow "
        "-b sly:tableless -o out -q",
    }
    files = {"faults": {"shaky.toml": _faults_toml()}, "tree": {"tree.toml": _tree_toml()}}
    return {name: (line, files.get(name, {})) for name, line in words.items()}


#: Runs with the backends of these tests installed.
_EXTRA = ("faults", "few", "default", "sly")


@pytest.fixture(scope="session")
def quantized(once, shelf, start):
    """The folder in which ``seatrial quantize`` wrote ``out.onnx``."""

    def make(folder: Path) -> None:
        words = ["quantize", f"{shelf}/digits.onnx", "--calibration", f"{shelf}/calibration.npz"]
        words += ["-b", "onnxruntime:cpu", "-o", "out.onnx", "--json", "q.json"]
        process = start(folder, words, extra=False)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err

    return once("quantized", make)


@pytest.fixture(scope="session")
def trial(once, shelf, start, request):
    """``trial(name)``: a run of the catalogue, made when it is first asked for."""
    catalogue = _catalogue()

    def get(name: str) -> Ran:
        line, files = catalogue[name]
        made = request.getfixturevalue("quantized") if "{quantized}" in line else None
        words = [word.format(shelf=shelf, quantized=made) for word in line.split()]

        def make(folder: Path) -> None:
            for file, content in files.items():
                (folder / file).write_text(content.format(shelf=shelf))
            process = start(folder, words, extra=name in _EXTRA)
            out, err = process.communicate(timeout=240)
            done = {"code": process.returncode, "out": out, "err": err}
            (folder / "done.json").write_text(json.dumps(done))

        folder = once(name, make)
        return Ran(name=name, folder=folder, **json.loads((folder / "done.json").read_text()))

    return get


@pytest.fixture(scope="session")
def valid():
    """Validates a report against the published schema."""
    text = importlib.resources.files("seatrial.report").joinpath("schema/report-1.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text)).validate
