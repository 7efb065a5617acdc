"""The overview on a terminal: the verdict first, then why, then the evidence, then what next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from . import (
    audit_view,
    export_view,
    facts,
    measured,
    qat_view,
    recovery_view,
    sheets,
    speed_view,
)
from . import numbers as nr
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page
    from .model import Report

#: How many of anything are shown; the rest is in the JSON.
MOST = 8
#: What writes the JSON of commands that do not by themselves.
_WAYS = {
    **dict.fromkeys(("check", "bench"), "-o DIR"),
    **dict.fromkeys(("audit", "export", "quantize"), "--json FILE"),
}


def show(report: Report, stream: TextIO, *, brief: bool = False) -> None:
    """Print the view that belongs to the command that made the report.

    Args:
        report: a finished report.
        stream: where to.
        brief: only verdict, reasons and accuracy, for several reports in a row.
    """
    from . import bench_view, check_view
    from .draw import Page

    data = report.data
    kept = report.filed or report.folder is not None
    way = "" if kept else _WAYS.get(data["command"], "")
    page = Page(stream, f"in the report that {way} writes" if way else sheets.REST)
    if brief:
        headline(page, data)
        page.sheet(sheets.verdicts(data))
        reasons(page, data)
        page.sheet(measured.ladder(data))
    elif data["command"] == "check":
        check_view.draw(page, data)
    elif data["command"] == "bench":
        bench_view.draw(page, data)
    elif data["command"] == "export":
        export_view.headline(page, data)
        reasons(page, data)
        export_view.draw(page, data)
        found(page, data)
        faults(page, data)
    elif data["command"] == "audit":
        audit_view.headline(page, data)
        audit_view.draw(page, data)
        faults(page, data)
    else:
        draw(page, data)
    footer(page, report)
    if brief:
        page.space()
    page.end()


def one_line(report: Report) -> str:
    """The result in one line, for ``-q``."""
    data = report.data
    model = data["model"]
    name = safe(model["path"], 60) if model else ""
    said = (
        "INTERRUPTED" if data["interrupted"] else data["verdict"] or f"exit code {report.exit_code}"
    )
    where = f"  {safe(report.path, 300)}" if report.path else ""
    return f"{said}  {name}{where}\n"


def draw(page: Page, data: Data) -> None:
    """The overview of ``run``, ``quantize`` and ``qat``."""
    headline(page, data)
    if data["command"] not in ("quantize", "qat"):
        page.sheet(sheets.verdicts(data))
    reasons(page, data)
    export_view.draw(page, data)
    qat_view.draw(page, data)
    page.sheet(measured.ladder(data))
    page.sheet(measured.benchmark(data))
    for sheet in speed_view.answers(data):
        page.sheet(sheet)
    if data["targets"]:
        page.sheet(sheets.matrix(data))
    found(page, data)
    audit_view.brief(page, data)
    page.sheet(measured.candidates(data))
    for sheet in (*recovery_view.diagnoses(data), *recovery_view.recoveries(data)):
        page.sheet(sheet)
    for sheet in speed_view.evidence(data):
        page.sheet(sheet)
    advice(page, data)
    faults(page, data)


def headline(page: Page, data: Data) -> None:
    """Verdict, model, the class of machine that the verdict holds for, and the limits."""
    model = data["model"]
    subject = safe(model["path"], 60) if model else safe(" ".join(data["command_line"]), 60)
    if data["interrupted"]:
        page.banner("INTERRUPTED", subject)
    elif data["verdict"]:
        page.banner(data["verdict"], subject)
    else:
        page.line((subject, "bold"), indent=0)
    lines = [("holds for" if data["verdict"] else "machine", facts.machines(data))]
    lines += [("model", facts.about(data))] if model else []
    if data["verdict"]:
        lines += [("input", text) for text in facts.inputs(data)[:3]]
    lines += [("limits", facts.limits(data))]
    lines += [("calibrated", facts.calibration_cost(data))] if model else []
    page.grid([(name, "dim"), (text, "")] for name, text in lines if text)
    if facts.synthetic(data):
        page.line((facts.synthetic(data), "bold red"))


def reasons(page: Page, data: Data, only: Sequence[Data] | None = None) -> None:
    """Why, worst first (all reasons, or ``only`` these), then what is missing."""
    listed = _once(data["reasons"] if only is None else only)
    if listed:
        page.heading("Why")
        for row in listed[:MOST]:
            about = " ".join(filter(None, (safe(row["target"], sheets.NAME), row["part"])))
            page.labelled(
                row["level"],
                f"{about}: {safe(row['text'], 300)}" if about else safe(row["text"], 300),
            )
        for text in sheets.more(len(listed), MOST, "reasons"):
            page.note(text)
    if data["missing"]:
        page.heading("Missing for a better verdict")
        for text in data["missing"][:MOST]:
            page.labelled("·", safe(text, 300))


def _once(listed: Sequence[Data]) -> list[Data]:
    """Reasons without those that say the same of the same target again."""
    return list({(row["target"], row["part"], row["text"]): row for row in listed}.values())


def found(page: Page, data: Data, most: int = MOST) -> None:
    """Findings of the compilers: reason, nodes, and what to change."""
    listed = sheets.findings(data["targets"])
    if not listed:
        return
    page.heading("Findings")
    for item in listed[:most]:
        one_finding(page, item)
    for text in sheets.more(len(listed), most, "findings"):
        page.note(text)


def one_finding(page: Page, item: sheets.Found) -> None:
    """One finding in two or three lines."""
    times = f" x{len(item.nodes)}" if len(item.nodes) > 1 else ""
    what = f"{item.target} {'+'.join(item.precisions)}  {item.op_type or 'the model'}{times}"
    page.labelled(item.severity, f"{what}: {item.reason}")
    if item.nodes:
        places(page, item.nodes)
    if item.advice:
        page.line(("→ ", "bold cyan"), item.advice, indent=11)


def places(page: Page, nodes: Sequence[str]) -> None:
    """The first nodes that something is said of, below it."""
    rest = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    page.line(("at " + ", ".join(nodes[:3]) + rest, "dim"), indent=11)


def advice(page: Page, data: Data) -> None:
    """PTQ or QAT, with what speaks for either."""
    part = data["advice"]
    if part is None:
        return
    page.heading("PTQ or QAT?")
    page.line(safe(part["text"], 300))
    for row in part["evidence"][:MOST]:
        at = ", ".join(safe(n, 40) for n in row["nodes"][:3])
        said = safe(row["text"], 300) + (f" (at {at})" if at else "")
        page.labelled(f"{row['kind']:8}", said)


def faults(page: Page, data: Data) -> None:
    """Every fault with its log; targets that are merely not installed stand elsewhere."""
    listed = [row for row in data["faults"] if row["kind"] not in ("unavailable", "not offered")]
    if listed:
        page.heading("Faults")
        for row in listed[:MOST]:
            about = safe(row["target"], sheets.NAME) or "the program"
            page.labelled(
                row["kind"], f"{about} in {safe(row['stage'], 60)}: {safe(row['reason'], 200)}"
            )
            if row["log"]:
                page.line((f"log {safe(row['log'], 200)}", "dim"), indent=4)
        for text in sheets.more(len(listed), MOST, "faults"):
            page.note(text)
    missing = sheets.unavailable(data)
    if missing:
        page.heading("Not available here")
        page.grid(
            [(name, ""), (reason + (f" → {hint}" if hint else ""), "dim")]
            for name, reason, hint in missing
        )


def footer(page: Page, report: Report) -> None:
    """Files, and the next command."""
    data = report.data
    page.commands(data["next"][:3])
    lines = [
        f"{safe(f['role'], 20)}: {safe(f['path'], 200)} ({nr.size(f['bytes'])})"
        for f in data["files"]
    ]
    lines += [facts.versions(data), facts.time_taken(data)]
    if report.folder:
        lines.append(f"report: {safe(report.folder / 'report.html', 300)} (and .json, .md)")
    page.space()
    for text in filter(None, lines):
        page.line((text, "dim"), indent=0)
