"""The commands that a finished run proposes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.export.parity_records import FAIL

if TYPE_CHECKING:
    from seatrial.trial.evidence import Evidence


def commands(found: Evidence, data: dict[str, Any], model: str, out: Path) -> list[str]:
    """What to type next: the run again, what tells more of what decided, or reading on.

    Args:
        found: of a run that is over.
        data: its report, with verdict, targets and reasons.
        model: as it was typed.
        out: the output folder.
    """
    typed = list(found.options.command_line) or ["seatrial", "run", model]
    if found.interrupted:
        return [shlex.join(typed)]
    if data["verdict"] == "SHIP" or found.export_gate == FAIL:
        return [f"cat {shlex.quote(str(out / 'report.md'))}"]
    if found.quick:
        return [shlex.join([w for w in typed if w != "--quick"])]
    return [*_further(data, typed, model), f"cat {shlex.quote(str(out / 'report.md'))}"]


def _further(data: dict[str, Any], typed: list[str], model: str) -> list[str]:
    """What tells or tries more of what decided: the compilers, mixed precision, or the story."""
    answers = [t["answers"] for t in data["targets"] if t["decides"] and t["answers"]]
    if any(a["compiles"] != "SHIP" for a in answers):
        return [f"seatrial check {shlex.quote(model)} --deep"]
    if "--all-int8" in typed and any(a["accurate"] == "DO NOT SHIP" for a in answers):
        return [shlex.join([w for w in typed if w != "--all-int8"])]
    told = [row for row in data["reasons"] if row["level"] != "info"]  # the worst come first
    return [f"seatrial explain {told[0]['code']}"] if told else []
