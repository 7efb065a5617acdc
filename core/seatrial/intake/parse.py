"""From bytes to :class:`~seatrial.intake.model.Model`.

Field numbers: onnx/onnx.proto3. Messages that protobuf would merge (a singular field written
twice) are merged here as well where it matters (graphs), and refused where parsers differ.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable

from . import limits
from .dtypes import numpy_name
from .model import Attribute, Dim, Function, Graph, Model, Node, Tensor, Value, plain_domain
from .refusal import Refused, quoted
from .wire import Malformed, Reader, bytes_tag, fixed32_tag, fixed64_tag, signed, varint, varint_tag

Span = tuple[int, int]

#: After so many bytes the mapped pages are given back, so that walking a large file stays small.
_RELEASE = 2**25

#: Runs of one unpacked number field, skipped at C speed (tree ensembles have millions).
_INT_RUN = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")
_FLOAT_RUN = re.compile(rb"(?s:\x3d....)++")


class Parser:
    """Parses one file within the bounds of :mod:`limits`.

    Args:
        reader: over the whole file.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._kept = limits.MAX_KEPT_BYTES
        self._nodes = limits.MAX_NODES
        self._tensors = limits.MAX_NODES
        self._values = limits.MAX_NODES
        self._depth = 0
        self._released = 0
        self._names: dict[bytes, str] = {}

    # --- leaves ---------------------------------------------------------------------------------

    def text(self, start: int, stop: int) -> str:
        """A name; bytes that are not UTF-8 become lone surrogates, so names stay distinct."""
        if stop - start > limits.MAX_NAME_BYTES:
            raise Refused(f"has a name of {stop - start} bytes", place=f"byte {start}")
        raw = bytes(self.reader.buffer[start:stop])
        known = self._names.get(raw)
        if known is None:
            self._keep(len(raw) + 64)
            known = self._names[raw] = raw.decode("utf-8", "surrogateescape")
        return known

    def _keep(self, size: int) -> None:
        self._kept -= size
        if self._kept < 0:
            raise Refused("has more names and small constants than any network needs")

    def _release(self, at: int) -> None:
        if at - self._released > _RELEASE:
            self._released = at
            if isinstance(self.reader.buffer, mmap.mmap):
                self.reader.buffer.madvise(mmap.MADV_DONTNEED)

    def _integers(self, start: int, stop: int) -> list[int]:
        """A packed list of integers, at most :data:`limits.MAX_LIST` of them."""
        values: list[int] = []
        at = start
        while at < stop and len(values) < limits.MAX_LIST:
            value, at = varint(self.reader.buffer, at)
            values.append(signed(value))
        if at > stop:
            raise Malformed(start, at)
        return values

    def _entry(self, start: int, stop: int) -> tuple[str, str]:
        """A ``StringStringEntryProto``; an over-long value is cut."""
        key = value = ""
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _ENTRY_KEY:
                key = self.text(a, min(b, a + limits.MAX_LIST))
            elif tag == _ENTRY_VALUE:
                value = self.text(a, min(b, a + limits.MAX_LIST))
        return key, value

    def _opset(self, start: int, stop: int) -> tuple[str, int]:
        domain, version = "", 0
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _OPSET_DOMAIN:
                domain = plain_domain(self.text(a, b))
            elif tag == _OPSET_VERSION:
                version = signed(a)
        return domain, version

    # --- tensors --------------------------------------------------------------------------------

    def tensor(self, start: int, stop: int) -> Tensor:
        """A ``TensorProto``: where its data lie, not the data."""
        self._tensors -= 1
        if self._tensors < 0:
            raise Refused(f"has more than {limits.MAX_NODES} tensors")
        self._keep(128)
        tensor = Tensor()
        dims: list[int] = []
        entries: dict[str, str] = {}
        external = False
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _TENSOR_NAME:
                tensor.name = self.text(a, b)
            elif tag == _TENSOR_TYPE:
                tensor.dtype = signed(a)
            elif tag == _TENSOR_DIM:
                dims.append(signed(a))
            elif tag == _TENSOR_DIMS:
                dims += self._integers(a, b)
            elif tag == _TENSOR_LOCATION:
                external = a == 1
            elif tag == _TENSOR_ENTRY:
                key, value = self._entry(a, b)
                entries.setdefault(key, value)
            elif tag == _TENSOR_SEGMENT:
                tensor.segmented = True
            elif tag in _TENSOR_DATA:
                self._data(tensor, tag, a, b)
            if len(dims) > limits.MAX_RANK:
                raise Refused(
                    f"a tensor of more than {limits.MAX_RANK} dimensions", place=f"byte {start}"
                )
        tensor.dims = tuple(dims)
        tensor.external = entries if external else None
        return tensor

    def _data(self, tensor: Tensor, tag: int, a: int, b: int) -> None:
        kind, packed = _TENSOR_DATA[tag]
        if packed and a == b and kind != "string":
            return
        if kind not in tensor.fields:
            tensor.fields = (*tensor.fields, kind)
        if kind == "string":
            tensor.strings += 1
        elif packed:
            if kind == "raw":
                tensor.spans = ()
            tensor.spans = (*tensor.spans, (a, b))
            self._keep(16 * len(tensor.spans))
        else:
            self._keep(16)
            raw = self.reader.buffer[a:b] if tag & 7 else _varint_bytes(a)
            tensor.loose += bytes(raw)

    def _sparse(self, start: int, stop: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        values, indices = Tensor(), Tensor()
        dims: list[int] = []
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _SPARSE_VALUES:
                values = self.tensor(a, b)
            elif tag == _SPARSE_INDICES:
                indices = self.tensor(a, b)
            elif tag == _SPARSE_DIM:
                dims.append(signed(a))
            elif tag == _SPARSE_DIMS:
                dims += self._integers(a, b)
            if len(dims) > limits.MAX_RANK:
                raise Refused(
                    f"a tensor of more than {limits.MAX_RANK} dimensions", place=f"byte {start}"
                )
        return values, indices, tuple(dims)

    # --- types ----------------------------------------------------------------------------------

    def value(self, start: int, stop: int) -> Value:
        """A ``ValueInfoProto``."""
        self._values -= 1
        if self._values < 0:
            raise Refused(f"has more than {limits.MAX_NODES} inputs and outputs")
        self._keep(128)
        value = Value()
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _VALUE_NAME:
                value.name = self.text(a, b)
            elif tag == _VALUE_TYPE:
                value.dtype, value.shape = self._type(a, b, 0)
        return value

    def _type(self, start: int, stop: int, depth: int) -> tuple[str, tuple[Dim, ...] | None]:
        if depth > limits.MAX_TYPE_DEPTH:
            raise Refused("has a type nested too deep", place=f"byte {start}")
        dtype, shape = "", None
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _TYPE_TENSOR:
                dtype, shape = self._tensor_type(a, b)
            elif tag == _TYPE_SPARSE:
                dtype, shape = self._tensor_type(a, b)
                dtype = f"sparse({dtype})"
            elif tag in (_TYPE_SEQUENCE, _TYPE_OPTIONAL, _TYPE_MAP):
                dtype, shape = self._container(tag, a, b, depth), None
        return dtype, shape

    def _container(self, tag: int, start: int, stop: int, depth: int) -> str:
        kind = {_TYPE_SEQUENCE: "sequence", _TYPE_OPTIONAL: "optional", _TYPE_MAP: "map"}[tag]
        key, inner = "", ""
        for field, a, b in self.reader.fields(start, stop):
            if tag == _TYPE_MAP and field == _MAP_KEY:
                key = f"{numpy_name(signed(a))}, "
            elif field == (_MAP_VALUE if tag == _TYPE_MAP else _ELEMENT_TYPE):
                inner, _ = self._type(a, b, depth + 1)
        return f"{kind}({key}{inner})"

    def _tensor_type(self, start: int, stop: int) -> tuple[str, tuple[Dim, ...] | None]:
        dtype = ""
        shape: list[Dim] | None = None
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _TENSOR_ELEMENT:
                dtype = numpy_name(signed(a))
            elif tag == _TENSOR_SHAPE:
                shape = shape or []
                for field, c, d in self.reader.fields(a, b):
                    if field == _SHAPE_DIM:
                        shape.append(self._dim(c, d))
                        if len(shape) > limits.MAX_RANK:
                            raise Refused(
                                "has a value of too many dimensions", place=f"byte {start}"
                            )
        return dtype, None if shape is None else tuple(shape)

    def _dim(self, start: int, stop: int) -> Dim:
        dim: Dim = "?"
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _DIM_VALUE:
                dim = signed(a) if signed(a) >= 0 else "?"
            elif tag == _DIM_PARAM:
                dim = self.text(a, b) or "?"
        return dim

    # --- nodes and graphs -----------------------------------------------------------------------

    def node(self, start: int, stop: int) -> Node:
        """A ``NodeProto`` with the graphs and tensors in its attributes."""
        self._nodes -= 1
        if self._nodes < 0:
            raise Refused(f"has more than {limits.MAX_NODES} nodes")
        node = Node()
        inputs: list[str] = []
        outputs: list[str] = []
        spans: list[Span] = []
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _NODE_INPUT:
                inputs.append(self.text(a, b))
            elif tag == _NODE_OUTPUT:
                outputs.append(self.text(a, b))
            elif tag == _NODE_NAME:
                node.name = self.text(a, b)
            elif tag == _NODE_OP:
                node.op_type = self.text(a, b)
            elif tag == _NODE_DOMAIN:
                node.domain = plain_domain(self.text(a, b))
            elif tag == _NODE_OVERLOAD:
                node.overload = self.text(a, b)
            elif tag == _NODE_ATTRIBUTE:
                spans.append((a, b))
        self._keep(8 * (len(inputs) + len(outputs)) + 96 * len(spans))
        node.inputs, node.outputs = tuple(inputs), tuple(outputs)
        if spans:
            self._attributes(node, spans)
        return node

    def _attributes(self, node: Node, spans: list[Span]) -> None:
        values: dict[str, Attribute] = {}
        graphs: list[tuple[str, Graph]] = []
        tensors: list[Tensor] = []
        for start, stop in spans:
            name, value = self._attribute(start, stop, graphs, tensors)
            values.setdefault(name, value)
        node.attributes, node.graphs, node.tensors = values, tuple(graphs), tuple(tensors)

    def _attribute(
        self, start: int, stop: int, graphs: list[tuple[str, Graph]], tensors: list[Tensor]
    ) -> tuple[str, Attribute]:
        """One ``AttributeProto``; the graphs and tensors in it are appended to the lists."""
        name = ""
        value: Attribute = None
        lists: dict[int, list[int] | list[float]] = {}
        own: list[Span] = []
        others: list[Span] = []
        at = start
        while at < stop:
            begin, at = at, stop
            for tag, a, b in self.reader.fields(begin, stop):
                if tag == _ATTRIBUTE_NAME:
                    name = self.text(a, b)
                elif tag in _ATTRIBUTE_LISTS:
                    if self._append(lists.setdefault(tag & ~7, []), tag, a, b):
                        at = self._skip_run(tag, b, stop)
                        break
                elif tag == _ATTRIBUTE_GRAPH:
                    own.append((a, b))
                elif tag == _ATTRIBUTE_GRAPHS:
                    others.append((a, b))
                elif tag in _ATTRIBUTE_TENSORS:
                    value = self._attribute_tensor(tag, a, b, value, tensors)
                elif tag in _ATTRIBUTE_SCALARS:
                    value = self._scalar(tag, a, b)
        if own:
            graphs.append((name, self.graph(own)))
        graphs.extend((f"{name}[{i}]", self.graph([s])) for i, s in enumerate(others))
        for values in lists.values():
            value = None if len(values) >= limits.MAX_LIST else tuple(values)
        return name, value

    def _attribute_tensor(
        self, tag: int, a: int, b: int, value: Attribute, tensors: list[Tensor]
    ) -> Attribute:
        if tag in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            tensors.extend(self._sparse(a, b)[:2])
            return value
        tensor = self.tensor(a, b)
        tensors.append(tensor)
        if tag == _ATTRIBUTE_TENSOR and isinstance(value, Tensor):
            raise Refused("an attribute holds two tensors where one belongs", place=f"byte {a}")
        return tensor if tag == _ATTRIBUTE_TENSOR else value

    def _append(self, values: list[int] | list[float], tag: int, a: int, b: int) -> bool:
        """Add to a list attribute; true when it is full and the rest should be skipped."""
        if len(values) >= limits.MAX_LIST:
            return True
        more: list[int] | list[float]
        if tag == _ATTRIBUTE_INT:
            more = [signed(a)]
        elif tag == _ATTRIBUTE_INTS:
            more = self._integers(a, b)
        else:
            b = min(b, a + 4 * limits.MAX_LIST)
            raw = bytes(self.reader.buffer[a : b - (b - a) % 4])
            more = [v for (v,) in struct.iter_unpack("<f", raw)]
        self._keep(16 * len(more))
        values += more  # type: ignore[arg-type]  # one list holds one kind: keyed by field
        return False

    def _scalar(self, tag: int, a: int, b: int) -> Attribute:
        if tag == _ATTRIBUTE_I:
            return signed(a)
        raw = bytes(self.reader.buffer[a : min(b, a + limits.MAX_LIST)])
        if tag == _ATTRIBUTE_F:
            return float(struct.unpack("<f", raw)[0])
        self._keep(len(raw))
        return raw

    def _skip_run(self, tag: int, at: int, stop: int) -> int:
        """Pass over a long run of one number field; packed lists need no run."""
        run = {_ATTRIBUTE_INT: _INT_RUN, _ATTRIBUTE_FLOAT: _FLOAT_RUN}.get(tag)
        while run is not None:
            match = run.match(self.reader.buffer, at, min(stop, at + _RELEASE // 2))
            if match is None:
                break
            self.reader.charge((match.end() - at) // 64 + 1)
            at = match.end()
            self._release(at)
        return at

    def graph(self, spans: Iterable[Span]) -> Graph:
        """A ``GraphProto``, written in one piece or in several that protobuf merges."""
        if self._depth >= limits.MAX_GRAPH_DEPTH:
            raise Refused(f"nests control flow deeper than {limits.MAX_GRAPH_DEPTH} levels")
        self._depth += 1
        graph = Graph()
        for start, stop in spans:
            for tag, a, b in self.reader.fields(start, stop):
                if tag == _GRAPH_NODE:
                    graph.nodes.append(self.node(a, b))
                elif tag == _GRAPH_INITIALIZER:
                    graph.initializers.append(self.tensor(a, b))
                elif tag == _GRAPH_SPARSE:
                    graph.sparse.append(self._sparse(a, b))
                elif tag == _GRAPH_INPUT:
                    graph.inputs.append(self.value(a, b))
                elif tag == _GRAPH_OUTPUT:
                    graph.outputs.append(self.value(a, b))
                elif tag == _GRAPH_NAME:
                    graph.name = self.text(a, b)
                self._release(b)
        self._depth -= 1
        return graph

    def function(self, start: int, stop: int) -> Function:
        """A ``FunctionProto``."""
        self._keep(256)
        function = Function()
        body = function.body
        for tag, a, b in self.reader.fields(start, stop):
            if tag == _FUNCTION_NAME:
                function.name = self.text(a, b)
            elif tag == _FUNCTION_DOMAIN:
                function.domain = plain_domain(self.text(a, b))
            elif tag == _FUNCTION_OVERLOAD:
                function.overload = self.text(a, b)
            elif tag == _FUNCTION_INPUT:
                body.inputs.append(Value(name=self.text(a, b)))
            elif tag == _FUNCTION_OUTPUT:
                body.outputs.append(Value(name=self.text(a, b)))
            elif tag == _FUNCTION_NODE:
                body.nodes.append(self.node(a, b))
            elif tag == _FUNCTION_OPSET:
                function.opsets.append(self._opset(a, b))
        return function

    def model(self) -> Model:
        """The whole file.

        Raises:
            Malformed: not protobuf, or cut short.
            Refused: beyond a bound.
        """
        model = Model()
        spans: list[Span] = []
        for tag, a, b in self.reader.fields(0, len(self.reader.buffer)):
            if tag == _MODEL_GRAPH:
                spans.append((a, b))
            elif tag == _MODEL_IR:
                model.ir_version = signed(a)
            elif tag == _MODEL_PRODUCER:
                model.producer = self.text(a, b)
            elif tag == _MODEL_PRODUCER_VERSION:
                model.producer_version = self.text(a, b)
            elif tag == _MODEL_OPSET:
                model.opsets.append(self._opset(a, b))
            elif tag == _MODEL_METADATA:
                model.metadata.append(self._entry(a, b))
            elif tag == _MODEL_FUNCTION:
                model.functions.append(self.function(a, b))
            elif tag == _MODEL_TRAINING:
                self._training(model, a, b)
        if spans:
            model.graph = self.graph(spans)
        return model

    def _training(self, model: Model, start: int, stop: int) -> None:
        """Training graphs are never run here, but their tensors may name files."""
        for tag, a, b in self.reader.fields(start, stop):
            if tag in (_TRAINING_START, _TRAINING_STEP):
                model.training.append(self.graph([(a, b)]))


def _varint_bytes(value: int) -> bytes:
    """A value in varint form again, so that loose elements can be read like packed ones."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_MODEL_IR, _MODEL_PRODUCER, _MODEL_PRODUCER_VERSION = varint_tag(1), bytes_tag(2), bytes_tag(3)
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA = bytes_tag(7), bytes_tag(8), bytes_tag(14)
_MODEL_TRAINING, _MODEL_FUNCTION = bytes_tag(20), bytes_tag(25)
_TRAINING_START, _TRAINING_STEP = bytes_tag(1), bytes_tag(2)
_OPSET_DOMAIN, _OPSET_VERSION = bytes_tag(1), varint_tag(2)
_ENTRY_KEY, _ENTRY_VALUE = bytes_tag(1), bytes_tag(2)
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER = bytes_tag(1), bytes_tag(2), bytes_tag(5)
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = bytes_tag(11), bytes_tag(12), bytes_tag(15)
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP = (bytes_tag(n) for n in (1, 2, 3, 4))
_NODE_ATTRIBUTE, _NODE_DOMAIN, _NODE_OVERLOAD = bytes_tag(5), bytes_tag(7), bytes_tag(8)
_FUNCTION_NAME, _FUNCTION_INPUT, _FUNCTION_OUTPUT = bytes_tag(1), bytes_tag(4), bytes_tag(5)
_FUNCTION_NODE, _FUNCTION_OPSET = bytes_tag(7), bytes_tag(9)
_FUNCTION_DOMAIN, _FUNCTION_OVERLOAD = bytes_tag(10), bytes_tag(13)
_ATTRIBUTE_NAME, _ATTRIBUTE_F, _ATTRIBUTE_I = bytes_tag(1), fixed32_tag(2), varint_tag(3)
_ATTRIBUTE_S, _ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = bytes_tag(4), bytes_tag(5), bytes_tag(6)
_ATTRIBUTE_FLOAT, _ATTRIBUTE_FLOATS = fixed32_tag(7), bytes_tag(7)
_ATTRIBUTE_INT, _ATTRIBUTE_INTS = varint_tag(8), bytes_tag(8)
_ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = (bytes_tag(n) for n in (11, 22, 23))
_ATTRIBUTE_LISTS = {_ATTRIBUTE_FLOAT, _ATTRIBUTE_FLOATS, _ATTRIBUTE_INT, _ATTRIBUTE_INTS}
_ATTRIBUTE_TENSORS = {_ATTRIBUTE_TENSOR, bytes_tag(10), _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES}
_ATTRIBUTE_SCALARS = {_ATTRIBUTE_F, _ATTRIBUTE_I, _ATTRIBUTE_S}
_TENSOR_DIM, _TENSOR_DIMS, _TENSOR_TYPE = varint_tag(1), bytes_tag(1), varint_tag(2)
_TENSOR_SEGMENT, _TENSOR_NAME = bytes_tag(3), bytes_tag(8)
_TENSOR_ENTRY, _TENSOR_LOCATION = bytes_tag(13), varint_tag(14)
#: tag -> (kind of data, in one piece)
_TENSOR_DATA = {
    bytes_tag(9): ("raw", True),
    bytes_tag(6): ("string", True),
    bytes_tag(4): ("float", True),
    fixed32_tag(4): ("float", False),
    bytes_tag(5): ("int32", True),
    varint_tag(5): ("int32", False),
    bytes_tag(7): ("int64", True),
    varint_tag(7): ("int64", False),
    bytes_tag(10): ("double", True),
    fixed64_tag(10): ("double", False),
    bytes_tag(11): ("uint64", True),
    varint_tag(11): ("uint64", False),
}
_SPARSE_VALUES, _SPARSE_INDICES = bytes_tag(1), bytes_tag(2)
_SPARSE_DIM, _SPARSE_DIMS = varint_tag(3), bytes_tag(3)
_VALUE_NAME, _VALUE_TYPE = bytes_tag(1), bytes_tag(2)
_TYPE_TENSOR, _TYPE_SEQUENCE, _TYPE_MAP = bytes_tag(1), bytes_tag(4), bytes_tag(5)
_TYPE_SPARSE, _TYPE_OPTIONAL = bytes_tag(8), bytes_tag(9)
_ELEMENT_TYPE, _MAP_KEY, _MAP_VALUE = bytes_tag(1), varint_tag(1), bytes_tag(2)
_TENSOR_ELEMENT, _TENSOR_SHAPE = varint_tag(1), bytes_tag(2)
_SHAPE_DIM, _DIM_VALUE, _DIM_PARAM = bytes_tag(1), varint_tag(1), bytes_tag(2)
