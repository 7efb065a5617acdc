"""What every test may rely on: an environment that does not depend on who runs it."""

import os
import signal
import sys

import pytest

# Shells start background jobs with Ctrl-C ignored, and children inherit that: what is tested here
# is a program that can be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The program is started hundreds of times: its modules are compiled once, whatever the environment
# of whoever runs the tests says of bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: The coverage tables of the conformance kit; it prints nothing where no suite ran.
pytest_plugins = ["seatrial.testing.table"]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    """Widths and colours are those of a pipe, unless a test says otherwise."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "SEATRIAL_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(config, items):
    """Leave the long tests to `make test-long`."""
    if os.environ.get("SEATRIAL_LONG"):
        return
    left = [item for item in items if item.get_closest_marker("long")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
