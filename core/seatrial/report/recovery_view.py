"""The sheets of diagnosis and recovery: what costs accuracy and why, and what float costs."""

from __future__ import annotations

from . import numbers as nr
from .safe import safe
from .sheets import NAME, Data, Sheet, columns

#: Culprits, groups and layers that are shown; the rest is in the JSON.
CULPRITS, GROUPS, LAYERS = 5, 5, 3

#: Labels are shortened at the front, after this much was kept of them.
LONG = 300

UNIT = {"kl": "KL", "error": "relative error"}


def diagnoses(data: Data) -> list[Sheet]:
    """One sheet per diagnosed candidate: the worst quantisers, with their share and cause."""
    return [_diagnosis(row) for row in data["diagnosis"]]


def _diagnosis(row: Data) -> Sheet:
    unit = UNIT[row["rule"]]
    rows: list[tuple[str, ...]] = []
    for item in row["culprits"][:CULPRITS]:
        layer = safe(item["node"], LONG) or "the model's input"
        what = "its weights" if item["what"] == "weights" else "its output"
        share = f"{min(9.99, item['loss'] / row['loss']):.0%}" if row["loss"] else nr.DASH
        rows.append(
            (
                f"{_short(layer)} ({safe(item['op_type'], 24)})",
                what,
                share,
                nr.DASH if item["noise_db"] is None else f"{item['noise_db']:.0f}",
                safe(item["cause"]["text"], 300),
            )
        )
    title = "Diagnosis"
    total = row["loss"] or 0.0
    note = f"{safe(row['candidate'], 60)}: {unit} {nr.significant(total)} on {row['n']} samples"
    made = Sheet(title, columns("worst layers|| >alone| >dB|cause"), rows, _notes(row), note)
    if not rows:
        made.rows = [("none stands out", "", nr.DASH, nr.DASH, "")]
    return made


def _short(name: str, most: int = 34) -> str:
    """The end of a long label: its beginning is the same for many."""
    return name if len(name) <= most else "…" + name[1 - most :]


def _notes(row: Data) -> list[str]:
    weights = "not told" if row["weights"] is None else nr.significant(row["weights"])
    notes = [
        f"only weights quantised: {weights}; only activations: {nr.significant(row['activations'])}"
    ]
    groups = [f"{safe(g['name'], 40)} {nr.significant(g['loss'])}" for g in row["groups"][:GROUPS]]
    notes += [f"by class, alone: {', '.join(groups)}"] if groups else []
    noisy = sorted(
        (x for x in row["layers"] if x["sqnr_db"] is not None), key=lambda x: x["sqnr_db"]
    )
    layers = [_layer(x) for x in noisy[:LAYERS]]
    notes += [f"least signal to noise: {'; '.join(layers)}"] if layers else []
    advice: dict[str, list[str]] = {}
    for item in row["culprits"][:CULPRITS]:
        layer = _short(safe(item["node"], LONG) or "the model's input")
        advice.setdefault(safe(item["cause"]["advice"], 120), []).append(layer)
    for text in [text for text in advice if text][:3]:
        named = ", ".join(list(dict.fromkeys(advice[text]))[:3])
        notes.append(f"would help at {named}: {text}")
    ended = "" if row["complete"] else ", the search ended at its budget"
    seconds = nr.significant(row["seconds"])
    notes.append(
        f"{row['evaluations']} evaluations for {row['quantisers']} quantisers, {seconds} s{ended}"
    )
    return notes + [safe(note, 200) for note in row["notes"]]


def _layer(row: Data) -> str:
    inherited = "" if row["inherited"] is None else f", {row['inherited']:.0%} of it inherited"
    return f"{_short(safe(row['node'], LONG))} {row['sqnr_db']:.0f} dB{inherited}"


def recoveries(data: Data) -> list[Sheet]:
    """One sheet per candidate and target: loss against latency."""
    return [sheet for row in data["recovery"] for sheet in _recovery(row)]


def _recovery(row: Data) -> list[Sheet]:
    targets = list(dict.fromkeys(t["target"] for p in row["points"] for t in p["targets"]))
    if not targets and len(row["points"]) < 2:
        return []
    made = [_prices(row, target) for target in targets] or [_untimed(row)]
    made[-1].notes += _remarks(row)
    return made


def _prices(row: Data, target: str) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for point in row["points"]:
        price = next((t for t in point["targets"] if t["target"] == target), None)
        if price is None:
            continue
        if price["precision"] not in ("INT8", "FP32") and target not in point["name"]:
            continue
        rows.append(
            (
                _name(point, target),
                *_figures(point),
                nr.significant(price["p50_ms"]),
                nr.interval(price["ci95_ms"], None),
                _times(price["of_fp32"]),
                _times(price["of_int8"]),
                "front" if price["front"] else "",
            )
        )
    heads = f"in float| >{_unit(row)}| >same answer|safe| >p50 ms| ?>95 %| >of FP32| >of INT8|"
    note = f"{safe(target, NAME)}, loss on {row['n']} held-out calibration samples"
    notes = [safe(s["text"], 200) for s in row["statements"] if s["target"] == target]
    return Sheet("Mixed precision", columns(heads), rows, notes, note)


def _untimed(row: Data) -> Sheet:
    rows = [(_name(p, ""), *_figures(p)) for p in row["points"]]
    heads = f"in float| >{_unit(row)}| >same answer|safe"
    note = f"{row['n']} held-out calibration samples, not timed"
    return Sheet("Mixed precision", columns(heads), rows, [], note)


def _unit(row: Data) -> str:
    return "KL" if any(p["agreement"] is not None for p in row["points"]) else "error"


def _name(point: Data, target: str) -> str:
    name = point["name"].removesuffix(f" on {target}").removesuffix(" in float")
    name = name.replace(f" on {target} in float", "").replace(f" on {target}", "")
    plain = {"full INT8": "nothing (full INT8)"}.get(name, name)
    return safe(plain, NAME) + (" ←" if point["chosen"] else "")


def _figures(point: Data) -> tuple[str, ...]:
    agreement = point["agreement"]
    return (
        nr.significant(point["loss"]),
        nr.DASH if agreement is None else f"{agreement:.1f} %",
        {True: "yes", False: "no", None: nr.DASH}[point["meets"]],
    )


def _times(value: float | None) -> str:
    return nr.DASH if value is None else f"{value:.2f}x"


def _remarks(row: Data) -> list[str]:
    danger = {True: "in danger", False: "safe", None: "not known"}[row["in_danger"]]
    notes = [f"full INT8 is {danger}: {safe(row['rule'], 200)}"]
    notes.append(f"← {safe(row['chosen'], 60)}: {safe(row['reason'], 160)}")
    if row["met"] is False:
        notes.append("nothing that was tried is safe by this rule; the test set has the last word")
        notes += [f"would help: {safe(text, 160)}" for text in row["advice"]]
    if not row["complete"]:
        notes.append("the time budget ended the search: more could be tried")
    return notes + [safe(note, 200) for note in row["notes"]]
