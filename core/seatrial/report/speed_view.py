"""The sheets on speed beside the timings: forms, layouts, optimisation, layers, and why."""

from __future__ import annotations

from collections.abc import Iterator

from . import numbers as nr
from .safe import safe
from .sheets import NAME, Data, Sheet, columns, more

#: Layers of one artefact that are listed, the slowest first.
LAYERS = 8


def answers(data: Data) -> Iterator[Sheet]:
    """What is asked of speed: layouts, the price of generality, and why INT8 is (not) faster."""
    yield layouts(data)
    yield generality(data)
    yield paces(data)
    yield tried(data)


def evidence(data: Data) -> Iterator[Sheet]:
    """What the answers rest on."""
    yield throughput(data)
    yield start(data)
    yield optimisation(data)
    yield layers(data)
    yield conditions(data)


def throughput(data: Data) -> Sheet:
    """Samples per second, and what lies outside the latency."""
    rows: list[tuple[str, ...]] = []
    for target, row in _timed(data):
        rows.append(
            (
                safe(target["target"], NAME),
                label(row),
                str(row["streams"]),
                nr.significant(row["throughput"]),
                nr.interval(row["throughput_ci95"], None),
                nr.significant(row["prepare_ms"]),
                nr.significant(row["finish_ms"]),
                nr.significant(row["copy_ms"]),
                nr.significant(row["cpu_ms"]),
                nr.significant(row["energy_mj"]),
            )
        )
    heads = (
        "target|form| >streams| >per second| >95 %| >before ms| >after ms| ?>copies ms| ?>CPU ms"
        "| ?>mJ"
    )
    note = "before and after: tensors brought into and out of the artefact's form, per call"
    return Sheet("Throughput", columns(heads), rows, [], note if rows else "")


def start(data: Data) -> Sheet:
    """Build, load, first call, and memory."""
    rows: list[tuple[str, ...]] = []
    for target, row in _timed(data):
        if row["streams"] == 1:
            rows.append(
                (
                    safe(target["target"], NAME),
                    label(row),
                    nr.seconds(row["build_s"]),
                    nr.significant(row["load_ms"]),
                    nr.significant(row["first_run_ms"]),
                    nr.megabytes(row["peak_rss_mb"]),
                    nr.megabytes(row["steady_rss_mb"]),
                    nr.size(row["artifact_bytes"]),
                )
            )
    heads = "target|form| >build| >load ms| >first call ms| >peak| >steady| >size"
    note = "memory: resident, of the process, runtime and all" if rows else ""
    return Sheet("Start and memory", columns(heads), rows, [], note)


