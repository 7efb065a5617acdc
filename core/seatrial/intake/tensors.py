"""Claimed against present: element types, dimensions and the bytes behind them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from . import dtypes, limits
from .model import FIXED, Graph, Model, Node, Tensor
from .refusal import Refused
from .wire import Buffer, give_back, signed, varint

_INT64_MAX = 2**63 - 1

#: Typed field that holds a type's elements when they are not raw, and entries per element.
_FIELD = {
    1: ("float", 1),
    7: ("int64", 1),
    8: ("string", 1),
    11: ("double", 1),
    12: ("uint64", 1),
    13: ("uint64", 1),
    14: ("float", 2),
    15: ("double", 2),
}

_CONTINUED = bytes(range(0x80, 0x100))

#: struct format of one element, for small constants.
_FORMATS = {1: "f", 2: "B", 3: "b", 4: "H", 5: "h", 6: "i", 7: "q", 9: "?", 10: "e", 11: "d",
            12: "I", 13: "Q"}  # fmt: skip


def all_tensors(model: Model) -> Iterator[tuple[Tensor, str]]:
    """Every tensor that a runtime may load, with words for its place."""
    graphs = [model.graph] if model.graph else []
    for graph in (*graphs, *(f.body for f in model.functions), *model.training):
        yield from graph_tensors(graph)


def graph_tensors(graph: Graph) -> Iterator[tuple[Tensor, str]]:
    """Tensors of a graph and of the graphs inside it."""
    for tensor in graph.initializers:
        yield tensor, tensor.name or "unnamed initializer"
    for values, indices, _ in graph.sparse:
        yield values, values.name or "sparse initializer"
        yield indices, f"{values.name} (indices)"
    for node in graph.nodes:
        yield from _node_tensors(node)


def _node_tensors(node: Node) -> Iterator[tuple[Tensor, str]]:
    for tensor in node.tensors:
        yield tensor, tensor.name or f"constant of {node.label or node.name or node.op_type}"
    for _, graph in node.graphs:
        yield from graph_tensors(graph)


def elements(tensor: Tensor) -> int:
    """Number of elements; dimensions are checked already."""
    return math.prod(tensor.dims)


def stored_bytes(tensor: Tensor) -> int:
    """Bytes that its elements take as raw or external data."""
    return dtypes.packed_bytes(tensor.dtype, elements(tensor))


def check(tensor: Tensor, place: str, buffer: Buffer, newer: bool) -> str:
    """Check one tensor's claims.

    Args:
        tensor: to check.
        place: words for where it is.
        buffer: the file.
        newer: the file says it is newer than the types known here.

    Returns:
        A remark for a note, or ``""``.

    Raises:
        Refused: what it claims cannot be, or is not there.
    """
    negative = [d for d in tensor.dims if d < 0]
    if negative:
        raise Refused(f"has the negative dimension {negative[0]}", place=place)
    if elements(tensor) * 16 > _INT64_MAX:
        raise Refused("its dimensions multiply to more than any memory", place=place)
    if not dtypes.known(tensor.dtype):
        if newer and tensor.dtype > 0:
            return f"has the unknown element type {tensor.dtype}"
        raise Refused(f"element type {tensor.dtype} does not exist", place=place)
    if tensor.external is not None:
        if tensor.dtype == dtypes.TEXT:
            raise Refused("text cannot be external data", place=place)
        return ""
    if len(tensor.fields) > 1:
        raise Refused(f"has its data twice ({' and '.join(tensor.fields)})", place=place)
    return _check_present(tensor, place, buffer)


def _check_present(tensor: Tensor, place: str, buffer: Buffer) -> str:
    count = elements(tensor)
    kind = tensor.fields[0] if tensor.fields else ""
    typed, per_element = _FIELD.get(tensor.dtype, ("int32", 1))
    if kind == "raw" and tensor.dtype != dtypes.TEXT:
        wanted = stored_bytes(tensor)
        present = sum(b - a for a, b in tensor.spans)
        unit = "bytes"
    else:
        wanted = least = count * per_element
        present = entries(tensor, kind, buffer) if kind == typed else 0
        unit = "elements"
        if tensor.dtype in dtypes.SUB_BYTE:
            least = dtypes.packed_bytes(tensor.dtype, count)
        if least <= present < wanted:
            wanted = present
    if present < wanted:
        raise Refused(f"claims {wanted} {unit}, {present} are there", place=place)
    return f"has {present} {unit} where {wanted} belong" if present > wanted else ""


def entries(tensor: Tensor, kind: str, buffer: Buffer) -> int:
    """Number of entries in the tensor's typed data field."""
    if kind == "string":
        return tensor.strings
    size = FIXED.get(kind)
    total = 0
    for chunk in chunks(tensor, buffer):
        total += len(chunk) if size else len(chunk.translate(None, _CONTINUED))
    return total // size if size else total


def chunks(tensor: Tensor, buffer: Buffer) -> Iterator[bytes]:
    """The data in the file, in pieces of a multiple of 16 bytes (but for each span's last)."""
    for start, stop in tensor.spans:
        for at in range(start, stop, limits.CHUNK):
            yield bytes(buffer[at : min(stop, at + limits.CHUNK)])
            if stop - start > limits.CHUNK:
                give_back(buffer)
    if tensor.loose:
        yield bytes(tensor.loose)


def small_values(tensor: Tensor, buffer: Buffer) -> tuple[float, ...] | None:
    """The elements of a small numeric constant as ints or floats; else ``None``."""
    count = elements(tensor)
    letter = _FORMATS.get(tensor.dtype)
    if count > limits.MAX_KNOWN_VALUES or letter is None or tensor.external is not None:
        return None
    data = b"".join(chunks(tensor, buffer))
    if tensor.fields in (("raw",), ("float",), ("double",)):
        size = struct.calcsize(f"<{letter}")
        return struct.unpack(f"<{count}{letter}", data[: count * size]) if count else ()
    values: list[float] = []
    at = 0
    while at < len(data) and len(values) < count:
        value, at = varint(data, at)
        values.append(signed(value))
    return tuple(values) if len(values) == count and tensor.dtype in (2, 3, 4, 5, 6, 7, 9) else None
