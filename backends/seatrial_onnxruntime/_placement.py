"""Which provider each node went to, as the session itself recorded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatrial.results import Finding, NodePlacement, Placement

from . import _model
from ._model import Place
from ._targets import CPU, Provider

#: ``on`` of a node that was computed or removed before placement.
FOLDED = "folded away"


@dataclass(frozen=True)
class Placed:
    """Placements of a session.

    Attributes:
        placements: one per original node.
        fallback: whether anything runs elsewhere than on the target.
        findings: one per node that runs elsewhere.
        notes: what could not be told.
    """

    placements: tuple[NodePlacement, ...]
    fallback: bool
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def placed(
    session: Any,
    places: list[Place],
    chosen: Provider,
    *,
    by_mark: bool,
    notes: tuple[str, ...] = (),
) -> Placed:
    """Read a session's placements.

    Args:
        session: created with ``session.record_ep_graph_assignment_info``.
        places: the original model's nodes.
        chosen: the target's provider.
        by_mark: the session's nodes carry marks; otherwise they are matched by their names.
        notes: remarks to pass on.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return _unrecorded(places, chosen, notes)
    names = {p.label: k for k, p in enumerate(places)}
    where: dict[int, str] = {}
    others: list[Finding] = []
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            k = _model.mark_of(node.name) if by_mark else names.get(node.name)
            if k is not None:
                where[k] = part.ep_name
            elif part.ep_name != chosen.name:
                # Bodies of functions come without a mark of their own.
                others.append(_fallback(node.name, node.op_type, node.domain, part.ep_name, chosen))
    placements = [_placement(p, where.get(k), chosen) for k, p in enumerate(places)]
    findings = [
        _fallback(p.node, p.op_type, p.domain, p.on, chosen)
        for p in placements
        if p.placement is Placement.FALLBACK
    ]
    findings += others
    if findings and not any(on == chosen.name for on in where.values()):
        reason = f"{chosen.name} took no node at all: what runs is {CPU}"
        findings.insert(0, Finding(reason=reason, placement=Placement.FALLBACK, on=CPU))
    return Placed(tuple(placements), bool(findings), tuple(findings), notes)


def _placement(place: Place, on: str | None, chosen: Provider) -> NodePlacement:
    elsewhere = on is not None and on != chosen.name
    return NodePlacement(
        node=place.label,
        op_type=place.node.op_type,
        domain=place.domain,
        on=on or FOLDED,
        placement=Placement.FALLBACK if elsewhere else Placement.TARGET,
    )


def _fallback(node: str, op_type: str, domain: str, on: str, chosen: Provider) -> Finding:
    return Finding(
        node=node,
        op_type=op_type,
        domain=domain,
        reason=f"{chosen.name} did not take it; it runs on {on}",
        placement=Placement.FALLBACK,
        on=on,
        advice=f"replace {op_type} by operators that {chosen.name} runs",
        severity="warning",
    )


def _unrecorded(places: list[Place], chosen: Provider, notes: tuple[str, ...]) -> Placed:
    """For releases that record no assignments: only a CPU session is beyond doubt."""
    alone = chosen.name == CPU
    placements = tuple(
        NodePlacement(
            node=p.label,
            op_type=p.node.op_type,
            domain=p.domain,
            on=CPU if alone else "",
            placement=Placement.TARGET if alone else Placement.UNKNOWN,
        )
        for p in places
    )
    if alone:
        return Placed(placements, fallback=False, findings=(), notes=notes)
    reason = "this onnxruntime does not tell which nodes fell back to the CPU"
    finding = Finding(reason=reason, advice="install onnxruntime 1.24 or newer", severity="warning")
    return Placed(placements, fallback=True, findings=(finding,), notes=notes)