def layouts(data: Data) -> Sheet:
    """Layout variants: proven equal or not, what they cost, what the runtime computes in."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for target in data["targets"]:
        part = target["layout"]
        if part is None:
            continue
        for row in part["variants"]:
            star = " *" if row["layout"] == part["chosen"] and not row["dtype"] else ""
            equal = {True: "yes", False: "no", None: nr.DASH}[row["equivalent"]]
            rows.append(
                (
                    safe(target["target"], NAME),
                    " ".join(filter(None, (safe(row["layout"], 12), safe(row["dtype"], 8)))) + star,
                    _how(row),
                    equal,
                    nr.significant(row["p50_ms"]),
                    _penalty(row),
                    nr.interval(row["penalty_ci95"], 1),
                    nr.significant(row["host_ms"]),
                    safe(row["runtime"], 16) or nr.DASH,
                    nr.significant(row["reorder_ms"]),
                )
            )
            why = row["reason"] or (row["fault"]["reason"] if row["fault"] else "")
            if why:
                shown = " ".join(filter(None, (row["layout"], row["dtype"])))
                notes.append(f"{safe(target['target'], NAME)} {safe(shown, 20)}: {safe(why, 240)}")
        if part["reason"]:
            notes.append(f"{safe(target['target'], NAME)}: {safe(part['reason'], 240)}")
    heads = (
        "target|input| ?how (transposes)|equal| >p50 ms| >penalty %| >95 %| >host ms|runtime's own"
        "| ?>moves ms"
    )
    note = "* best here; host: making the feed of a camera frame, outside p50" if rows else ""
    return Sheet("Layout", columns(heads), rows, notes, note)


def _how(row: Data) -> str:
    if row["fault"]:
        return str(row["fault"]["kind"])
    if row["refused"]:
        return "refused"
    return f"{safe(row['method'], 24)} (+{row['transposes_added']} -{row['transposes_removed']})"


def _penalty(row: Data) -> str:
    if row["penalty_percent"] is None:
        return nr.DASH
    text = f"{row['penalty_percent']:+.1f}"
    noise = not row["distinguishable"] and row["penalty_ci95"] is not None
    return f"{text} (noise)" if noise else text


def generality(data: Data) -> Sheet:
    """Static shapes against free ones."""
    rows: list[tuple[str, ...]] = []
    notes: dict[str, None] = {}
    for target in data["targets"]:
        for row in target["generality"]:
            name = safe(target["target"], NAME)
            if row["ratio"] is None:
                notes[f"{name} {safe(row['precision'], 12)}: {safe(row['text'], 200)}"] = None
                continue
            word = "" if row["distinguishable"] else " (noise)"
            rows.append(
                (
                    name,
                    safe(row["precision"], 12),
                    nr.significant(row["static_ms"]),
                    nr.significant(row["dynamic_ms"]),
                    f"{100 * (row['ratio'] - 1):+.1f}{word}",
                    nr.interval([100 * (e - 1) for e in row["ci95"]] if row["ci95"] else None, 1),
                )
            )
    heads = "target|precision| >static ms| >free ms| >price %| >95 %"
    return Sheet("Price of generality", columns(heads), rows, list(notes))


def paces(data: Data) -> Sheet:
    """Why INT8 is as fast as it is."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for target in data["targets"]:
        part = target["pace"]
        if part is None:
            continue
        name = safe(target["target"], NAME)
        for row in part["causes"]:
            share = nr.DASH if row["share"] is None else f"{100 * row['share']:.0f}"
            rows.append((name, row["code"], share, safe(row["text"], 240)))
        if part["text"] and part["causes"]:
            notes.append(f"{name}: {safe(part['text'], 240)}")
        elif part["text"] and not part["faster"]:
            rows.append((name, nr.DASH, nr.DASH, safe(part["text"], 240)))
    heads = "target|cause| >share %|evidence"
    title = "What keeps INT8 from being faster"
    return Sheet(title, columns(heads), rows, notes)


def tried(data: Data) -> Sheet:
    """Counter-measures, timed."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for target in data["targets"]:
        for row in (target["pace"] or {"tried": []})["tried"]:
            name = safe(target["target"], NAME)
            rows.append(
                (
                    name,
                    safe(row["name"], 60),
                    safe(row["against"], 20),
                    nr.significant(row["p50_ms"]),
                    nr.DASH if row["of_int8"] is None else f"{row['of_int8']:.2f}x",
                    nr.interval(row["of_int8_ci95"]),
                    nr.DASH if row["of_fp32"] is None else f"{row['of_fp32']:.2f}x",
                    nr.points(row["agreement"]),
                    row["outcome"],
                )
            )
            if row["reason"]:
                notes.append(f"{name} {safe(row['name'], 60)}: {safe(row['reason'], 200)}")
    heads = "target|tried| ?against| >p50 ms| >of INT8| >95 %| >of FP32| ?>agree %|outcome"
    return Sheet("Tried against it", columns(heads), rows, notes)


def optimisation(data: Data) -> Sheet:
    """What was fused, folded and inserted, and whether results changed."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for target in data["targets"]:
        part = target["optimisation"]
        if part is None:
            continue
        name = safe(target["target"], NAME)
        fused = ", ".join(f"{f['count']} x {safe(f['kinds'], 40)}" for f in part["fused"][:3])
        put_in = ", ".join(f"{f['count']} {safe(f['op_type'], 20)}" for f in part["inserted"][:3])
        shown = sorted(part["layouts"].items(), key=lambda item: -item[1])[:2]
        equal = {True: "yes", False: "NO", None: nr.DASH}[part["equal"]]
        rows.append(
            (
                name,
                f"{part['nodes']} > {part['layers']}",
                fused or nr.DASH,
                str(len(part["folded"])) if part["told"] else nr.DASH,
                put_in or nr.DASH,
                ", ".join(f"{n} {safe(k, 12)}" for k, n in shown) or nr.DASH,
                equal,
                nr.significant(part["max_rel_error"]),
                f"{part['n']} samples, {safe(part['off'], 48)}" if part["n"] else nr.DASH,
            )
        )
        if part["reason"]:
            notes.append(f"{name}: {safe(part['reason'], 240)}")
    heads = "target|nodes > layers|fused| >folded|put in| ?layouts|same| >off/on differ| ?off is"
    return Sheet("Optimisation", columns(heads), rows, notes)


