"""The small messages of a model: names, entries, tensors and types, within bounds.

What is kept of them is paid for from one budget, so that no file can make the walk grow.
"""

from __future__ import annotations

import math

from . import limits, tags
from .dtypes import numpy_name
from .model import FIXED, Dim, Tensor, Value, plain_domain
from .refusal import Refused
from .wire import Malformed, Reader, give_back, signed, varint

#: After so many bytes the mapped pages are given back, so that walking a large file stays small.
RELEASE = 2**25


class Leaves:
    """Reads messages that hold no nodes.

    Args:
        reader: over the whole file.

    Attributes:
        not_text: where the first name is that is not UTF-8, and its bytes as text.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.not_text: tuple[int, str] | None = None
        self._kept = limits.MAX_KEPT_BYTES
        self._objects = limits.MAX_OBJECTS
        self._released = 0
        self._names: dict[bytes, tuple[str, bool]] = {}

    def text(self, start: int, stop: int) -> str:
        """A name. One that is not UTF-8 is noted: no Python interface of a runtime can hold it."""
        found, whole = self._decoded(start, stop)
        if not whole and self.not_text is None:
            self.not_text = (start, found)
        return found

    def remark(self, start: int, stop: int) -> str:
        r"""Text that addresses nothing; bytes that are not UTF-8 become ``\xNN``."""
        return self._decoded(start, stop)[0]

    def _decoded(self, start: int, stop: int) -> tuple[str, bool]:
        """The text, and whether it was UTF-8."""
        if stop - start > limits.MAX_NAME_BYTES:
            raise Refused(f"has a name of {stop - start} bytes", place=f"byte {start}")
        raw = bytes(self.reader.buffer[start:stop])
        known = self._names.get(raw)
        if known is None:
            self.keep(len(raw) + 64)
            text = raw.decode("utf-8", "backslashreplace")
            known = self._names[raw] = (text, text.encode() == raw)
        return known

    def count(self, what: str) -> None:
        """Count an object that is kept; refuse the file when there are too many."""
        self._objects -= 1
        if self._objects < 0:
            raise Refused(f"has more than {limits.MAX_OBJECTS} {what}")

    def keep(self, size: int) -> None:
        """Count bytes that are kept; refuse the file when there are too many."""
        self._kept -= size
        if self._kept < 0:
            raise Refused("has more names and small constants than any network needs")

    def release(self, at: int) -> None:
        """Give mapped pages back once in a while."""
        if at - self._released > RELEASE:
            self._released = at
            give_back(self.reader.buffer)

    def form(self, start: int, stop: int) -> None:
        """Read a message for the sake of its form: a runtime would refuse it, so say it here."""
        for _ in self.reader.fields(start, stop):
            pass

    def integers(self, start: int, stop: int) -> list[int]:
        """A packed list of integers, at most :data:`limits.MAX_LIST` of them."""
        values: list[int] = []
        at = start
        while at < stop and len(values) < limits.MAX_LIST:
            value, at = varint(self.reader.buffer, at)
            values.append(signed(value))
        if at > stop:
            raise Malformed(start, at)
        return values

    def entry(self, start: int, stop: int) -> tuple[str, str]:
        """A ``StringStringEntryProto``; an over-long value is cut."""
        key = value = ""
        self.count("entries")
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.ENTRY_KEY:
                key = self.remark(a, min(b, a + limits.MAX_LIST))
            elif tag == tags.ENTRY_VALUE:
                value = self.remark(a, min(b, a + limits.MAX_LIST))
        return key, value

    def opset(self, start: int, stop: int) -> tuple[str, int]:
        """An ``OperatorSetIdProto``."""
        domain, version = "", 0
        self.count("operator sets")
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.OPSET_DOMAIN:
                domain = plain_domain(self.text(a, b))
            elif tag == tags.OPSET_VERSION:
                version = signed(a)
        return domain, version

    # --- tensors --------------------------------------------------------------------------------

    def tensor(self, start: int, stop: int) -> Tensor:
        """A ``TensorProto``: where its data lie, not the data."""
        self.count("nodes, tensors and values")
        tensor = Tensor()
        dims: list[int] = []
        entries: dict[str, str] = {}
        external = False
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.TENSOR_NAME:
                tensor.name = self.text(a, b)
            elif tag == tags.TENSOR_TYPE:
                tensor.dtype = signed(a)
            elif tag == tags.TENSOR_DIM:
                dims.append(signed(a))
            elif tag == tags.TENSOR_DIMS:
                dims += self.integers(a, b)
            elif tag == tags.TENSOR_LOCATION:
                external = a == 1
            elif tag == tags.TENSOR_ENTRY:
                key, value = self.entry(a, b)
                entries.setdefault(key, value)
            elif tag == tags.TENSOR_METADATA:
                self.form(a, b)
            elif tag in tags.TENSOR_DATA:
                self._data(tensor, tag, a, b)
            if len(dims) > limits.MAX_RANK:
                raise Refused(
                    f"a tensor of more than {limits.MAX_RANK} dimensions", place=f"byte {start}"
                )
        tensor.dims = tuple(dims)
        tensor.external = entries if external else None
        return tensor

    def _data(self, tensor: Tensor, tag: int, a: int, b: int) -> None:
        kind, packed = tags.TENSOR_DATA[tag]
        if packed and a == b and kind != "string":
            return
        if kind not in tensor.fields:
            tensor.fields = (*tensor.fields, kind)
        if kind == "string":
            tensor.strings += 1
        elif packed:
            if (b - a) % FIXED.get(kind, 1):
                raise Malformed(a)
            if kind == "raw":
                tensor.spans = ()
            tensor.spans = (*tensor.spans, (a, b))
            self.keep(16 * len(tensor.spans))
        else:
            self.keep(4)
            raw = self.reader.buffer[a:b] if tag & 7 else _varint_bytes(a)
            tensor.loose += bytes(raw)

    def sparse(self, start: int, stop: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """A ``SparseTensorProto``: values, indices, and the dimensions it stands for."""
        values, indices = Tensor(), Tensor()
        dims: list[int] = []
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.SPARSE_VALUES:
                values = self.tensor(a, b)
            elif tag == tags.SPARSE_INDICES:
                indices = self.tensor(a, b)
            elif tag == tags.SPARSE_DIM:
                dims.append(signed(a))
            elif tag == tags.SPARSE_DIMS:
                dims += self.integers(a, b)
            if len(dims) > limits.MAX_RANK:
                raise Refused(
                    f"a tensor of more than {limits.MAX_RANK} dimensions", place=f"byte {start}"
                )
        if min(dims, default=0) < 0 or math.prod(dims) > limits.MAX_TENSOR_BYTES:
            raise Refused("stands for a tensor beyond any memory", place=values.name or "sparse")
        return values, indices, tuple(dims)

    # --- types ----------------------------------------------------------------------------------

    def value(self, start: int, stop: int) -> Value:
        """A ``ValueInfoProto`` that is kept."""
        self.count("nodes, tensors and values")
        return self.passing_value(start, stop)

    def passing_value(self, start: int, stop: int) -> Value:
        """A ``ValueInfoProto`` that is read for the sake of its form."""
        value = Value()
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.VALUE_NAME:
                value.name = self.text(a, b)
            elif tag == tags.VALUE_TYPE:
                value.dtype, value.shape = self._type(a, b, 0)
        return value

    def _type(self, start: int, stop: int, depth: int) -> tuple[str, tuple[Dim, ...] | None]:
        if depth > limits.MAX_TYPE_DEPTH:
            raise Refused("has a type nested too deep", place=f"byte {start}")
        dtype, shape = "", None
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.TYPE_TENSOR:
                dtype, shape = self._tensor_type(a, b)
            elif tag == tags.TYPE_SPARSE:
                dtype, shape = self._tensor_type(a, b)
                dtype = f"sparse({dtype})"
            elif tag in (tags.TYPE_SEQUENCE, tags.TYPE_OPTIONAL, tags.TYPE_MAP):
                dtype, shape = self._container(tag, a, b, depth), None
        return dtype, shape

    def _container(self, tag: int, start: int, stop: int, depth: int) -> str:
        kind = {
            tags.TYPE_SEQUENCE: "sequence",
            tags.TYPE_OPTIONAL: "optional",
            tags.TYPE_MAP: "map",
        }[tag]
        key, inner = "", ""
        for field, a, b in self.reader.fields(start, stop):
            if tag == tags.TYPE_MAP and field == tags.MAP_KEY:
                key = f"{numpy_name(signed(a))}, "
            elif field == (tags.MAP_VALUE if tag == tags.TYPE_MAP else tags.ELEMENT_TYPE):
                inner, _ = self._type(a, b, depth + 1)
        return f"{kind}({key}{inner})"

    def _tensor_type(self, start: int, stop: int) -> tuple[str, tuple[Dim, ...] | None]:
        dtype = ""
        shape: list[Dim] | None = None
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.TENSOR_ELEMENT:
                dtype = numpy_name(signed(a))
            elif tag == tags.TENSOR_SHAPE:
                shape = shape or []
                for field, c, d in self.reader.fields(a, b):
                    if field == tags.SHAPE_DIM:
                        shape.append(self._dim(c, d))
                        if len(shape) > limits.MAX_RANK:
                            raise Refused(
                                "has a value of too many dimensions", place=f"byte {start}"
                            )
        return dtype, None if shape is None else tuple(shape)

    def _dim(self, start: int, stop: int) -> Dim:
        dim: Dim = "?"
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.DIM_VALUE:
                dim = signed(a) if signed(a) >= 0 else "?"
            elif tag == tags.DIM_PARAM:
                dim = self.text(a, b) or "?"
        return dim


def _varint_bytes(value: int) -> bytes:
    """A value in varint form again, so that loose elements can be read like packed ones."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
