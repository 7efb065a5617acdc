"""The page on coverage shows what runs of the kit left, for every backend that there is."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from seatrial.testing import record
from seatrial.testing.gaps import WORDS

ROOT = Path(__file__).parents[2]
BACKENDS = ROOT / "docs" / "backends"


def installed():
    """Backends of this distribution and of the packages under ``plugins/``."""
    found = set()
    for path in (ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        found |= set(project["entry-points"]["seatrial"])
    return found


def test_every_backend_is_there_whole_and_nothing_failed():
    tables = record.read(BACKENDS / "kit")
    assert {t["suite"].partition(":")[0] for t in tables} == installed()
    assert all(t["whole"] and not t["failed"] for t in tables)
    page = record.markdown(tables)
    for made in tables:
        gaps = sum(made["families"][f].get(w, 0) for f in made["families"] for w in WORDS)
        assert sum(len(gap["cases"]) for gap in made["gaps"]) == gaps, made["suite"]
        assert all(gap["reason"] for gap in made["gaps"])
        assert f"| {made['suite']} |" in page


def test_every_toolchain_that_runs_here_was_called_directly():
    rows = json.loads((BACKENDS / "agreement.json").read_text("utf-8"))
    asked = {(row["backend"], row["what"]) for row in rows}
    for backend in ("onnxruntime", "openvino", "tvm", "litert", "rknn"):
        assert (backend, "node tests") in asked
    for row in rows:
        assert row["agreed"] + len(row["disagree"]) == row["asked"] == sum(row["kinds"].values())
        assert row["static_wrong"] <= row["static_denied"]
        if row["what"] == "node tests" and not row["part"]:
            assert row["asked"] + row["gated"] >= 1800
