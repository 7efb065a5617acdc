"""What the converter's table says of each node, with or without the toolchain."""

from __future__ import annotations

from typing import Any

from seatrial.results import Claim

from .table import RULES

#: Folded before the rules are asked.
FOLDED = {"Constant"}
#: Domains whose operators the rules know by their names.
DOMAINS = {"", "ai.onnx", "com.microsoft"}


def judge(node: Any) -> tuple[Claim, str]:
    """Look a node up by its name."""
    if node.op_type in FOLDED or (node.domain in DOMAINS and node.op_type in RULES):
        return Claim.LISTED, ""
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Claim.UNSUPPORTED, f"no rule for {name}: it would be left a custom operator"
