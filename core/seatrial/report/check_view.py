"""What ``check`` prints: which targets take the model, and each node that stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import sheets, terminal
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page

_EMPTY: Data = {"findings": []}

#: Findings shown per command.
MOST = 12


def draw(page: Page, data: Data) -> None:
    """The whole view."""
    terminal.headline(page, data)
    page.sheet(_compiles(data))
    terminal.found(page, data, MOST)
    _claims(page, data)
    terminal.reasons(page, data, [row for row in data["reasons"] if not _told(row, data)])
    terminal.faults(page, data)


def _compiles(data: Data) -> sheets.Sheet:
    """The support matrix with the verdict in front."""
    heads = sheets.columns("target|compiles|fp32|int8| ?depth|claimed by tables")
    rows: list[tuple[str, ...]] = []
    for row in data["targets"]:
        name, claimed, fp32, int8, depth, _ = sheets.support(row)
        verdict = row["built"]["verdict"] if row["built"] else sheets.absence(row)
        if row["fault"]:
            verdict = row["fault"]["kind"]
        rows.append((name, verdict, fp32, int8, depth, claimed))
    return sheets.Sheet("Does it compile?", heads, rows, sheets.structure_note(data))


def _told(reason: Data, data: Data) -> bool:
    """Whether a reason is already said by a finding or by an unavailable target."""
    told = [f["reason"] for row in data["targets"] for f in (row["built"] or _EMPTY)["findings"]]
    told += [row["availability"]["reason"] for row in data["targets"] if row["availability"]]
    return reason["text"] in told


def _claims(page: Page, data: Data) -> None:
    """What only tables know, for the targets that no compiler could be asked for."""
    for row in data["targets"]:
        claimed = row["claimed"]
        if claimed is None or (row["built"] and row["built"]["depth"]):
            continue
        refused = [c for c in claimed["claims"] if c["claim"] == "unsupported"]
        if not refused:
            continue
        page.heading(f"{safe(row['target'], sheets.NAME)}: tables only", "no compiler was asked")
        groups: dict[tuple[str, str, str], list[str]] = {}
        for claim in refused:
            alike = (claim["op_type"], claim["reason"], claim["source"])
            groups.setdefault(alike, []).append(safe(claim["node"], 60))
        for (kind, reason, source), nodes in list(groups.items())[: terminal.MOST]:
            what = f"{safe(kind, 40)} " + (f"x{len(nodes)}" if len(nodes) > 1 else nodes[0])
            page.labelled("unsupported", f"{what}: {safe(reason, 200)} [{safe(source, 60)}]")
            if len(nodes) > 1:
                terminal.places(page, nodes)
        for text in sheets.more(len(groups), terminal.MOST, "claims"):
            page.note(text)
