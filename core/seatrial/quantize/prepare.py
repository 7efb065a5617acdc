"""The float graph as quantisation wants it: same results, fewer nodes, opset 13 or later.

Runs in a child only. Calibration observes the graph that this module makes, and insertion edits
the same one, so the ranges always belong to the tensors they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError

from .graph import Graph, attribute

#: Per-axis QuantizeLinear and DequantizeLinear exist from here on.
OPSET_MIN = 13

#: QuantizeLinear and DequantizeLinear know 16 bits from here on.
OPSET_WIDE = 21

#: IR versions that these opsets came with.
IR_MIN, IR_WIDE = 7, 10

#: Cheap operators that exporters leave between a weight and the node that uses it.
FOLDABLE = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass
class Prepared:
    """A graph ready for planning.

    Attributes:
        graph: edited in place by insertion.
        folded: label of each BatchNormalization that is gone -> label of the node it went into.
        removed: labels of all other nodes that are gone (constants, identities).
        notes: conversions worth a line.
    """

    graph: Graph
    folded: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(path: Path, opset: int = OPSET_MIN, *, aside: Path | None = None) -> Prepared:
    """Read a model and bring it into shape.

    Args:
        path: an ONNX file.
        opset: the least that the Q/DQ form needs.
        aside: a folder that takes the large weights, so that they need no memory.

    Raises:
        UserError: its opset is too old for per-channel pairs and cannot be converted.
    """
    graph = Graph.read(path)
    if aside is not None:
        graph.set_aside(aside)
    prepared = Prepared(graph)
    if 0 < graph.opset < opset:
        prepared.graph = graph = _upgrade(graph, path, opset)
        prepared.notes.append(f"converted to opset {opset}")
    graph.model.ir_version = max(graph.model.ir_version, IR_MIN if opset < OPSET_WIDE else IR_WIDE)
    graph.freeze_initializers()
    _constants_to_initializers(prepared)
    _drop_identities(prepared)
    _fold_constants(prepared)
    _fold_batch_normalization(prepared)
    graph.drop_unused()
    if aside is not None:
        graph.set_aside(aside)
    graph.infer()
    return prepared


def _upgrade(graph: Graph, path: Path, opset: int) -> Graph:
    """Convert to a later opset; labels stay because they are node names by now."""
    import onnx

    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in graph.proto.initializer):
        onnx.external_data_helper.load_external_data_for_model(graph.model, str(graph.folder))
    names = [n.name for n in graph.nodes]
    try:
        model = onnx.version_converter.convert_version(graph.model, opset)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise UserError(
            path.name,
            f"opset {graph.opset} has no such Q/DQ form and conversion to {opset} failed: {reason}",
            advice=f"export the model with opset {opset} or later",
        ) from None
    lost = set(names) - {n.name for n in model.graph.node}
    converted = Graph(model, graph.folder)
    if len(lost) > len(names) // 2:
        raise UserError(path.name, f"conversion to opset {opset} lost the node names")
    return converted


def _constants_to_initializers(prepared: Prepared) -> None:
    import numpy as np
    import onnx

    graph, kept = prepared.graph, []
    for node in graph.nodes:
        value = _constant_value(node) if node.op_type == "Constant" and not node.domain else None
        if value is None or node.output[0] in graph.outputs:
            kept.append(node)
            continue
        if isinstance(value, onnx.TensorProto):
            value.name = node.output[0]
            graph.proto.initializer.append(value)
            graph.initializers[value.name] = graph.proto.initializer[-1]
        else:
            graph.set_constant(node.output[0], np.asarray(value))
        prepared.removed.append(node.name)
    graph.set_nodes(kept)


def _constant_value(node: Any) -> Any | None:
    import numpy as np

    kinds = {"value_float": "float32", "value_floats": "float32"}
    kinds |= {"value_int": "int64", "value_ints": "int64"}
    for name, kind in kinds.items():
        value = attribute(node, name)
        if value is not None:
            return np.asarray(value, kind)
    return attribute(node, "value")


def _drop_identities(prepared: Prepared) -> None:
    """Remove Identity and inference-mode Dropout, except where an outer name hangs on them."""
    graph = prepared.graph
    pinned = graph.pinned()
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        for k, name in enumerate(node.input):
            node.input[k] = renamed.get(name, name)
        if node.output[0] in pinned or not _is_identity(node, graph):
            kept.append(node)
            continue
        renamed[node.output[0]] = node.input[0]
        prepared.removed.append(node.name)
    graph.set_nodes(kept)


def _is_identity(node: Any, graph: Graph) -> bool:
    if node.domain or sum(bool(o) for o in node.output) > 1 or not node.input[0]:
        return False
    if node.op_type == "Dropout":
        training = node.input[2] if len(node.input) > 2 else ""
        value = graph.constant(training) if training else False
        return value is not None and not bool(value)
    return bool(node.op_type == "Identity")


def _fold_constants(prepared: Prepared) -> None:
    """Evaluate the operators of :data:`FOLDABLE` whose inputs are all constant."""
    import numpy as np

    graph, kept = prepared.graph, []
    for node in graph.nodes:
        infos = [graph.constant_info(n) for n in node.input if n]
        wanted = node.op_type in FOLDABLE and not node.domain
        if not wanted or node.output[0] in graph.outputs or not infos or None in infos:
            kept.append(node)
            continue
        from onnx.reference import ReferenceEvaluator  # a fifth of the memory of all imports

        feeds = {n: graph.constant(n) for n in node.input if n}
        (value,) = ReferenceEvaluator(_alone(node, graph)).run(None, feeds)
        graph.set_constant(node.output[0], np.ascontiguousarray(value))
        prepared.removed.append(node.name)
    graph.set_nodes(kept)


def _alone(node: Any, graph: Graph) -> Any:
    """A model of one node."""
    import onnx

    inputs = [
        onnx.helper.make_tensor_value_info(n, graph.initializers[n].data_type, None)
        for n in dict.fromkeys(node.input)
        if n
    ]
    outputs = [onnx.ValueInfoProto(name=node.output[0])]
    alone = onnx.helper.make_graph([node], "fold", inputs, outputs)
    opset = onnx.helper.make_opsetid("", graph.opset)
    return onnx.helper.make_model(alone, opset_imports=[opset], ir_version=IR_MIN)


def _fold_batch_normalization(prepared: Prepared) -> None:
    """Fold BatchNormalization into the convolution that it alone follows.

    y = (conv(x) - mean) * gamma / sqrt(var + eps) + beta; Ioffe and Szegedy 2015, section 3.
    """
    graph = prepared.graph
    pinned, readers, producers = graph.pinned(), graph.readers(), graph.producers()
    taken, gone = graph.names(), set()
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or node.domain or attribute(node, "training_mode"):
            continue
        conv = producers.get(node.input[0])
        alone = len(readers[node.input[0]]) == 1 and node.input[0] not in pinned
        if conv is None or not alone or not _fold_into(conv, node, graph, taken):
            continue
        producers[node.output[0]] = conv
        gone.add(node.name)
        prepared.folded[node.name] = conv.name
    graph.set_nodes([n for n in graph.nodes if n.name not in gone])


def _fold_into(conv: Any, norm: Any, graph: Graph, taken: set[str]) -> bool:
    import numpy as np

    transposed = conv.op_type == "ConvTranspose" and attribute(conv, "group", 1) == 1
    if conv.domain or not (conv.op_type == "Conv" or transposed):
        return False
    weight = graph.constant(conv.input[1])
    bias = graph.constant(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else 0.0
    values = [graph.constant(n) for n in norm.input[1:5]]
    if weight is None or bias is None or any(v is None for v in values):
        return False
    if weight.dtype != np.float32 or len([o for o in norm.output if o]) != 1:
        return False
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in values)
    factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    shape = [1] * weight.ndim
    shape[1 if transposed else 0] = -1
    folded = weight.astype(np.float64) * factor.reshape(shape)
    shift = (np.asarray(bias, np.float64) - mean) * factor + beta
    if not (np.isfinite(folded).all() and np.isfinite(shift).all()):
        return False
    names = [graph.unique(f"{conv.name}_{part}_folded", taken) for part in ("weight", "bias")]
    graph.set_constant(names[0], folded.astype(np.float32))
    graph.set_constant(names[1], shift.astype(np.float32))
    del conv.input[1:]
    conv.input.extend(names)
    conv.output[0] = norm.output[0]
    return True
