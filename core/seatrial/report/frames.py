"""The document's lists as pandas data frames, for those who have pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.errors import UserError


def frames(data: Mapping[str, Any]) -> dict[str, Any]:
    """One frame per kind of row; nested records become columns ``outer.inner``.

    Args:
        data: a finished document.

    Returns:
        ``targets``, ``ladder``, ``benchmark``, ``findings``, ``layers``, ``candidates``,
        ``noise`` (per layer), ``points`` (mixed precision, one row per target) and ``audit``;
        a kind without rows is an empty frame.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("tables", "pandas is not installed", advice="pip install pandas") from None
    return {name: pandas.DataFrame(_flat(rows)) for name, rows in _kinds(data).items()}


def _kinds(data: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    targets = data["targets"]
    return {
        "targets": [
            {
                "target": t["target"],
                "title": t["title"],
                "decides": t["decides"],
                "verdict": t["verdict"],
                **(t["answers"] or {}),
                "built": (t["built"] or {}).get("verdict"),
                "fault": (t["fault"] or {}).get("kind"),
            }
            for t in targets
        ],
        "ladder": [_without(row, "right") for row in data["ladder"]],
        "benchmark": [
            {"target": t["target"], **_without(row, "quantiles_ms")}
            for t in targets
            for row in t["benchmark"]
        ],
        "findings": [
            {"target": t["target"], **row}
            for t in targets
            for row in (t["built"] or {"findings": ()})["findings"]
        ],
        "layers": [
            {"target": t["target"], "form": form, **layer}
            for t in targets
            for form in ("fp32", "int8")
            for layer in ((t["ran"] or {}).get(form) or {"layers": ()})["layers"]
        ],
        "candidates": list(data["candidates"]),
        "noise": [
            {"candidate": row["candidate"], **layer}
            for row in data["diagnosis"]
            for layer in row["layers"]
        ],
        "points": [
            {"candidate": row["candidate"], **_without(point, "targets"), **price}
            for row in data["recovery"]
            for point in row["points"]
            for price in point["targets"]
        ],
        "audit": list((data["calibration"] or {"findings": ()})["findings"]),
    }


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}


def _flat(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(_columns(row)) for row in rows]


def _columns(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _columns(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
