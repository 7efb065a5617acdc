"""A report made fit for a customer's or the public's eyes, with a list of what was taken out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError

from . import rules
from .names import Names
from .places import walk
from .scrub import Scrubber

_COMMANDS = ("$.command_line[]", "$.next[]")
_HOW = {
    rules.PATH: ("paths, file names and data sources", "renamed"),
    rules.SAMPLE: ("names of samples", "renamed"),
    rules.LOG: ("logs", "left out"),
    rules.PICTURE: ("pictures of samples", "left out"),
    rules.NODE: ("names of nodes", "renamed"),
    rules.TENSOR: ("names of tensors", "renamed"),
    rules.MODULE: ("names of modules", "renamed"),
    rules.OPERATOR: ("operators and domains that are not the standard's", "renamed"),
    rules.LABEL: ("names of classes", "renamed"),
}


def share(document: Mapping[str, Any], level: str) -> dict[str, Any]:
    """A copy of a finished report that may be shared at a level.

    Args:
        document: the report.
        level: ``internal`` (nothing is taken out), ``customer`` (no pictures, file names, paths,
            hosts or logs) or ``public`` (also nodes, tensors, modules and classes renamed).

    Returns:
        The copy; its ``sharing`` says the level and lists what was taken out.

    Raises:
        UserError: no such level, or the report was shared at a stricter level before.
    """
    if level not in rules.LEVELS:
        raise UserError("--share", f"there is no level {level!r}", advice=", ".join(rules.LEVELS))
    before = (document.get("sharing") or {}).get("level", rules.INTERNAL)
    if rules.LEVELS.index(level) < rules.LEVELS.index(before):
        reason = f"this report is the {before} one already: what it lacks cannot come back"
        raise UserError("--share", reason, advice=f"use {before}, or the report of the run itself")
    if level == rules.INTERNAL:
        return copy.deepcopy(dict(document))
    names = Names(document, level)
    targets = frozenset(row["target"] for row in document["targets"])
    change = _Change(names, Scrubber(names, targets), frozenset(rules.TAKEN[level]))
    shared: dict[str, Any] = walk(document, change)
    shared["sharing"] = {"level": level, "removed": change.removed()}
    return shared


class _Change:
    """What becomes of each text."""

    def __init__(self, names: Names, scrubber: Scrubber, taken: frozenset[str]) -> None:
        self._names, self._scrubber, self._taken = names, scrubber, taken
        self._dropped: dict[str, int] = {}

    def __call__(self, place: str, text: str) -> str | None:
        if place in _COMMANDS:
            whole = place == "$.next[]"
            return self._scrubber.command(text) if whole else self._scrubber.argument(text)
        kind = rules.kind(place)
        if kind == rules.KEEP or not text:
            return text
        if kind in self._taken:
            if kind in (rules.LOG, rules.PICTURE):
                self._dropped[kind] = self._dropped.get(kind, 0) + 1
                return None
            return self._names.of(kind, text)
        return text if kind in (rules.NODE, rules.TENSOR) else self._scrubber.text(text)

    def removed(self) -> list[dict[str, Any]]:
        """What was taken out, in words and numbers."""
        counts = {**self._names.renamed, **self._dropped}
        rows = [
            {"what": _HOW[kind][0], "how": _HOW[kind][1], "count": counts.get(kind, 0)}
            for kind in _HOW
            if kind in self._taken
        ]
        what = "paths, hosts, addresses and names quoted in sentences and commands"
        return [*rows, {"what": what, "how": "replaced", "count": self._scrubber.taken}]
