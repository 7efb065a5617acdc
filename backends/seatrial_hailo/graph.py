"""The model as far as this backend looks at it; ``onnx`` is imported late, in the child."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.results import node_label


@dataclass(frozen=True)
class Node:
    """A node under the label that all backends share."""

    label: str
    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Tensor:
    """An input or output: its shape has 0 where a dimension is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The top level of a model; ``ranks`` of its tensors where shape inference finds them."""

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constants: frozenset[str]
    shapes: dict[str, tuple[int, ...]]
    opset: int
    ir_version: int

    def find(self, name: str) -> Node | None:
        """A node by its own name, its label, or the name of a tensor that it makes."""
        for node in self.nodes:
            if name in (node.name, node.label) or name in node.outputs:
                return node
        return None


def read(path: Path) -> Graph:
    """Read a model; large weights stay where they are."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    inferred = _inferred(model)
    graph = model.graph
    constants = {t.name for t in graph.initializer}
    constants |= {n.output[0] for n in graph.node if n.op_type == "Constant" and n.output}
    versions = {o.domain: o.version for o in model.opset_import}
    return Graph(
        nodes=tuple(_node(n, i) for i, n in enumerate(graph.node)),
        inputs=tuple(_tensor(v) for v in graph.input if v.name not in constants),
        outputs=tuple(_tensor(v) for v in graph.output),
        constants=frozenset(constants),
        shapes=inferred,
        opset=versions.get("", versions.get("ai.onnx", 0)),
        ir_version=model.ir_version,
    )


def _node(proto: Any, index: int) -> Node:
    import onnx

    plain = {}
    for attribute in proto.attribute:
        if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            plain[attribute.name] = onnx.helper.get_attribute_value(attribute)
    return Node(
        label=node_label(proto.name, proto.op_type, index),
        name=proto.name,
        op_type=proto.op_type,
        domain="" if proto.domain == "ai.onnx" else proto.domain,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=plain,
    )


def _tensor(value: Any) -> Tensor:
    import onnx

    kind = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except (KeyError, ValueError):
        dtype = ""
    return Tensor(value.name, dtype, _dims(kind))


def _dims(kind: Any) -> tuple[int, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim)


def _inferred(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor, as far as inference finds them; a graph it cannot follow has few."""
    import onnx

    try:
        whole = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - inference of odd graphs raises many types; shapes are extra
        whole = model
    shapes = {}
    for value in (*whole.graph.value_info, *whole.graph.input, *whole.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            shapes[value.name] = _dims(value.type.tensor_type)
    return shapes
