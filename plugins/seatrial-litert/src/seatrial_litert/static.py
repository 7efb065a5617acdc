"""What the converter's table says of each node, with or without the toolchain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.results import Claim, NodeClaim, StaticReport, node_label

from .table import RULES, SOURCE

#: Folded before the rules are asked.
FOLDED = {"Constant"}
#: Domains whose operators the rules know by their names.
DOMAINS = {"", "ai.onnx", "com.microsoft"}


def claims(path: Path) -> StaticReport:
    """One claim per node of the main graph."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    own = {(f.domain, f.name) for f in model.functions}
    return StaticReport(
        claims=tuple(_claim(node, k, own) for k, node in enumerate(model.graph.node))
    )


def _claim(node: Any, index: int, own: set[tuple[str, str]]) -> NodeClaim:
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if (node.domain, node.op_type) in own:
        claim, reason = Claim.UNKNOWN, "a function of the model: it is expanded first"
    elif node.op_type in FOLDED or (node.domain in DOMAINS and node.op_type in RULES):
        claim, reason = Claim.LISTED, ""
    else:
        claim, reason = Claim.UNSUPPORTED, f"no rule for {name}: it would be left a custom operator"
    return NodeClaim(
        node=node_label(node.name, node.op_type, index),
        op_type=node.op_type,
        domain=node.domain,
        claim=claim,
        reason=reason,
        source=SOURCE,
        confidence="high" if claim is Claim.UNSUPPORTED else "medium",
    )
