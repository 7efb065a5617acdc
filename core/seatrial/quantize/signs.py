"""Which tensors cannot be negative, by their operators alone. Runs in a child only."""

from __future__ import annotations

from typing import Any

from . import ops
from .graph import Graph, attribute


def non_negative(graph: Graph) -> set[str]:
    """Tensors that are zero or more whatever the model is fed."""
    found: set[str] = set()
    for node in graph.nodes:
        if not node.domain and (_makes(node, graph) or _keeps(node, found)):
            found.update(o for o in node.output if o)
    return found


def _makes(node: Any, graph: Graph) -> bool:
    import numpy as np

    if node.op_type != "Clip":
        return node.op_type in ops.NON_NEGATIVE
    low = node.input[1] if len(node.input) > 1 else ""
    value = graph.constant(low) if low else attribute(node, "min")
    return value is not None and bool((np.asarray(value) >= 0).all())


def _keeps(node: Any, found: set[str]) -> bool:
    if node.op_type in ops.ALL_DATA | ops.BINARY:
        return all(n in found for n in node.input)
    return node.op_type in ops.PASS | ops.AVERAGES and node.input[0] in found
