"""What the ONNX front end converts, node by node. Nothing is compiled."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import CheckRequest, Claim, NodeClaim, StaticReport

from . import graph as g
from .names import bodies, match
from .runtime import Runtime, front_end_errors, onnx_front_end

#: What the front end leaves in place of a node that it cannot convert.
LEFTOVERS = frozenset({"ONNXFrameworkNode", "NotSupportedONNXNode", "FrameworkNode"})


def check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Convert what can be converted, and list the rest.

    A node that the front end leaves as it is has no rule, or its rule failed on this model. Where
    such a node follows from one upstream (its input lost its rank there) it is unknown.
    """
    path = job.path(request.model)
    graph = g.read(path)
    source = f"ONNX front end of OpenVINO {metadata.version('openvino')}"
    Runtime(request.target)
    try:
        converted, left = convert(path, graph)
    except RuntimeError as error:
        reason = f"the front end read nothing: {_short(error)}"
        claims = tuple(_claim(n, Claim.UNKNOWN, source, reason) for n in graph.nodes)
        return StaticReport(claims=claims, notes=(reason,))
    caused = g.followers(graph, left)
    claims = tuple(_judge(n, converted, left, caused, source) for n in graph.nodes)
    return StaticReport(
        claims=claims,
        notes=(
            "the front end's answer is the same for all devices; only a compile asks the device",
        ),
    )


def convert(path: Path, graph: g.Graph) -> tuple[set[str], set[str]]:
    """Labels of the nodes seen in the converted model, and of those left unconverted.

    Raises:
        RuntimeError: the front end refuses the file.
    """
    front_end = onnx_front_end()
    with front_end_errors():
        model = front_end.convert_partially(front_end.load(str(path)))
    converted: set[str] = set()
    left: set[str] = set()
    _sort(model, graph, "", converted, left)
    return converted - left, left


def _sort(model: Any, graph: g.Graph, scope: str, converted: set[str], left: set[str]) -> None:
    # Only types and names are asked for: attributes and element types of an operation that was
    # left unconverted crash the bindings (seen in 2026.4.1).
    own = {t: n for n in graph.inside(scope) for t in (n.name, *n.outputs) if t}
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind in ("Parameter", "Result"):
            continue
        node = match(operation, own)
        if node is None:
            continue
        (left if kind in LEFTOVERS else converted).add(node.label)
        for inner, body in zip(node.bodies, bodies(operation), strict=False):
            _sort(body, graph, inner, converted, left)


def _judge(
    node: g.Node, converted: set[str], left: set[str], caused: dict[str, str], source: str
) -> NodeClaim:
    if node.label in left:
        return _claim(node, Claim.UNSUPPORTED, source, "left unconverted by the front end")
    if node.label in converted:
        return _claim(node, Claim.LISTED, source, "")
    if node.label in caused:
        reason = f"not reached: it follows {caused[node.label]}, which is left unconverted"
        return _claim(node, Claim.UNKNOWN, source, reason)
    reason = "no trace of it after the conversion: folded, unused, or merged into a neighbour"
    return _claim(node, Claim.UNKNOWN, source, reason)


def _claim(node: g.Node, claim: Claim, source: str, reason: str) -> NodeClaim:
    return NodeClaim(
        node=node.label,
        op_type=node.op_type,
        domain=node.domain,
        claim=claim,
        reason=reason,
        source=source,
        confidence="high" if claim is not Claim.UNKNOWN else "low",
    )


def _short(error: Exception) -> str:
    from .errors import sentence

    return sentence(str(error))
