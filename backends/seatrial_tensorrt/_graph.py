"""An ONNX file as this backend sees it: every node with its label, types and constants.

Types are followed in plain Python: the native shape inference dies on some small models, and a
table that is read where no toolchain is must not.
"""

from __future__ import annotations

import importlib
from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.results import node_label

from ._dtypes import BOOL, INT64, Element, outputs_of

#: Function calls are followed this deep; a function that calls itself ends there.
DEEPEST = 16
#: Nodes looked at in all: function calls can multiply a small file beyond measure.
MOST = 200_000


@dataclass(frozen=True)
class Value:
    """What is known of a tensor.

    Attributes:
        element: ONNX's number of its type, ``None``: not known.
        shape: sizes, ``None`` where free; ``None`` for an unknown rank.
        constant: its TensorProto when it is known before a run.
    """

    element: Element = None
    shape: tuple[int | None, ...] | None = None
    constant: Any = None


@dataclass(frozen=True)
class Seen:
    """A node with what is known of its inputs.

    Attributes:
        node: the NodeProto.
        label: see :func:`seatrial.results.node_label`.
        domain: ``""`` for ai.onnx.
        index: position in its graph.
        scope: label of the graph that holds it, ``""`` at the top.
        inputs: by position; an input left out has no type.
        elements: types of the outputs.
        users: (operator, position) of those that read its first output, in its own graph.
    """

    node: Any
    label: str
    domain: str
    index: int
    scope: str
    inputs: tuple[Value, ...]
    elements: tuple[Element, ...]
    users: tuple[tuple[str, int], ...] = ()

    @property
    def op_type(self) -> str:
        """The operator."""
        return str(self.node.op_type)

    def given(self, position: int) -> bool:
        """Whether an input is there."""
        return position < len(self.node.input) and bool(self.node.input[position])

    def used(self, position: int) -> bool:
        """Whether an output is asked for."""
        return position < len(self.node.output) and bool(self.node.output[position])

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute: number, text, or a list of them."""
        from onnx import helper

        for attribute in self.node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return default

    def constant(self, position: int) -> Any:
        """A constant input as an array; ``None`` when it is no constant, or kept in another file.

        A tensor that does not decode counts as unknown.
        """
        from onnx import numpy_helper

        tensor = self.inputs[position].constant if position < len(self.inputs) else None
        if tensor is None or tensor.data_location == tensor.EXTERNAL:
            return None
        try:
            return numpy_helper.to_array(tensor)
        except Exception:  # noqa: BLE001 - a damaged tensor raises whatever the reader meets first
            return None


Scope = MutableMapping[str, Value]


@dataclass
class Graph:
    """A model that was read.

    Attributes:
        model: the ModelProto, without external data.
        opset: of ai.onnx, 0 when the model states none.
        nodes: all, those of nested graphs among them, outer before inner.
        bodies: label of a node that calls a local function -> nodes of that function.
    """

    model: Any
    opset: int
    nodes: list[Seen] = field(default_factory=list)
    bodies: dict[str, list[Seen]] = field(default_factory=dict)

    def function(self, seen: Seen) -> Any:
        """The local function that a node calls, ``None`` when it calls none."""
        key = (seen.domain, seen.op_type)
        return next((f for f in self.model.functions if (domain_of(f.domain), f.name) == key), None)

    @property
    def quantised(self) -> bool:
        """Whether it carries Q/DQ pairs."""
        return any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in self.nodes)


def load(path: Path) -> Any:
    """The ModelProto, without external data.

    Raises:
        UserError: the file is not an ONNX model.
    """
    import onnx

    damaged = importlib.import_module("google.protobuf.message").DecodeError
    try:
        return onnx.load(str(path), load_external_data=False)
    except damaged as error:
        raise UserError(path.name, f"not an ONNX model: {error}") from None


def read(path: Path) -> Graph:
    """Read a model and follow its types.

    Raises:
        UserError: the file is not an ONNX model.
    """
    model = load(path)
    versions = {domain_of(o.domain): o.version for o in model.opset_import}
    graph = Graph(model, versions.get("", 0))
    walker = _Walker(model, versions, graph)
    walker.graph(model.graph, {}, "")
    graph.nodes.sort(key=lambda n: walker.order[n.label, n.scope, n.index])
    return graph


def domain_of(name: str) -> str:
    """A domain in its short form: ``ai.onnx`` is the empty one."""
    return "" if name == "ai.onnx" else name


def nested(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs in a node, with the attribute that holds them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for inner in attribute.graphs:
            yield attribute.name, inner


class _Walker:
    """Walks graphs and bodies of local functions in the order in which their nodes run."""

    def __init__(self, model: Any, versions: dict[str, int], found: Graph) -> None:
        self.versions = versions
        self.functions = {(domain_of(f.domain), f.name): f for f in model.functions}
        self.found = found
        self.left = MOST
        self.depth = 0
        #: (label, scope, index) -> turn, so that nodes keep the order of their lists
        self.order: dict[tuple[str, str, int], int] = {}

    def graph(self, graph: Any, scope: Scope, label: str) -> list[Value]:
        """Follow a graph whose outer names are in ``scope``; gives its outputs."""
        handed = set(scope.maps[0]) if isinstance(scope, ChainMap) else set()
        for value in (*graph.input, *graph.output, *graph.value_info):
            declared = _declared(value)
            if declared.element is not None or value.name not in handed:
                scope[value.name] = declared
        for tensor in graph.initializer:
            scope[tensor.name] = _constant(tensor)
        self._mark(graph.node, label)
        self.found.nodes += self._nodes(graph.node, scope, label)
        return [scope.get(v.name, Value()) for v in graph.output]

    def _mark(self, listed: Sequence[Any], scope: str) -> None:
        for index, node in enumerate(listed):
            own = node_label(node.name, node.op_type, index, scope)
            self.order[own, scope, index] = len(self.order)

    def _nodes(self, listed: Sequence[Any], scope: Scope, label: str) -> list[Seen]:
        users: dict[str, list[tuple[str, int]]] = {}
        for node in listed:
            for position, name in enumerate(node.input):
                users.setdefault(name, []).append((node.op_type, position))
        found = []
        for index in _in_order(listed):
            node = listed[index]
            self.left -= 1
            inputs = tuple(scope.get(n, Value()) if n else Value() for n in node.input)
            own = node_label(node.name, node.op_type, index, label)
            outputs = self._outputs(node, inputs, own, scope)
            for name, value in zip(node.output, outputs, strict=False):
                known = scope.get(name, Value())
                if name and (value.element is not None or value.constant is not None):
                    shape = value.shape if value.shape is not None else known.shape
                    scope[name] = Value(value.element, shape, value.constant)
            first = node.output[0] if node.output else ""
            found.append(
                Seen(
                    node=node,
                    label=own,
                    domain=domain_of(node.domain),
                    index=index,
                    scope=label,
                    inputs=inputs,
                    elements=tuple(scope.get(n, Value()).element for n in node.output),
                    users=tuple(users.get(first, ())) if first else (),
                )
            )
        return found

    def _outputs(
        self, node: Any, inputs: tuple[Value, ...], label: str, scope: Scope
    ) -> list[Value]:
        domain = domain_of(node.domain)
        inner = []
        for name, body in nested(node):
            around: Scope = ChainMap({}, scope)
            around.update(_handed(node, inputs, body))
            inner.append(self.graph(body, around, f"{label}/{name}"))
        function = self.functions.get((domain, node.op_type))
        if function is not None:
            return self._call(function, inputs, label)
        if inner and not domain and node.op_type in ("If", "Loop", "Scan"):
            # A loop's body gives its condition first.
            return [Value(v.element) for v in inner[0][1 if node.op_type == "Loop" else 0 :]]
        if not domain and node.op_type == "Constant":
            tensors = [a.t for a in node.attribute if a.name == "value"]
            if tensors:
                return [_constant(tensors[0])]
        if not domain and node.op_type == "Identity" and inputs:
            return [inputs[0]]
        kinds = outputs_of(node, domain, self.versions, [v.element for v in inputs])
        return [Value(kind) for kind in kinds]

    def _call(self, function: Any, inputs: tuple[Value, ...], label: str) -> list[Value]:
        """Follow a function's body for the inputs of one call."""
        if self.depth >= DEEPEST or self.left <= 0:
            return []
        self.depth += 1
        outer, self.versions = self.versions, dict(self.versions)
        self.versions |= {domain_of(o.domain): o.version for o in function.opset_import}
        scope: Scope = dict(zip(function.input, inputs, strict=False))
        kept, self.found.nodes = self.found.nodes, []
        body = self._nodes(function.node, scope, label)
        # graphs nested in the body were put with the model's own nodes
        self.found.bodies[label] = body + self.found.nodes
        self.found.nodes = kept
        self.versions = outer
        self.depth -= 1
        return [scope.get(name, Value()) for name in function.output]


