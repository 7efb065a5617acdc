"""What the views show, as plain tables of cleaned text; they differ only in how it is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import numbers as nr
from .safe import safe

Data = Mapping[str, Any]

#: Length of a name in a cell.
NAME = 44


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: ``wide`` ones are left out on a narrow terminal; ``right`` aligns numbers."""

    title: str
    right: bool = False
    wide: bool = False


@dataclasses.dataclass
class Sheet:
    """A table with a title and a note beside it; ``notes`` are lines below it."""

    title: str
    columns: Sequence[Column]
    rows: list[tuple[str, ...]]
    notes: list[str] = dataclasses.field(default_factory=list)
    note: str = ""


def columns(text: str) -> tuple[Column, ...]:
    """``"name| >number| ?wide only"``: ``>`` aligns right, ``?`` marks what narrow leaves out."""
    made = []
    for part in text.split("|"):
        flags = part[: len(part) - len(part.lstrip(" >?"))]
        made.append(Column(part.lstrip(" >?"), right=">" in flags, wide="?" in flags))
    return tuple(made)


#: Where what is left out can be read; a page whose report was not written says how to get it.
REST = "in report.json"


def more(total: int, shown: int, what: str) -> list[str]:
    """The note on what was left out; nothing when nothing was."""
    return [f"{total - shown} more {what} {REST}"] if total > shown else []


def folded(sheet: Sheet, words: Mapping[str, str]) -> Sheet:
    """The sheet without the columns whose value is the same in all rows; it goes to the note.

    Args:
        sheet: at least one row.
        words: how to say it, by column title, as in ``{"n": "{} samples"}``.
    """
    kept, said = [], []
    for i, column in enumerate(sheet.columns):
        values = {row[i] for row in sheet.rows}
        if column.title in words and len(values) == 1:
            said.append(words[column.title].format(values.pop()))
        else:
            kept.append(i)
    return Sheet(
        sheet.title,
        [sheet.columns[i] for i in kept],
        [tuple(row[i] for i in kept) for row in sheet.rows],
        sheet.notes,
        ", ".join(said),
    )


# --- verdicts -----------------------------------------------------------------------------------


def verdicts(data: Data) -> Sheet:
    """Verdict and three answers per target; those that decide come first."""
    rows: list[tuple[str, ...]] = []
    for row in sorted(data["targets"], key=lambda t: not t["decides"]):
        said = row["answers"] or {}
        gone = not row["decides"] and row["availability"] and not row["availability"]["usable"]
        parts = [said.get(part, nr.DASH) for part in ("compiles", "accurate", "fast")]
        rows.append(
            (
                safe(row["target"], NAME),
                absence(row) if gone else row["verdict"] or absence(row),
                *([nr.DASH] * 3 if gone else parts),
            )
        )
    notes = []
    if any(not row["decides"] for row in data["targets"]):
        others = [safe(t["target"], NAME) for t in data["targets"] if not t["decides"]]
        notes.append(f"decides nothing: {', '.join(others[:4])}{' ...' if others[4:] else ''}")
    return Sheet("Targets", columns("target|verdict|compiles|accurate|fast enough"), rows, notes)


def absence(row: Data) -> str:
    """Why a target has no verdict, in a word or two."""
    if row["fault"]:
        return str(row["fault"]["kind"])
    available = row["availability"]
    return "unavailable" if available and not available["usable"] else "not judged"


def unavailable(data: Data) -> list[tuple[str, str, str]]:
    """Target, reason and hint of each target that cannot be used here."""
    found = []
    for row in data["targets"]:
        available = row["availability"]
        if available and not available["usable"]:
            hint = available["install_hint"]
            found.append((safe(row["target"], NAME), safe(available["reason"]), safe(hint)))
    return found


# --- support ------------------------------------------------------------------------------------


def matrix(data: Data) -> Sheet:
    """Claimed, built and ran side by side; the three are never merged."""
    asked = [row for row in data["targets"] if row["claimed"] or row["built"] or row["ran"]]
    rows = [support(row) for row in asked]
    heads = "target|claimed (tables)|built fp32|built int8| ?depth|ran"
    return Sheet("Support", columns(heads), rows, structure_note(data))


def support(row: Data) -> tuple[str, ...]:
    """One target's row of the matrix; of one that was not asked all but the name are dashes."""
    built = row["built"] or {"fp32": None, "int8": None, "depth": None}
    return (
        safe(row["target"], NAME),
        _claims(row["claimed"]),
        _column(built["fp32"]),
        _column(built["int8"]) + ("*" if _structure_only(row) else ""),
        built["depth"] or nr.DASH,
        _ran(row["ran"]),
    )


def structure_note(data: Data) -> list[str]:
    """What the star in the matrix means, if there is one."""
    if not any(_structure_only(row) for row in data["targets"]):
        return []
    return ["* structure only: built from unit ranges, says nothing of accuracy"]


def _structure_only(row: Data) -> bool:
    int8 = row["built"]["int8"] if row["built"] else None
    return bool(int8 and int8["structure_only"])


def _claims(claimed: Data | None) -> str:
    if claimed is None:
        return nr.DASH
    counts = claimed["counts"]
    text = f"{counts['listed']}/{sum(counts.values())} listed"
    return text + (f", {counts['unsupported']} not" if counts["unsupported"] else "")


def _column(column: Data | None) -> str:
    if column is None:
        return nr.DASH
    if column["fault"]:
        return str(column["fault"]["kind"])
    places = column["placements"]
    away = places["fallback"] + places["nowhere"]
    word = "elsewhere" if places["fallback"] else "refused"
    share = f", {away}/{sum(places.values())} {word}" if away else ""
    return f"{column['verdict']}{share}"


def _ran(ran: Data | None) -> str:
    """The INT8 artefact's layers by precision, or the float one's where only that ran."""
    if ran is None:
        return nr.DASH
    name = "int8" if ran["int8"] else "fp32"
    counts = (ran[name] or {"precisions": {}})["precisions"]
    layers = sorted(counts.items(), key=lambda item: -item[1])
    said = " + ".join(f"{count} {precision}" for precision, count in layers[:3])
    where = "" if ran["where"] == "device" else f" ({ran['where']})"
    return safe(f"{name}: {said}" if said else ran["device"], 44) + where


@dataclasses.dataclass(frozen=True)
class Found:
    """Findings of one target that say the same of several nodes."""

    target: str
    precisions: tuple[str, ...]
    severity: str
    op_type: str
    nodes: tuple[str, ...]
    reason: str
    advice: str
    on: str


def findings(targets: Iterable[Data]) -> list[Found]:
    """All findings, worst first; one entry for all nodes with the same operator and reason."""
    groups: dict[tuple[str, ...], list[Data]] = {}
    for row in targets:
        for found in (row["built"] or {"findings": []})["findings"]:
            key = (row["target"], found["severity"], found["op_type"], found["reason"])
            groups.setdefault((*key, found["advice"]), []).append(found)
    rank = ("error", "warning", "info")
    ordered = sorted(groups.items(), key=lambda item: rank.index(item[0][1]))
    return [
        Found(
            target=safe(key[0], NAME),
            precisions=tuple(dict.fromkeys(f["precision"] for f in items)),
            severity=key[1],
            op_type=safe(key[2], NAME),
            nodes=tuple(dict.fromkeys(safe(f["node"], 60) for f in items if f["node"])),
            reason=safe(key[3], 240),
            advice=safe(key[4], 240),
            on=safe(items[0]["on"], 40),
        )
        for key, items in ordered
    ]
