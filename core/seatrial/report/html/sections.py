"""The sections of evidence: charts with the tables behind them, from rows of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.report import (
    export_view,
    measured,
    numbers,
    qat_view,
    recovery_view,
    sheets,
    speed_view,
)
from seatrial.report.sheets import Data
from seatrial.text import clean

from . import charts, tables, words
from . import graph as graphs

#: Findings of the compilers that are spelt out.
MOST = 40

#: What stands behind the name of a noise figure that is a distance.
_DB = ", dB"


def ladder(data: Data) -> dict[str, Any] | None:
    """The accuracy of each step, where a target breaks first, and the noise floor."""
    sheet = measured.ladder(data)
    shown = [r for r in data["ladder"] if r["gate"] != "not applicable" or r["drop"] is not None]
    table = tables.of(sheet)
    if table is None:
        return None
    breaks = [
        (
            clean(t["target"], 60),
            words.plain(t["first_break"]["text"]),
            t["first_break"]["confirmed"],
        )
        for t in data["targets"]
        if t.get("first_break")
    ]
    base = next((r for r in data["ladder"] if r["reason"] == "the baseline"), None)
    return {
        "chart": charts.ladder(shown),
        "table": table,
        "base": base,
        "noise": _noise(data),
        "breaks": breaks,
    }


def _noise(data: Data) -> dict[str, Any] | None:
    """What the noise floor is, in a sentence, and every figure of it.

    The measured facts are agreements in percent, and under the same name with ``, dB`` behind it
    how far the outputs were from one another.
    """
    found = {
        name: value
        for name, value in data["noise"].items()
        if not name.endswith(_DB) and isinstance(value, int | float)
    }
    if not found:
        return None
    worst = min(found, key=lambda name: found[name])
    said = "Run again in other ways, every artefact names the same class for every sample."
    if found[worst] < 100:
        said = (
            f"Run again in other ways, an artefact names the same class for {found[worst]:.2f} % "
            f"of the samples ({clean(worst, 90)}), and for more in all others: smaller "
            "differences are noise."
        )
    rows = [
        (clean(name, 90), f"{value:.2f} %", _decibels(data["noise"].get(name + _DB)))
        for name, value in found.items()
    ]
    heads = sheets.columns("what was run again, and how| >same class| >signal to difference, dB")
    return {"said": said, "table": tables.Table("Noise", heads, rows)}


def _decibels(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return numbers.significant(value)
    return clean(str(value), 20) if value is not None else numbers.DASH


def speed(data: Data) -> dict[str, Any] | None:
    """Every build that was timed, and why INT8 is not faster where it is not."""
    several = bool(data["models"])
    names = {m["sha256"]: m["path"].rpartition("/")[2] for m in data["models"]}
    rows = []
    for target in data["targets"]:
        for row in target["benchmark"]:
            model = f"{names.get(row['model'], '')} " if several else ""
            flight = f", {row['streams']} in flight" if row["streams"] > 1 else ""
            plain = f"{model}{target['target']}, {speed_view.label(row)}{flight}"
            rows.append((clean(plain, 80), row))
    table = tables.of(measured.benchmark(data))
    if table is None:
        return None
    causes = [(n, words.plain(r["speedup"]["cause"], 900)) for n, r in rows
              if r["speedup"] and r["speedup"]["cause"]]  # fmt: skip
    return {
        "chart": charts.latency(rows, data["sla"]["max_latency"]),
        "table": table,
        "layouts": tables.of(speed_view.layouts(data)),
        "more": [
            (sheet.title, sheet.note, tables.of(sheet))
            for sheet in (*speed_view.answers(data), *speed_view.evidence(data))
            if sheet.rows and sheet.title != "Layout"
        ],
        "causes": causes,
        "shown": sum(bool(r.get("quantiles_ms")) for _, r in rows),
    }


def recovery(data: Data) -> list[dict[str, Any]]:
    """Per candidate and target: the Pareto chart, its table, and what to make of it."""
    made = []
    for row in data["recovery"]:
        for target in dict.fromkeys(t["target"] for p in row["points"] for t in p["targets"]):
            priced = [
                (point, next(t for t in point["targets"] if t["target"] == target))
                for point in row["points"]
                if any(t["target"] == target for t in point["targets"])
            ]
            numbered = [(i, *pair) for i, pair in enumerate(priced, 1)]
            unit = "KL" if any(p["agreement"] is not None for p, _ in priced) else "relative error"
            said = [s["text"] for s in row["statements"] if s["target"] == target]
            made.append(
                {
                    "target": clean(target, 60),
                    "chart": charts.pareto(numbered, f"loss, {unit}"),
                    "table": _points(numbered, unit),
                    "said": [words.plain(s) for s in said],
                    "why": words.plain(f"{row['chosen']}: {row['reason']}"),
                    "rule": words.plain(row["rule"]),
                    "advice": [words.plain(a) for a in row["advice"]],
                    "n": row["n"],
                }
            )
    return made


def _points(numbered: list[tuple[int, Data, Data]], unit: str) -> tables.Table:
    rows, kinds = [], []
    for i, point, price in numbered:
        agreement = point["agreement"]
        cells = [
            str(i),
            clean(point["name"], 80),
            numbers.count(len(point["nodes"])),
            numbers.significant(point["loss"]),
            numbers.DASH if agreement is None else f"{agreement:.1f} %",
            numbers.significant(price["p50_ms"]),
            numbers.interval(price["ci95_ms"], None),
            numbers.DASH if price["of_fp32"] is None else f"{price['of_fp32']:.2f}x",
            "chosen" if point["chosen"] else "front" if price["front"] else "",
        ]
        rows.append(cells)
        kinds.append("good" if point["chosen"] else "")
    heads = f" >no.|kept in float| >nodes| >{unit}| >same answer| >p50 ms| >95 %| >of FP32|"
    return tables.Table("Points", sheets.columns(heads), rows, kinds=kinds)


def diagnosis(data: Data) -> list[dict[str, Any]]:
    """Per candidate: the worst layers with their causes, and the noise of every layer."""
    made = []
    for row, sheet in zip(data["diagnosis"], recovery_view.diagnoses(data), strict=True):
        sheet.columns = sheets.columns("layer|what| >share of the loss| >noise, dB|cause")
        layers = sheets.columns("layer|operator| >SQNR dB| >own noise, dB| >inherited")
        cells = [
            [
                clean(x["node"], 90),
                clean(x["op_type"], 40),
                numbers.DASH if x["sqnr_db"] is None else f"{x['sqnr_db']:.1f}",
                numbers.DASH if x["new_db"] is None else f"{x['new_db']:.1f}",
                numbers.DASH if x["inherited"] is None else f"{x['inherited']:.0%}",
            ]
            for x in row["layers"]
        ]
        made.append(
            {
                "candidate": clean(row["candidate"], 80),
                "culprits": tables.of(sheet),
                "chart": charts.noise(row["layers"]),
                "layers": tables.Table("Layers", layers, cells) if cells else None,
            }
        )
    return made


def support(data: Data, known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Claimed, built and ran, by target and by operator, with what the compilers said."""
    matrix = tables.of(sheets.matrix(data))
    if matrix is None:
        return None
    found = sheets.findings(data["targets"])
    claims = [
        (clean(t["target"], 60), clean(s, 120))
        for t in data["targets"]
        for s in (t["claimed"] or {"sources": ()})["sources"]
    ]
    return {
        "matrix": matrix,
        "operators": tables.operators(known),
        "findings": found[:MOST],
        "more": max(0, len(found) - MOST),
        "sources": claims,
    }


