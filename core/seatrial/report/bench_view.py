"""What ``bench`` prints: timings side by side, and a ranking only where the intervals allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import measured, sheets, terminal
from . import numbers as nr
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
    page.sheet(sheets.matrix(data))
    terminal.reasons(page, data)
    terminal.faults(page, data)


def ranking(data: Data) -> str:
    """Which artefact is fastest, or which cannot be told apart.

    Only rows with the same streams, threads and shape, timed by the core on the machine itself,
    are compared; they are told apart when the 95 % intervals of their medians do not meet.
    """
    rows = [
        (f"{safe(target['target'], sheets.NAME)} {row['precision']}", row)
        for target in data["targets"]
        for row in target["benchmark"]
        if _comparable(row)
    ]
    if len({_terms(row) for _, row in rows}) != 1 or len(rows) < 2:
        return ""
    rows.sort(key=lambda item: item[1]["p50_ms"])
    best_name, best = rows[0]
    high = best["ci95_ms"][1]
    tied = [name for name, row in rows[1:] if row["ci95_ms"][0] <= high]
    if tied:
        return f"cannot be told apart: {', '.join([best_name, *tied])}"
    second_name, second = rows[1]
    ratio = second["p50_ms"] / best["p50_ms"]
    return (
        f"fastest: {best_name}, p50 {nr.significant(best['p50_ms'])} ms, "
        f"{ratio:.2f}x ahead of {second_name}"
    )


def _comparable(row: Data) -> bool:
    interval = row["ci95_ms"]
    timed = row["p50_ms"] is not None and interval is not None and None not in interval
    return bool(timed and row["timed_by"] == "core" and not row["emulated"])


def _terms(row: Data) -> tuple[Any, ...]:
    return (row["model"], row["streams"], row["threads"], tuple(row["shape"]))
