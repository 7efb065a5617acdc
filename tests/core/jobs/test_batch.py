"""A batch: many questions in one child, and what is made of a file that it could not finish."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.isolation import Limits, Question
from seatrial.jobs.answers import collect
from seatrial.jobs.batch import ANSWERS
from seatrial.jobs.outcome import Outcome
from seatrial.results import CheckRequest, Fault, FaultKind, Ref, Verdict

REPORT = {"verdict": "supported", "depth": "map", "notes": ["Grüße"]}
END = {"static": None, "report": REPORT, "outputs": None, "fault": None, "seconds": 0.1}
NAMES = ("one", "two", "three")
ASKED = tuple(
    Question(id=n, check=CheckRequest(model=Ref(sha256="0" * 64, entry=""), target="cpu"))
    for n in NAMES
)
CRASHED = Fault(kind=FaultKind.CRASHED, stage="batch", reason="died", signal="SIGSEGV")


def lines():
    for k, name in enumerate(NAMES):
        yield {"id": name, "event": "begin"}
        yield {"id": name, "event": "end", "folder": str(k), **END}


TEXT = "".join(json.dumps(line) + "\n" for line in lines()).encode()


def collected(folder, content, fault):
    (folder / ANSWERS).write_bytes(content)
    return collect(Outcome(out=folder, fault=fault), ASKED)


@given(st.integers(0, len(TEXT)))
def test_a_child_may_die_at_any_byte(tmp_path_factory, cut):
    found = collected(tmp_path_factory.mktemp("out"), TEXT[:cut], CRASHED)
    good = [n for n in NAMES if n in found and found[n].fault is None]
    blamed = [n for n in NAMES if n in found and found[n].fault is not None]
    assert good == list(NAMES[: len(good)])
    assert all(found[n].report.verdict is Verdict.SUPPORTED for n in good)
    # One is blamed at most, the next one, so that every child brings the batch forward.
    assert blamed in ([], [NAMES[len(good)]] if len(good) < 3 else [])
    assert found


def test_an_import_that_fails_is_every_questions_fault(tmp_path):
    gone = Fault(kind=FaultKind.UNAVAILABLE, stage="batch", reason="cannot import")
    found = collected(tmp_path, b"", gone)
    assert {n: a.fault for n, a in found.items()} == dict.fromkeys(NAMES, gone)


def test_a_child_that_ends_well_and_answers_nothing_broke_the_contract(tmp_path):
    found = collected(tmp_path, b"", None)
    assert {a.fault.kind for a in found.values()} == {FaultKind.BROKE_CONTRACT}
    assert set(found) == set(NAMES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"report": {**REPORT, "verdict": "perhaps"}}, "'perhaps'"),
        ({"report": {**REPORT, "colour": "red"}}, "colour"),
        (
            {
                "report": {
                    **REPORT,
                    "artifact": {"format": "x", "entry": "gone", "files": ["gone"]},
                }
            },
            "'gone' is not a regular file",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_a_fault(tmp_path, change, says):
    line = {"id": "one", "event": "end", "folder": "0", **END, **change}
    found = collected(tmp_path, json.dumps(line).encode() + b"\n", None)
    assert found["one"].fault.kind is FaultKind.BROKE_CONTRACT
    assert says in found["one"].fault.reason


def test_questions_are_answered_in_one_child(runner, faults, model):
    asked = [
        Question(id=str(k), check=CheckRequest(model=model, target="cpu"), static=False)
        for k in range(5)
    ]
    found = runner.batch(faults, asked, limits=Limits(timeout_s=30))
    assert [found[str(k)].report.verdict for k in range(5)] == [Verdict.SUPPORTED] * 5
    assert len(list(runner.workspace.jobs.glob("*batch*"))) == 1
