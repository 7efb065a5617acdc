"""A summary for a pull request, in GitHub's Markdown. Names stay text: no markup, links or HTML."""

from __future__ import annotations

import re

from . import audit_view, bench_view, facts, measured, qat_view, recovery_view, sheets, speed_view
from . import numbers as nr
from .safe import guard, safe
from .sheets import Data, Sheet

#: Rows of a table; the rest is in the JSON.
MOST = 20

#: Characters that mean something inside a line of Markdown.
_SPECIAL = re.compile(r"([\\`*~|]|(?<![^\W_])_|_(?![^\W_])|\](?=[\[(:]))")
#: Words that sites turn into mentions, links, references or pictures even when they are escaped.
_LIVE = re.compile(r"\S*(?:@|://|www\.|mailto:|#\w|:\w[\w+-]*:|\b[0-9a-f]{40}\b)\S*", re.IGNORECASE)
#: What begins a list, a task, an underlined heading or a definition at the start of a line.
_START = re.compile(r"^\s*([-+=#\[]|\d(?=\d*[.)]))")


def text(value: str) -> str:
    """Text that no Markdown renderer reads as anything else.

    Words that could become a mention, a link or a picture turn into code, which is the only place
    where sites leave them alone; the rest is escaped.
    """
    parts = []
    end = 0
    for match in _LIVE.finditer(value):
        parts += [_escaped(value[end : match.start()]), code(match.group())]
        end = match.end()
    return "".join([*parts, _escaped(value[end:])])


def line(value: str) -> str:
    """Text that stands at the start of a line."""
    return _START.sub(lambda m: f"&#{ord(m.group(1))};", text(value))


def code(value: str) -> str:
    """A code span, also inside a table cell."""
    shown = value.replace("`", "'").replace("<", r"\x3c").replace("|", r"\x7c")
    return f"`{shown}`"


def _escaped(value: str) -> str:
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", value)


def plain(value: str) -> str:
    """Our own words and numbers, where only the cell's border could be broken."""
    return value.replace("|", "&#124;")


def render(data: Data) -> str:
    """The whole summary."""
    parts = [_head(data)]
    if data["command"] in ("run", "bench"):
        parts.append(table(sheets.verdicts(data)) if data["verdict"] else "")
    parts += [_reasons(data), table(qat_view.training(data)), table(qat_view.exports(data))]
    parts.append(table(measured.ladder(data)))
    parts.append(table(measured.benchmark(data)))
    parts += [table(sheet) for sheet in speed_view.answers(data)]
    parts += [table(sheet) for sheet in speed_view.evidence(data)]
    ranked = bench_view.ranking(data) if data["command"] == "bench" else ""
    parts += [line(ranked), table(sheets.matrix(data)), _findings(data), _calibration(data)]
    parts.append(table(measured.candidates(data)))
    parts += [table(sheet) for sheet in recovery_view.diagnoses(data)]
    parts += [table(sheet) for sheet in recovery_view.recoveries(data)]
    parts += [_advice(data), _faults(data), _next(data)]
    return guard("\n\n".join(part for part in parts if part) + "\n")


def table(sheet: Sheet) -> str:
    """A table with its title and notes; empty without rows."""
    if not sheet.rows:
        return ""
    head = "| " + " | ".join(plain(c.title) or " " for c in sheet.columns) + " |"
    rule = "|" + "|".join("---:" if c.right else "---" for c in sheet.columns) + "|"
    rows = ["| " + " | ".join(text(cell) for cell in row) + " |" for row in sheet.rows[:MOST]]
    notes = [*sheet.notes, *sheets.more(len(sheet.rows), MOST, "rows")]
    title = f"### {sheet.title}" + (f" ({text(sheet.note)})" if sheet.note else "")
    below = "".join(f"\n{line(note)}  " for note in notes)
    return f"{title}\n\n{head}\n{rule}\n" + "\n".join(rows) + (f"\n{below}" if below else "")


