"""ONNX files as this backend handles them: nodes with labels, copies, shapes, external data."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from seatrial.errors import UserError
from seatrial.results import Artifact, TensorIO, node_label

#: Models above this size keep their weights outside the protobuf file (its limit is 2 GiB).
EXTERNAL_ABOVE = 1_500_000_000

#: Marks put into node names so that a node is recognised after the runtime renamed or fused it.
_MARK = re.compile(r"seatrial:(\d+):")


@dataclass(frozen=True)
class Place:
    """A node and where it stands.

    Attributes:
        node: the NodeProto.
        label: see :func:`seatrial.results.node_label`.
        graph: the GraphProto that holds it.
        domain: its operator set, ``""`` for ai.onnx.
        depth: 0 in the main graph.
        path: positions from the main graph inwards; sorting by it gives the order of
            :func:`nodes`.
    """

    node: Any
    label: str
    graph: Any
    domain: str
    depth: int
    path: tuple[int, ...] = ()


def read(path: Path, *, weights: bool = False) -> Any:
    """Load a model, by default without its external data.

    Raises:
        UserError: the file is not an ONNX model.
    """
    import onnx

    # By name: protobuf ships no type stubs.
    damaged = importlib.import_module("google.protobuf.message").DecodeError
    try:
        return onnx.load(str(path), load_external_data=weights)
    except damaged as error:
        raise UserError(path.name, f"not an ONNX model: {error}") from None


def domain_of(name: str) -> str:
    """A domain in its short form: ``ai.onnx`` is the empty one."""
    return "" if name == "ai.onnx" else name


def nodes(graph: Any, scope: str = "", path: tuple[int, ...] = ()) -> Iterator[Place]:
    """Every node of a graph and of the graphs nested in it, outer nodes first."""
    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index, scope)
        own = (*path, index)
        yield Place(node, label, graph, domain_of(node.domain), len(own) // 2, own)
        for branch, (attribute, inner) in enumerate(subgraphs(node)):
            yield from nodes(inner, f"{label}/{attribute}", (*own, branch))


def captured(node: Any) -> set[str]:
    """Every name that a node reads: its inputs, and what its nested graphs mention."""
    names = set(node.input)
    for _, inner in subgraphs(node):
        for nested in inner.node:
            names |= captured(nested)
        names |= {v.name for v in inner.output}
    return names - {""}


def in_order(listed: Sequence[Any]) -> list[int]:
    """Positions of nodes such that every producer comes first; the runtime sorts them as well."""
    maker = {name: k for k, node in enumerate(listed) for name in node.output if name}
    needs = [{maker[n] for n in captured(node) if n in maker} for node in listed]
    if all(k > max(need, default=-1) for k, need in enumerate(needs)):
        return list(range(len(listed)))
    order: dict[int, None] = {}
    entered = set()
    stack = [(k, False) for k in reversed(range(len(listed)))]
    while stack:
        k, ready = stack.pop()
        if ready:
            order[k] = None
        elif k not in entered:
            entered.add(k)
            stack.append((k, True))
            stack += [(n, False) for n in sorted(needs[k]) if n not in entered]
    return list(order)


def subgraphs(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs nested in a node, with the attribute that holds them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for inner in attribute.graphs:
            yield attribute.name, inner


def opsets(model: Any) -> dict[str, int]:
    """Version of each imported operator set, ``""`` for ai.onnx."""
    return {domain_of(entry.domain): entry.version for entry in model.opset_import}


def marked(model: Any) -> tuple[Any, list[Place]]:
    """A copy whose nodes carry marks as names, and the original's nodes in order of the marks.

    Names may be missing, or shared by several nodes; a mark is neither.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    for index, place in enumerate(nodes(copy.graph)):
        place.node.name = f"seatrial:{index}:"
    return copy, list(nodes(model.graph))


def mark_of(name: str) -> int | None:
    """Index of the original node that a (possibly renamed) node came from."""
    found = _MARK.findall(name)
    return int(found[-1]) if found else None


def unmark(name: str, places: list[Place]) -> str:
    """A runtime's node name with marks turned back into labels."""
    return _MARK.sub(lambda m: places[int(m.group(1))].label, name)


