"""What every test may rely on: an environment that does not depend on who runs it."""

import pytest

#: The coverage tables of the conformance kit; it prints nothing where no suite ran.
pytest_plugins = ["seatrial.testing.table"]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    """Widths and colours are those of a pipe, unless a test says otherwise."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "SEATRIAL_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
