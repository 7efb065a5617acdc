"""The sheets that hold measured numbers: accuracy ladder, candidates, layouts, timings."""

from __future__ import annotations

from collections import Counter

from . import numbers as nr
from .safe import safe
from .sheets import NAME, Data, Sheet, columns, folded, more

#: Cases of a class below which its share is not told.
CASES = 5


def ladder(data: Data) -> Sheet:
    """The rungs with drop, interval and gate; every reason that is not a pass is a note.

    Figures without a gate are left to the JSON where the same comparison has one that has.
    """
    gated = {_compared(row) for row in data["ladder"] if row["gate"] != "not applicable"}
    rows: dict[tuple[str, ...], None] = {}
    notes: dict[str, None] = {}
    told = [str(row["text"]) for row in data["reasons"]]
    left = 0
    for row in data["ladder"]:
        if row["gate"] == "not applicable" and _compared(row) in gated:
            left += 1
            continue
        rows[_rung(row)] = None
        known = any(text.endswith(row["reason"]) for text in told)
        if row["gate"] in ("fail", "not proven") and row["reason"] and not known:
            about = f" {safe(row['target'], NAME)}" if row["target"] else ""
            notes[f"{_form(row)}{about}: {safe(row['reason'], 300)}"] = None
        _beside(row, notes)
    if left:
        notes[f"{nr.plural(left, 'ungated figure')} in report.json"] = None
    heads = "rung|target|against|metric| >value| >drop| >95 % of drop| >limit| >n|gate| ?ran on"
    made = Sheet("Accuracy", columns(heads), list(rows), list(notes))
    return folded(made, {"metric": "{}", "n": "{} samples"}) if rows else made


def _beside(row: Data, notes: dict[str, None]) -> None:
    """The further figures of a rung, and the classes that lost most where it did not pass."""
    about = f"{_form(row)} {safe(row['target'], NAME)}".strip() if row["target"] else _form(row)
    if row["also"]:
        figures = ", ".join(f"{safe(k, 24)} {v:.2f}" for k, v in row["also"].items())
        notes[f"{about}: {figures}"] = None
    # A class of few samples goes from all to nothing by chance.
    told = [c for c in row["classes"] if c["n"] >= CASES]
    if told and row["gate"] in ("fail", "not proven"):
        lost = ", ".join(
            f"{c['index']} {100 * c['before']:.0f} -> {100 * c['after']:.0f} %" for c in told[:3]
        )
        notes[f"{about}: classes that lost most against {row['against']}: {lost}"] = None


def _compared(row: Data) -> tuple[str, ...]:
    return tuple(str(row[key]) for key in ("rung", "target", "source", "against"))


def _rung(row: Data) -> tuple[str, ...]:
    """The cells of one rung."""
    return (
        _form(row),
        safe(row["target"], NAME) or nr.DASH,
        safe(row["against"], 24) or nr.DASH,
        _metric(row),
        _amount(row, "value"),
        _amount(row, "drop", sign=True),
        nr.interval(row["ci95"], 2 if row["unit"] == "points" else None),
        _amount(row, "limit"),
        nr.count(row["n"]),
        nr.DASH if row["gate"] == "not applicable" else row["gate"],
        safe(row["ran_on"], 32),
    )


def _metric(row: Data) -> str:
    """The metric, its unit where it is not points, and an arrow where less is better."""
    unit = "" if row["unit"] in ("points", "") else f", {row['unit']}"
    return safe(f"{row['metric']}{unit}", 32) + (
        "" if row["higher_is_better"] else " (less is better)"
    )


def _amount(row: Data, key: str, *, sign: bool = False) -> str:
    """Points with two decimals, other units with three significant digits."""
    if row["unit"] == "points" or row[key] is None:
        return nr.points(row[key], sign=sign)
    return ("+" if sign and row[key] >= 0 else "") + nr.significant(row[key])


def _form(row: Data) -> str:
    """The rung, and which form of it where a ladder can hold several."""
    kind, _, digest = str(row["source"] or "").partition(":")
    short = f"{kind}:{digest[:6]}" if digest else kind
    return f"{row['rung']} {safe(short, 16)}".strip()


