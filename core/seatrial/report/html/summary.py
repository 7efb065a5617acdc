"""The first screen: per target the verdict, one reason, one number and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.report import numbers as nr
from seatrial.report import sheets
from seatrial.report.sheets import Data
from seatrial.text import clean

from . import words
from .charts import known, minus

#: From worst to best, for the part of a verdict that is told.
_WORST = ("DO NOT SHIP", "NOT PROVEN", "SHIP")


@dataclass(frozen=True)
class Card:
    """One target on the first screen.

    Attributes:
        kind: class of the colour.
        parts: name, class and sign of each part of the verdict.
        figure: the one number, with its unit in ``unit`` and what it is in ``detail``.
        next: what to do.
    """

    name: str
    title: str
    kind: str
    sign: str
    verdict: str
    parts: tuple[tuple[str, str, str, str], ...]
    reason: str
    figure: str
    unit: str
    detail: str
    next: str
    machine: str
    decides: bool


def cards(data: Data) -> list[Card]:
    """Targets that decide or could be tried, the worst first."""
    tried = [t for t in data["targets"] if not _absent(t)]
    rank = {"bad": 0, "open": 1, "good": 2, "none": 3}
    made = [_card(t, data) for t in tried]
    return sorted(made, key=lambda c: (not c.decides, rank[c.kind]))


def absent(data: Data) -> list[tuple[str, str, str, str]]:
    """Name, title, reason and hint of the targets that could not be tried at all."""
    found = []
    for t in data["targets"]:
        if _absent(t):
            there = t["availability"] or {"reason": "", "install_hint": ""}
            why = there["reason"] or (t["fault"] or {"reason": "not tried"})["reason"]
            found.append(
                (clean(t["target"], 60), clean(t["title"], 80), clean(why, 300),
                 clean(there["install_hint"], 300))
            )  # fmt: skip
    return found


def _absent(target: Data) -> bool:
    return _unusable(target) and not target["verdict"]


def _unusable(target: Data) -> bool:
    there = target["availability"]
    return bool(there is not None and not there["usable"])


def _card(target: Data, data: Data) -> Card:
    kind, sign, verdict = _verdict(target, data)
    answers = target["answers"] or {}
    parts = tuple(
        (name, *words.VERDICTS.get(answers.get(key, ""), ("none", "·"))[:2], answers.get(key, ""))
        for key, name in words.PARTS.items()
        if key in answers
    )
    figure, unit, detail = number(target, data)
    return Card(
        name=clean(target["target"], 60),
        title=clean(target["title"], 80),
        kind=kind,
        sign=sign,
        verdict=verdict,
        parts=parts,
        reason=_reason(target, data),
        figure=minus(figure),
        unit=unit,
        detail=minus(detail),
        next=_next(target, data),
        machine=clean(target["machine_class"], 90),
        decides=target["decides"],
    )


def _verdict(target: Data, data: Data) -> tuple[str, str, str]:
    """Class, sign and word; of a command without verdicts what the compiler said."""
    if target["verdict"]:
        return (*words.VERDICTS[target["verdict"]][:2], target["verdict"])
    if target["fault"]:
        return "bad", "✕", str(target["fault"]["kind"]).upper()
    built = (target["built"] or {}).get("verdict")
    known = {
        "supported": ("good", "✓", "COMPILES"),
        "partial": ("open", "!", "COMPILES IN PART"),
        "unsupported": ("bad", "✕", "REFUSED"),
        "unknown": ("open", "?", "NOT KNOWN"),
    }
    if built in known:
        return known[built]
    timed = any(row["p50_ms"] is not None for row in target["benchmark"])
    return (
        "none",
        "·",
        "TIMED" if timed else "LISTED" if data["command"] != "run" else "NO VERDICT",
    )


def _part(target: Data) -> str:
    """The part that decided: the first of the worst."""
    answers = target["answers"] or {}
    for verdict in _WORST:
        order = ("compiles", "accurate", "fast") if verdict != "SHIP" else ("accurate", "fast")
        for part in order:
            if answers.get(part) == verdict:
                return part
    return "compiles"


def _reason(target: Data, data: Data) -> str:
    """The worst reason; for a SHIP, what it rests on."""
    row = judged(target["target"], data["ladder"])
    # Commands without a verdict give reasons for the report alone.
    whose = target["reasons"] or [r for r in data["reasons"] if r["target"] == target["target"]]
    told = [one for one in whose if one["level"] != "info"]
    part = _part(target)
    told.sort(key=lambda one: (one["level"] != "error", one["part"] != part))
    if told and told[0]["code"] == "accuracy.drop" and row is not None and known(row["ci95"]):
        return _about_loss(row)
    if told:
        return words.plain(told[0]["text"], 300)
    if target["fault"]:
        return words.plain(f"{target['fault']['stage']}: {target['fault']['reason']}", 300)
    if target["verdict"] == "SHIP":
        return "Every limit that was asked for is met."
    found = sheets.findings([target])
    errors = [f for f in found if f.severity != "info"]
    return words.plain(errors[0].reason, 300) if errors else ""


def _about_loss(row: Data) -> str:
    """What the interval says of the limit; the figures stand above it."""
    low, high = row["ci95"]
    if row["gate"] == "fail":
        return minus(
            f"More is lost than the limit allows, whatever the samples: {low:.2f} at best."
        )
    if row["gate"] == "not proven" and row["limit"] is not None:
        over = row["drop"] > row["limit"]
        first = "More was lost than allowed" if over else "The loss seen is within the limit"
        return minus(
            f"{first}, but {nr.count(row['n'])} samples leave anything from {low:.2f} to "
            f"{high:.2f} points possible."
        )
    return words.plain(row["reason"], 300)


def number(target: Data, data: Data) -> tuple[str, str, str]:
    """The one figure behind the verdict: number, unit, and what it is."""
    part = _part(target)
    if target["fault"] and target["verdict"] != "SHIP":
        fault = target["fault"]
        figure = clean(fault["signal"], 20) or str(fault["kind"])
        return figure, "", clean(f"{fault['kind']} in {fault['stage']}", 80)
    if part in ("accurate", "fast"):
        # Another part's figure would stand beside a verdict that it has nothing to do with.
        own = (_loss if part == "accurate" else _speed)(target, data)
        missing = "accuracy was not measured" if part == "accurate" else "latency was not measured"
        return own or ("–", "", missing)
    for made in (_nodes, _loss, _speed):
        found = made(target, data)
        if found is not None:
            return found
    return "–", "", "nothing was measured"


def judged(target: str, ladder: Sequence[Data]) -> Data | None:
    """The rung that a target's accuracy stands on: INT8 against float, else its float build."""
    rows = [r for r in ladder if r["target"] == target and r["drop"] is not None]
    for rung, against in (
        ("device-int8", ("onnx-fp32", "pytorch-fp32")),
        ("device-int8", ("onnx-int8",)),
        ("device-float", ("onnx-fp32", "pytorch-fp32")),
    ):
        for row in rows:
            if row["rung"] == rung and row["against"] in against:
                return row
    return None


