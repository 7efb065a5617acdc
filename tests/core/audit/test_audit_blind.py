"""The audit on sets whose author had not seen the checks: good ones, and spoiled ones.

What is missed or told for nothing is listed by name with its reason, and the list is strict:
an entry that no longer holds fails. A seeded part runs by default, every set when `SEATRIAL_LONG`
is set.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "blind"))

from good_sets import GOOD
from spoiled_sets import all_spoils, generated_bench

from seatrial import api
from seatrial.errors import UserError
from seatrial.options import AuditOptions

SPOILS = all_spoils()
#: Spoils that no finding above a note names, and why.
MISSED: dict[str, str] = {}
#: Good sets with a finding above a note, the codes allowed, and why.
TOLD: dict[str, tuple[frozenset[str], str]] = {
    "production_mix": (
        frozenset({"too-few"}),
        "114 samples are fewer than the 256 that are needed, whatever their balance",
    ),
}
#: Sets that run by default: a seeded twelfth of each list; the rest is long.
DEFAULT = frozenset(
    str(name)
    for names in (sorted(SPOILS), sorted(GOOD))
    for name in np.random.default_rng(4).permutation(names)[: len(names) // 12]
)


def _listed(names):
    return [pytest.param(n, marks=() if n in DEFAULT else pytest.mark.long) for n in sorted(names)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return generated_bench(11, tmp_path_factory.mktemp("bench"))


def told(made, bench, folder):
    """Findings above a note as (level, code, text), and the exit code."""
    pixels = made.name == "stored_bytes"  # arrays of pictures: prepared as pictures are
    config = folder / "seatrial.toml"
    config.write_text(bench.recipe.toml("x", made.tensor and not pixels))
    options = AuditOptions(calibration=made.calibration, test=made.test, config=str(config))
    try:
        report = api.audit(options)
    except UserError as error:
        return [("error", "refused", error.line())], 2
    rows = (report.data["calibration"] or {}).get("findings", [])
    faults = [("error", "fault", str(f)) for f in report.data["faults"]]
    kept = [(f["level"], f["code"], f["text"]) for f in rows if f["level"] != "info"]
    return kept + faults, report.exit_code


@pytest.mark.parametrize("name", _listed(SPOILS))
def test_a_spoil_is_named(name, bench, tmp_path):
    made = SPOILS[name](5, tmp_path, bench)
    found, code = told(made, bench, tmp_path)
    named = [f for f in found if any(w in f"{f[1]} {f[2]}".lower() for w in made.words)]
    assert bool(named) != (name in MISSED), (made.wrong, found)
    if name.startswith("leak_") and name not in MISSED:
        assert code == 1


@pytest.mark.parametrize("name", _listed(GOOD))
def test_a_good_set_is_left_alone(name, bench, tmp_path):
    made = GOOD[name](5, tmp_path, bench)
    found, _ = told(made, bench, tmp_path)
    allowed = TOLD[name][0] if name in TOLD else frozenset()
    assert {f[1] for f in found} == allowed, (made.sound, found)


def test_the_lists_name_sets():
    assert set(MISSED) <= set(SPOILS)
    assert set(TOLD) <= set(GOOD)
