"""Examples in docstrings are run, but for those that need a model and data (marked so)."""

import doctest
import importlib
from pathlib import Path

import pytest

import seatrial

CORE = Path(seatrial.__file__).parent
FILES = [f for f in sorted(CORE.rglob("*.py")) if ">>> " in f.read_text("utf-8")]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(CORE).as_posix())
def test_the_examples_of_a_module_run(file):
    parts = file.relative_to(CORE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
    found = doctest.testmod(module)
    assert found.failed == 0


def test_there_are_examples_that_run():
    names = [f.relative_to(CORE).as_posix() for f in FILES]
    assert {"explain/__init__.py", "report/tables.py", "repro/search.py"} <= set(names)
