"""Trials that are being lied to never end with exit code 0, and sound ones are never red.

The lies and the sound trials of ``tests/blind`` are by an author who had not seen the checks; those
of ``own_lies`` and ``own_sound`` know them. Each is files and a command line, run through the
program as a user would. By default a few are tried; `make test-long` tries all.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from pathlib import Path

import pytest
from lies import LIES
from sound_trials import SOUND
from trial_worlds import replaced


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


own, own_sound = _beside("own_lies"), _beside("own_sound")
ALL_SOUND = {**SOUND, **own_sound.SOUND}

#: Targets of the backends beside this file that do what a lie of a plugin says.
TARGETS = {
    "fp32_as_int8": "sly:liar",
    "bf16_baseline": "fibs:halves",
    "late_by_one": "fibs:late",
}

#: Tried by `make test`: each is stopped by another part of the program.
FEW = ("empty_test",)
FEW_OWN = ("nan_in_a_picture",)
FEW_SOUND = ("two_outputs",)

#: Lies that still end with exit code 0, with the reason.
MISSED: dict[str, str] = {}

#: Sound trials that are still red, with the reason.
FALSE_REDS: dict[str, str] = {}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _cases(names, few, known):
    found = []
    for name in names:
        marks = [] if name in few else [pytest.mark.long]
        if name in known:
            marks.append(pytest.mark.xfail(reason=known[name], strict=True))
        found.append(pytest.param(name, marks=marks))
    return found


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the last command of a trial ended, and all that it said."""

    code: int
    text: str
    report: dict


@pytest.fixture
def ended(start, tmp_path):
    """``ended(steps)``: run what a user does in ``tmp_path``, files put in place in between."""

    def run(steps):
        report = {}
        for step in steps:
            for name, data in step.files:
                path = tmp_path / name
                kept = path.stat()
                path.write_bytes(data)
                os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
            process = start(tmp_path, list(step.argv), extra=True)
            out, err = process.communicate(timeout=500)
        written = tmp_path / "trial" / "report.json"
        if process.returncode != 2 and written.exists():
            report = json.loads(written.read_text("utf-8"))
        print(f"\nended with exit code {process.returncode}: {report.get('verdict', 'no report')}")
        return Ended(process.returncode, f"{out}\n{err}\n{json.dumps(_said(report))}", report)

    return run


def _said(report):
    """What a reader of the report is told of the trial, without names of files and targets."""
    if not report:
        return []
    findings = (report["calibration"] or {}).get("findings", [])
    return [
        *(row["text"] for row in report["reasons"]),
        *(f["text"] for f in findings if f["level"] == "error"),
        *report["missing"],
    ]


def _told(lie, ended):
    name = lie.name
    steps = lie.steps
    if name in TARGETS:
        steps = tuple(
            dataclasses.replace(s, argv=replaced(s.argv, backend=TARGETS[name])) for s in steps
        )
    end = ended(steps)
    assert end.code in lie.codes, end.text
    if end.report:
        decided = [row["text"].lower() for row in end.report["reasons"] if row["level"] == "error"]
    else:
        decided = [end.text.lower()]
    assert any(word in text for word in lie.words for text in decided), decided


@pytest.mark.parametrize("name", _cases(LIES, FEW, MISSED))
def test_a_lie_of_a_stranger_never_ships(name, tmp_path, ended):
    _told(LIES[name](0, tmp_path), ended)


@pytest.mark.parametrize("name", _cases(own.OWN, FEW_OWN, MISSED))
def test_a_lie_of_our_own_never_ships(name, tmp_path, ended):
    _told(own.OWN[name](0, tmp_path), ended)


@pytest.mark.parametrize("name", _cases(ALL_SOUND, FEW_SOUND, FALSE_REDS))
def test_a_sound_trial_is_never_red(name, tmp_path, ended):
    made = ALL_SOUND[name](0, tmp_path)
    end = ended([_Only(made.argv)])
    assert end.code in made.codes, end.text
    assert end.report["faults"] == []
    red = [
        f for f in (end.report["calibration"] or {}).get("findings", []) if f["level"] == "error"
    ]
    assert not red, red


@dataclasses.dataclass(frozen=True)
class _Only:
    argv: tuple[str, ...]
    files: tuple = ()


@pytest.mark.long
@pytest.mark.parametrize("target", ["honest"])
def test_the_backend_that_lies_can_be_honest(target, tmp_path, ended):
    made = SOUND["plain"](0, tmp_path)
    end = ended([_Only(replaced(made.argv, backend=f"fibs:{target}"))])
    assert end.code in (0, 3), end.text
    row = end.report["targets"][0]
    assert row["fault"] is None and row["answers"]["accurate"] != "DO NOT SHIP"


def test_the_list_is_as_long_as_promised():
    assert len(LIES) + len(own.OWN) >= 25
    assert len(ALL_SOUND) == len(SOUND) + len(own_sound.SOUND) >= 20
    assert {*FEW, *FEW_OWN, *FEW_SOUND} <= {*LIES, *own.OWN, *ALL_SOUND}
    assert {*MISSED} <= {*LIES, *own.OWN} and {*FALSE_REDS} <= {*ALL_SOUND}
