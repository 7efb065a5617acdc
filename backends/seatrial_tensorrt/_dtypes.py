"""Element types: ONNX's numbers, TensorRT's names, numpy's names, and what nodes give.

Schemas come from ``onnx.defs``, which holds no state that a model could damage.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Number of an element type in ONNX, or ``None`` when it is not known.
Element = int | None

#: ONNX's number -> (its name in schemas, TensorRT's name; "" where it has none).
_ELEMENTS: Mapping[int, tuple[str, str]] = {
    1: ("float", "FP32"),
    2: ("uint8", "UINT8"),
    3: ("int8", "INT8"),
    4: ("uint16", ""),
    5: ("int16", ""),
    6: ("int32", "INT32"),
    7: ("int64", "INT64"),
    8: ("string", ""),
    9: ("bool", "BOOL"),
    10: ("float16", "FP16"),
    11: ("double", "FP32"),  # narrowed by the parser
    12: ("uint32", ""),
    13: ("uint64", ""),
    14: ("complex64", ""),
    15: ("complex128", ""),
    16: ("bfloat16", "BF16"),
    17: ("float8e4m3fn", "FP8"),
    18: ("float8e4m3fnuz", ""),
    19: ("float8e5m2", ""),
    20: ("float8e5m2fnuz", ""),
    21: ("uint4", ""),
    22: ("int4", "INT4"),
    23: ("float4e2m1", "FP4"),
    24: ("float8e8m0", "E8M0"),
}
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 11, 16

_BY_NAME = {f"tensor({name})": number for number, (name, _) in _ELEMENTS.items()}

#: TensorRT's member of ``DataType`` -> numpy's name; what numpy has not is left out.
NUMPY: Mapping[str, str] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


def onnx_name(element: int) -> str:
    """ONNX's name of a type, ``float16``."""
    return _ELEMENTS[element][0] if element in _ELEMENTS else f"type {element}"


def trt_name(element: int) -> str:
    """TensorRT's name of a type, ``""`` when it has no such type."""
    return _ELEMENTS.get(element, ("", ""))[1]


def outputs_of(
    node: Any, domain: str, versions: Mapping[str, int], inputs: Sequence[Element]
) -> list[Element]:
    """Types of a node's outputs, as its schema and attributes tell."""
    count = len(node.output)
    if not domain and node.op_type in _SPECIAL:
        first = _SPECIAL[node.op_type](node, inputs)
        if first is not None:
            return [first, *_by_schema(node, domain, versions, inputs)[1:count]]
    return _by_schema(node, domain, versions, inputs)[:count]


def _by_schema(
    node: Any, domain: str, versions: Mapping[str, int], inputs: Sequence[Element]
) -> list[Element]:
    schema = schema_of(node.op_type, domain, versions.get(domain, 0))
    if schema is None:
        return [None] * len(node.output)
    bound: dict[str, int] = {}
    for position, element in enumerate(inputs):
        formal = _formal(schema.inputs, position)
        if formal is not None and element is not None:
            bound.setdefault(formal.type_str, element)
    found: list[Element] = []
    for position in range(len(node.output)):
        formal = _formal(schema.outputs, position)
        if formal is None:
            found.append(None)
            continue
        name = formal.type_str
        allowed = _allowed(schema).get(name, (name,))
        only = _BY_NAME.get(allowed[0]) if len(allowed) == 1 else None
        found.append(bound.get(name, only))
    return found


@functools.cache
def schema_of(op_type: str, domain: str, version: int) -> Any:
    """ONNX's schema of an operator in an opset, ``None`` when there is none."""
    from onnx import defs

    try:
        return defs.get_schema(op_type, version, domain) if version > 0 else None
    except (defs.SchemaError, OverflowError, TypeError):
        return None


def _formal(formals: Sequence[Any], position: int) -> Any:
    """The formal parameter of a position; the last one may stand for many."""
    if position < len(formals):
        return formals[position]
    variadic = formals and formals[-1].option.name == "Variadic"
    return formals[-1] if variadic else None


def _allowed(schema: Any) -> dict[str, tuple[str, ...]]:
    return {c.type_param_str: tuple(c.allowed_type_strs) for c in schema.type_constraints}


def _stated(name: str, default: Callable[[Sequence[Element]], Element]) -> Any:
    """Types that stand in an attribute; without it, what ``default`` makes of the inputs."""

    def find(node: Any, inputs: Sequence[Element]) -> Element:
        for attribute in node.attribute:
            if attribute.name == name and attribute.i:
                return int(attribute.i)
        return default(inputs)

    return find


def _first(inputs: Sequence[Element]) -> Element:
    return inputs[0] if inputs else None


def _second(inputs: Sequence[Element]) -> Element:
    return inputs[1] if len(inputs) > 1 else None


def _third_or_uint8(inputs: Sequence[Element]) -> Element:
    return inputs[2] if len(inputs) > 2 and inputs[2] is not None else UINT8


def _of_constant(node: Any, _: Sequence[Element]) -> Element:
    kinds = {"value_float": FLOAT, "value_floats": FLOAT, "value_int": INT64, "value_ints": INT64}
    for attribute in node.attribute:
        if attribute.name == "value":
            return int(attribute.t.data_type)
        if attribute.name in kinds:
            return kinds[attribute.name]
    return None


def _of_fill(node: Any, _: Sequence[Element]) -> Element:
    return next((int(a.t.data_type) for a in node.attribute if a.name == "value"), FLOAT)


_SPECIAL: Mapping[str, Callable[[Any, Sequence[Element]], Element]] = {
    "Cast": _stated("to", lambda _: None),
    "CastLike": lambda _, inputs: _second(inputs),
    "Constant": _of_constant,
    "ConstantOfShape": _of_fill,
    "EyeLike": _stated("dtype", _first),
    "RandomNormal": _stated("dtype", lambda _: FLOAT),
    "RandomUniform": _stated("dtype", lambda _: FLOAT),
    "RandomNormalLike": _stated("dtype", _first),
    "RandomUniformLike": _stated("dtype", _first),
    "QuantizeLinear": _stated("output_dtype", _third_or_uint8),
    "DequantizeLinear": _stated("output_dtype", _second),
    "BlackmanWindow": _stated("output_datatype", lambda _: FLOAT),
    "HammingWindow": _stated("output_datatype", lambda _: FLOAT),
    "HannWindow": _stated("output_datatype", lambda _: FLOAT),
}
