"""Which ONNX node an OpenVINO operation stands for.

The front end names an operation after its ONNX node, or after a tensor when the node has no name
or makes an output of the model; tensor names always survive. A node that becomes several
operations gives the others names of the form ``NODE/PART``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .graph import WEIGHTED, Graph, Node

#: File of an artefact that keeps the names, beside the ``.xml``.
NODES_FILE = "nodes.json"


#: Operators that OpenVINO folds into the convolution or product before them.
FOLDED = frozenset(
    {"BatchNormalization", "Mul", "Div", "Add", "Sub", "Identity", "Relu", "Clip"}
    | {"QuantizeLinear", "DequantizeLinear"}
)


class Names:
    """Labels by the names that OpenVINO knows operations under.

    Args:
        labels: OpenVINO name -> label.
        types: label -> ONNX operator.
        inputs: names of the ONNX inputs that are fed.
        outputs: names of the ONNX outputs, in order.
        above: label -> labels of the nodes that make its inputs.
    """

    def __init__(
        self,
        labels: dict[str, str],
        types: dict[str, str],
        inputs: tuple[str, ...] = (),
        outputs: tuple[str, ...] = (),
        above: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.labels = labels
        self.types = types
        self.inputs = inputs
        self.outputs = outputs
        self.above = dict(above or {})

    def label(self, name: str) -> str:
        """Label for an operation's name, ``""`` when it stands for no node of the model."""
        while name:
            if name in self.labels:
                return self.labels[name]
            name = name.rpartition("/")[0]
        return ""

    def of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Labels for several names, each once, in their order."""
        return tuple(dict.fromkeys(label for n in names if (label := self.label(n.strip()))))

    def weighted_above(self, nodes: Iterable[str]) -> set[str]:
        """The nearest Conv, Gemm or MatMul nodes upstream, past what may be folded into them."""
        found: set[str] = set()
        seen = set(nodes)
        front = list(seen)
        while front:
            for label in self.above.get(front.pop(), ()):
                kind = self.types.get(label, "")
                if kind in WEIGHTED:
                    found.add(label)
                elif label not in seen and kind in FOLDED:
                    seen.add(label)
                    front.append(label)
        return found

    def write(self, path: Path) -> None:
        """Keep the names beside an artefact."""
        kept = {
            "labels": self.labels,
            "types": self.types,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "above": self.above,
        }
        path.write_text(json.dumps(kept), "utf-8")

    @classmethod
    def beside(cls, artifact: Path) -> Names:
        """The names kept beside an artefact; none when there is no such file."""
        path = artifact.parent / NODES_FILE
        if not path.is_file():
            return cls({}, {})
        kept = json.loads(path.read_text("utf-8"))
        inputs, outputs = tuple(kept["inputs"]), tuple(kept["outputs"])
        return cls(kept["labels"], kept["types"], inputs, outputs, kept["above"])


def names_of(graph: Graph, model: Any) -> Names:
    """Names of a model that was read from ONNX, those inside nested bodies among them."""
    labels: dict[str, str] = {}
    for node in reversed(graph.nodes):
        labels |= dict.fromkeys((*node.outputs, node.name), node.label)
    labels.pop("", None)
    _add_operations(labels, graph, model, "")
    types = {n.label: n.op_type for n in graph.nodes}
    makers = {(n.scope, t): n.label for n in graph.nodes for t in n.outputs}
    above = {
        n.label: [makers[n.scope, t] for t in n.inputs if (n.scope, t) in makers]
        for n in graph.nodes
    }
    return Names(labels, types, graph.inputs, graph.outputs, above)


def _add_operations(labels: dict[str, str], graph: Graph, model: Any, scope: str) -> None:
    own = {t: n for n in graph.inside(scope) for t in (n.name, *n.outputs) if t}
    for operation in model.get_ordered_ops():
        if operation.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        node = match(operation, own)
        if node is None:
            continue
        labels[operation.get_friendly_name()] = node.label
        for inner, body in zip(node.bodies, bodies(operation), strict=False):
            _add_operations(labels, graph, body, inner)


def match(operation: Any, own: dict[str, Node]) -> Node | None:
    """The node of one graph that an operation was made from, by tensor names, then by name."""
    for port in operation.outputs():
        for name in port.get_names():
            if name in own:
                return own[name]
    name = operation.get_friendly_name()
    while name:
        if name in own:
            return own[name]
        name = name.rpartition("/")[0]
    return None


def bodies(operation: Any) -> list[Any]:
    """The nested models of an If (then, else) or a Loop; none for other operations."""
    kind = operation.get_type_name()
    if kind == "If" and hasattr(operation, "get_then_body"):
        return [operation.get_then_body(), operation.get_else_body()]
    if kind in ("Loop", "TensorIterator") and hasattr(operation, "get_function"):
        return [operation.get_function()]
    return []
