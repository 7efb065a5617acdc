"""A small model and a stand-in for the SDK, which is behind a login.

``sdk/`` is put on the path of this process or of an interpreter of its own; nothing of it is in
the wheel.
"""

import stat
import sys
from pathlib import Path

import pytest

from seatrial.testing import LocalJob

# Modules beside the tests; the suite is not a package.
sys.path.insert(0, str(Path(__file__).parent))

SDK = Path(__file__).parent / "sdk"
MODULES = ("hailo_sdk_client", "hailo_platform")


@pytest.fixture
def sdk(monkeypatch):
    """Compiler and runtime can be imported in this process, freshly."""
    forget()
    monkeypatch.syspath_prepend(str(SDK))
    monkeypatch.setenv("USER", "somebody")
    yield monkeypatch
    forget()


def forget():
    for name in [n for n in sys.modules if n.partition(".")[0] in MODULES]:
        del sys.modules[name]


@pytest.fixture
def job(tmp_path):
    return LocalJob(tmp_path / "job")


@pytest.fixture(scope="session")
def dfc_python(tmp_path_factory):
    """An interpreter in which the SDK is installed, as `[env.dfc] python` names one."""
    path = tmp_path_factory.mktemp("dfc") / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{SDK}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
