"""The ONNX graph as far as this backend needs it: nodes with their labels, scopes and tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seatrial.results import node_label

#: Operators that carry weights; an INT8 artefact is judged by what became of these.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_NORMALISING = frozenset({"LayerNormalization", "SkipLayerNormalization"})
_ATTENTION = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention"})

#: Operators between the two MatMuls of an attention block that only move or scale data.
_ATTENTION_STEPS = frozenset(
    {"Softmax", "Add", "Mul", "Div", "Where", "Cast", "Dropout", "Reshape", "Identity"}
    | {"QuantizeLinear", "DequantizeLinear", "Transpose", "Squeeze", "Unsqueeze"}
)


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a graph or of a subgraph.

    Attributes:
        label: see :func:`seatrial.results.node_label`.
        scope: label prefix of its graph, ``""`` at the top.
        index: position in its graph.
        bodies: scopes of the graphs it holds; of an If the then branch comes first.
    """

    label: str
    name: str
    op_type: str
    domain: str
    scope: str
    index: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bodies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Graph:
    """Every node of a model, those of nested graphs among them.

    Attributes:
        nodes: all, outer before inner.
        opset: version of the default domain, 0 when the model states none.
        inputs: names of the inputs that must be fed.
        outputs: names of the outputs, in order.
    """

    nodes: tuple[Node, ...]
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def by_label(self) -> dict[str, Node]:
        """Nodes by label."""
        return {n.label: n for n in self.nodes}

    def of_type(self, op_type: str, domain: str) -> list[Node]:
        """Nodes of one operator, wherever they stand."""
        return [n for n in self.nodes if n.op_type == op_type and n.domain == domain]

    def inside(self, scope: str) -> list[Node]:
        """Nodes of one graph only."""
        return [n for n in self.nodes if n.scope == scope]

    def find(self, name: str) -> Node | None:
        """The node that makes a tensor, or carries a name."""
        for node in self.nodes:
            if name and (name in node.outputs or name == node.name):
                return node
        return None

    @property
    def quantised(self) -> bool:
        """Whether the model carries Q/DQ pairs or quantised operators."""
        return any(n.op_type in ("DequantizeLinear", "QLinearConv") for n in self.nodes)


def read(path: Path) -> Graph:
    """Read the structure of a model, without its external data.

    Raises:
        google.protobuf.message.DecodeError: the file is no ONNX model.
    """
    import onnx

    return of(onnx.load(path, load_external_data=False))


def of(model: Any) -> Graph:
    """The structure of an ``onnx.ModelProto``."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    given = {t.name for t in model.graph.initializer}
    return Graph(
        nodes=tuple(_walk(model.graph, "")),
        opset=opset,
        inputs=tuple(i.name for i in model.graph.input if i.name not in given),
        outputs=tuple(o.name for o in model.graph.output),
    )


def _walk(graph: Any, scope: str) -> Iterator[Node]:
    inner: list[tuple[Any, str]] = []
    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index, scope)
        bodies = [(a.g, f"{label}/{a.name}") for a in node.attribute if a.HasField("g")]
        bodies.sort(key=lambda body: not body[1].endswith("/then_branch"))
        inner += bodies
        yield Node(
            label=label,
            name=node.name,
            op_type=node.op_type,
            domain="" if node.domain == "ai.onnx" else node.domain,
            scope=scope,
            index=index,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            bodies=tuple(s for _, s in bodies),
        )
    for body, inner_scope in inner:
        yield from _walk(body, inner_scope)


def has_attention(graph: Graph) -> bool:
    """Whether the graph holds attention: NNCF then needs to be told that it is a transformer.

    A Softmax whose input comes from a MatMul and whose output goes to one, with nothing but data
    movement and scaling between, or one of the attention and normalisation operators.
    """
    if any(n.op_type in _ATTENTION | _NORMALISING for n in graph.nodes):
        return True
    makers = {t: n for n in graph.nodes for t in n.outputs}
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            users.setdefault(tensor, []).append(node)
    for node in graph.nodes:
        if node.op_type != "Softmax":
            continue
        before = _reaches_matmul(node, lambda n: [makers[t] for t in n.inputs if t in makers])
        after = _reaches_matmul(node, lambda n: [u for t in n.outputs for u in users.get(t, [])])
        if before and after:
            return True
    return False


def _reaches_matmul(start: Node, step: Any) -> bool:
    seen, front = {start.label}, [start]
    while front:
        for node in step(front.pop()):
            if node.op_type == "MatMul":
                return True
            if node.label not in seen and node.op_type in _ATTENTION_STEPS:
                seen.add(node.label)
                front.append(node)
    return False


def followers(graph: Graph, causes: set[str]) -> dict[str, str]:
    """Nodes that depend on one of ``causes``: label -> label of the first cause upstream."""
    ordered = sorted(causes)
    holders = {
        n.label: c
        for n in graph.nodes
        if n.bodies
        for c in ordered
        if any(c.startswith(f"{b}/") for b in n.bodies)
    }
    tainted: dict[tuple[str, str], str] = {}
    found: dict[str, str] = {}
    for node in graph.nodes:
        origin = next((tainted[k] for t in node.inputs if (k := (node.scope, t)) in tainted), "")
        origin = origin or holders.get(node.label, "")
        if origin and node.label not in causes:
            found[node.label] = origin
        if node.label in causes:
            origin = node.label
        if origin:
            tainted.update({(node.scope, t): origin for t in node.outputs if t})
    return found
