"""JUnit XML, which every CI system shows: a suite per target, a case per question and per rung.

The file fails exactly when the command does: some case fails or errs if and only if the exit code
is not 0. So NOT PROVEN is a failure, unless ``--fail-on`` lets it pass; then it is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from . import sheets
from .safe import safe
from .sheets import Data

#: What XML 1.0 cannot hold at all.
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Longest line of a message, in characters, and most lines of one case.
LINE, LINES = 500, 40

_OUTCOME = {"fail": "failure", "not proven": "failure", "not applicable": "skipped"}


def render(data: Data) -> str:
    """The whole document."""
    root = ET.Element("testsuites", name=_text(f"seatrial {data['command']}"))
    _suite(root, "seatrial", [_verdict(data), *_shared(data)], data)
    for target in data["targets"]:
        _suite(root, target["target"], list(_target(data, target)), data)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root, " ")
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


class _Case:
    """One test case: its name and what became of it."""

    def __init__(
        self, name: str, outcome: str = "", kind: str = "", lines: tuple[str, ...] = ()
    ) -> None:
        self.name, self.outcome, self.kind, self.lines = name, outcome, kind, lines

    def under(self, parent: ET.Element, suite: str) -> None:
        """Append the case to its suite."""
        case = ET.SubElement(parent, "testcase", name=_text(self.name), classname=_text(suite))
        lines = [_text(safe(line, LINE)) for line in self.lines[:LINES]]
        if len(self.lines) > LINES:
            lines.append(f"and {len(self.lines) - LINES} more, in report.json")
        if self.outcome:
            node = ET.SubElement(case, self.outcome, message=lines[0] if lines else self.kind)
            if self.outcome != "skipped":
                node.set("type", _text(self.kind))
            node.text = "\n".join(lines)
        elif lines:
            ET.SubElement(case, "system-out").text = "\n".join(lines)


def _suite(root: ET.Element, name: str, cases: list[_Case], data: Data) -> None:
    count = {
        kind: sum(c.outcome == kind for c in cases) for kind in ("failure", "error", "skipped")
    }
    suite = ET.SubElement(
        root,
        "testsuite",
        name=_text(name),
        timestamp=_text(data["created"]),
        tests=str(len(cases)),
        failures=str(count["failure"]),
        errors=str(count["error"]),
        skipped=str(count["skipped"]),
    )
    for case in cases:
        case.under(suite, name)


def _verdict(data: Data) -> _Case:
    """The exit code as a case: it passes with 0 only."""
    said = "INTERRUPTED" if data["interrupted"] else data["verdict"]
    name = "verdict" if data["verdict"] else data["command"]
    lines = tuple(
        " ".join(filter(None, (row["target"], row["part"], row["text"])))
        for row in data["reasons"]
        if row["level"] != "info"
    )
    words = said or {0: "passed", 1: "failed"}.get(data["exit_code"], "not shown")
    head = (f"{words} (exit code {data['exit_code']})", *lines)
    return _Case(name, "" if data["exit_code"] == 0 else "failure", words, head)


def _shared(data: Data) -> Iterator[_Case]:
    """What belongs to no target: faults of the core, export, shared rungs, the calibration set."""
    for row in data["faults"]:
        if row["target"] is None:
            yield _Case(
                f"fault in {row['stage']}", _lenient(data, "error"), row["kind"], (row["reason"],)
            )
    if data["export"].get("gate"):
        gate = data["export"]["gate"]
        outcome = _lenient(data, _OUTCOME.get(gate, ""))
        yield _Case("export equals the module", outcome, gate, tuple(data["export"]["reasons"]))
    yield from (_rung(data, row) for row in data["ladder"] if row["target"] is None)
    yield from _calibration(data)


def _calibration(data: Data) -> Iterator[_Case]:
    for row in (data["calibration"] or {"findings": ()})["findings"]:
        bad = row["level"] == "error"
        names = ", ".join(row["samples"][:5])
        lines = (row["text"], f"rule: {row['rule']}", f"advice: {row['advice']}", names)
        yield _Case(
            f"calibration {row['code']}",
            _lenient(data, "failure") if bad else "",
            "red" if bad else row["level"],
            tuple(line for line in lines if line and not line.endswith(": ")),
        )


def _target(data: Data, target: Data) -> Iterator[_Case]:
    """The three questions, the rungs, and the fault of a target."""
    decides = target["decides"]
    for part, answer in (target["answers"] or {}).items():
        lines = tuple(row["text"] for row in target["reasons"] if row["part"] == part)
        if answer in ("SHIP", "not asked"):
            yield _Case(part, "" if answer == "SHIP" else "skipped", "", lines or (answer,))
        else:
            outcome = _lenient(data, "failure", decides)
            yield _Case(part, outcome, answer, (f"{answer}: {'; '.join(lines)}",))
    if target["answers"] is None and target["built"] is not None:
        yield _built(data, target)
    for row in data["ladder"]:
        if row["target"] == target["target"]:
            yield _rung(data, row, decides)
    fault = target["fault"]
    if fault is not None:
        usable = fault["kind"] != "unavailable"
        outcome = _lenient(data, "error", decides and usable)
        yield _Case(f"fault in {fault['stage']}", outcome, fault["kind"], (fault["reason"],))


def _built(data: Data, target: Data) -> _Case:
    """What ``check`` answers; a partial build fails where the command failed on it."""
    verdict = target["built"]["verdict"]
    lines = tuple(
        f"{item.op_type or 'the model'} {', '.join(item.nodes[:3])}: {item.reason}"
        for item in sheets.findings([target])
    )
    good = verdict in ("supported", "partial")
    outcome = "" if good else _lenient(data, "failure", target["decides"])
    return _Case("compiles", outcome, verdict, (verdict, *lines))


def _rung(data: Data, row: Mapping[str, object], decides: bool = True) -> _Case:
    against = f" against {row['against']}" if row["against"] else ""
    outcome = _OUTCOME.get(str(row["gate"]), "")
    outcome = outcome if outcome == "skipped" else _lenient(data, outcome, decides)
    lines = (f"{row['gate']}: {row['reason']}" if row["reason"] else str(row["gate"]),)
    return _Case(f"{row['rung']}{against}", outcome, str(row["gate"]), lines)


def _lenient(data: Data, outcome: str, decides: bool = True) -> str:
    """A failure of something that does not decide, or of a command that passed, is skipped."""
    return "skipped" if outcome and (not decides or data["exit_code"] == 0) else outcome


def _text(value: object) -> str:
    return _NO_XML.sub(lambda m: f"\\u{ord(m.group()):04x}", str(value))
