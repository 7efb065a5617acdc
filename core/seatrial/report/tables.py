"""The tables of a report as flat rows: for CSV files, spreadsheets and data frames.

Unlike the views, they keep every row and every digit; a cell is a text, a number or empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from seatrial.text import clean

from .model import LONGEST

Data = Mapping[str, Any]
Cell = str | int | float | bool | None
Flat = dict[str, Cell]

#: What a spreadsheet takes for a formula at the start of a cell.
_FORMULA = ("=", "+", "-", "@")


def tables(data: Data) -> dict[str, list[Flat]]:
    """Every table of a report that has rows, by name."""
    made = {name: list(make(data)) for name, make in _TABLES.items()}
    return {name: rows for name, rows in made.items() if rows}


def to_csv(rows: list[Flat]) -> str:
    """One table as CSV (RFC 4180, comma, LF at line ends); formulas are made inert by a quote.

    Example:
        >>> print(to_csv([{"target": "cpu", "p50_ms": 1.5}]), end="")
        target,p50_ms
        cpu,1.5
        >>> print(to_csv([{"node": "=1+1"}]), end="")
        node
        '=1+1
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(key)) for key in columns] for row in rows)
    return stream.getvalue()


def _cell(value: Cell) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = clean(value, LONGEST)
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value


def _flat(row: Data, *keys: str) -> Flat:
    """The named keys of a row: intervals become two cells, lists of names one, objects none."""
    flat: Flat = {}
    for key in keys:
        value = row.get(key)
        if key.startswith(("ci95", "value_ci95", "of_fp32_ci95", "of_int8_ci95")):
            low, high = value or (None, None)
            flat |= {f"{key}_low": low, f"{key}_high": high}
        elif isinstance(value, (list, tuple)):
            flat[key] = " ".join(str(v) for v in value)
        else:
            flat[key] = value
    return flat


def _verdicts(data: Data) -> Iterator[Flat]:
    for row in data["targets"]:
        answers = row["answers"] or {}
        built = row["built"] or {}
        yield {
            "target": row["target"],
            "decides": row["decides"],
            "verdict": row["verdict"],
            **{key: answers.get(key) for key in ("compiles", "accurate", "fast")},
            "built": built.get("verdict"),
            "usable": (row["availability"] or {}).get("usable"),
            "machine_class": row["machine_class"],
            "fault": row["fault"]["kind"] if row["fault"] else None,
        }


def _reasons(data: Data) -> Iterator[Flat]:
    for row in data["reasons"]:
        yield _flat(row, "level", "target", "part", "code", "text")


def _ladder(data: Data) -> Iterator[Flat]:
    keys = ("rung", "target", "source", "against", "ran_on", "metric", "unit", "value")
    more = ("value_ci95", "drop", "ci95", "limit", "n", "groups", "n_needed", "agreement")
    for row in data["ladder"]:
        yield _flat(row, *keys, *more, "gate", "reason")


def _benchmark(data: Data) -> Iterator[Flat]:
    keys = ("model", "artifact", "precision", "shape", "layout", "streams", "threads", "n")
    times = ("p50_ms", "p90_ms", "p99_ms", "ci95_ms", "first_run_ms", "load_ms", "build_s")
    for target in data["targets"]:
        for row in target["benchmark"]:
            rest = _flat(row, *keys, *times, "peak_rss_mb", "artifact_bytes", "timed_by")
            yield {"target": target["target"], **rest, "emulated": row["emulated"]}


