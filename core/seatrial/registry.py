"""Entry points to backends. The parent reads metadata only; no plugin is imported here.

A plugin that cannot be used stays visible, with the reason and the distribution at fault.
"""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import metadata

from .codec import record
from .hookspecs import PROJECT

_ID = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VALUE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?")


@record
class Plugin:
    """One entry point of the group ``seatrial``.

    Attributes:
        id: the entry point's name, which is the backend's id.
        value: the module (or ``module:object``) with the hook implementations.
        dist: name of the distribution that brings it.
        version: version of that distribution.
        problem: why it cannot be used, or empty.
    """

    id: str
    value: str
    dist: str = ""
    version: str = ""
    problem: str = ""


def discover() -> tuple[Plugin, ...]:
    """Every installed backend, sorted by id and distribution, broken ones with their problem."""
    found: dict[str, dict[tuple[str, str, str], Plugin]] = defaultdict(dict)
    for entry in metadata.entry_points(group=PROJECT):
        dist = entry.dist.name if entry.dist else ""
        version = entry.dist.version if entry.dist else ""
        plugin = Plugin(
            id=entry.name,
            value=entry.value,
            dist=dist,
            version=version,
            problem=_problem(entry.name, entry.value, dist),
        )
        # An editable install can list the same entry twice: that is one plugin, not two.
        found[entry.name].setdefault((dist, version, entry.value), plugin)
    plugins: list[Plugin] = []
    for name, group in found.items():
        dists = sorted(group)
        for plugin in group.values():
            plugins.append(plugin if len(dists) == 1 else _clash(name, plugin, dists))
    return tuple(sorted(plugins, key=lambda p: (p.id, p.dist, p.value)))


def _problem(name: str, value: str, dist: str) -> str:
    if not _ID.fullmatch(name):
        return f"{dist} names a backend {name!r}; an id is lower case: [a-z0-9][a-z0-9_-]*"
    if not _VALUE.fullmatch(value):
        return f"{dist} states {value!r} for {name}, which is no module"
    return ""


def _clash(name: str, plugin: Plugin, dists: list[tuple[str, str, str]]) -> Plugin:
    who = " and ".join(f"{dist} {version} ({value})" for dist, version, value in dists)
    return Plugin(
        id=plugin.id,
        value=plugin.value,
        dist=plugin.dist,
        version=plugin.version,
        problem=f"{name} is claimed by {who}; uninstall one, neither is used",
    )
