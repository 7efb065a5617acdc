"""Makes the nets with planted damage importable by the tests of this folder."""

import importlib.util
import sys
from pathlib import Path

NAME = "seatrial_diagnosis_plants"
_spec = importlib.util.spec_from_file_location(NAME, Path(__file__).parent / "plants.py")
assert _spec is not None and _spec.loader is not None
sys.modules[NAME] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[NAME])