def candidates(data: Data, limit: int = 8) -> Sheet:
    """The bake-off on held-out samples: the chosen ones first, then the closest."""
    ordered = sorted(data["candidates"], key=_closeness)
    rows: list[tuple[str, ...]] = []
    for row in ordered[:limit]:
        scores = row["scores"]
        why = f"{row['fault']['kind']}: {row['fault']['reason']}" if row["fault"] else row["reason"]
        rows.append(
            (
                safe(row["name"], NAME) + (" *" if row["chosen"] else ""),
                nr.points(scores["agreement"]),
                nr.DASH if scores["kl"] is None else f"{scores['kl']:.4f}",
                nr.significant(scores["sqnr_db"]),
                nr.count(row["n"]),
                safe(why, 90),
            )
        )
    heads = "candidate (* chosen)| >agree %| >KL| >SQNR dB| ?>n| ?why"
    return Sheet("INT8 candidates", columns(heads), rows, more(len(ordered), limit, "candidates"))


def _closeness(row: Data) -> tuple[bool, int, float]:
    """Chosen; then by KL, or by noise where outputs are no class scores; unscored ones last."""
    scores = row["scores"]
    figures = (scores["kl"], None if scores["sqnr_db"] is None else -scores["sqnr_db"])
    figure = next((f for f in figures if f is not None), None)
    return not row["chosen"], -int(row["n"]), float("inf") if figure is None else float(figure)


def benchmark(data: Data) -> Sheet:
    """Latencies with the interval of the median and the speed-up."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    names = {m["sha256"]: m["path"] for m in (data["model"], *data["models"]) if m}
    own = (data["model"] or {}).get("sha256", "")
    counts = _notes(data)
    for target in data["targets"]:
        several = len({row["layout"] for row in target["benchmark"] if row["layout"]}) > 1
        for row in sorted(target["benchmark"], key=_plainest):
            name = safe(target["target"], NAME)
            if data["models"]:
                model = row["model"] or own
                name = f"{safe(names.get(model, model), 28)} {name}"
            label = safe(row["precision"], 12) + (f" {safe(row['layout'], 12)}" if several else "")
            label += " free shapes" if row["form"] == "dynamic" else ""
            rows.append((name, label + ("*" if _not_ours(row) else ""), *_timing(row)))
            notes += _remarks(f"{name} {label}", row)
            notes += [f"{name} {label}: {safe(n, 200)}" for n in row["notes"] if counts[n] == 1]
    heads = (
        "target|precision| >p50 ms| >95 %| ?>p90| >p99| >streams| >threads| >calls"
        "| >speed-up| ?>memory| ?>size"
    )
    made = Sheet(
        "Speed",
        columns(heads),
        rows,
        [*notes, *[safe(n, 200) for n in counts if counts[n] > 1][:3]],
    )
    words = {"streams": "{} in flight", "threads": "threads {}", "calls": "{} calls each"}
    return folded(made, words) if rows else made


def _plainest(row: Data) -> tuple[int, bool]:
    """One call at a time and static shapes come first."""
    return row["streams"], row["form"] == "dynamic"


def _timing(row: Data) -> tuple[str, ...]:
    return (
        nr.significant(row["p50_ms"]),
        nr.interval(row["ci95_ms"], None),
        nr.significant(row["p90_ms"]),
        nr.significant(row["p99_ms"]),
        str(row["streams"]),
        str(row["threads"] or "auto"),
        nr.count(row["n"]),
        faster(row["speedup"]),
        nr.megabytes(row["peak_rss_mb"]),
        nr.size(row["artifact_bytes"]),
    )


def _remarks(name: str, row: Data) -> list[str]:
    cause = row["speedup"]["cause"] if row["speedup"] else ""
    said = [f"{name}: {safe(cause, 300)}"] if cause else []
    return said + ([f"* {name}: {_not_ours(row)}"] if _not_ours(row) else [])


def _notes(data: Data) -> Counter[str]:
    """How many timings carry a remark; what disturbed them all has a table of its own."""
    rows = [row for target in data["targets"] for row in target["benchmark"]]
    counts = Counter(note for row in rows for note in dict.fromkeys(row["notes"]))
    known = (data["conditions"] or {}).get("disturbances", ())
    return Counter({n: k for n, k in counts.items() if k > 1 or n not in known})


def _not_ours(row: Data) -> str:
    if row["emulated"]:
        return "emulated: proves nothing about latency"
    return "timed by the vendor's own clock" if row["timed_by"] == "vendor" else ""


def faster(speedup: Data | None) -> str:
    """``2.47x``, or the words that refuse to rank."""
    if speedup is None:
        return nr.DASH
    text = f"{speedup['ratio']:.2f}x"
    if not speedup["distinguishable"]:
        return f"{text} (noise)"
    return text if speedup["ratio"] >= 1 else f"{text} slower"