def _nodes(data: Data) -> Iterator[Flat]:
    """What each target claims of each node, what its compiler said, and where it ran."""
    for target in data["targets"]:
        found: dict[str, Flat] = {}

        def entry(node: str, op_type: str, at: dict[str, Flat] = found) -> Flat:
            return at.setdefault(node, {"node": node, "op_type": op_type})

        for claim in (target["claimed"] or {"claims": ()})["claims"]:
            row = entry(claim["node"], claim["op_type"])
            row |= {"claimed": claim["claim"], "claimed_reason": claim["reason"]}
        for item in (target["built"] or {"findings": ()})["findings"]:
            row = entry(item["node"], item["op_type"])
            name = f"built_{item['precision']}"
            row |= {name: item["placement"], f"{name}_reason": item["reason"]}
        for precision in ("fp32", "int8"):
            ran = (target["ran"] or {}).get(precision)
            for layer in ran["layers"] if ran else ():
                for node in layer["nodes"]:
                    row = entry(node, layer["op_type"])
                    row |= {
                        f"ran_{precision}_on": layer["on"],
                        f"ran_{precision}_as": layer["precision"],
                    }
        yield from ({"target": target["target"], **row} for row in found.values())


def _layers(data: Data) -> Iterator[Flat]:
    for target in data["targets"]:
        for precision in ("fp32", "int8"):
            ran = (target["ran"] or {}).get(precision)
            for layer in ran["layers"] if ran else ():
                keys = ("layer", "op_type", "nodes", "on", "precision", "layout", "kernel", "ms")
                yield {"target": target["target"], "artifact": precision, **_flat(layer, *keys)}


def _layouts(data: Data) -> Iterator[Flat]:
    for target in data["targets"]:
        for row in (target["layout"] or {"variants": ()})["variants"]:
            keys = ("layout", "method", "transposes_added", "transposes_removed", "equivalent")
            rest = _flat(row, *keys, "max_abs_error", "p50_ms", "ratio", "ci95")
            yield {"target": target["target"], **rest}


def _candidates(data: Data) -> Iterator[Flat]:
    for row in data["candidates"]:
        flat = _flat(row, "name", "source", "scheme", "chosen", "n", "reason")
        yield flat | dict(row["scores"])


def _recovery(data: Data) -> Iterator[Flat]:
    for part in data["recovery"]:
        for point in part["points"]:
            own = _flat(point, "name", "kind", "loss", "agreement", "meets", "chosen")
            own = {"candidate": part["candidate"], **own, "float_nodes": len(point["nodes"])}
            prices: list[Data] = list(point["targets"]) or [{}]
            for price in prices:
                keys = ("target", "precision", "p50_ms", "ci95_ms", "of_fp32", "of_int8", "front")
                yield own | _flat(price, *keys)


def _audit(data: Data) -> Iterator[Flat]:
    for row in (data["calibration"] or {"findings": ()})["findings"]:
        keys = ("level", "code", "text", "count", "samples", "tensors", "score", "rule", "advice")
        yield _flat(row, *keys)


def _ranges(data: Data) -> Iterator[Flat]:
    audit = (data["calibration"] or {}).get("audit") or {}
    for row in audit.get("ranges", ()):
        yield _flat(row, "tensor", "lo", "hi", "seen_lo", "seen_hi", "clipped", "sample")


def _diagnosis(data: Data) -> Iterator[Flat]:
    for part in data["diagnosis"]:
        for row in part["culprits"]:
            flat = _flat(row, "node", "op_type", "tensor", "what", "loss", "without", "noise_db")
            cause = row["cause"]
            yield {
                "candidate": part["candidate"],
                **flat,
                "cause": cause["code"],
                "text": cause["text"],
                "advice": cause["advice"],
            }


def _faults(data: Data) -> Iterator[Flat]:
    for row in data["faults"]:
        yield _flat(row, "target", "kind", "stage", "reason", "signal", "log")


_TABLES: dict[str, Callable[[Data], Iterator[Flat]]] = {
    "verdicts": _verdicts,
    "reasons": _reasons,
    "ladder": _ladder,
    "benchmark": _benchmark,
    "nodes": _nodes,
    "layers": _layers,
    "layouts": _layouts,
    "candidates": _candidates,
    "recovery": _recovery,
    "calibration": _audit,
    "ranges": _ranges,
    "diagnosis": _diagnosis,
    "faults": _faults,
}
