"""The audit of the calibration set, with the pictures that it names."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from seatrial.audit.rules import TEST_COPIES
from seatrial.report import audit_view, numbers
from seatrial.report.sheets import Data
from seatrial.text import clean

from . import charts, tables, words

#: Pictures of one finding, clusters, and histograms that are open at first.
PICTURES, CLUSTERS, OPEN = 6, 12, 6

#: (role, id) -> source of an image.
Pictures = dict[tuple[str, str], Markup]


def audited(data: Data) -> dict[str, Any] | None:
    """Everything about calibration, or ``None`` when nothing was calibrated."""
    part = data["calibration"]
    if part is None:
        return None
    pictures: Pictures = {
        (row["role"], row["id"]): _source(row)
        for row in part.get("thumbnails", ())
        if row["picture"]  # a shared report has none
    }
    measured = part["audit"]
    return {
        "method": clean(part["method"], 80),
        "count": part["count"],
        "findings": [_finding(row, pictures) for row in part["findings"]],
        "measured": measured is not None,
        "sets": measured["sets"] if measured else [],
        "curve": charts.curve(measured["stability"]["curve"])
        if measured and measured["stability"]
        else Markup(),
        "curve_said": words.plain(measured["stability"]["text"])
        if measured and measured["stability"]
        else "",
        "clusters": _clusters(measured, pictures) if measured else [],
        "coverage": measured["coverage"] if measured else None,
        "histograms": [_histogram(row) for row in part.get("histograms", ())],
        "open": OPEN,
        "tables": tables.some(make(measured) for make in audit_view.SHEETS) if measured else [],
        "inputs": _inputs(data),
    }


def _inputs(data: Data) -> list[str]:
    from seatrial.report import facts

    return facts.inputs(data)


def _source(row: Data) -> Markup:
    """A data URL; base64 has no character that means anything in an attribute."""
    allowed = "".join(c for c in row["picture"] if c.isascii() and (c.isalnum() or c in "+/="))
    kind = "png" if row["type"] == "png" else "jpeg"
    return Markup(f"data:image/{kind};base64,{allowed}")  # noqa: S704 - filtered above


def _finding(row: Data, pictures: Pictures) -> dict[str, Any]:
    """One finding: what, which samples with their pictures, what to do, and by which rule."""
    own = "test" if row["code"] == TEST_COPIES else "calibration"
    pairs = [
        (_shown(own, one, pictures), _shown(kind, other, pictures),
         clean(f"{kind}: {how}", 80))
        for one, other, kind, how in row["pairs"][:PICTURES]
    ]  # fmt: skip
    singles = [] if pairs else [_shown("", name, pictures) for name in row["samples"][:PICTURES]]
    named = len(pairs) or len(singles)
    return {
        "level": words.COLOURS[row["level"]],
        "code": clean(row["code"], 40),
        "text": words.plain(row["text"], 800),
        "pairs": pairs,
        "samples": singles,
        "more": max(0, max(row["count"], len(row["samples"])) - named),
        "tensors": [charts.short(name, 48) for name in row["tensors"][:6]],
        "advice": words.plain(row["advice"], 400),
        "rule": clean(row["rule"], 200),
    }


def _shown(role: str, name: str, pictures: Pictures) -> tuple[str, Markup | None]:
    """A sample's name and its picture, from the set that has one."""
    roles = (role, "calibration", "test", "train")
    found = next((pictures[r, name] for r in roles if (r, name) in pictures), None)
    return charts.short(name, 32), found


def _clusters(measured: Data, pictures: Pictures) -> list[dict[str, Any]]:
    """Kinds of pictures in the test set, those that calibration lacks first."""
    found = measured["coverage"]
    if not found:
        return []
    rows = found["clusters"]
    test = sum(c["test"] for c in rows) or 1
    own = sum(c["calibration"] for c in rows) or 1
    most = max(max(c["test"] / test, c["calibration"] / own) for c in rows)
    lacking = sorted(rows, key=lambda c: (c["calibration"] + 1) / (c["expected"] + 1))
    made = []
    for c in lacking[:CLUSTERS]:
        ratio = (c["calibration"] + 1) / (c["expected"] + 1)
        kind = "bad" if ratio < 0.34 else "open" if ratio < 0.67 else "good"
        seen = [_shown("test", s, pictures) for s in c["samples"][:3]]
        made.append(
            {
                "number": c["cluster"],
                "kind": kind,
                "test": c["test"],
                "own": c["calibration"],
                "expected": numbers.count(c["expected"]),
                "bars": charts.shares(c["test"] / test, c["calibration"] / own, most),
                "samples": seen,
            }
        )
    return made


def _histogram(row: Data) -> dict[str, Any]:
    outside = (row["below"] or 0.0) + (row["above"] or 0.0)
    return {
        "tensor": charts.short(row["tensor"], 32),
        "svg": charts.histogram(row),
        "range": _range(row["range_lo"], row["range_hi"]),
        "seen": _range(row["lo"], row["hi"]),
        "outside": "nothing" if outside == 0 else f"{100 * outside:.2g} %",
        "weighted": row["weighted"],
    }


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return numbers.DASH
    return charts.minus(f"{low:.4g} to {high:.4g}")
