"""The compiler's log: it is where the toolkit says what it did, and the only place."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: "No lowering found for: det, node type = Det, use CustomOperatorLower instead."
#: Nothing else tells: the build returns 0, and a file is written.
_LOWERING = re.compile(r"No lowering found for: ([^,]+), node type = (\w+)")
#: "D RKNN: [..] 5    Atan               INT8     CPU    (1,8,1,1)  ...  0/0/0   0   Atan:at"
_LAYER = re.compile(
    r"RKNN: \[[^]]*\] \d+ +(?P<op>\S+) +(?P<dtype>\S+) +(?P<on>NPU|CPU|GPU) .*?"
    r"(?P<ddr>\d+)/(?P<npu>\d+)/(?P<total>\d+) +\S+ +(?P<name>\S.*?) *$",
    re.MULTILINE,
)
_PRECISIONS = {"FLOAT16": "FP16", "FLOAT": "FP32", "FLOAT32": "FP32"}
#: Rows of the table that stand for the model's borders.
_BORDERS = ("InputOperator", "OutputOperator")


@dataclass(frozen=True)
class Layer:
    """One row of the compiler's table of layers.

    Attributes:
        op: its type, in the compiler's words.
        precision: of its data.
        on: ``NPU`` or ``CPU``.
        name: of the ONNX node, or of what the compiler made of several.
        cycles: the compiler's estimate.
    """

    op: str
    precision: str
    on: str
    name: str
    cycles: int


def layers(log: str) -> tuple[Layer, ...]:
    """The rows of the last table in a verbose log, without the model's borders."""
    table = log.rpartition("Network Layer Information Table")[2]
    table = table.partition("Feature Tensor Information Table")[0]
    return tuple(
        Layer(
            op=row["op"],
            precision=_PRECISIONS.get(row["dtype"], row["dtype"]),
            on=row["on"],
            name=row["name"].partition(":")[2] or row["name"],
            cycles=int(row["total"]),
        )
        for row in _LAYER.finditer(table)
        if row["op"] not in _BORDERS
    )


def without_lowering(log: str) -> dict[str, str]:
    """Name of each node that nothing on the chip computes -> its operator."""
    return {name.strip(): op for name, op in _LOWERING.findall(log)}


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Send standard output and error of this process to a file, the native library's too."""
    kept = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        _flush()
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            _flush()
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)


def _flush() -> None:
    """Python's buffers and C's: the line on a missing lowering waits in the latter."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)