def _head(data: Data) -> str:
    model = data["model"]
    name = text(safe(model["path"], 80)) if model else ""
    said = "INTERRUPTED" if data["interrupted"] else data["verdict"]
    title = f"## {said}: {name}" if said else f"## {data['command']}: {name}"
    machines = facts.machines(data)
    lines = [title]
    if data["verdict"] and machines:
        lines.append(f"Holds for {text(machines)}.")
    if model:
        lines.append(line(facts.about(data)))
    for words in (facts.synthetic(data), facts.limits(data) and f"Limits: {facts.limits(data)}."):
        lines += [line(words)] if words else []
    return "\n\n".join(lines)


def _section(title: str, lines: list[str], total: int) -> str:
    if not lines:
        return ""
    listed = [*lines, *sheets.more(total, len(lines), "of these")]
    return "\n".join([f"### {title}", "", *(f"- {item}" for item in listed)])


def _reasons(data: Data) -> str:
    lines = [
        f"**{row['level']}** "
        + text(" ".join(filter(None, (safe(row["target"], sheets.NAME), row["part"]))))
        + f" {text(safe(row['text'], 300))}"
        for row in data["reasons"][:MOST]
    ]
    missing = [line(safe(item, 300)) for item in data["missing"][:MOST]]
    parts = (
        _section("Why", lines, len(data["reasons"])),
        _section("Missing for a better verdict", missing, len(data["missing"])),
    )
    return "\n\n".join(part for part in parts if part)


def _findings(data: Data) -> str:
    found = sheets.findings(data["targets"])
    lines = []
    for item in found[:MOST]:
        nodes = ", ".join(item.nodes[:3]) + (" ..." if item.nodes[3:] else "")
        times = f" x{len(item.nodes)}" if len(item.nodes) > 1 else ""
        what = item.op_type or "the model"
        head = f"{item.target} {'+'.join(item.precisions)} {what}{times}: {item.reason}"
        advice = f" Advice: {text(item.advice)}." if item.advice else ""
        lines.append(f"**{item.severity}** {text(head)} ({text(nodes)}).{advice}")
    return _section("Findings", lines, len(found))


def _calibration(data: Data) -> str:
    part = data["calibration"]
    if part is None:
        return ""
    found = part["findings"]
    lines = [_audited(row) for row in found[:MOST]]
    title = f"Calibration: {nr.plural(part['count'], 'sample')}"
    nothing = "the audit found nothing" if part["audit"] else "the set was not audited"
    parts = [_section(title, lines or [nothing], len(found) or 1), facts.calibration_cost(data)]
    if data["command"] == "audit" and part["audit"]:
        measured = part["audit"]
        parts += [table(sheet(measured)) for sheet in audit_view.SHEETS]
    return "\n\n".join(p for p in parts if p)


def _audited(row: Data) -> str:
    """One finding of the audit, with the samples and tensors that it names."""
    said = (
        f"**{audit_view.COLOURS[row['level']]}** {code(row['code'])} {text(safe(row['text'], 600))}"
    )
    names = [*audit_view.samples(row), *(safe(n, 60) for n in row["tensors"][:3])]
    said += f" ({', '.join(text(n) for n in names)})" if names else ""
    return said + (f" Advice: {text(safe(row['advice'], 200))}." if row["advice"] else "")


def _advice(data: Data) -> str:
    part = data["advice"]
    if part is None:
        return ""
    lines = [f"**{row['kind']}** {text(safe(row['text'], 300))}" for row in part["evidence"][:MOST]]
    said = f"**{text(safe(part['text'], 300))}**"
    return _section("PTQ or QAT?", [said, *lines], len(part["evidence"]) + 1)


def _faults(data: Data) -> str:
    lines = []
    for row in data["faults"][:MOST]:
        about = safe(row["target"], sheets.NAME) or "the program"
        log = f" (log {safe(row['log'], 200)})" if row["log"] else ""
        line = f"{about} in {safe(row['stage'], 60)}: {safe(row['reason'], 200)}{log}"
        lines.append(f"**{row['kind']}** {text(line)}")
    return _section("Faults", lines, len(data["faults"]))


def _next(data: Data) -> str:
    """Commands as indented code: nothing in them is read as markup."""
    if not data["next"]:
        return ""
    commands = [safe(command, 4000).replace("<", "\\x3c") for command in data["next"][:3]]
    return "\n".join(["### Next", "", *(f"    {command}" for command in commands)])
