"""Which nodes become INT8, which tensors carry a Q/DQ pair, and which of them share a scale.

The multiply-accumulate nodes come first. Cheap arithmetic and data movement join them only where
all their inputs are quantised anyway and somebody wants their output quantised: that is the
greatest set of nodes closed under both conditions, found by removing nodes until nothing changes.
Runs in a child only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import ops, types
from .graph import Graph
from .signs import non_negative
from .units import Unit, units

#: Says whether a range can be had for a tensor.
HasRange = Callable[[str], bool]


@dataclass
class Plan:
    """What insertion will do.

    Attributes:
        units: the INT8 units, in graph order.
        roots: quantised activation tensor -> name of its scale group.
        floats: label -> (operator, reason) of each node that stays float.
        observe: the fewest tensors whose ranges give the range of every group.
    """

    units: list[Unit]
    roots: dict[str, str]
    floats: dict[str, types.FloatNode]
    observe: tuple[str, ...] = ()
    groups: dict[str, list[str]] = field(default_factory=dict)


def make_plan(
    graph: Graph, keep_float: Iterable[str] = (), has_range: HasRange | None = None
) -> Plan:
    """Plan the Q/DQ pairs of a prepared graph.

    Args:
        graph: from :func:`seatrial.quantize.prepare.prepare`.
        keep_float: labels of nodes that must stay float.
        has_range: leave it out to plan what calibration has to observe.
    """
    chosen, floats = units(graph)
    kept = frozenset(keep_float)
    chosen = _without(chosen, lambda u: _keeps_float(u, kept), floats)
    before = -1
    while before != len(chosen):
        before = len(chosen)
        chosen = _close(chosen, floats)
        chosen = _without(chosen, lambda u: _lacks_range(u, has_range), floats)
    roots = _share(chosen, non_negative(graph))
    groups: dict[str, list[str]] = {}
    for name, root in roots.items():
        groups.setdefault(root, []).append(name)
    plan = Plan(chosen, roots, floats, groups=groups)
    moved = {o for u in chosen if u.kind == "pass" for o in u.outputs}
    plan.observe = tuple(name for name in roots if name not in moved)
    return plan


def _keeps_float(unit: Unit, kept: frozenset[str]) -> str:
    return types.KEEP_FLOAT if any(n.name in kept for n in unit.nodes) else ""


def _lacks_range(unit: Unit, has_range: HasRange | None) -> str:
    needed = [*unit.inputs, *(unit.outputs if unit.needs_output else ())]
    missing = [t for t in needed if has_range is not None and not has_range(t)]
    return f"{types.NO_RANGE}: {missing[0]}" if missing else ""


def _without(
    chosen: list[Unit], refusal: Callable[[Unit], str], floats: dict[str, types.FloatNode]
) -> list[Unit]:
    """Drop the units for which there is a reason, and note it for each of their nodes."""
    staying = []
    for unit in chosen:
        reason = refusal(unit)
        if not reason:
            staying.append(unit)
            continue
        for node in unit.nodes:
            floats[node.name] = types.FloatNode(node=node.name, op_type=node.op_type, reason=reason)
    return staying


def _close(chosen: list[Unit], floats: dict[str, types.FloatNode]) -> list[Unit]:
    """Remove cheap units until each has quantised inputs and a reader that is INT8."""
    while True:
        before = chosen
        quantised = {o for u in before for o in u.outputs}
        quantised |= {t for u in before if u.kind == "heavy" for t in u.inputs}
        wanted = {t for u in before for t in u.inputs}
        isolated = functools.partial(_isolated, quantised=quantised, wanted=wanted)
        chosen = _without(before, isolated, floats)
        if len(chosen) == len(before):
            return chosen


def _isolated(unit: Unit, quantised: set[str], wanted: set[str]) -> str:
    if unit.kind == "heavy":
        return ""
    bare = [t for t in unit.inputs if t not in quantised]
    if bare:
        return f"{types.FLOAT_NEIGHBOURS}: {bare[0]} is float"
    if not any(o in wanted for o in unit.outputs):
        return f"{types.FLOAT_NEIGHBOURS}: nothing reads its output in INT8"
    return ""


def _share(chosen: list[Unit], positive: set[str]) -> dict[str, str]:
    """Group the quantised tensors: data movement joins its inputs and outputs.

    A concatenation of ReLU outputs with signed tensors joins nothing: in a signed group a ReLU
    output would get a zero point inside its range, and then no integer kernel can do the ReLU.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    wanted = {t for u in chosen for t in u.inputs}
    for unit in chosen:
        outputs = [o for o in unit.outputs if o in wanted or unit.op_type in ops.NEEDS_OUTPUT]
        for name in (*unit.inputs, *outputs):
            parent.setdefault(name, name)
        signs = {name in positive for name in unit.inputs}
        if unit.kind == "pass" and len(signs) == 1:
            first = find(unit.inputs[0])
            for name in (*unit.inputs[1:], *outputs):
                parent[find(name)] = first
    return {name: find(name) for name in parent}