def _loss(target: Data, data: Data) -> tuple[str, str, str] | None:
    row = judged(target["target"], data["ladder"])
    if row is None:
        return None
    detail = f"against the {words.against(row)}"
    gained = row["drop"] < 0
    if known(row["ci95"]):
        of = " of the loss" if gained else ""
        detail += f"; 95 % interval{of} {nr.interval(row['ci95'])}"
    if row["limit"] is not None:
        detail += f"; limit {row['limit']:g}"
    unit = f"{row['unit']} of {clean(row['metric'], 40)} {'gained' if gained else 'lost'}"
    return nr.points(abs(row["drop"])), unit, f"{detail}; {nr.count(row['n'])} samples"


def _speed(target: Data, data: Data) -> tuple[str, str, str] | None:
    timed = [row for row in target["benchmark"] if row["p50_ms"] is not None]
    row = next((r for r in timed if r["precision"].upper() == "INT8"), timed[0] if timed else None)
    if row is None:
        return None
    limit = data["sla"]["max_latency"]
    key = f"{limit['quantile']}_ms" if limit else "p50_ms"
    value = row.get(key) if row.get(key) is not None else row["p50_ms"]
    detail = f"{row['precision']}, {limit['quantile'] if limit else 'median'} per call"
    if limit:
        detail += f"; limit {limit['ms']:g} ms"
    elif row["speedup"]:
        detail += f"; {row['speedup']['ratio']:.2f} times the speed of {row['speedup']['against']}"
    return nr.significant(value), "ms", f"{detail}; {nr.count(row['n'])} calls"


def _nodes(target: Data, data: Data) -> tuple[str, str, str] | None:
    built = target["built"] or {}
    for form, name in (("int8", "INT8"), ("fp32", "float")):
        part = built.get(form)
        if part is None or part["fault"]:
            continue
        if part["verdict"] == "unsupported" and not any(part["placements"].values()):
            return "refused", "", f"by the compiler, in the {name} build"
        places = part["placements"]
        total, away = sum(places.values()), places["fallback"] + places["nowhere"]
        if not total:
            continue
        if away:
            word = "run elsewhere" if places["fallback"] else "are refused"
            return f"{away:,} of {total:,}", "nodes", f"{word} in the {name} build"
        if places["target"]:
            return (
                f"{places['target']:,} of {total:,}",
                "nodes",
                f"on the target in the {name} build",
            )
    return None


def _next(target: Data, data: Data) -> str:
    """One thing to do about this target."""
    if target["verdict"] == "SHIP":
        return "Ship it on this class of machine, and keep this report with it."
    if _unusable(target):
        hint = clean(target["availability"]["install_hint"], 300)
        return f"Install what is missing: {hint}." if hint else "Make it usable on this machine."
    if target["fault"]:
        return "Read its log below; every job can be run again by hand from the folder it names."
    return _next_for_part(target, data)


def _next_for_part(target: Data, data: Data) -> str:
    """What would decide the part that is not shown to hold."""
    advice = [f.advice for f in sheets.findings([target]) if f.advice and f.severity != "info"]
    if _part(target) == "compiles" and advice:
        return words.plain(advice[0], 300)
    row = judged(target["target"], data["ladder"])
    if row is not None and row["gate"] == "not proven" and row["n_needed"]:
        needed = nr.count(row["n_needed"])
        return f"Give about {needed} labelled test samples: the interval is too wide."
    if row is not None and row["gate"] == "fail":
        return _where(data)
    return f"Still missing: {clean(data['missing'][0], 300)}." if data["missing"] else ""


def _where(data: Data) -> str:
    """The section that tells most of what was lost, by its title."""
    if not data["diagnosis"]:
        return "See which step loses it first under Accuracy."
    more = ", and what the way back costs under What float would cost" if data["recovery"] else ""
    return f"See which layers cost most under Where accuracy is lost{more}."
