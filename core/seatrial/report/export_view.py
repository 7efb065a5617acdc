"""What ``export`` found, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import numbers as nr
from . import sheets
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page

#: How many of anything are shown.
MOST = 8

_BANNERS = {"pass": "EQUAL", "fail": "NOT EQUAL", "not proven": "NOT PROVEN"}


def headline(page: Page, data: Data) -> None:
    """The gate, the module, and the choice of exporter and opset."""
    part = data["export"]
    page.banner(_BANNERS[part["gate"]], safe(part["source"], 60))
    if part["route"]:
        page.line(f"{safe(part['route'])}: {safe(part['opset_reason'], 300)}")
    if part["synthetic"]:
        page.line(("SYNTHETIC samples: equality on noise proves little", "bold red"))


def draw(page: Page, data: Data) -> None:
    """The export part of any report; nothing when the model was given as ONNX."""
    part = data["export"]
    if not part:
        return
    page.sheet(attempts(part))
    page.sheet(parity(part))
    _divergence(page, part)
    _problems(page, part)
    page.sheet(axes(part))
    page.sheet(recipes(part))
    _nodes(page, part)


def attempts(part: Data) -> sheets.Sheet:
    """One row per exporter."""
    heads = sheets.columns("exporter|gate|>opset|>nodes|>seconds|why")
    rows: list[tuple[str, ...]] = [
        (
            safe(a["route"]),
            _word(a),
            str(a["opset"] or "-"),
            str(a["nodes"] or "-"),
            f"{a['seconds']:.1f}",
            ("kept: " if a["chosen"] else "") + safe(a["reason"], 200),
        )
        for a in part["attempts"]
    ]
    return sheets.Sheet("Exporters", heads, rows)


def _word(attempt: Data) -> str:
    """The gate, or why there is none."""
    if attempt["ok"]:
        return safe(attempt["gate"])
    return "not tried" if attempt["reason"].startswith("not tried") else "failed"


def parity(part: Data) -> sheets.Sheet:
    """One row per output."""
    heads = sheets.columns(
        "output|gate|>max abs|>of scale|>own rounding|>allowed|>beyond 1e-5|worst"
    )
    rows: list[tuple[str, ...]] = [
        (
            safe(o["output"], 40),
            safe(o["gate"]),
            _small(o["max_abs"]),
            _small(o["max_rel"]),
            _small(o["own"]),
            _small(o["allowed"]),
            f"{100 * o['beyond']:.2g} %",
            safe(o["worst"], 30),
        )
        for o in part["parity"]
    ]
    note = f"{nr.plural(part['samples'], 'sample')} through PyTorch and the reference"
    return sheets.Sheet("Parity", heads, rows, note=note)


def recipes(part: Data) -> sheets.Sheet:
    """One row per change of the graph."""
    heads = sheets.columns("recipe|kept|>error of scale|>nodes|>opset|nodes refused|why not")
    rows: list[tuple[str, ...]] = [
        (
            safe(a["recipe"], 40),
            "yes" if a["kept"] else "no",
            _small(a["max_rel"]),
            f"{a['nodes_before']} to {a['nodes_after']}",
            str(a["opset"] or "-"),
            "; ".join(
                f"{safe(t['target'], sheets.NAME)} {t['before']} to {t['after']}"
                for t in a["targets"][:MOST]
            )
            or "-",
            safe(a["reason"], 160),
        )
        for a in part["recipes"]
    ]
    return sheets.Sheet("Recipes", heads, rows)


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def axes(part: Data) -> sheets.Sheet:
    """One row per axis that is not simply fixed."""
    heads = sheets.columns("input|>axis|>size|>ran at|status|evidence")
    rows: list[tuple[str, ...]] = [
        (
            safe(a["input"], 30),
            str(a["axis"]),
            str(a["size"]),
            f"{a['low']}..{a['high']}" if a["low"] != a["high"] else "-",
            safe(a["status"]) + (", asked" if a["asked"] else ""),
            safe(a["evidence"], 160),
        )
        for a in part["axes"]
        if a["status"] != "not tried"
    ]
    return sheets.Sheet("Axes", heads, rows)


def _divergence(page: Page, part: Data) -> None:
    found = part["divergence"]
    if not found or not found["found"]:
        return
    page.heading("First node that diverges")
    page.labelled("error", f"{safe(found['op_type'])} {safe(found['node'], 80)}{_at(found)}")
    page.line(
        (
            f"by itself wrong by {found['after']:.1e} of its scale; nodes before it: at most "
            f"{found['before']:.1e}",
            "dim",
        ),
        indent=11,
    )


def _problems(page: Page, part: Data) -> None:
    settled = part["route"] if part["gate"] == "pass" else ""
    told = [p for p in part["problems"] if not settled or p["route"] in ("", settled)]
    listed = [p for p in told if p["level"] != "info"] or told
    if not listed:
        return
    page.heading("In the module")
    for row in listed[:MOST]:
        route = f"{safe(row['route'])}: " if row["route"] else ""
        page.labelled(row["level"], f"{route}{safe(row['text'], 300)}{_at(row)}")
        if row["advice"]:
            page.line(("→ ", "bold cyan"), safe(row["advice"], 200), indent=11)
    for text in sheets.more(len(listed), MOST, "problems"):
        page.note(text)


def _at(row: Data) -> str:
    place = f"{safe(row['file'], 120)}:{row['line']}" if row["file"] else ""
    module = f"module {safe(row['module'], 60)}" if row["module"] else ""
    where = ", ".join(filter(None, (module, place)))
    return f" ({where})" if where else ""


def _nodes(page: Page, part: Data) -> None:
    """Control flow and foreign domains, with the targets that refuse them."""
    for title, key in (("Control flow", "control_flow"), ("Non-standard operators", "foreign")):
        if not part[key]:
            continue
        page.heading(title)
        for row in part[key][:MOST]:
            refused = ", ".join(safe(t, sheets.NAME) for t in row["refused_by"])
            page.labelled(
                "warning",
                f"{safe(row['domain'])} {safe(row['op_type'])} {safe(row['label'], 60)}{_at(row)}"
                + (f", refused by {refused}" if refused else ""),
            )
            if row["advice"]:
                page.line(("→ ", "bold cyan"), safe(row["advice"], 200), indent=11)
