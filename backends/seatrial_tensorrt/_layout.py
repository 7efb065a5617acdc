"""Image inputs in another layout: by the format of the input's memory, or by a Transpose."""

from __future__ import annotations

from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import LayoutRequest, LayoutResult

from ._artifact import save
from ._compile import accepted
from ._engine import Wish, build
from ._inspect import reformats
from ._model import prepare
from ._trt import Toolkit

#: Wanted layout -> axes of the new input taken from the old one.
PERMS = {"NHWC": (0, 2, 3, 1), "NCHW": (0, 3, 1, 2)}


def transform_layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """Answer ``seatrial_transform_layout``.

    A tensor stays N, C, H, W to TensorRT, and its memory may lie as H, W, C: that gives NHWC
    without touching the graph. The other way round there is no such format, so a Transpose is put
    behind the input and left to the builder to fuse.

    Raises:
        UserError: unknown layout or input, an input without four axes, or TensorRT refuses.
    """
    if request.layout not in PERMS:
        raise UserError("layout", f"no {request.layout!r}", advice=f"one of {', '.join(PERMS)}")
    perm = PERMS[request.layout]
    toolkit = Toolkit(request.target, request.options)
    path = job.path(request.model)
    by_format = request.layout == "NHWC"
    prepared = prepare(path, request.shapes, toolkit.options.max_batch)
    if not by_format:
        prepared.data = _transposed(prepared.data, request.inputs, perm)
    _check(prepared.inputs, prepared.data, request.inputs)
    job.progress("building an engine", 0.2)
    wish = Wish(formats=dict.fromkeys(request.inputs, "HWC") if by_format else {})
    built = accepted(build(toolkit, prepared, wish, job.progress), prepared)
    saved = save(
        toolkit,
        prepared,
        built,
        job.out,
        perms=dict.fromkeys(request.inputs, perm) if by_format else {},
    )
    artifact = saved.artifact
    added = reformats(saved.text, request.inputs) if by_format else len(request.inputs)
    if not by_format:
        artifact = _with_perm(artifact, request.inputs, perm)
    return LayoutResult(
        artifact=artifact,
        transposes_added=added,
        transposes_removed=0,
        method="reconfigured" if by_format else "rewritten",
        notes=(*built.notes, "layers between choose their formats themselves in either case"),
    )


def _check(known: tuple[str, ...], data: bytes, wanted: tuple[str, ...]) -> None:
    import onnx

    ranks = {
        i.name: len(i.type.tensor_type.shape.dim)
        for i in onnx.load_model_from_string(data).graph.input
    }
    for name in wanted:
        if name not in known:
            raise UserError("inputs", f"the model has no input {name!r}")
        if ranks[name] != 4:
            raise UserError("inputs", "it has not four axes, its layout has no meaning", place=name)


def _with_perm(artifact: Any, inputs: tuple[str, ...], perm: tuple[int, ...]) -> Any:
    """The record of an engine whose inputs were turned in the graph."""
    import dataclasses

    turned = tuple(
        dataclasses.replace(io, perm=perm) if io.name in inputs else io for io in artifact.inputs
    )
    return dataclasses.replace(artifact, inputs=turned)


def _transposed(data: bytes, inputs: tuple[str, ...], perm: tuple[int, ...]) -> bytes:
    """The model with turned inputs, and a Transpose behind each that turns it back."""
    import onnx

    model = onnx.load_model_from_string(data)
    back = [perm.index(axis) for axis in range(len(perm))]
    nodes = []
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in inputs or len(dims) != len(perm):
            continue
        old = [type(d).FromString(d.SerializeToString()) for d in dims]
        for axis, source in enumerate(perm):
            dims[axis].CopyFrom(old[source])
        inner = f"{value.name}/as_before"
        _rename(model.graph, value.name, inner)
        nodes.append(
            onnx.helper.make_node("Transpose", [value.name], [inner], f"{inner}/turn", perm=back)
        )
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    return bytes(model.SerializeToString())


def _rename(graph: Any, old: str, new: str) -> None:
    """Let every node, nested ones among them, read another tensor."""
    from . import _graph

    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new
        for _, inner in _graph.nested(node):
            if old not in {i.name for i in inner.input}:
                _rename(inner, old, new)
    for output in graph.output:
        if output.name == old:
            output.name = new
