"""The verb: read, match, compare, and decide the exit code."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from seatrial.errors import UserError
from seatrial.options import CompareOptions
from seatrial.text import clean

from . import accuracy, context, read, speed, support
from .records import (
    AREAS,
    CHANGED,
    IMPROVEMENT,
    KINDS,
    REFUSED,
    REGRESSION,
    SAME,
    SCHEMA,
    Change,
    Pair,
    Tolerances,
    Trial,
    change,
)

#: Areas that only explain.
CONTEXT = ("versions", "limits", "inputs", "build")


class Comparison:
    """What :func:`compare` gives.

    Attributes:
        data: the document, plain JSON values, as ``--json`` writes it.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 a regression, 3 something asked could not be compared."""
        return int(self.data["exit_code"])

    def to_json(self) -> str:
        """Strict ASCII JSON with a newline at its end."""
        from seatrial.report.model import strict_json

        return strict_json(self.data)

    def to_markdown(self) -> str:
        """A comment for a pull request."""
        from seatrial.report.compare_markdown import render

        return render(self.data)

    def show(self) -> None:
        """Print the view for people on standard output."""
        from seatrial.report.compare_view import show

        show(self.data, sys.stdout)


def compare(options: CompareOptions) -> Comparison:
    """Compare two reports, or two folders of reports matched by model.

    Raises:
        UserError: one side is not a report, is of another major version, or names a model twice.
    """
    asked = tuple(dict.fromkeys(options.fail_on))
    for area in asked:
        if area not in AREAS:
            advice = f"one of {', '.join(AREAS)}"
            raise UserError("--fail-on", f"{clean(area, 40)!r} is no area", advice=advice)
    tolerances = _tolerances(options)
    pairs, lone_old, lone_new = _matched(
        read.reports(options.old), read.reports(options.new), options
    )
    done = [
        Pair(old=old, new=new, changes=tuple(_changes(old, new, tolerances))) for old, new in pairs
    ]
    return Comparison(_document(done, lone_old, lone_new, options, asked))


def _tolerances(options: CompareOptions) -> Tolerances:
    for name in ("latency", "memory", "accuracy"):
        value = getattr(options, f"{name}_tolerance")
        if not 0 <= value <= 1000:
            raise UserError(f"--{name}-tolerance", f"{value!r} is not a number from 0 to 1000")
    return Tolerances(
        latency=1 + options.latency_tolerance / 100,
        memory=1 + options.memory_tolerance / 100,
        accuracy=options.accuracy_tolerance,
    )


def _matched(
    old: Sequence[Trial], new: Sequence[Trial], options: CompareOptions
) -> tuple[list[tuple[Trial, Trial]], list[Trial], list[Trial]]:
    """Pairs by model: the same digest first, then the same file name. Two lone reports are a pair.

    Raises:
        UserError: one side holds two reports of one model name.
    """
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], [], []
    for side, path in ((old, options.old), (new, options.new)):
        _unambiguous(side, path)
    pairs: list[tuple[Trial, Trial]] = []
    left, right = list(old), list(new)
    for same in (_same_digest, _same_name):
        for first in list(left):
            twins = [second for second in right if same(first, second)]
            if len(twins) == 1:
                pairs.append((first, twins[0]))
                left.remove(first)
                right.remove(twins[0])
    if not pairs:
        advice = "models are matched by digest, then by file name"
        raise UserError(clean(options.new, 300), "shares no model with OLD", advice=advice)
    return sorted(pairs, key=lambda pair: pair[1].path), left, right


def _unambiguous(side: Sequence[Trial], path: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for trial in side:
        key = (_model(trial), trial.model_sha256)
        if key in seen:
            reason = f"two reports of one model: {seen[key]} and {trial.path}"
            raise UserError(clean(path, 300), reason, advice="leave one, or name a file")
        seen[key] = trial.path


def _same_digest(old: Trial, new: Trial) -> bool:
    return bool(old.model_sha256) and old.model_sha256 == new.model_sha256


def _same_name(old: Trial, new: Trial) -> bool:
    return _model(old) == _model(new) != ""


def _model(trial: Trial) -> str:
    return PurePosixPath(trial.model).name


def _changes(old: Trial, new: Trial, tolerances: Tolerances) -> Iterator[Change]:
    both = (old, new)
    yield from support.overall(old, new)
    targets = {t.target: t for t in new.targets}
    known = {t.target for t in old.targets}
    for before in old.targets:
        after = targets.get(before.target)
        if after is None or before.usable != after.usable:
            yield from _absent(before.target, before.usable, after is not None and after.usable)
            continue
        yield from support.verdicts(both, before, after)
        yield from support.builds(before, after)
        yield from speed.changes(both, before, after, tolerances)
    for after in new.targets:
        if after.target not in known:
            yield from _absent(after.target, False, after.usable)
    yield from accuracy.changes(old, new, tolerances)
    yield from support.faults(old, new)
    yield from context.changes(old, new)


def _absent(target: str, before: bool, after: bool) -> Iterator[Change]:
    """A target that only one of the two could use."""
    if before:
        text = "NEW could not use this target, or did not try it"
        yield change("support", REFUSED, "target", text, target)
    elif after:
        yield change("support", CHANGED, "target", "new: OLD could not use it", target)


# --- the document -------------------------------------------------------------------------------


def _document(
    pairs: Sequence[Pair],
    lone_old: Sequence[Trial],
    lone_new: Sequence[Trial],
    options: CompareOptions,
    asked: tuple[str, ...],
) -> dict[str, Any]:
    changes = [c for pair in pairs for c in pair.changes]
    code, why = _decide(changes, asked or AREAS, bool(asked), lone_old)
    counts = {kind.replace(" ", "_"): sum(c.kind == kind for c in changes) for kind in KINDS}
    return {
        "schema": SCHEMA,
        "exit_code": code,
        "conclusion": {0: "no regression", 1: "regression", 3: "cannot tell"}[code],
        "reasons": why,
        "fail_on": list(asked or AREAS),
        "tolerances": {
            "latency_percent": options.latency_tolerance,
            "memory_percent": options.memory_tolerance,
            "accuracy": options.accuracy_tolerance,
        },
        "counts": counts,
        "pairs": [_pair(pair) for pair in pairs],
        "only_old": [_side(trial) for trial in lone_old],
        "only_new": [_side(trial) for trial in lone_new],
    }


def _decide(
    changes: Sequence[Change], areas: Sequence[str], explicit: bool, lone_old: Sequence[Trial]
) -> tuple[int, list[str]]:
    """Exit code and its reasons; a regression counts before what could not be compared."""
    why = []
    for area in areas:
        worse = sum(c.area == area and c.kind == REGRESSION for c in changes)
        if worse:
            why.append(f"{area}: {worse} regression{'s' if worse > 1 else ''}")
    if why:
        return 1, why
    decided = {c.area for c in changes if c.kind in (REGRESSION, IMPROVEMENT, SAME)}
    for area in areas:
        left = [c for c in changes if c.area == area and c.kind == REFUSED]
        if left:
            why.append(f"{area}: {len(left)} could not be compared ({left[0].text})")
        elif explicit and area not in decided:
            why.append(f"{area}: asked for, and the reports hold nothing to compare")
    if not decided & set(areas) and not why:
        why.append("the reports hold nothing that could be compared")
    if lone_old:
        count = f"{len(lone_old)} report{'s' if len(lone_old) > 1 else ''}"
        why.append(f"{count} of OLD without one of the same model in NEW")
    return (3, why) if why else (0, why)


def _pair(pair: Pair) -> dict[str, Any]:
    order = {kind: i for i, kind in enumerate(KINDS)}
    areas = {area: i for i, area in enumerate((*AREAS, *CONTEXT))}
    listed = sorted(pair.changes, key=lambda c: (order[c.kind], areas[c.area]))
    return {
        "model": _model(pair.new) or _model(pair.old),
        "old": _side(pair.old),
        "new": _side(pair.new),
        "suspects": [
            f"{c.subject} {c.text}" + (f" ({c.target})" if c.target else "")
            for c in pair.changes
            if c.area == "versions"
        ],
        "changes": [_row(c) for c in listed],
    }


def _side(trial: Trial) -> dict[str, Any]:
    return {
        "path": trial.path,
        "command": trial.command,
        "created": trial.created,
        "verdict": trial.verdict,
        "model": trial.model,
        "model_sha256": trial.model_sha256,
    }


def _row(one: Change) -> dict[str, Any]:
    row = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    row["ci95"] = list(one.ci95) if one.ci95 else None
    return row
