"""What was not tried: as visible on the page as what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from seatrial.report.sheets import Data
from seatrial.text import clean

#: Kind, what was not tried, and why.
Left = tuple[str, str, str]


def untried(data: Data, absent: Sequence[tuple[str, str, str, str]]) -> list[Left]:
    """Everything that was left out, with its reason.

    Args:
        data: the document.
        absent: name, title, reason and hint of targets that cannot be used here.
    """
    found = [
        ("target", f"{title or name} ({name})", f"{why}{' → ' + hint if hint else ''}")
        for name, title, why, hint in absent
    ]
    found += _together(_builds(data))
    for part in (_sources, _checks, _searches):
        found += part(data)
    return [(kind, clean(what, 160), clean(why, 300)) for kind, what, why in found]


def _together(each: Iterable[tuple[str, str, str, str]]) -> list[Left]:
    """What was left out of several targets for one reason, once."""
    groups: dict[Left, list[str]] = {}
    for kind, target, what, why in each:
        groups.setdefault((kind, what, why), []).append(target)
    return [
        (kind, f"{what} of {', '.join(names[:3])}{_rest(names[3:])}", why)
        for (kind, what, why), names in groups.items()
    ]


def _rest(names: Sequence[str]) -> str:
    return f" and {len(names)} more" if names else ""


def _builds(data: Data) -> Iterator[tuple[str, str, str, str]]:
    whole = data["command"] == "run"
    for target in data["targets"]:
        there = target["availability"]
        if there is None or not there["usable"]:
            continue
        name = target["target"]
        for form, word in (("fp32", "the float build"), ("int8", "the INT8 build")):
            part = (target["built"] or {}).get(form)
            if part is None and data["command"] in ("run", "check"):
                yield "build", name, word, "not made in this run"
            elif part is not None and part["structure_only"]:
                why = "structure only: from invented ranges, so it says nothing of accuracy"
                yield "build", name, word, why
        if whole and target["ran"] is None:
            yield "profile", name, "what really executed", "not profiled"
        if whole and not target["benchmark"]:
            yield "timing", name, "latency", "not timed"
        if data["sla"]["max_latency"] is None and whole and target["decides"]:
            why = "no limit was given (--max-latency)"
            yield "limit", name, "speed", why


def _sources(data: Data) -> Iterator[Left]:
    for role, source in data["data"].items():
        if source is None and data["command"] == "run":
            yield "data", f"{role} data", "none was given"
        elif source is None or data["command"] != "run":
            continue
        elif not source["labels"] and role == "test":
            yield "data", "accuracy", "the test data has no labels: only agreement is known"


def _checks(data: Data) -> Iterator[Left]:
    part = data["calibration"] or {"audit": None}
    for check in part["audit"]["checks"] if part["audit"] else ():
        if check["status"] != "done":
            yield "audit", check["name"], check["reason"]
    if data["command"] == "run" and data["calibration"] and part["audit"] is None:
        yield "audit", "the calibration set", "the audit gave no answer"
    if part.get("facts", {}).get("pictures"):
        yield "picture", "samples and ranges", part["facts"]["pictures"]
    graph = (data["model"] or {}).get("graph")
    if graph and graph["left_out"]:
        shown = "nodes of nested graphs and functions" if graph["nodes"] else "a very large graph"
        yield "picture", f"{graph['left_out']:,} nodes", f"{shown}: not in the model map"


def _searches(data: Data) -> Iterator[Left]:
    for row in data["candidates"]:
        if row["scores"]["kl"] is None and row["scores"]["sqnr_db"] is None:
            why = row["fault"]["reason"] if row["fault"] else row["reason"]
            yield "INT8 candidate", row["name"], why
    for row in data["diagnosis"]:
        if not row["complete"]:
            yield "diagnosis", row["candidate"], "the search ended at its budget"
    for row in data["recovery"]:
        if not row["complete"]:
            yield "mixed precision", row["candidate"], "the time budget ended the search"
