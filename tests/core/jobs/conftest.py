"""Plugins installed on the fly, a workspace with a model, and a search for survivors."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

import pytest

from seatrial.isolation import Runner
from seatrial.registry import Plugin, discover
from seatrial.workspace import Workspace

FAULTS = Path(__file__).parents[2] / "plugins_for_tests" / "faults"


class Site:
    """A folder on the search path that distributions are installed into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, dist: str, backend: str, value: str, *, code: str | None = None) -> None:
        """Write a distribution's metadata and, with ``code``, its module."""
        info = self.folder / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[seatrial]\n{backend} = {value}\n")
        if code is not None:
            (self.folder / f"{value}.py").write_text(code)

    def plugin(self, backend: str) -> Plugin:
        """The only plugin of that id."""
        (found,) = [p for p in discover() if p.id == backend]
        return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One user cache for all tests: a description is asked for once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """The two backends of this folder, installed once."""
    site = Site(tmp_path_factory.mktemp("shelf"))
    for name in ("faults", "healthy"):
        shutil.copy2(FAULTS / f"seatrial_{name}.py", site.folder)
        site.install(f"seatrial-{name}", name, f"seatrial_{name}")
    return site


@pytest.fixture
def site(tmp_path, monkeypatch, cache):
    """An empty folder to install into; children see it because the parent does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return Site(folder)


@pytest.fixture
def backends(site, shelf, monkeypatch):
    """Both backends are on the search path."""
    monkeypatch.syspath_prepend(shelf.folder)
    return shelf


@pytest.fixture
def faults(backends):
    """The backend that fails on demand."""
    return backends.plugin("faults")


@pytest.fixture
def healthy(backends):
    """The backend that does not fail."""
    return backends.plugin("healthy")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "run" / ".seatrial")


@pytest.fixture
def model(workspace, tmp_path):
    """An object in the store; these backends do not read ONNX."""
    source = tmp_path / "model.onnx"
    source.write_bytes(b"not really a model")
    return workspace.add({"model.onnx": source}, "model.onnx")


@pytest.fixture
def runner(workspace):
    with Runner(workspace) as open_runner:
        yield open_runner


@pytest.fixture
def token(survivors):
    """A value that marks every process of one test; the test fails if one is left."""
    value = secrets.token_hex(8)
    yield value
    assert survivors(value) == []


@pytest.fixture(scope="session")
def survivors():
    """Finds live processes whose first environment holds a token; gives their command lines."""
    return _survivors


@pytest.fixture(scope="session")
def wait_until():
    """Polls a condition for some seconds; whether it became true in time."""
    return _wait_until


def _survivors(token: str) -> list[str]:
    """Command lines of live processes whose first environment holds the token."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in environment:
            found.append(words.replace(b"\0", b" ").decode())
    return found


def _wait_until(condition, seconds: float) -> bool:
    """Poll; whether the condition became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
