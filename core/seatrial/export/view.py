"""From what an export learnt to the ``export`` part of the report. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatrial.codec import encode
from seatrial.export import opsets
from seatrial.export import records as er
from seatrial.export.module_records import Described
from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS, OutputParity
from seatrial.export.problems import WARNING, Problem

if TYPE_CHECKING:
    from seatrial.export.recipes import Applied
    from seatrial.export.stage import Made
    from seatrial.trial.targets import TargetState

Row = dict[str, Any]

#: What to do about a control-flow node.
RECIPES: Mapping[str, str] = {
    "If": "torch.where over both branches, or fix the condition when the module is built",
    "Loop": "a fixed number of steps, written out; a recurrent layer becomes LSTM, GRU or RNN",
    "Scan": "torch's own recurrent layers, or steps written out",
    "SequenceMap": "stack to a tensor first",
}


def facts(made: Made, described: Described, targets: Sequence[TargetState], source: str) -> Row:
    """The ``export`` part of a report."""
    chosen = made.chosen
    study = made.study
    problems = [*(study.problems if study else ())]
    problems += [p for a in made.attempts for p in a.problems]
    graph = chosen.graph if chosen else None
    return {
        "source": source,
        "kind": made.wish.spec.kind,
        "torch": described.torch,
        "parameters": described.parameters,
        "gate": made.gate,
        "reasons": list(made.reasons),
        "route": chosen.route if chosen else "",
        "opset": chosen.opset if chosen else None,
        "opset_reason": opsets.explain(chosen.opset, graph.needs, made.wish.choice)
        if chosen and graph
        else "; ".join(made.wish.choice.reasons),
        "samples": made.count,
        "synthetic": made.wish.synthetic,
        "yardstick": study.yardstick if study else "",
        "attempts": [_attempt(a) for a in made.attempts],
        "parity": [_parity(o) for o in (chosen.parity.outputs if chosen and chosen.parity else ())],
        "axes": [encode(a) for a in (chosen.axes if chosen else ())],
        "problems": [encode(p) for p in problems],
        "control_flow": [_node(n, targets) for n in (graph.control_flow if graph else ())],
        "foreign": [_node(n, targets) for n in (graph.foreign if graph else ())],
        "divergence": encode(made.divergence) if made.divergence else None,
        "recipes": [],
        "notes": list(described.notes),
    }


def unknown(source: str, reason: str) -> Row:
    """The ``export`` part when the module's own child gave no answer."""
    return {
        "source": source,
        "kind": "",
        "torch": "",
        "parameters": None,
        "gate": NOT_PROVEN,
        "reasons": [reason],
        "route": "",
        "opset": None,
        "opset_reason": "",
        "samples": 0,
        "synthetic": False,
        "yardstick": "",
        "attempts": [],
        "parity": [],
        "axes": [],
        "problems": [],
        "control_flow": [],
        "foreign": [],
        "divergence": None,
        "recipes": [],
        "notes": [],
    }


def _attempt(a: er.Attempt) -> Row:
    return {
        "route": a.route,
        "ok": a.ok,
        "chosen": a.chosen,
        "gate": a.gate,
        "opset": a.opset or None,
        "asked_opset": a.asked_opset,
        "seconds": round(a.seconds, 3),
        "nodes": a.graph.nodes if a.graph else None,
        "max_rel": max((o.max_rel or 0.0 for o in a.parity.outputs), default=None)
        if a.parity
        else None,
        "sha256": a.sha256,
        "reason": a.reason,
    }


def suggestions(targets: Sequence[TargetState]) -> list[Row]:
    """Recipes for what targets refuse, one row per target and operator."""
    from seatrial.export import recipes

    found = []
    for state in targets:
        refused: dict[str, str] = {}
        for _, finding in state.facts.get("findings", ()):
            if finding.severity == "error" and finding.op_type:
                refused.setdefault(finding.op_type, finding.reason)
        column = state.facts.get("claimed") or {"claims": ()}
        for claim in column["claims"]:
            if claim["claim"] == "unsupported":
                refused.setdefault(claim["op_type"], claim["reason"] or "not in its table")
        for op_type, reason in refused.items():
            name = recipes.known(op_type)
            problem = Problem(
                code="refused-by-target",
                level=WARNING,
                text=f"{state.id} refuses {op_type}: {reason}",
                op=op_type,
                advice=f"--recipe {name}: proven on the samples and asked of the targets again"
                if name
                else "no recipe is known: change the model",
            )
            found.append(dict(encode(problem)))
    return found


def recipe(a: Applied) -> Row:
    """One recipe as it went."""
    return {
        "recipe": a.recipe,
        "kept": a.model is not None,
        "equal": a.equal,
        "reason": a.reason,
        "max_rel": a.worst,
        "nodes_before": a.before,
        "nodes_after": a.after,
        "opset": a.opset or None,
        "targets": [encode(t) for t in a.targets],
    }


def _parity(o: OutputParity) -> Row:
    return dict(encode(o))


def _node(node: er.GraphNode, targets: Sequence[TargetState]) -> Row:
    """A node worth naming, and the targets whose compiler refuses or moves it."""
    refused = []
    for state in targets:
        for _, finding in state.facts.get("findings", ()):
            hit = finding.node == node.label or (
                finding.op_type == node.op_type and not finding.node
            )
            if hit and state.id not in refused:
                refused.append(state.id)
    return {
        **encode(node),
        "refused_by": refused,
        "advice": RECIPES.get(node.op_type, "") if node.domain in ("", "ai.onnx") else "",
    }


def reasons(gate: str, texts: Sequence[str]) -> list[Row]:
    """Why the gate is what it is, as reasons of the report."""
    from seatrial.report import rows

    level = {PASS: "info", FAIL: "error"}.get(gate, "warning")
    return [rows.reason(f"export.{gate}", text, level=level) for text in texts]
