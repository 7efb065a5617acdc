"""ONNX to Relax, and which nodes are at fault when the importer or the compiler refuses."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from tvm.relax.frontend.onnx import from_onnx

from seatrial.errors import one_line
from seatrial.models import Model, RefusedError, read
from seatrial.results import Finding

from .static import foreign

#: The importer's function that has a variable ``node``: the one it is working on.
_FRAMES = ("_construct_nodes",)
#: What it says, once and before anything else, of operators that it has no converter for.
_MISSING = re.compile(r"not supported for frontend ONNX: (.+)")

Shapes = Mapping[str, tuple[int, ...]]


def prepared(path: Path, scratch: Path) -> Model:
    """A model whose free sizes all have names: the importer takes the nameless for one size.

    Raises:
        InvalidModelError: the checker refuses it; TVM's importer would only warn.
    """
    model = read(path, scratch)
    for tensor in model.proto.graph.input:
        for k, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"size_{tensor.name}_{k}"
    return model


def imported(model: Model, shapes: Shapes) -> Any:
    """The model as a Relax module.

    Args:
        model: what to import.
        shapes: a static shape for each input that gets one.

    Raises:
        RefusedError: naming every node that no converter takes, or the first that one fails on.
    """
    if strange := tuple(_strange(model)):
        raise RefusedError(*strange)
    try:
        return from_model(model.proto, shapes)
    except Exception as error:  # noqa: BLE001 - the importer ends in errors of every kind
        if missing := tuple(_missing(model, error)):
            raise RefusedError(*missing) from None
        at = _node_of(error, model)
        findings = _blamed(model, from_model, first=(at, one_line(error)))
        raise RefusedError(*findings) from None


def blame_compiler(model: Model, error: Exception, attempt: Callable[[Any], None]) -> RefusedError:
    """The nodes that the compiler refuses on their own.

    Args:
        model: what was imported and not compiled.
        error: the compiler's.
        attempt: imports and compiles a model, or raises.
    """
    findings = _blamed(model, lambda proto, _: attempt(proto), first=(None, one_line(error)))
    return RefusedError(*findings)


def from_model(proto: Any, shapes: Shapes) -> Any:
    """Import an ONNX model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that were made valid, and of unknown sizes
        return from_onnx(proto, {k: list(v) for k, v in shapes.items()})


def _strange(model: Model) -> Iterator[Finding]:
    """Nodes of other domains: the importer would take them for ONNX operators of that name."""
    for node in model.proto.graph.node:
        if foreign(node):
            reason = f"no converter for {node.domain}.{node.op_type}"
            yield model.finding(model.index(node.name), reason)


def _missing(model: Model, error: Exception) -> Iterator[Finding]:
    """Every node of the operators that an error lists as having no converter."""
    match = _MISSING.search(str(error))
    kinds = {name.strip() for name in match[1].split(",")} if match else set()
    for node in model.proto.graph.node:
        if node.op_type in kinds:
            yield model.finding(model.index(node.name), f"no converter for {node.op_type}")


def _node_of(error: BaseException, model: Model) -> int | None:
    """Position of the node that the importer was at, read from the frames of its traceback."""
    trace = error.__traceback__
    found = None
    while trace is not None:
        if trace.tb_frame.f_code.co_name in _FRAMES:
            found = trace.tb_frame.f_locals.get("node")
        trace = trace.tb_next
    nodes = list(model.proto.graph.node)
    same = [k for k, n in enumerate(nodes) if found is not None and n == found]
    return same[0] if same else None


def _blamed(
    model: Model, attempt: Callable[[Any, Shapes], Any], first: tuple[int | None, str]
) -> tuple[Finding, ...]:
    """The node that stopped the whole model, and every other one that fails on its own too."""
    found: dict[int, str] = {}
    seen: dict[bytes, str] = {}
    for k, single in _singles(model):
        key = _signature(single)
        if key not in seen:
            try:
                attempt(single, {})
                seen[key] = ""
            except Exception as error:  # noqa: BLE001 - as above
                seen[key] = one_line(error)
        if seen[key]:
            found[k] = seen[key]
    at, reason = first
    if at is not None:
        found.setdefault(at, reason)
    elif not found:
        return (model.finding(None, reason),)
    nodes = model.proto.graph.node
    return tuple(model.finding(model.index(nodes[k].name), found[k]) for k in sorted(found))


def _singles(model: Model) -> Iterator[tuple[int, Any]]:
    """Models of one node each, for the nodes whose input types are known.

    A node that takes computed sizes is left out: alone, it would be refused for want of them.
    """
    try:
        proto = onnx.shape_inference.infer_shapes(model.proto, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return
    graph = proto.graph
    constants = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = onnx.TensorProto()
            constants[node.output[0]].CopyFrom(node.attribute[0].t)
            constants[node.output[0]].name = node.output[0]
    infos = {i.name: i for i in [*graph.input, *graph.value_info, *graph.output]}
    given = {i.name for i in graph.input}
    for k, node in enumerate(graph.node):
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            continue
        needed = [n for n in dict.fromkeys(node.input) if n and n not in constants]
        outputs = [n for n in node.output if n]
        if any(n not in infos for n in [*needed, *outputs]):
            continue
        if any(_is_sizes(infos[n]) and n not in given for n in needed):
            continue
        single = onnx.helper.make_graph(
            [node],
            "single",
            [infos[n] for n in needed],
            [infos[n] for n in outputs],
            [constants[n] for n in dict.fromkeys(node.input) if n in constants],
        )
        made = onnx.helper.make_model(single, opset_imports=list(proto.opset_import))
        made.ir_version = proto.ir_version
        yield k, made


def _is_sizes(info: Any) -> bool:
    kind = info.type.tensor_type
    return kind.elem_type == onnx.TensorProto.INT64 and len(kind.shape.dim) <= 1


def _signature(single: Any) -> bytes:
    """The same for nodes that differ in names and values of weights only."""
    graph = single.graph
    node = onnx.NodeProto()
    node.CopyFrom(graph.node[0])
    node.ClearField("name")
    names = {n: str(k) for k, n in enumerate(dict.fromkeys([*node.input, *node.output]))}
    for field in (node.input, node.output):
        renamed = [names[n] if n else "" for n in field]
        del field[:]
        field.extend(renamed)
    parts = [node.SerializeToString(deterministic=True)]
    parts += [i.type.SerializeToString(deterministic=True) for i in graph.input]
    for tensor in graph.initializer:
        small = tensor.data_type == onnx.TensorProto.INT64 or not tensor.dims
        value = numpy_helper.to_array(tensor).tobytes() if small else b""
        parts.append(f"{tensor.data_type} {list(tensor.dims)} ".encode() + value)
    return b"|".join(parts)
