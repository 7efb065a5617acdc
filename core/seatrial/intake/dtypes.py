"""ONNX element types: numpy's names (ml_dtypes' for the small floats) and sizes in bits."""

from __future__ import annotations

#: number -> (name, bits per element; 0: variable)
_TYPES = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    8: ("str", 0),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8),
    19: ("float8_e5m2", 8),
    20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4_e2m1fn", 4),
    24: ("float8_e8m0fnu", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
    27: ("float6_e2m3fn", 6),
    28: ("float6_e3m2fn", 6),
}

TEXT = 8

#: Types whose values :mod:`weights` looks into.
FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}

#: Types of less than a byte; in typed fields they may be packed or not.
SUB_BYTE = frozenset(number for number, (_, bits) in _TYPES.items() if 0 < bits < 8)

_BITS = dict(_TYPES.values())


def known(dtype: int) -> bool:
    """Whether the number is an element type of the ONNX release this was written for."""
    return dtype in _TYPES


def numpy_name(dtype: int) -> str:
    """The type's name; ``""`` for undefined, ``type99`` for a number that is none."""
    if dtype == 0:
        return ""
    return _TYPES[dtype][0] if dtype in _TYPES else f"type{dtype}"


def packed_bytes(dtype: int, elements: int) -> int:
    """Bytes of so many elements as ONNX packs them (two 4-bit elements to a byte)."""
    return (elements * _TYPES[dtype][1] + 7) // 8


def bits(name: str) -> int:
    """Bits per element by name; 8 for what has no fixed size."""
    return _BITS.get(name) or 8
