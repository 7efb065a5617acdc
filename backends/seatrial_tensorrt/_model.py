"""The model as it is handed to the parser: every node named once, sizes fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError

from . import _graph
from ._dtypes import DOUBLE
from ._graph import Graph, Seen

#: How TensorRT marks the layers of a local function.
FUNCTION = "Local Function: "


@dataclass
class Prepared:
    """A model ready for the parser.

    Attributes:
        data: the serialised model; weights in other files stay there.
        path: where it lies, absolute, for those files.
        graph: as it was read, before anything was changed.
        labels: name that the parser sees -> label; a function that is called once has one, too.
        inputs: names of the inputs that are fed, in order.
        outputs: names of the outputs, in order.
        open: inputs with free axes that nothing gives a size -> which axes.
        free: inputs whose first axis stays free.
        doubles: outputs in double, which TensorRT narrows to FP32.
        notes: what was decided for the user.
    """

    data: bytes
    path: Path
    graph: Graph
    labels: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    open: dict[str, tuple[int, ...]] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    doubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def top(self) -> list[Seen]:
        """Nodes of the main graph, in the order of the file."""
        return sorted((n for n in self.graph.nodes if not n.scope), key=lambda n: n.index)

    def label(self, name: str) -> str:
        """The label for a name that TensorRT says; ``""`` when it is no node's."""
        return self.labels.get(name, "")


def prepare(path: Path, shapes: Mapping[str, tuple[int, ...]], max_batch: int = 1) -> Prepared:
    """Read a model, name its nodes, fix its sizes.

    A free first axis becomes 1, as in deployment, unless a shape is given or the batch may vary.

    Raises:
        UserError: not an ONNX model, or a shape that does not fit it.
    """
    graph = _graph.read(path)
    model = _graph.load(path)
    found = Prepared(b"", path.absolute(), graph)
    found.labels = name_nodes(model.graph, graph)
    given = {t.name for t in model.graph.initializer}
    fed = [i for i in model.graph.input if i.name not in given]
    unknown = sorted(set(shapes) - {i.name for i in fed})
    if unknown:
        raise UserError("shapes", f"the model has no input {unknown[0]!r}")
    notes: list[str] = []
    for value in fed:
        _fix(value, shapes.get(value.name), max_batch, found, notes)
    found.inputs = tuple(i.name for i in fed)
    found.outputs = tuple(o.name for o in model.graph.output)
    found.doubles = tuple(
        o.name for o in model.graph.output if o.type.tensor_type.elem_type == DOUBLE
    )
    if any(n == DOUBLE for n in _elements(model.graph)):
        notes.append("double is narrowed to FP32")
    found.notes = tuple(notes)
    found.data = model.SerializeToString()
    return found


def _elements(graph: Any) -> list[int]:
    """Types of inputs and weights."""
    inputs = [int(i.type.tensor_type.elem_type) for i in graph.input]
    return inputs + [int(t.data_type) for t in graph.initializer]


def name_nodes(graph: Any, known: Graph) -> dict[str, str]:
    """Give every node a name of its own, where it has none or shares it.

    Returns:
        Name -> label, of all nodes.
    """
    by_place = {(n.scope, n.index): n.label for n in known.nodes}
    labels: dict[str, str] = {}
    _name(graph, "", by_place, labels)
    calls = [n for n in known.nodes if n.label in known.bodies]
    for call in calls:
        if sum(c.op_type == call.op_type for c in calls) == 1:
            labels[f"{FUNCTION}{call.op_type}"] = call.label
    return labels


def _name(
    graph: Any, scope: str, by_place: Mapping[tuple[str, int], str], labels: dict[str, str]
) -> None:
    for index, node in enumerate(graph.node):
        label = by_place.get((scope, index), "")
        name = node.name or label
        turn = 1
        while name in labels:
            turn += 1
            name = f"{label}#{turn}"
        node.name = name
        labels[name] = label
        for attribute, inner in _graph.nested(node):
            _name(inner, f"{label}/{attribute}", by_place, labels)


def _fix(
    value: Any,
    shape: tuple[int, ...] | None,
    max_batch: int,
    found: Prepared,
    notes: list[str],
) -> None:
    """Give an input its sizes; what stays open is noted in ``found``."""
    name = value.name
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        if shape is None:
            return
        tensor.shape.Clear()
        for size in shape:
            tensor.shape.dim.add().dim_value = size
        return
    dims = list(tensor.shape.dim)
    if shape is not None and len(shape) != len(dims):
        raise UserError("shapes", f"{len(shape)} sizes for {len(dims)} axes", place=name)
    open_ = []
    for axis, dim in enumerate(dims):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            if shape is not None and shape[axis] != dim.dim_value:
                reason = f"axis {axis} is {dim.dim_value} in the model, {shape[axis]} was given"
                raise UserError("shapes", reason, place=name)
        elif not axis and max_batch > 1:
            found.free += (name,)
        elif shape is not None:
            dim.dim_value = shape[axis]
        elif not axis:
            dim.dim_value = 1
            notes.append(f"built for batch 1: the first axis of {name} is free in the model")
        else:
            open_.append(axis)
    if open_:
        found.open[name] = tuple(open_)
