"""NaN, infinity and all-zero weights, looked for in chunks: no weight is ever loaded whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import dtypes, limits
from .external import Piece
from .model import Tensor
from .tensors import chunks, elements
from .wire import Buffer, varint

#: Largest fp16 or bf16 tensor in typed (varint) form that is decoded.
_MAX_VARINTS = 2**20


@dataclass(slots=True)
class Weights:
    """Names of initializers by what was found; ``complete``: all were looked at."""

    nan: list[str] = field(default_factory=list)
    infinite: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)
    complete: bool = True


class Screen:
    """Looks at one initializer after the other until time is up.

    Args:
        buffer: the model file.
        folder: where the external files lie.
        seconds: time to spend.
    """

    def __init__(self, buffer: Buffer, folder: str, seconds: float = limits.WEIGHT_SECONDS) -> None:
        self.found = Weights()
        self._buffer = buffer
        self._folder = folder
        self._deadline = time.monotonic() + seconds

    def look(self, tensor: Tensor, piece: Piece | None) -> None:
        """Add one float initializer's findings."""
        kind = dtypes.FLOATS.get(tensor.dtype)
        count = elements(tensor)
        if kind is None or not count or (tensor.external is not None and piece is None):
            return
        if time.monotonic() > self._deadline:
            self.found.complete = False
            return
        nan = infinite = False
        zero = True
        for chunk in self._chunks(tensor, piece):
            has_nan, has_infinity, has_value = _scan(chunk, kind)
            nan, infinite, zero = nan or has_nan, infinite or has_infinity, zero and not has_value
            if time.monotonic() > self._deadline:
                self.found.complete = False
                zero = False
                break
        if nan:
            self.found.nan.append(tensor.name)
        elif infinite:
            self.found.infinite.append(tensor.name)
        elif zero and count > 1:
            self.found.zero.append(tensor.name)

    def _chunks(self, tensor: Tensor, piece: Piece | None) -> Iterator[bytes]:
        if piece is not None:
            yield from _external_chunks(f"{self._folder}/{piece.location}", piece)
        elif tensor.fields == ("int32",):
            yield _halves(tensor, self._buffer)
        else:
            yield from chunks(tensor, self._buffer)


def _external_chunks(path: str, piece: Piece) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        at, end = piece.offset, piece.offset + piece.bytes
        while at < end:
            block = os.pread(descriptor, min(limits.CHUNK, end - at), at)
            if not block:
                break
            yield block
            at += len(block)
    finally:
        os.close(descriptor)


def _halves(tensor: Tensor, buffer: Buffer) -> bytes:
    """16-bit floats from the varints of ``int32_data``, as raw bytes."""
    out = bytearray()
    for chunk in chunks(tensor, buffer):
        at = 0
        while at < len(chunk) and len(out) < 2 * _MAX_VARINTS:
            if chunk[-1] >= 0x80 and len(chunk) - at < 10:
                break
            value, at = varint(chunk, at)
            out += (value & 0xFFFF).to_bytes(2, "little")
    return bytes(out)


def _scan(chunk: bytes, kind: str) -> tuple[bool, bool, bool]:
    """Whether a NaN, an infinity, and anything but zero is in the chunk."""
    import numpy as np

    layout, size = _LAYOUTS[kind]
    if len(chunk) % size:
        chunk = chunk[: len(chunk) - len(chunk) % size]
    values: Any = np.frombuffer(chunk, layout)
    if kind == "bfloat16":
        values = (values.astype("<u4") << 16).view("<f4")
    if np.isfinite(values).all():
        return False, False, bool(values.any())
    return bool(np.isnan(values).any()), bool(np.isinf(values).any()), True


_LAYOUTS = {"float32": ("<f4", 4), "float16": ("<f2", 2), "float64": ("<f8", 8),
            "bfloat16": ("<u2", 2)}  # fmt: skip
