"""What ``bench`` prints: timings side by side, and a ranking only where the intervals allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import measured, sheets, speed_view, terminal
from .rankings import rankings
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page


def draw(page: Page, data: Data) -> None:
    """The whole view."""
    terminal.headline(page, data)
    page.sheet(measured.benchmark(data))
    ranked = ranking(data)
    if ranked:
        page.space()
        page.line((ranked, "bold"))
    for sheet in (*speed_view.answers(data), *speed_view.evidence(data)):
        page.sheet(sheet)
    page.sheet(sheets.matrix(data))
    terminal.reasons(page, data)
    terminal.faults(page, data)


def ranking(data: Data) -> str:
    """Which artefact is fastest among those timed alike, or which cannot be told apart."""
    names = {m["sha256"]: m["path"] for m in data["models"]}
    told = []
    for row in rankings(data["targets"]):
        parts = [safe(names.get(row["model"], ""), 28)] if len(names) > 1 else []
        parts += [f"{row['streams']} in flight"] if row["streams"] > 1 else []
        about = ", ".join(filter(None, parts))
        told.append(safe(f"{about}: {row['text']}" if about else row["text"], 300))
    return "; ".join(told)
