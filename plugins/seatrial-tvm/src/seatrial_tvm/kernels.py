"""What was generated: kernels in the order of their calls, and what they multiply."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi

#: numpy's name of a type -> the report's.
PRECISIONS = {"float64": "FP64", "float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}
#: They convert and compute nothing, so they have no precision of their own.
_CONVERSIONS = re.compile(r"(?:fused_)?(?:de)?quantize\d*|cast\d*")


@dataclass(frozen=True)
class Kernel:
    """One generated function, as often as it is called.

    Attributes:
        name: of the function in the library.
        precision: type of what is summed up or, where nothing is, of what is written.
        weighted: it multiplies and adds up.
    """

    name: str
    precision: str
    weighted: bool = False


def kernels(lowered: Any) -> tuple[Kernel, ...]:
    """The kernels that ``main`` calls, in order."""
    made = {
        variable.name_hint: _kernel(variable.name_hint, function)
        for variable, function in lowered.functions.items()
        if isinstance(function, tvm.tirx.PrimFunc)
    }
    called: list[str] = []

    for block in lowered["main"].body.blocks:
        for binding in block.bindings:
            operator = getattr(getattr(binding, "value", None), "op", None)
            if isinstance(operator, tvm.ir.GlobalVar):
                called.append(operator.name_hint)
    return tuple(made[name] for name in called if name in made)


def _kernel(name: str, function: Any) -> Kernel:
    if _CONVERSIONS.fullmatch(name):
        return Kernel(name, "")
    summed: set[str] = set()
    written = ""

    def stored(node: Any) -> None:
        nonlocal written
        written = str(node.buffer.dtype)
        if isinstance(node.value, tvm.tirx.Add):
            summed.update(_multiplied(node.value))

    tvm_ffi.structural_walk(function.body, (tvm.tirx.BufferStore, stored), order="post")
    if summed:
        return Kernel(name, precision_of(summed), weighted=True)
    return Kernel(name, precision_of({written} - {""}))


def _multiplied(value: Any) -> set[str]:
    """Types of the tensors whose products are added, ``acc + x * w``."""
    products = [v for v in (value.a, value.b) if isinstance(v, tvm.tirx.Mul)]
    sums = [v for v in (value.a, value.b) if isinstance(v, tvm.ir.TensorLoad)]
    if not products or not sums:
        return set()
    found: set[str] = set()

    def loaded(node: Any) -> None:
        found.add(str(node.source.dtype))

    tvm_ffi.structural_walk(products[0], (tvm.ir.TensorLoad, loaded), order="post")
    return found


def precision_of(types: set[str]) -> str:
    """One name for what a kernel works on; the widest where they differ."""
    if types and types <= {"int8", "uint8"}:
        return "INT8"
    floats = [PRECISIONS[t] for t in PRECISIONS if t in types]
    if floats:
        return floats[0]
    return sorted(types)[-1].upper() if types else ""


def instruction_set(assembly: str) -> str:
    """The widest vector extension that generated code uses, from its registers.

    Args:
        assembly: of the whole library, in AT&T syntax.
    """
    for level, signs in (
        ("avx512_vnni", r"vpdp(?:bu|w)s"),
        ("avx512", r"%zmm\d"),
        ("avx2", r"%ymm\d"),
        ("avx", r"\tv[a-z]+ps\t"),
        ("sse", r"%xmm\d"),
    ):
        if re.search(signs, assembly):
            return level
    return ""
