"""One command in this process for all tests of the export room: torch is imported once."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    import zoo_driver

    with zoo_driver.in_process(tmp_path_factory.mktemp("export") / "work") as trial:
        yield trial


@pytest.fixture(autouse=True)
def quiet_torch():
    """Importing torch's exporters warns of deprecations inside torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