def external_files(model: Any) -> tuple[str, ...]:
    """Names of the files that hold tensor data, relative to the model."""
    found = set()
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            found |= {e.value for e in tensor.external_data if e.key == "location"}
    return tuple(sorted(found))


def _tensors(model: Any) -> Iterator[Any]:
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
            graphs += [inner for _, inner in subgraphs(node)]


def copy(path: Path, out: Path, model: Any, changed: bool = False) -> tuple[str, tuple[str, ...]]:
    """Copy a model and its external data; a changed one is written from memory.

    Returns:
        The entry and all files, relative to ``out``.

    Raises:
        UserError: external data that does not lie beneath the model.
    """
    files = [path.name]
    if changed:
        (out / path.name).write_bytes(model.SerializeToString())
    else:
        shutil.copyfile(path, out / path.name)
    for name in external_files(model):
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise UserError(path.name, f"external data at {name!r} lies outside of its folder")
        destination = out / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / relative, destination)
        files.append(str(relative))
    return path.name, tuple(files)


def write(model: Any, path: Path) -> tuple[str, tuple[str, ...]]:
    """Write a model whose weights are in memory, aside when they are too large for one file."""
    import onnx

    if model.ByteSize() <= EXTERNAL_ABOVE:
        onnx.save(model, str(path))
        return path.name, (path.name,)
    data = path.with_suffix(".data").name
    onnx.save(model, str(path), save_as_external_data=True, location=data)
    return path.name, (path.name, data)


def with_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Give inputs static shapes, in place.

    A free dimension that has a name takes its value everywhere, as the runtime's free-dimension
    override does.

    Returns:
        Whether anything changed.

    Raises:
        UserError: an unknown input, another rank, or a contradiction to a fixed dimension.
    """
    inputs = {i.name: i for i in model.graph.input}
    named: dict[str, int] = {}
    changed = False
    for name, shape in shapes.items():
        if name not in inputs:
            raise UserError("shapes", "the model has no such input", place=name)
        kind = inputs[name].type.tensor_type
        if not kind.HasField("shape"):
            for _ in shape:
                kind.shape.dim.add()
        if len(kind.shape.dim) != len(shape):
            reason = f"{len(shape)} dimensions given, the model has {len(kind.shape.dim)}"
            raise UserError("shapes", reason, place=name)
        for dimension, size in zip(kind.shape.dim, shape, strict=True):
            changed |= _fix(dimension, size, name, named)
    if named:
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param in named:
                    dimension.dim_value = named[dimension.dim_param]
    return changed


def _fix(dimension: Any, size: int, name: str, named: dict[str, int]) -> bool:
    if dimension.HasField("dim_value"):
        if dimension.dim_value != size:
            reason = f"{size} given for a dimension that is fixed at {dimension.dim_value}"
            raise UserError("shapes", reason, place=name)
        return False
    label = dimension.dim_param
    if label and named.setdefault(label, size) != size:
        reason = f"dimension {label!r} is given as {named[label]} and as {size}"
        raise UserError("shapes", reason, place=name)
    dimension.dim_value = size
    return True


def tensor_io(values: Any) -> tuple[TensorIO, ...]:
    """Inputs or outputs of a session as records."""
    return tuple(
        TensorIO(
            name=v.name,
            dtype=NUMPY_TYPES.get(v.type, ""),
            shape=tuple(d if isinstance(d, int) else str(d or "?") for d in v.shape),
        )
        for v in values
    )


def artifact(session: Any, entry: str, files: tuple[str, ...]) -> Artifact:
    """The record of a model that a session has accepted."""
    return Artifact(
        format="onnx",
        entry=entry,
        files=files,
        inputs=tensor_io(session.get_inputs()),
        outputs=tensor_io(session.get_outputs()),
    )


#: The runtime's names of element types -> numpy's.
NUMPY_TYPES: Mapping[str, str] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    **{f"tensor({t})": t for t in ("int8", "int16", "int32", "int64")},
    **{f"tensor({t})": t for t in ("uint8", "uint16", "uint32", "uint64")},
}
