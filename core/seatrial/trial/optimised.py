"""What each runtime made of the graph (fused, folded, inserted), and whether results changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.report import rows, speed_rows
from seatrial.trial import build, execution, layouts
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.intake.facts import NodeFact
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Samples over which results with and without optimisation are compared.
SAMPLES = 8
#: Folded nodes that are named; fused kinds that are listed.
NAMED, KINDS = 200, 40
#: Nodes that hold constants or hand a tensor on: no runtime executes them.
_SILENT = frozenset({"Constant", "Identity"})

#: What optimisation off stands for.
TARGET, REFERENCE = "the target itself", "the reference with the graph as it is"


def look(trial: Trial, state: TargetState, samples: r.Ref) -> None:
    """Fill the optimisation column of a target that has an FP32 piece.

    Args:
        trial: the command at work.
        state: after its layers were observed.
        samples: what it is fed.
    """
    piece = state.facts.get("pieces", {}).get("fp32")
    if piece is None or piece.fault is not None:
        return
    layers = ((state.facts.get("ran") or {}).get("fp32") or {}).get("layers") or []
    nodes = [n for n in trial.model.facts.nodes if not n.scope and not n.function]
    row = speed_rows.optimisation(**graph(nodes, layers))
    state.facts["optimisation"] = row
    trial.progress("optimisation", state.id)
    indices = tuple(range(min(SAMPLES * trial.batch, trial.samples_count)))
    indices = indices[: len(indices) - len(indices) % trial.batch]
    optimised = build.run_once(trial, state, piece, samples, indices)
    if optimised is None:
        row["reason"] = "the optimised form could not be run"
        return
    plain, row["off"] = _plain(trial, state, samples, indices)
    if not isinstance(plain, r.Ref):
        row["reason"] = f"the graph as it is could not be run: {plain.reason if plain else ''}"
        return
    compared = layouts.compare(trial, plain, optimised)
    if compared is None:
        row["reason"] = "the outputs could not be compared"
        return
    known = [o for o in compared.outputs if o.max_rel >= 0]
    row.update(
        n=compared.n,
        equal=compared.equal,
        tolerance=max((o.tolerance for o in compared.outputs), default=None),
        max_abs_error=max((o.max_abs for o in known), default=None),
        max_rel_error=max((o.max_rel for o in known), default=None),
        reason="; ".join(f"{o.name} {o.reason}" for o in compared.outputs if not o.within),
    )


def _plain(
    trial: Trial, state: TargetState, samples: r.Ref, indices: tuple[int, ...]
) -> tuple[r.Ref | r.Fault | None, str]:
    """Outputs without optimisation: the target's own where it can, else the reference's."""
    piece = state.facts["pieces"]["fp32"]
    if state.description is not None and state.description.optimise_off:
        trial_outputs = build.run_once(trial, state, piece, samples, indices, optimise=False)
        return trial_outputs, TARGET
    found = reference_outputs(trial, trial.model.ref, samples, indices, optimize="none")
    return found, REFERENCE


def graph(nodes: Sequence[NodeFact], layers: Sequence[rows.Row]) -> dict[str, Any]:
    """What became of the nodes of a graph.

    Args:
        nodes: of the model's main graph.
        layers: as executed, with the labels of the nodes in each.

    Returns:
        Keys of the optimisation row. A runtime that names no nodes is not ``told``.
    """
    types = {n.label: n.op_type for n in nodes}
    order = {label: k for k, label in enumerate(types)}
    owned = {label for layer in layers for label in layer["nodes"]}
    told = bool(owned)
    groups: dict[str, list[list[str]]] = {}
    for layer in layers:
        mine = sorted((n for n in layer["nodes"] if n in types), key=order.__getitem__)
        if len(mine) > 1:
            groups.setdefault("+".join(types[n] for n in mine), []).append(mine)
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))[:KINDS]
    return {
        "nodes": len(nodes),
        "layers": len(layers),
        "told": told,
        "fused": [
            {"kinds": kinds[:200], "count": len(found), "example": found[0][:20]}
            for kinds, found in ranked
        ],
        "folded": [
            n.label for n in nodes if told and n.label not in owned and n.op_type not in _SILENT
        ][:NAMED],
        "inserted": _inserted([ly for ly in layers if not ly["nodes"]]) if told else [],
        "layouts": dict(Counter(ly["layout"] for ly in layers if ly["layout"])),
    }


def _inserted(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Layers that belong to no node, by kind."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for layer in layers:
        groups.setdefault(str(layer["op_type"]), []).append(layer)
    return [
        {"op_type": kind, "count": len(found), "ms": execution.total_ms(found)}
        for kind, found in groups.items()
    ]