def _handed(node: Any, inputs: Sequence[Value], body: Any) -> dict[str, Value]:
    """Types that a Loop or a Scan hands to the inputs of its body, which may declare none."""
    if node.op_type == "Loop":
        given = [Value(INT64), Value(BOOL), *inputs[2:]]
    else:
        given = list(inputs) if node.op_type == "Scan" else []
    return {i.name: Value(v.element) for i, v in zip(body.input, given, strict=False)}


def _declared(value: Any) -> Value:
    kind = value.type
    if kind.WhichOneof("value") != "tensor_type":
        return Value()
    tensor = kind.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Value(tensor.elem_type or None, shape)


def _constant(tensor: Any) -> Value:
    return Value(tensor.data_type or None, tuple(tensor.dims), tensor)


def _in_order(listed: Sequence[Any]) -> list[int]:
    """Positions of nodes, producers first where a list is out of order."""
    maker = {name: k for k, node in enumerate(listed) for name in node.output if name}
    done: set[int] = set()
    order: list[int] = []
    for start in range(len(listed)):
        stack = [start]
        while stack:
            k = stack[-1]
            needs = [] if k in done else [maker[n] for n in listed[k].input if n in maker]
            open_ = [n for n in needs if n not in done and n not in stack]
            if open_:
                stack.append(open_[0])
                continue
            stack.pop()
            if k not in done:
                done.add(k)
                order.append(k)
    return order
