"""In which form are the Q/DQ pairs of a model that somebody else made? A core task."""

from __future__ import annotations

from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import QdqDialect

from .graph import Graph
from .types import Form, FormRequest

#: ``onnx.TensorProto`` element types by name.
_TYPES = {2: "uint8", 3: "int8", 6: "int32"}


def form(request: FormRequest, job: Job) -> Form:
    """The dialect that a model's pairs are in, as far as pairs tell.

    Activations are symmetric when every zero point is the middle one; weights are per-channel when
    any scale has more than one element. A model without pairs of activations has no form.
    """
    graph = Graph.read(job.path(request.model))
    quantised = {n.output[0] for n in graph.nodes if n.op_type == "QuantizeLinear"}
    activations, weights, biases = [], [], []
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear":
            continue
        kind = _kind(node, graph)
        if node.input[0] in quantised:
            activations.append((kind, _middle(node, graph, kind)))
        elif kind == "int32":
            biases.append(kind)
        elif node.input[0] in graph.initializers:
            weights.append((kind, _many(node, graph)))
    if not activations:
        return Form()
    kinds = {kind for kind, _ in activations}
    return Form(
        dialect=QdqDialect(
            activations="uint8" if "uint8" in kinds else "int8",
            symmetric=all(middle for _, middle in activations),
            weights="uint8" if any(k == "uint8" for k, _ in weights) else "int8",
            per_channel=any(many for _, many in weights),
            bias="int32" if biases else "float",
        )
    )


def _zero(node: Any, graph: Graph) -> Any | None:
    return graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None


def _kind(node: Any, graph: Graph) -> str:
    """Element type of the integers: that of the zero point, of the constant, or uint8."""
    names = [n for n in (*node.input[2:3], node.input[0]) if n in graph.initializers]
    kinds = [_TYPES.get(graph.initializers[n].data_type, "") for n in names]
    return next((k for k in kinds if k), "uint8")


def _middle(node: Any, graph: Graph, kind: str) -> bool:
    zero = _zero(node, graph)
    value = 0 if zero is None else int(zero.reshape(-1)[0])
    return value == (128 if kind == "uint8" else 0)


def _many(node: Any, graph: Graph) -> bool:
    info = graph.constant_info(node.input[1])
    return info is not None and bool(info[1]) and info[1][0] > 1
