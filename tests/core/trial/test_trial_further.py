"""What a finished run proposes to type next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.export.parity_records import FAIL
from seatrial.report import rows
from seatrial.trial import further

TYPED = ("seatrial", "run", "my net.onnx", "--data", "d")


def proposed(verdict, *, compiles="SHIP", accurate=None, typed=TYPED, reasons=(), **found):
    known = {"interrupted": False, "export_gate": "", "quick": False, **found}
    run = SimpleNamespace(options=SimpleNamespace(command_line=typed), **known)
    answers = rows.answers(compiles, accurate or verdict, "not asked")
    told = [rows.reason(c, "x", part="accurate", level=level) for c, level in reasons]
    data = {
        "verdict": verdict,
        "targets": [{"decides": True, "answers": answers}, {"decides": False, "answers": None}],
        "reasons": told,
    }
    return further.commands(run, data, "my net.onnx", Path("out"))


READ = "cat out/report.md"
PLAIN = "seatrial run 'my net.onnx' --data d"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"verdict": "SHIP"}, [READ]),
        ({"verdict": "DO NOT SHIP", "export_gate": FAIL}, [READ]),
        ({"verdict": "NOT PROVEN", "interrupted": True, "quick": True}, [PLAIN]),
        ({"verdict": "NOT PROVEN", "quick": True, "typed": (*TYPED, "--quick")}, [PLAIN]),
        (
            {"verdict": "DO NOT SHIP", "compiles": "DO NOT SHIP", "typed": (*TYPED, "--all-int8")},
            ["seatrial check 'my net.onnx' --deep", READ],
        ),
        ({"verdict": "DO NOT SHIP", "typed": (*TYPED, "--all-int8")}, [PLAIN, READ]),
        (
            {
                "verdict": "NOT PROVEN",
                "typed": (*TYPED, "--all-int8"),
                "reasons": [("accuracy.drop", "warning")],
            },
            ["seatrial explain accuracy.drop", READ],
        ),
        (
            {
                "verdict": "DO NOT SHIP",
                "reasons": [("accuracy.class-vanished", "error"), ("accuracy.drop", "warning")],
            },
            ["seatrial explain accuracy.class-vanished", READ],
        ),
        ({"verdict": "NOT PROVEN", "reasons": [("run.x", "info")]}, [READ]),
    ],
)
def test_the_next_command_is_about_what_decided(known, expected):
    assert proposed(**known) == expected
