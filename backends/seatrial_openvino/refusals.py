"""From OpenVINO's refusal to findings: every node it means, with cause and consequence apart."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from seatrial.results import Finding, Placement

from . import graph as g
from .errors import Refusal
from .names import names_of
from .runtime import Runtime
from .static import convert


def refused(
    runtime: Runtime, path: Path, graph: g.Graph, refusal: Refusal, model: Any
) -> tuple[Finding, ...]:
    """One finding per node that the refusal means, or one for the model when it names none.

    Args:
        runtime: the runtime that refused.
        path: the ONNX model.
        graph: its structure.
        refusal: the error, taken apart.
        model: what was read, when only the compile failed; ``None`` when the reading did.
    """
    causes: dict[str, Finding] = {}
    for domain, op_type in refusal.no_rule:
        for node in _meant(graph, domain, op_type):
            causes[node.label] = _no_rule(node)
    failures = _failures(path, graph, refusal, set(causes))
    follows = g.followers(graph, set(causes))
    for label, (node, reason) in failures.items():
        if label in causes:
            continue
        origin = follows.get(label)
        causes[label] = _follower(node, origin, reason) if origin else _failed(node, reason)
    for tensor in refusal.tensors:
        for node in _around(graph, tensor):
            causes.setdefault(node.label, _failed(node, refusal.reason))
    if model is not None:
        for node in _blamed(graph, refusal, model):
            causes.setdefault(node.label, _failed(node, refusal.reason))
        if not causes:
            causes |= _not_taken(runtime, graph, model)
    order = {n.label: k for k, n in enumerate(graph.nodes)}
    findings = tuple(causes[label] for label in sorted(causes, key=lambda c: order[c]))
    if findings:
        return findings
    return (Finding(reason=refusal.reason, placement=Placement.NOWHERE),)


def _meant(graph: g.Graph, domain: str, op_type: str) -> list[g.Node]:
    found = graph.of_type(op_type, domain)
    # domains that the front end knows under another spelling
    found = found or [n for n in graph.nodes if n.op_type == op_type]
    if not found and op_type.startswith("Sequence"):
        # OpenVINO's own marks (SequenceMark) stand for whatever makes or takes a sequence
        found = [n for n in graph.nodes if "Sequence" in n.op_type]
    return found


def _failures(
    path: Path, graph: g.Graph, refusal: Refusal, known: set[str]
) -> dict[str, tuple[g.Node, str]]:
    """Nodes whose rule failed: the one in the text, and its like that stay unconverted.

    The text carries one reason per operator, of one node; a partial conversion shows the others.
    """
    found: dict[str, tuple[g.Node, str]] = {}
    reasons = {d.op_type: d.reason for d in refusal.details}
    for detail in refusal.details:
        if node := graph.find(detail.node):
            found[node.label] = (node, detail.reason)
    alike = [n for d, t in refusal.failed for n in _meant(graph, d, t) if n.label not in known]
    if len(alike) > len(found):
        left: set[str] = set()
        with contextlib.suppress(RuntimeError):
            _, left = convert(path, graph)
        for node in alike:
            if node.label in left:
                found.setdefault(node.label, (node, reasons.get(node.op_type, refusal.reason)))
    for domain, op_type in refusal.failed:
        nodes = _meant(graph, domain, op_type)
        if nodes and not any(n.label in found for n in nodes):
            found |= {n.label: (n, reasons.get(op_type, refusal.reason)) for n in nodes}
    return found


def _around(graph: g.Graph, tensor: str) -> list[g.Node]:
    """The node that makes a tensor, or those that take it when none does."""
    makers = [n for n in graph.nodes if tensor in n.outputs]
    return makers or [n for n in graph.nodes if tensor in n.inputs]


def _blamed(graph: g.Graph, refusal: Refusal, model: Any) -> list[g.Node]:
    names, by_label = names_of(graph, model), graph.by_label
    return [by_label[label] for label in names.of(refusal.named)]


def _not_taken(runtime: Runtime, graph: g.Graph, model: Any) -> dict[str, Finding]:
    """Nodes that ``query_model`` does not place on the device."""
    taken: set[str] = set()
    with contextlib.suppress(RuntimeError):
        taken = set(runtime.core.query_model(model, runtime.device))
    if not taken:
        return {}
    names, by_label = names_of(graph, model), graph.by_label
    ignored = ("Constant", "Parameter", "Result")
    asked = [o for o in model.get_ordered_ops() if o.get_type_name() not in ignored]
    refused_names = [n for o in asked if (n := o.get_friendly_name()) not in taken]
    reason = f"{runtime.device} does not take it"
    return {label: _failed(by_label[label], reason) for label in names.of(refused_names)}


def _no_rule(node: g.Node) -> Finding:
    if node.domain:
        advice = (
            f"express it in standard ONNX operators, or supply an OpenVINO extension for "
            f"{node.domain}"
        )
    else:
        advice = "replace it by operators that OpenVINO converts, or cut the model around it"
    full = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return _finding(node, f"no conversion rule for {full}", advice)


def _failed(node: g.Node, reason: str) -> Finding:
    advice = ""
    if "rank" in reason and ("static" in reason or "known" in reason):
        advice = "give the inputs static shapes, or export with shapes"
    elif "value_info type" in reason:
        advice = "let the model give tensors only: export without ZipMap or sequences"
    elif "Training mode" in reason or "training" in reason:
        advice = "export the model in inference mode"
    return _finding(node, reason, advice)


def _follower(node: g.Node, origin: str, reason: str) -> Finding:
    text = f"follows from {origin}, which is not converted: {reason}"
    return _finding(node, text, f"solve {origin} first", severity="info")


def _finding(node: g.Node, reason: str, advice: str, severity: str = "error") -> Finding:
    return Finding(
        node=node.label,
        op_type=node.op_type,
        domain=node.domain,
        reason=reason,
        advice=advice,
        placement=Placement.NOWHERE,
        severity=severity,
    )
