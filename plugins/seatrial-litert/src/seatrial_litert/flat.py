"""What stands in a ``.tflite`` file: operators and the types of what goes in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: They convert or move and compute nothing, so they have no precision of their own.
MOVES = {"QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "TRANSPOSE", "SHAPE", "PACK", "SQUEEZE"}
_INT8 = {"INT8", "UINT8"}
_FLOATS = {"FLOAT32": "FP32", "FLOAT16": "FP16", "BFLOAT16": "BF16", "FLOAT64": "FP64"}


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: LiteRT's (``CONV_2D``).
        takes: element types of its inputs, as LiteRT names them.
        gives: of its outputs.
        tensors: names of its outputs.
    """

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    tensors: tuple[str, ...]

    @property
    def precision(self) -> str:
        """In which precision it computes; ``""`` for what only moves or converts."""
        if self.name in MOVES:
            return ""
        if self.takes and self.takes[0] in _INT8 and self.gives[0] in _INT8:
            return "INT8"
        floats = [_FLOATS[t] for t in self.takes if t in _FLOATS]
        if floats and any(t in _INT8 for t in self.takes):
            return f"{floats[0]}, INT8 weights"
        return floats[0] if floats else (self.takes or ("",))[0]


def operators(path: Path) -> tuple[Operator, ...]:
    """The operators of the main graph, in order."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = _named(schema.BuiltinOperator)
    types = _named(schema.TensorType)
    graph = model.subgraphs[0]

    def kinds(indices: Any) -> tuple[str, ...]:
        return tuple(types[graph.tensors[k].type] for k in _list(indices) if k >= 0)

    found = []
    for operator in graph.operators or ():
        code = model.operatorCodes[operator.opcodeIndex]
        outputs = tuple(graph.tensors[k].name.decode() for k in _list(operator.outputs))
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        found.append(Operator(name, kinds(operator.inputs), kinds(operator.outputs), outputs))
    return tuple(found)


def _list(indices: Any) -> list[int]:
    """Indices that may be an array, or missing."""
    return [] if indices is None else [int(k) for k in indices]


def _named(enum: Any) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}
