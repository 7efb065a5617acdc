"""The parent's end of a batch: from the lines that a child wrote to one answer per question."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.codec import CodecError, decode
from seatrial.results import CompileReport, Fault, FaultKind, StaticReport
from seatrial.workspace import artifact_problem

from .batch import ANSWERS, Question
from .outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a backend said of one model, hook by hook, as far as it came.

    Attributes:
        id: the question's.
        static: what its table said; ``None`` when it has none.
        report: what its compiler said; ``None`` when there is a fault before.
        outputs: names of the outputs of one run, in the order of the arrays in ``file``.
        file: an ``.npz`` with the arrays ``0``, ``1``, ...; ``None`` when it was not run.
        fault: what ended the asking.
        seconds: wall time in the child; 0 for a question that killed it.
    """

    id: str
    static: StaticReport | None = None
    report: CompileReport | None = None
    outputs: tuple[str, ...] = ()
    file: Path | None = None
    fault: Fault | None = None
    seconds: float = 0.0


def collect(outcome: Outcome[Any], asked: Sequence[Question]) -> dict[str, Answer]:
    """Answers of one child, at least one: a child that answers nothing is blamed on the first.

    Args:
        outcome: of the child.
        asked: the questions that it was given.
    """
    ended, begun = _lines(outcome.out)
    found = {k: _answer(k, said, outcome.out) for k, said in ended.items()}
    if outcome.fault is None:
        missing = [q.id for q in asked if q.id not in found]
        lost = _broke("no answer was written")
        return found | {k: Answer(id=k, fault=lost) for k in missing}
    # A plugin that cannot even be imported fails every question alike.
    hopeless = outcome.fault.kind in (FaultKind.UNAVAILABLE, FaultKind.BROKE_CONTRACT)
    blamed = [begun] if begun else [q.id for q in asked if q.id not in found]
    if not begun and not hopeless:
        blamed = blamed[:1]
    return found | {k: Answer(id=k, fault=outcome.fault) for k in blamed}


def _lines(out: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """What was ended, by question, and the question that was begun last and not ended."""
    ended: dict[str, dict[str, Any]] = {}
    begun = ""
    path = out / ANSWERS
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            said = json.loads(line)
        except ValueError:
            continue  # the child died while it wrote this line
        begun = said["id"] if said["event"] == "begin" else ""
        if not begun:
            ended[said["id"]] = said
    return ended, begun


def _answer(name: str, said: dict[str, Any], out: Path) -> Answer:
    """Decode one line, as strictly as any other result."""
    folder = out / str(said["folder"])
    try:
        static = decode(StaticReport, said["static"]) if said["static"] else None
        report = decode(CompileReport, said["report"]) if said["report"] else None
        fault = decode(Fault, said["fault"]) if said["fault"] else None
    except CodecError as error:
        return Answer(id=name, fault=_broke(str(error)))
    if report and report.artifact:
        problem = artifact_problem(folder / "out", report.artifact, {})
        if problem:
            return Answer(id=name, static=static, fault=_broke(problem))
    answer = Answer(
        id=name, static=static, report=report, fault=fault, seconds=float(said["seconds"])
    )
    outputs = said["outputs"]
    if outputs is None:
        return answer
    file = folder / outputs["file"]
    return dataclasses.replace(answer, outputs=tuple(outputs["names"]), file=file)


def _broke(reason: str) -> Fault:
    return Fault(kind=FaultKind.BROKE_CONTRACT, stage="batch", reason=reason)
