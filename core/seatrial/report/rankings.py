"""Who is faster among artefacts that were timed alike, and where nobody can say so."""

from __future__ import annotations

from typing import Any

from . import numbers as nr
from .rows import Row
from .speed_rows import ranking


def rankings(targets: list[Row]) -> list[Row]:
    """One ranking per model, shape, streams and threads, over all targets.

    Only static artefacts in the model's own layout, timed by the core on the machine itself, are
    compared. A place holds everybody whose 95 % interval of the median meets that of any other on
    it, so no order is claimed that another run might turn round.
    """
    groups: dict[tuple[Any, ...], list[tuple[str, Row]]] = {}
    for target in targets:
        own = target["layout"]["native"] if target["layout"] else ""
        for row in target["benchmark"]:
            if _comparable(row) and (not own or row["layout"] in ("", own)):
                name = f"{target['target']} {row['precision']}"
                terms = (row["model"], row["streams"], row["threads"], *row["shape"])
                groups.setdefault(terms, []).append((name, row))
    return [_ranked(group) for group in groups.values() if len(group) > 1]


def _comparable(row: Row) -> bool:
    return (
        bool(_interval(row) and row["timed_by"] == "core" and not row["emulated"])
        and row["form"] == "static"
    )


def _interval(row: Row) -> tuple[float, float] | None:
    """Bounds of what one sample takes, milliseconds: the lower the better.

    With several calls in flight throughput counts, not how long each call waits for the others.
    """
    if row["streams"] > 1:
        ends = row["throughput_ci95"]
        return (1e3 / ends[1], 1e3 / ends[0]) if ends and None not in ends else None
    ends = row["ci95_ms"]
    return (ends[0], ends[1]) if ends and None not in ends and row["p50_ms"] is not None else None


def _typical(row: Row) -> float:
    """What one sample takes, milliseconds."""
    return float(1e3 / row["throughput"] if row["streams"] > 1 else row["p50_ms"])


def _ranked(group: list[tuple[str, Row]]) -> Row:
    bounded = [(ends, name, row) for name, row in group if (ends := _interval(row)) is not None]
    places: list[list[tuple[str, Row]]] = []
    reach = float("-inf")
    for (low, high), name, row in sorted(bounded, key=lambda item: item[0]):
        if places and low <= reach:
            places[-1].append((name, row))
        else:
            places.append([(name, row)])
        reach = max(reach, high)
    first = group[0][1]
    return ranking(
        model=first["model"],
        shape=list(first["shape"]),
        streams=first["streams"],
        places=[[name for name, _ in place] for place in places],
        told=len(places[0]) == 1,
        text=_text(places),
    )


def _text(places: list[list[tuple[str, Row]]]) -> str:
    if len(places[0]) > 1:
        names = sorted(places[0], key=lambda item: _typical(item[1]))
        return f"cannot be told apart: {', '.join(name for name, _ in names)}"
    ((name, best),) = places[0]
    other, second = min(places[1], key=lambda item: _typical(item[1]))
    ahead = f"{_typical(second) / _typical(best):.2f}x ahead of {other}"
    if best["streams"] > 1:
        return f"most per second: {name}, {nr.significant(best['throughput'])}/s, {ahead}"
    return f"fastest: {name}, p50 {nr.significant(best['p50_ms'])} ms, {ahead}"
