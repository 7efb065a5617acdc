"""Core task: what stands in an exported model. Needs onnx, none of the user's code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from seatrial.export.origin import is_library
from seatrial.export.records import GraphFacts, GraphNode, GraphRequest
from seatrial.hookspecs import Job
from seatrial.results import TensorIO, node_label

CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
STANDARD = ("", "ai.onnx")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in')
_SCOPES = "pkg.torch.onnx.name_scopes"
_STACK = "pkg.torch.onnx.stack_trace"


def inspect(request: GraphRequest, job: Job) -> GraphFacts:
    """Read the model back: opset, control flow, foreign domains, what forced the opset."""
    import onnx

    model = onnx.load(job.path(request.model), load_external_data=False)
    opsets = {o.domain or "": o.version for o in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    bodies = {(f.domain, f.name) for f in model.functions}
    flow, foreign = [], []
    needs: dict[str, int] = {}
    lines: dict[str, None] = {}
    sources: dict[str, None] = {}
    count = 0
    for node, label in walk(model.graph, ""):
        count += 1
        places = [f"{file}:{line}" for file, line in frames(node)]
        lines.update(dict.fromkeys(places))
        sources.update(dict.fromkeys(places[-1:]))
        if node.op_type in CONTROL_FLOW and node.domain in STANDARD:
            flow.append(described(node, label))
        if node.domain not in STANDARD:
            if (node.domain, node.op_type) not in bodies:
                foreign.append(described(node, label))
            continue
        since = _since(node.op_type, opset)
        needs[node.op_type] = max(since, needs.get(node.op_type, 0))
    ordered = dict(sorted(needs.items(), key=lambda item: (-item[1], item[0])))
    weights = {t.name for t in model.graph.initializer}
    return GraphFacts(
        opset=opset,
        nodes=count,
        control_flow=tuple(flow),
        foreign=tuple(foreign),
        lines=tuple(lines),
        sources=tuple(sources),
        needs=ordered,
        inputs=tuple(tensor(v) for v in model.graph.input if v.name not in weights),
        outputs=tuple(tensor(v) for v in model.graph.output),
    )


def walk(graph: Any, scope: str) -> Iterator[tuple[Any, str]]:
    """Every node with its label, subgraphs included."""
    import onnx

    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index, scope)
        yield node, label
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from walk(attribute.g, f"{label}/{attribute.name}")


def described(node: Any, label: str) -> GraphNode:
    """A node with the user's line and module path, where the exporter wrote them down."""
    file, line = source(node)
    return GraphNode(
        label=label,
        op_type=node.op_type,
        domain=node.domain,
        module=module_path(node),
        file=file,
        line=line,
    )


def source(node: Any) -> tuple[str, int]:
    """The line of forward that a node stands for, or ``("", 0)``."""
    found = frames(node)
    return found[-1] if found else ("", 0)


def frames(node: Any) -> list[tuple[str, int]]:
    """The user's lines on the stack when the exporter met a node, outermost first."""
    text = next((p.value for p in node.metadata_props if p.key == _STACK), "")
    return [(f, int(n)) for f, n in _FRAME.findall(text) if not is_library(f)]


def module_path(node: Any) -> str:
    """Path in the module tree: from the exporter's notes, else from a TorchScript node name."""
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
    if text:
        try:
            scopes = [str(s) for s in ast.literal_eval(text)]
        except (ValueError, SyntaxError):
            return ""
        return _own(scopes[-2] if len(scopes) > 1 else "")
    parts = node.name.strip("/").split("/")
    return _own(parts[-2].removesuffix(".") if len(parts) > 1 else "")


def _own(path: str) -> str:
    return "" if path == "module" else path.removeprefix("module.")


def _since(op_type: str, opset: int) -> int:
    import onnx

    try:
        return int(onnx.defs.get_schema(op_type, opset, "").since_version)
    except (onnx.defs.SchemaError, TypeError):
        return 0


def tensor(value: Any) -> TensorIO:
    """A declared input or output."""
    import onnx

    kind = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        dtype = ""
    shape = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in kind.shape.dim
    )
    return TensorIO(name=value.name, dtype=dtype, shape=shape)
