"""What compiles: builds, operators, faults, and the verdicts that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .records import (
    CHANGED,
    IMPROVEMENT,
    REFUSED,
    REGRESSION,
    SAME,
    Change,
    Node,
    Target,
    Trial,
    change,
)

#: Best last; ``unknown`` is no rank.
_BUILDS = ("unsupported", "partial", "supported")
_VERDICTS = ("DO NOT SHIP", "NOT PROVEN", "SHIP")
#: Limits that an answer hangs on.
_LIMITS = {
    "accurate": ("max_drop", "min_metric", "device_drop", "class_drop", "accept_agreement"),
    "fast": ("max_latency", "max_memory_mb"),
    "compiles": (),
}
_WORDS = {"fp32": "float", "int8": "INT8"}
#: Faults that only say what is not installed or not offered.
_NO_FAULTS = ("unavailable", "not offered")
#: Nodes named in one line.
_NAMED = 3


def builds(old: Target, new: Target) -> Iterator[Change]:
    """Verdicts of the builds, and operator by operator what is refused or falls back."""
    for precision in ("fp32", "int8"):
        before, after = old.builds.get(precision), new.builds.get(precision)
        if before is None and after is None:
            continue
        subject = f"{_WORDS[precision]} build"
        if before not in _BUILDS or after not in _BUILDS:
            if before == after:
                continue
            lost = before in _BUILDS
            text = f"it was {before or 'not asked'} and is {after or 'not asked'}"
            kind = REFUSED if lost else CHANGED
            yield change("support", kind, subject, text, new.target, values=(before, after))
            continue
        kind = _kind(_BUILDS.index(after) - _BUILDS.index(before))
        text = "as before" if kind == SAME else f"was {before}, is {after}"
        yield change(
            "support", kind, subject, text, new.target, values=(before, after), method="exact"
        )
        yield from _operators(precision, old, new)


def _kind(better: int) -> str:
    return IMPROVEMENT if better > 0 else REGRESSION if better < 0 else SAME


def _operators(precision: str, old: Target, new: Target) -> Iterator[Change]:
    """Nodes lost and won, by operator; notes of the compiler (severity info) decide nothing."""
    first, second = _lost_nodes(precision, old), _lost_nodes(precision, new)
    for kind, here, there in ((REGRESSION, second, first), (IMPROVEMENT, first, second)):
        grouped: dict[tuple[str, str, str], list[Node]] = {}
        for key, node in here.items():
            if _worse(node, there.get(key)):
                grouped.setdefault((node.op_type, node.placement, node.on), []).append(node)
        for nodes in grouped.values():
            yield _operator(kind, precision, new.target, nodes)


def _lost_nodes(precision: str, target: Target) -> Mapping[tuple[str, str], Node]:
    found: dict[tuple[str, str], Node] = {}
    for node in target.nodes:
        if node.precision == precision and node.severity != "info" and node.placement != "target":
            key = (node.op_type, node.node)
            if _worse(node, found.get(key)):
                found[key] = node
    return found


def _worse(node: Node, other: Node | None) -> bool:
    return other is None or (node.placement == "nowhere" and other.placement != "nowhere")


def _operator(kind: str, precision: str, target: str, nodes: Sequence[Node]) -> Change:
    row = nodes[0]
    where = {"nowhere": "refused", "fallback": f"on {row.on}" if row.on else "elsewhere"}.get(
        row.placement, "not placed"
    )
    count = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
    verb = "now" if kind == REGRESSION else "no longer"
    labels = [node.node for node in nodes if node.node]
    at = ", ".join(labels[:_NAMED]) + (" ..." if len(labels) > _NAMED else "")
    placed = row.op_type or "the model"
    return change(
        area="support",
        kind=kind,
        target=target,
        subject=f"{_WORDS[precision]} {placed}",
        text=f"{count} {verb} {where}: {row.reason}" + (f" (at {at})" if at else ""),
        values=(
            0.0 if kind == REGRESSION else float(len(nodes)),
            float(len(nodes)) if kind == REGRESSION else 0.0,
        ),
        unit="nodes",
        method="exact",
    )


def faults(old: Trial, new: Trial) -> Iterator[Change]:
    """Faults that are new, and those that are gone."""
    first, second = (
        Counter(row for row in trial.faults if row[1] not in _NO_FAULTS) for trial in (old, new)
    )
    for kind, found in ((REGRESSION, second - first), (IMPROVEMENT, first - second)):
        for (target, what, stage), times in sorted(found.items()):
            said = "new" if kind == REGRESSION else "gone"
            count = f" x{times}" if times > 1 else ""
            yield change(
                area="support",
                kind=kind,
                target=target or None,
                subject=f"fault in {stage}",
                text=f"{said}: {what}{count}",
                values=(
                    what if kind == IMPROVEMENT else None,
                    what if kind == REGRESSION else None,
                ),
                method="exact",
            )


def verdicts(pair: tuple[Trial, Trial], old: Target, new: Target) -> Iterator[Change]:
    """The verdict of a target and its three parts."""
    yield from _verdict(pair, new.target, "the target", old.verdict, new.verdict)
    for part in _LIMITS:
        before, after = old.answers.get(part), new.answers.get(part)
        yield from _verdict(pair, new.target, part, before, after)


def overall(old: Trial, new: Trial) -> Iterator[Change]:
    """The verdict of the run."""
    for trial, name in ((old, "OLD"), (new, "NEW")):
        if trial.interrupted:
            text = f"{name} was interrupted: it holds what was done until then"
            yield change("verdict", REFUSED, "run", text)
    yield from _verdict((old, new), None, "the run", old.verdict, new.verdict)


def _verdict(
    pair: tuple[Trial, Trial], target: str | None, part: str, old: str | None, new: str | None
) -> Iterator[Change]:
    if old == new:
        if old in _VERDICTS:
            yield change(
                "verdict", SAME, part, "as before", target, values=(old, new), method="exact"
            )
        return
    if old not in _VERDICTS or new not in _VERDICTS:
        kind = REFUSED if old in _VERDICTS else CHANGED
        text = f"it was {old or 'not asked'} and is {new or 'not asked'}"
        yield change("verdict", kind, part, text, target, values=(old, new))
        return
    limits = _LIMITS.get(part, tuple(n for names in _LIMITS.values() for n in names))
    moved = [n for n in limits if pair[0].limits.get(n) != pair[1].limits.get(n)]
    if moved:
        text = f"was {old}, is {new}, under another limit: {', '.join(moved)}"
        yield change("verdict", REFUSED, part, text, target, values=(old, new))
        return
    kind = _kind(_VERDICTS.index(new) - _VERDICTS.index(old))
    yield change(
        "verdict", kind, part, f"was {old}, is {new}", target, values=(old, new), method="exact"
    )
