"""What ``compare`` prints: what got worse, what got better, what could not be compared, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from . import numbers as nr
from . import sheets
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page

#: Rows of one section; the rest is in the JSON.
MOST = 12

#: Kind -> heading, style of its labels.
SECTIONS = {
    "regression": ("Worse", "bold red"),
    "improvement": ("Better", "green"),
    "not compared": ("Not compared", "yellow"),
}
_STYLES = {
    "regression": "bold white on red",
    "no regression": "bold white on green",
    "cannot tell": "bold black on yellow",
}


def show(data: Data, stream: TextIO, *, every: bool = False) -> None:
    """Print the view; ``every``: all rows."""
    from .draw import Page

    page = Page(stream)
    word = data["conclusion"]
    subject = (data["pairs"][0]["model"] or "the run") if len(data["pairs"]) == 1 else ""
    subject = subject or nr.plural(len(data["pairs"]), "model")
    page.line((f" {word.upper()} ", _STYLES[word]), "  ", (safe(subject), "bold"), indent=0)
    for text in data["reasons"]:
        page.line(safe(text, 300))
    for pair in data["pairs"]:
        _pair(page, pair, 10**6 if every else MOST, alone=len(data["pairs"]) == 1)
    for key, name in (("only_old", "OLD"), ("only_new", "NEW")):
        if data[key]:
            page.heading(f"Only in {name}")
            for side in data[key]:
                page.labelled("·", f"{safe(side['model'])}  {safe(side['path'], 200)}")
    page.space()
    page.line((tolerances(data), "dim"), indent=0)
    page.end()


def one_line(data: Data) -> str:
    """For ``-q``: the conclusion and its reasons."""
    why = safe("; ".join(data["reasons"]), 300)
    return f"{data['conclusion']}{': ' + why if why else ''}\n"


def tolerances(data: Data) -> str:
    """What counted as a regression."""
    allowed = data["tolerances"]
    return (
        f"decides: {', '.join(data['fail_on'])}; tolerances: latency "
        f"{allowed['latency_percent']:g} %, memory and size {allowed['memory_percent']:g} %, "
        f"accuracy {allowed['accuracy']:g}; intervals are 95 %"
    )


def _pair(page: Page, pair: Data, most: int, *, alone: bool) -> None:
    if not alone:
        page.heading(safe(pair["model"]) or "the run")
    page.grid(
        [(name, "bold"), (safe(side["path"], 200), ""), (_origin(side), "dim")]
        for name, side in (("OLD", pair["old"]), ("NEW", pair["new"]))
    )
    if pair["suspects"] and any(c["kind"] == "regression" for c in pair["changes"]):
        _list(page, "First suspects", pair["suspects"], most)
    for kind, (title, style) in SECTIONS.items():
        _section(page, title, style, of_kind(pair, kind), most)
    _section(page, "Changed around the numbers", "dim", of_kind(pair, "changed"), most)
    page.sheet(within_noise(pair, most))


def of_kind(pair: Data, kind: str) -> list[Data]:
    """The changes of one kind."""
    return [row for row in pair["changes"] if row["kind"] == kind]


def _origin(side: Data) -> str:
    parts = (side["command"], side["created"][:16].replace("T", " "), side["verdict"] or "")
    return ", ".join(filter(None, (safe(part, 40) for part in parts)))


def _list(page: Page, title: str, texts: Sequence[str], most: int) -> None:
    page.heading(title)
    for text in texts[:most]:
        page.labelled("·", safe(text, 300))
    for text in sheets.more(len(texts), most, "of these"):
        page.note(text)


def _section(page: Page, title: str, style: str, listed: Sequence[Data], most: int) -> None:
    if not listed:
        return
    page.heading(title, str(len(listed)) if len(listed) > 1 else "")
    page.grid(
        [
            (row["area"], style),
            (" ".join(filter(None, (safe(row["target"], sheets.NAME), figures(row)))), ""),
        ]
        for row in listed[:most]
    )
    if len(listed) > most:
        page.line((f"{len(listed) - most} more with -v, and in the JSON", "dim"))


def figures(row: Data) -> str:
    """What a change is about, its two numbers, and the sentence."""
    subject, told = safe(row["subject"]), ""
    numbers = isinstance(row["old"], float | int) and isinstance(row["new"], float | int)
    if numbers and row["unit"] != "nodes":
        told = f" {value(row, 'old')} → {value(row, 'new')}"
    return f"{subject}{told}: {safe(row['text'], 400)}"


def value(row: Data, key: str) -> str:
    """One of the two values, with its unit."""
    known: Any = row[key]
    if known is None or isinstance(known, str):
        return safe(known) or nr.DASH
    unit = safe(row["unit"], 20)
    if unit == "bytes":
        return nr.size(known)
    if row["area"] == "accuracy":
        return nr.points(known)
    return f"{nr.significant(known)} {unit}".strip()


def within_noise(pair: Data, most: int) -> sheets.Sheet:
    """What was compared and did not move, in numbers."""
    listed = [row for row in of_kind(pair, "same") if row["difference"] is not None]
    others = sum(row["difference"] is None for row in of_kind(pair, "same"))
    title = "Not beyond noise"
    sheet = sheets.Sheet(title, sheets.columns("target|what|>old|>new|change"), [])
    if any(row["area"] == "accuracy" for row in listed):
        sheet.note = "a drop in accuracy with its 95 % interval: + is worse"
    for row in listed[:most]:
        cells = (safe(row["target"], sheets.NAME) or "reference", safe(row["subject"], 60))
        sheet.rows.append((*cells, value(row, "old"), value(row, "new"), safe(row["text"], 200)))
    sheet.notes += [
        f"{len(listed) - most} more with -v, and in the JSON" if len(listed) > most else "",
        f"and {nr.plural(others, 'verdict or build', 'verdicts and builds')} as before"
        if others
        else "",
    ]
    sheet.notes = [note for note in sheet.notes if note]
    return sheet
