"""The engine inspector: what each layer of an engine is, in which precision and format.

TensorRT 10 gives type and format of a tensor as one text, ``Format/Datatype``; 11 gives two. With
little verbosity a layer is only its name.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from seatrial.results import LayerRun

from ._refusals import nodes_of

#: Texts of types, the longer before what they contain.
_TYPES = (
    ("BF16", r"BF16|BFloat16"),
    ("FP16", r"FP16|Half"),
    ("FP8", r"FP8"),
    ("FP4", r"FP4"),
    ("FP32", r"FP32|Float"),
    ("UINT8", r"UINT8|UInt8"),
    ("INT8", r"INT8|Int8"),
    ("INT4", r"INT4|Int4"),
    ("INT64", r"INT64|Int64"),
    ("INT32", r"INT32|Int32"),
    ("BOOL", r"BOOL|Bool"),
)
FLOATS = frozenset({"FP32", "TF32", "FP16", "BF16"})

#: Operators that carry weights; an INT8 engine is judged by what became of these.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

#: ONNX operators that compute nothing.
_MOVING = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "Constant", "Shape", "Size"}
    | {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice"}
    | {"Gather", "GatherElements", "GatherND", "Expand", "Tile", "Pad", "Dropout", "If", "Loop"}
)

_INT8_KERNEL = re.compile(r"(?<![a-z])i8(?:i8|f32|f16)?|imma|int8", re.IGNORECASE)


def read_layers(
    text: str, labels: Mapping[str, str], types: Mapping[str, str], on: str = "GPU"
) -> tuple[LayerRun, ...]:
    """Layers of an engine as the inspector's JSON tells them.

    Args:
        text: of ``get_engine_information``.
        labels: name that TensorRT knows a node under -> label.
        types: label -> ONNX operator.
        on: the device of layers that name none.
    """
    found = []
    for layer in json.loads(text).get("Layers", []):
        if isinstance(layer, str):
            found.append(LayerRun(layer=layer, op_type="", nodes=nodes_of(layer, labels), on=on))
            continue
        name, kind = str(layer.get("Name", "")), str(layer.get("LayerType", ""))
        nodes = nodes_of(str(layer.get("Metadata") or ""), labels)
        if not nodes and kind != "Reformat":  # its name is that of the layer that it serves
            nodes = nodes_of(name, labels)
        outputs = layer.get("Outputs") or []
        found.append(
            LayerRun(
                layer=name,
                op_type=kind,
                nodes=nodes,
                on="DLA" if kind.upper().startswith("DLA") else on,
                precision=_precision(layer, [types.get(n, "") for n in nodes]),
                layout=_format(outputs[0]) if outputs else "",
                kernel=str(layer.get("TacticName") or ""),
            )
        )
    return tuple(found)


def with_times(
    layers: Sequence[LayerRun], times: Mapping[str, Sequence[float]]
) -> tuple[LayerRun, ...]:
    """The layers with the median of the times that a profiler saw, by name."""
    return tuple(
        dataclasses.replace(ly, ms=median(times[ly.layer])) if times.get(ly.layer) else ly
        for ly in layers
    )


def reformats(text: str, tensors: Iterable[str]) -> int:
    """How many layers do nothing but turn one of these tensors into another format."""
    wanted = set(tensors)
    layers = [ly for ly in json.loads(text).get("Layers", []) if isinstance(ly, dict)]
    return sum(
        str(ly.get("LayerType", "")).lower() == "reformat"
        and any(t.get("Name") in wanted for t in ly.get("Inputs") or [] if isinstance(t, dict))
        for ly in layers
    )


def int8_and_float(
    layers: Iterable[LayerRun], types: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels of nodes that run in INT8, and of those that compute in float."""
    int8: dict[str, None] = {}
    floating: dict[str, None] = {}
    for layer in layers:
        nodes = [n for n in layer.nodes if types.get(n, "") not in _MOVING]
        if layer.precision == "INT8":
            int8 |= dict.fromkeys(nodes)
        elif layer.precision in FLOATS:
            floating |= dict.fromkeys(nodes)
    return tuple(int8), tuple(n for n in floating if n not in int8)


def untold(types: Mapping[str, str], told: Iterable[str]) -> tuple[str, ...]:
    """Weighted nodes of which no layer tells the precision."""
    known = set(told)
    return tuple(n for n, kind in types.items() if kind in WEIGHTED and n not in known)


def _precision(layer: Mapping[str, Any], operators: Sequence[str]) -> str:
    """What a layer computes in.

    The type of its weights, else of its first input. A fused layer that quantises its own input
    takes float and may compute in INT8: only its kernel can tell, and where it does not, nothing
    is said.
    """
    kernel = str(layer.get("TacticName") or "")
    weights = layer.get("Weights")
    if isinstance(weights, dict) and _type(str(weights.get("Type", ""))) == "INT8":
        return "INT8"
    inputs = layer.get("Inputs") or []
    taken = _type(_text(inputs[0])) if inputs else ""
    computes = bool(WEIGHTED.intersection(operators))
    if taken in FLOATS and computes and "QuantizeLinear" in operators:
        return "INT8" if _INT8_KERNEL.search(kernel) else ""
    if taken == "FP32" and "tf32" in kernel.lower():
        return "TF32"
    return taken


def _text(tensor: Any) -> str:
    """Type and format of a tensor, in one text."""
    if not isinstance(tensor, dict):
        return ""
    joined = tensor.get("Format/Datatype")
    return str(joined) if joined else f"{_dtype(tensor)} {tensor.get('Format') or ''}"


def _dtype(tensor: Mapping[str, Any]) -> str:
    return str(tensor.get("DataType") or tensor.get("Datatype") or "")


def _type(text: str) -> str:
    return next((name for name, pattern in _TYPES if re.search(pattern, text)), "")


def _format(tensor: Any) -> str:
    """TensorRT's text of a format; empty where only a type is given."""
    if not isinstance(tensor, dict):
        return ""
    text = str(tensor.get("Format") or tensor.get("Format/Datatype") or "").rstrip(".")
    return text if " " in text or tensor.get("Format") else ""
