"""What really runs: the layers of a compiled model, their kernels, precisions and layouts."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatrial.results import LayerRun

from .graph import WEIGHTED, Graph
from .names import Names
from .targets import LEVELS

#: Layers that hold data and compute nothing.
_SILENT = frozenset({"Input", "Const", "Output", "Result", "Parameter", "Constant"})

#: Layers whose ``runtimePrecision`` is that of a condition or a counter, not of what they compute.
_CONTROL = frozenset({"If", "Loop", "TensorIterator"})

#: Layers that multiply by weights.
_WEIGHT_LAYERS = frozenset(
    {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"}
)

FLOATS = ("FP32", "FP16", "BF16")

_PRECISIONS = {
    "f32": "FP32",
    "f16": "FP16",
    "bf16": "BF16",
    "i8": "INT8",
    "u8": "INT8",
    "i32": "INT32",
    "i64": "INT64",
    "boolean": "BOOL",
}

#: Operators whose 8-bit results are truth values or copies, and prove no INT8 arithmetic.
_NOT_ARITHMETIC = frozenset(
    {"And", "Or", "Not", "Xor", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
    | {"Where", "Cast", "CastLike", "IsNaN", "IsInf", "If", "Loop", "Scan"}
)

#: Operators that move, describe or convert data; their precision says nothing about accuracy.
_MOVING = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice"}
    | {"Gather", "Shape", "Identity", "Constant", "ConstantOfShape", "Expand", "Tile", "Dropout"}
    | {"QuantizeLinear", "DequantizeLinear", "Pad", "DepthToSpace", "SpaceToDepth", "Range"}
)


def runtime_layers(
    compiled: Any, names: Names, times: Mapping[str, Sequence[float]] | None = None
) -> tuple[LayerRun, ...]:
    """The layers of a compiled model.

    Args:
        compiled: an ``openvino.CompiledModel``.
        names: labels by OpenVINO's names.
        times: milliseconds of each execution by layer; given, only layers that ran are listed.
    """
    layers: list[LayerRun] = []
    device = compiled.get_property("EXECUTION_DEVICES")
    on = device[0] if isinstance(device, (list, tuple)) else str(device)
    for operation in compiled.get_runtime_model().get_ordered_ops():
        facts = {k: str(v.value) for k, v in operation.get_rt_info().items()}
        name, kind = operation.get_friendly_name(), facts.get("layerType", "")
        if kind in _SILENT or (times is not None and name not in times):
            continue
        nodes = names.of(facts.get("originalLayersNames", "").split(","))
        layers.append(
            LayerRun(
                layer=name,
                op_type=kind,
                nodes=nodes,
                on=on,
                precision=_precision(kind, facts.get("runtimePrecision", ""), nodes, names),
                layout=facts.get("outputLayouts", ""),
                kernel=facts.get("primitiveType", ""),
                ms=statistics.median(times[name]) if times else -1.0,
            )
        )
    return tuple(_with_weighted(layers, names))


def _precision(kind: str, told: str, nodes: Sequence[str], names: Names) -> str:
    """Precision of a layer; truth values, which the CPU plugin keeps in u8, are no INT8."""
    if kind in _CONTROL:
        return ""
    logical = bool(nodes) and all(names.types.get(n) in _NOT_ARITHMETIC for n in nodes)
    if told in ("u8", "i8") and logical:
        return "BOOL"
    return _PRECISIONS.get(told, told.upper())


def _with_weighted(layers: list[LayerRun], names: Names) -> list[LayerRun]:
    """Give layers the Conv, Gemm or MatMul whose name was lost when a neighbour was folded in.

    A batch normalisation folded into a convolution leaves only its own name. The node is looked
    for upstream, and taken only if a single one that no other layer claims comes into question.
    """
    claimed = {n for layer in layers for n in layer.nodes if names.types.get(n) in WEIGHTED}
    result = []
    for layer in layers:
        nodes = layer.nodes
        if layer.op_type in _WEIGHT_LAYERS and not claimed.intersection(nodes):
            found = names.weighted_above(nodes) - claimed
            if len(found) == 1:
                claimed |= found
                nodes = (*found, *nodes)
        result.append(dataclasses.replace(layer, nodes=nodes))
    return result


def int8_and_float(
    layers: Iterable[LayerRun], types: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels of the nodes that run in INT8 and of those that compute in float.

    A node fused into an INT8 layer (an activation, an addition) counts as INT8. Nodes that only
    move data are in neither list.

    Args:
        layers: from :func:`runtime_layers`.
        types: label -> ONNX operator.
    """
    int8: dict[str, None] = {}
    floating: dict[str, None] = {}
    for layer in layers:
        nodes = [n for n in layer.nodes if types.get(n, "") not in _MOVING]
        if layer.precision == "INT8":
            # a fused subgraph tells the precision of its first operation only
            nodes = nodes[:1] if layer.op_type == "Subgraph" else nodes
            int8 |= dict.fromkeys(n for n in nodes if types.get(n, "") not in _NOT_ARITHMETIC)
        elif layer.precision in FLOATS:
            floating |= dict.fromkeys(nodes)
    return tuple(int8), tuple(n for n in floating if n not in int8)


def unaccounted(graph: Graph, int8: Sequence[str], floating: Sequence[str]) -> tuple[str, ...]:
    """Weighted nodes that no layer claims: folded into constants, or in a nested body."""
    told = {*int8, *floating}
    return tuple(n.label for n in graph.nodes if n.op_type in WEIGHTED and n.label not in told)


def instruction_set(layers: Iterable[LayerRun]) -> str:
    """Highest family of x86 kernels among those that ran, ``""`` when no name tells."""
    seen = {level for layer in layers for level in LEVELS if _names_level(layer.kernel, level)}
    return next((level for level in reversed(LEVELS) if level in seen), "")


def _names_level(kernel: str, level: str) -> bool:
    return level in kernel.lower().split("_")


def own_dispatch(layers: Iterable[LayerRun]) -> tuple[str, ...]:
    """Kernels that pick their instruction set by themselves and heed no cap."""
    return tuple(dict.fromkeys(ly.kernel for ly in layers if "mlas" in ly.kernel.lower()))
