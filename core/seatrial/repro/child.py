"""Cuts, empties and renames models. Runs in a child; ``onnx`` is imported late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from seatrial.hookspecs import Job
from seatrial.quantize.graph import subgraphs
from seatrial.results import Artifact

from .types import RANDOM, Count, CountRequest, CutRequest, CutResult

#: Constants of at most this many numbers are axes, sizes and scales: parts of the structure.
STRUCTURE = 16
MODEL = "model.onnx"


def count(request: CountRequest, job: Job) -> Count:
    """How many nodes a model has."""
    import onnx

    model = onnx.load(str(job.path(request.model)), load_external_data=False)
    return Count(nodes=len(model.graph.node))


def cut(request: CutRequest, job: Job) -> CutResult:
    """A run of nodes as a model of its own."""
    import onnx

    model = onnx.load(str(job.path(request.model)))
    graph = model.graph
    end = request.end or len(graph.node)
    if (request.first, end) != (0, len(graph.node)):
        why_not = _restrict(model, request.first, end)
        if why_not:
            return CutResult(why_not=why_not)
    replaced = _empty(model, request.seed) if request.weights == RANDOM else 0
    if request.rename:
        _rename(model)
    path = job.out / MODEL
    try:
        onnx.save(model, path)
    except ValueError as error:  # protobuf holds at most 2 GB
        return CutResult(why_not=f"cannot be written as one file: {error}")
    return CutResult(
        artifact=Artifact(format="onnx", entry=MODEL, files=(MODEL,)),
        nodes=len(graph.node),
        replaced=replaced,
        kept=sum(t.ByteSize() for t in _constants(model) if _large(t)) if not replaced else 0,
        op_types=tuple(dict.fromkeys(n.op_type for n in graph.node))[:20],
    )


def _restrict(model: Any, first: int, end: int) -> str:
    """Leave only a run of nodes; what it reads from outside becomes an input."""
    import onnx

    graph = model.graph
    known = _values(model)
    keep = list(graph.node[first:end])
    outside = [*graph.node[:first], *graph.node[end:]]
    made = {name for node in keep for name in node.output if name}
    constants = {t.name for t in (*graph.initializer, *graph.sparse_initializer)}
    read = list(dict.fromkeys(name for node in keep for name in _reads(node)))
    wanted = [name for name in read if name not in made | constants]
    untyped = [name for name in wanted if name not in known]
    if untyped:
        return f"the type of {untyped[0]} is not known"
    used = {name for node in outside for name in _reads(node)}
    read_inside = set(read)
    finals = {v.name for v in graph.output}
    ends = [n for n in made if n in finals or n in used or n not in read_inside]
    given = [known.get(n) or onnx.ValueInfoProto(name=n) for n in sorted(ends)]
    for field, values in (
        ("node", keep),
        ("input", [known[name] for name in wanted]),
        ("output", given),
        ("initializer", [t for t in graph.initializer if t.name in read_inside]),
        (
            "sparse_initializer",
            [t for t in graph.sparse_initializer if t.values.name in read_inside],
        ),
        ("value_info", []),
    ):
        kept = [type(v).FromString(v.SerializeToString()) for v in values]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(kept)
    return ""


def _values(model: Any) -> dict[str, Any]:
    """What is known of the type of each tensor."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - on odd graphs inference raises many types, or gives little
        inferred = model
    graph = inferred.graph
    values = (*graph.value_info, *graph.output, *graph.input)
    return {v.name: v for v in values if v.type.WhichOneof("value")}


def _reads(node: Any) -> Iterator[str]:
    """Tensors that a node reads, those of its bodies from outside them included."""
    yield from (name for name in node.input if name)
    for body in subgraphs(node):
        own = {t.name for t in body.initializer} | {v.name for v in body.input}
        for inner in body.node:
            yield from (name for name in _reads(inner) if name not in own)
            own.update(inner.output)
        yield from (v.name for v in body.output if v.name not in own)


def _graphs(model: Any) -> Iterator[Any]:
    """Every graph of a model, bodies of control flow included."""
    stack = [model.graph]
    while stack:
        graph = stack.pop()
        yield graph
        stack += [body for node in graph.node for body in subgraphs(node)]


def _constants(model: Any) -> Iterator[Any]:
    """Every constant tensor: initializers, and values of Constant nodes."""
    for graph in _graphs(model):
        yield from graph.initializer
        for node in graph.node:
            yield from (a.t for a in node.attribute if a.HasField("t"))


def _large(tensor: Any) -> bool:
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size > STRUCTURE


def _empty(model: Any, seed: int) -> int:
    """Numbers of our own in place of every float weight, as large as trained ones usually are."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    draw = np.random.default_rng(seed)
    replaced = 0
    for tensor in _constants(model):
        if tensor.data_type not in floats or not _large(tensor):
            continue
        shape = tuple(tensor.dims)
        fan = max(1, int(np.prod(shape[1:])))
        kind = {1: np.float32, 10: np.float16, 11: np.float64}[tensor.data_type]
        values = (draw.standard_normal(shape) / np.sqrt(fan)).astype(kind)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values, name))
        replaced += 1
    return replaced


def _rename(model: Any) -> None:
    """Names become ``n1`` and ``t1`` in order of appearance; texts and metadata go."""
    names: dict[str, str] = {"": ""}

    def tensor(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    for graph in _graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = tensor(value.name)
            _anonymous(value, names)
        for constant in graph.initializer:
            constant.name = tensor(constant.name)
            constant.doc_string = ""
        for sparse in graph.sparse_initializer:
            sparse.values.name = tensor(sparse.values.name)
        for i, node in enumerate(graph.node, 1):
            node.name = f"n{i}"
            node.doc_string = ""
            node.input[:] = [tensor(name) for name in node.input]
            node.output[:] = [tensor(name) for name in node.output]
            del node.metadata_props[:]
            for attribute in node.attribute:
                attribute.doc_string = ""
                if attribute.HasField("t"):
                    attribute.t.name = ""
        graph.name, graph.doc_string = "repro", ""
        del graph.metadata_props[:], graph.quantization_annotation[:]
    used = {node.domain for graph in _graphs(model) for node in graph.node}
    used |= {node.domain for function in model.functions for node in function.node}
    imports = [o for o in model.opset_import if o.domain in used | {"", "ai.onnx"}]
    kept = [(o.domain, o.version) for o in imports]
    del model.opset_import[:]
    for domain, version in kept:
        model.opset_import.add(domain=domain, version=version)
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    model.domain = ""
    del model.metadata_props[:]


def _anonymous(value: Any, names: dict[str, str]) -> None:
    """Free dimensions lose their names too; which of them are the same one stays."""
    value.doc_string = ""
    for dim in _dims(value.type):
        if dim.HasField("dim_param"):
            key = f"dimension {dim.dim_param}"
            dim.dim_param = names.setdefault(key, f"d{len(names)}")


def _dims(kind: Any) -> Iterable[Any]:
    if kind.HasField("tensor_type"):
        return list(kind.tensor_type.shape.dim)
    return []
