"""What the importer's own table says of each node, without compiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from seatrial.results import Claim, NodeClaim, StaticReport, node_label

from .models import foreign

#: Not in the table, and taken all the same: the importer handles them itself.
DIRECT = {"If", "Constant"}


def claims(path: Path) -> StaticReport:
    """One claim per node of the main graph."""
    model = onnx.load(path, load_external_data=False)
    own = {(f.domain, f.name) for f in model.functions}
    table, source = _table()
    return StaticReport(
        claims=tuple(
            _claim(node, k, own, table, source) for k, node in enumerate(model.graph.node)
        ),
        notes=() if table else ("TVM is not installed here: nothing is claimed",),
    )


def _table() -> tuple[frozenset[str], str]:
    """Names of the operators with a converter, and where that is written; empty without TVM."""
    try:
        import tvm
        from tvm.relax.frontend.onnx import onnx_frontend
    except ImportError:
        return frozenset(), "no TVM"
    # Not exported, but the only list there is; a TVM without it claims nothing.
    listed = getattr(onnx_frontend, "_get_convert_map", dict)()
    return frozenset(listed), f"converters of TVM {tvm.__version__}'s ONNX importer"


def _claim(
    node: Any, index: int, own: set[tuple[str, str]], table: frozenset[str], source: str
) -> NodeClaim:
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if not table:
        claim, reason = Claim.UNKNOWN, "TVM is not installed here"
    elif (node.domain, node.op_type) in own:
        claim, reason = Claim.UNKNOWN, "a function of the model: it is expanded first"
    elif foreign(node) or (node.op_type not in table and node.op_type not in DIRECT):
        claim, reason = Claim.UNSUPPORTED, f"no converter for {name}"
    else:
        claim, reason = Claim.LISTED, ""
    return NodeClaim(
        node=node_label(node.name, node.op_type, index),
        op_type=node.op_type,
        domain=node.domain,
        claim=claim,
        reason=reason,
        source=source,
        # by name alone: neither the operator's version nor its types are in the table
        confidence="high" if claim is Claim.UNSUPPORTED else "medium",
    )