def model_map(data: Data, known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The graph as a picture; nothing where nothing is known of its nodes."""
    if known is None or not (known["targets"] or any(known["noise"]) or known["float"]):
        return None
    first = ["c none"] * len(known["names"])
    if known["targets"]:
        column = known["targets"][0]
        form = "int8" if set(column["int8"]) != {"-"} else "fp32"
        first = [f"c {graphs.BUILDS[letter][0]}" for letter in column[form]]
    return {"svg": graphs.picture(data["model"]["graph"], first), "facts": known}


def made(data: Data) -> list[tables.Table]:
    """How the model was made: export and training."""
    found = []
    if data["export"]:
        part = data["export"]
        found += [export_view.attempts(part), export_view.parity(part), export_view.axes(part)]
        found.append(export_view.recipes(part))
    if data["qat"]:
        found += [qat_view.training(data), qat_view.exports(data)]
    return tables.some(found)


def faults(data: Data) -> list[dict[str, Any]]:
    """Faults with the end of their logs."""
    tails = {row["path"]: row for row in data.get("logs", ())}
    return [
        {
            "kind": row["kind"],
            "about": clean(row["target"] or "the program itself", 60),
            "stage": clean(row["stage"], 80),
            "reason": clean(row["reason"], 400),
            "log": clean(row["log"], 200),
            "tail": tails.get(row["log"]),
        }
        for row in data["faults"]
        if row["kind"] not in ("unavailable", "not offered")
    ]