def layers(data: Data) -> Sheet:
    """The slowest layers of the form that ships, with precision and layout."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for target in data["targets"]:
        ran = target["ran"]
        kind = "int8" if ran and ran["int8"] else "fp32"
        part = ran[kind] if ran else None
        timed = [row for row in part["layers"] if row["ms"] is not None] if part else []
        total = sum(row["ms"] for row in timed)
        if not total:
            continue
        ordered = sorted(timed, key=lambda row: -float(row["ms"]))
        for row in ordered[:LAYERS]:
            rows.append(
                (
                    f"{safe(target['target'], NAME)} {kind}",
                    safe(row["layer"], 40),
                    safe(row["op_type"], 20),
                    safe(row["precision"], 8) or nr.DASH,
                    safe(row["layout"].split(",")[0], 12) or nr.DASH,
                    nr.significant(row["ms"]),
                    f"{100 * row['ms'] / total:.0f}",
                )
            )
        left = more(len(ordered), LAYERS, "layers")
        notes += [f"{safe(target['target'], NAME)}: {text}" for text in left]
    heads = "target|layer|kind|precision|layout| >ms| >%"
    return Sheet("Slowest layers (profile)", columns(heads), rows, notes)


def conditions(data: Data) -> Sheet:
    """What the rounds ran under."""
    part = data["conditions"]
    if part is None:
        return Sheet("Measured under", columns("cpus"), [])
    untold = "not told"
    row = (
        f"{part['cpus']} ({part['cores']})",
        "pinned" if part["pinned"] else "not pinned",
        _threads(data, part["threads"]),
        safe(part["governor"], 20) or untold,
        f"{nr.points(part['load_before'])} > {nr.points(part['load_after'])}",
        untold if part["stolen_percent"] is None else f"{part['stolen_percent']:.1f} %",
        untold if part["throttled"] is None else str(part["throttled"]),
        safe(part["energy"] or part["energy_reason"], 48),
    )
    heads = "cpus|threads are|threads|governor|load|stolen|throttled|energy"
    notes = [safe(text, 200) for text in part["disturbances"]]
    return Sheet("Measured under", columns(heads), [row], notes)


def _threads(data: Data, asked: int) -> str:
    """Threads of one inference, one call at a time, over all targets."""
    given = {row["threads"] for _, row in _timed(data) if row["streams"] == 1} or {asked}
    return "by target" if len(given) > 1 else str(given.pop() or "auto")


def label(row: Data) -> str:
    """Precision, layout and form of a timing, in a word or three."""
    parts = [safe(row["precision"], 12), safe(row["layout"], 12)]
    parts += ["free shapes"] if row["form"] == "dynamic" else []
    return " ".join(filter(None, parts))


def _timed(data: Data) -> Iterator[tuple[Data, Data]]:
    for target in data["targets"]:
        for row in target["benchmark"]:
            if row["p50_ms"] is not None:
                yield target, row
