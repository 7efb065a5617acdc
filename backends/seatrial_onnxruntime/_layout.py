"""NCHW to NHWC and back: the inputs are declared in the other layout, with a Transpose behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Artifact, LayoutRequest, LayoutResult, TensorIO

from . import _model
from ._types import proto_type

#: numpy.transpose arguments: how the new input is made from the old one.
_TO_LAYOUT = {"NHWC": (0, 2, 3, 1), "NCHW": (0, 3, 1, 2)}


def transform_layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """Answer ``seatrial_transform_layout``.

    The inputs keep their names. A Transpose that undoes the new one is cancelled with it, as
    behind the input of a model that was converted from an NHWC framework.

    Raises:
        UserError: an unknown layout or input, or an input that has not four dimensions.
    """
    if request.layout not in _TO_LAYOUT:
        raise UserError("layout", f"{request.layout!r} is neither NCHW nor NHWC")
    path = job.path(request.model)
    model = _model.read(path)
    _model.with_shapes(model, request.shapes)
    perm = _TO_LAYOUT[request.layout]
    added = removed = 0
    inputs = {v.name: v for v in model.graph.input}
    for name in request.inputs:
        if name not in inputs:
            raise UserError("inputs", "the model has no such input", place=name)
        _permute(inputs[name], perm)
        cancelled, kept = _insert(model.graph, name, perm)
        removed += cancelled
        added += kept
    entry, files = _model.copy(path, job.out, model, changed=True)
    constants = {t.name for t in model.graph.initializer}
    return LayoutResult(
        artifact=Artifact(
            format="onnx",
            entry=entry,
            files=files,
            inputs=tuple(
                _io(v, perm if v.name in request.inputs else ())
                for v in model.graph.input
                if v.name not in constants
            ),
            outputs=tuple(_io(v, ()) for v in model.graph.output),
        ),
        transposes_added=added,
        transposes_removed=removed,
        method="rewritten",
        notes=("inside, the CPU kernels block channels by themselves (NCHWc), whatever comes in",),
    )


def _io(value: Any, perm: tuple[int, ...]) -> TensorIO:
    dimensions = value.type.tensor_type.shape.dim
    shape = tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dimensions
    )
    kind = _model.NUMPY_TYPES.get(proto_type(value.type) or "", "")
    return TensorIO(name=value.name, dtype=kind, shape=shape, perm=perm)


def _permute(value: Any, perm: Sequence[int]) -> None:
    shape = value.type.tensor_type.shape
    if len(shape.dim) != len(perm):
        reason = f"has {len(shape.dim)} dimensions, an image input has four"
        raise UserError("inputs", reason, place=value.name)
    old = [type(d).FromString(d.SerializeToString()) for d in shape.dim]
    for dimension, source in zip(shape.dim, perm, strict=True):
        dimension.CopyFrom(old[source])


def _insert(graph: Any, name: str, perm: Sequence[int]) -> tuple[int, int]:
    """Put a Transpose behind an input; gives how many were cancelled and how many added."""
    from onnx import helper

    inner = _unused(graph, f"{name}_{'nchw' if perm[1] == 2 else 'nhwc'}")
    back = [perm.index(k) for k in range(len(perm))]
    cancelled = 0
    for node in list(graph.node):
        if _undoes(node, name, perm) and not _is_output(graph, node.output[0]):
            rename(graph, node.output[0], f"\0{name}")
            graph.node.remove(node)
            cancelled += 1
    uses = rename(graph, name, inner)
    rename(graph, f"\0{name}", name)
    if not uses and cancelled:
        return cancelled, 0
    label = _unused_node(graph, f"{name}_to_layout")
    node = helper.make_node("Transpose", [name], [inner], name=label, perm=back)
    graph.node.insert(0, node)
    return cancelled, 1


def _undoes(node: Any, name: str, perm: Sequence[int]) -> bool:
    if node.op_type != "Transpose" or node.domain not in ("", "ai.onnx"):
        return False
    own = [list(a.ints) for a in node.attribute if a.name == "perm"]
    return list(node.input) == [name] and own == [list(perm)]


def _is_output(graph: Any, name: str) -> bool:
    return any(v.name == name for v in graph.output)


def rename(graph: Any, old: str, new: str) -> int:
    """Let all readers of a tensor, in nested graphs too, read another; gives how many did."""
    count = 0
    for node in graph.node:
        for k, name in enumerate(node.input):
            if name == old:
                node.input[k] = new
                count += 1
        for _, nested in _model.subgraphs(node):
            if not _defines(nested, old):
                count += rename(nested, old, new)
    for value in graph.output:
        if value.name == old and not _makes(graph, old):
            value.name = new
            count += 1
    return count


def _defines(graph: Any, name: str) -> bool:
    own = [v.name for v in graph.input] + [t.name for t in graph.initializer]
    return name in own or _makes(graph, name)


def _makes(graph: Any, name: str) -> bool:
    return any(name in node.output for node in graph.node)


def _unused(graph: Any, wanted: str) -> str:
    taken = {name for p in _model.nodes(graph) for name in (*p.node.input, *p.node.output)}
    while wanted in taken:
        wanted += "_"
    return wanted


def _unused_node(graph: Any, wanted: str) -> str:
    taken = {p.node.name for p in _model.nodes(graph)}
    while wanted in taken:
        wanted += "_"
    return wanted
