"""What tables and rules say of a model, node by node. Nothing is compiled, no SDK is needed."""

from __future__ import annotations

from seatrial.hookspecs import Job
from seatrial.results import CheckRequest, Claim, NodeClaim, StaticReport

from . import graph as g
from .table import Row, rows
from .targets import RULES, chip_of

#: Newest ONNX file format that the parser reads.
IR_MAX = 10
#: Rows of this kind hold only where constants fold the node away.
_FOLDS = "folds"


def check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Claims of the operator notes, and notes of what the parser asks of every model."""
    graph = g.read(job.path(request.model))
    known = _foldable(graph)
    claims = tuple(_claim(node, known) for node in graph.nodes)
    return StaticReport(claims=claims, notes=tuple(_notes(graph, request)))


def _foldable(graph: g.Graph) -> frozenset[str]:
    """Tensors that depend on constants and shapes alone, so that the parser can fold them."""
    known = set(graph.constants)
    for node in graph.nodes:
        given = [name for name in node.inputs if name]
        shape_of_static = node.op_type == "Shape" and all(graph.shapes.get(given[0], (0,)))
        if node.op_type == "Constant" or shape_of_static or (given and known.issuperset(given)):
            known.update(node.outputs)
    return frozenset(known)


def _claim(node: g.Node, foldable: frozenset[str]) -> NodeClaim:
    row = rows().get(node.op_type) if not node.domain else None
    if foldable.issuperset(node.outputs):
        return _made(node, Claim.LISTED, "", row, "folds away: it depends on constants alone")
    if row is None:
        domain = f"{node.domain}." if node.domain else ""
        reason = f"nothing is publicly known of {domain}{node.op_type}"
        return _made(node, Claim.UNKNOWN, reason, None, "no row")
    if not row.taken:
        certain = row.known in ("refused", "reported") or "no control flow" in row.limits
        claim = Claim.UNSUPPORTED if certain else Claim.UNKNOWN
        return _made(node, claim, row.limits, row)
    if row.known in (_FOLDS, "pattern"):
        return _made(node, Claim.UNKNOWN, row.limits, row)
    return _made(node, Claim.LISTED, row.limits, row)


def _made(node: g.Node, claim: Claim, reason: str, row: Row | None, source: str = "") -> NodeClaim:
    return NodeClaim(
        node=node.label,
        op_type=node.op_type,
        domain=node.domain,
        claim=claim,
        reason=reason,
        source=source or (row.source if row else ""),
        confidence=row.confidence if row and not source else "low",
    )


def _notes(graph: g.Graph, request: CheckRequest) -> list[str]:
    """What the parser asks of a model as a whole, where this one does not have it."""
    found = ["advisory: the vendor's operator tables are not public, only its compiler can tell"]
    if chip_of(request.target) is None:
        found.append(f"there is no chip {request.target!r}")
    if graph.ir_version > IR_MAX:
        found.append(f"IR version {graph.ir_version}: the parser reads up to {IR_MAX}")
    if graph.opset and not RULES.opset_min <= graph.opset <= RULES.opset_max:
        asked = f"{RULES.opset_min} to {RULES.opset_max}"
        found.append(f"opset {graph.opset}: {asked} were seen to parse")
    for tensor in graph.inputs:
        shape = request.shapes.get(tensor.name, tensor.shape)
        if not all(shape):
            found.append(f"input {tensor.name} has free dimensions: give static shapes")
        elif len(shape) != 4:
            found.append(
                f"input {tensor.name} has rank {len(shape)}: graphs of rank 4 are expected"
            )
        elif shape[0] != 1:
            found.append(f"input {tensor.name} has batch {shape[0]}: it is compiled for batch 1")
    if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in graph.nodes):
        found.append("it carries Q/DQ pairs: give the float model, the compiler quantises itself")
    return found
