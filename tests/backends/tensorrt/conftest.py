"""A stand-in driver that is compiled here, the fake ``tensorrt`` module, and small models."""

import ctypes
import json
import os
import subprocess
import sys

import fake_tensorrt
import pytest
from trt_world import HERE, Zoo, compiled

from seatrial_tensorrt import _cuda


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory):
    """Makes a ``libcuda.so.1`` with so many devices, or with an error at the start."""
    root = tmp_path_factory.mktemp("driver")

    def make(devices=1, init=0):
        folder = root / f"{devices}-{init}"
        path = folder / "libcuda.so.1"
        if not path.exists():
            flags = (f"-DDEVICES={devices}", f"-DINIT={init}")
            compiled(folder, HERE / "standin_cuda.c", path.name, *flags)
        return path

    return make


@pytest.fixture
def driver(driver_library, monkeypatch):
    """A driver with one device; gives how much of it was not given back."""
    path = driver_library()
    monkeypatch.setattr(_cuda, "LIBRARY", str(path))
    library = ctypes.CDLL(str(path))
    library.standin_live.restype = ctypes.c_long
    return library.standin_live


@pytest.fixture(params=[10, 11])
def trt(request, driver, monkeypatch):
    """The fake module in both major versions, on a machine with one device."""
    module = fake_tensorrt.make(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path)


@pytest.fixture
def fresh(tmp_path):
    """Run Python code in a new interpreter; it gives JSON through ``give(value)``."""

    def run(code, *, paths=(), environment=None):
        out = tmp_path / "given.json"
        prelude = (
            f"import json, sys\ndef give(value): open({str(out)!r}, 'w').write(json.dumps(value))\n"
        )
        search = os.pathsep.join([*map(str, paths), *filter(None, sys.path)])
        done = subprocess.run(
            [sys.executable, "-c", prelude + code],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": search, **(environment or {})},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(out.read_text())

    return run
