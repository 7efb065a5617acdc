"""From bytes to :class:`~seatrial.intake.model.Model`.

Field numbers: onnx/onnx.proto3. Messages that protobuf would merge (a singular field written
twice) are merged here as well where it matters (graphs), and refused where parsers differ.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from . import limits, tags
from .leaves import RELEASE, Leaves
from .model import Attribute, Function, Graph, Model, Node, Tensor, Value, plain_domain
from .refusal import Refused
from .wire import Malformed, Reader, signed

Span = tuple[int, int]

#: Runs of one unpacked number field, skipped at C speed (tree ensembles have millions).
_INT_RUN = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")
_FLOAT_RUN = re.compile(rb"(?s:\x3d....)++")


class Parser(Leaves):
    """Parses one file within the bounds of :mod:`limits`.

    Args:
        reader: over the whole file.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._depth = 0

    def node(self, start: int, stop: int) -> Node:
        """A ``NodeProto`` with the graphs and tensors in its attributes."""
        self.count("nodes, tensors and values")
        node = Node()
        inputs: list[str] = []
        outputs: list[str] = []
        spans: list[Span] = []
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.NODE_INPUT:
                inputs.append(self.text(a, b))
            elif tag == tags.NODE_OUTPUT:
                outputs.append(self.text(a, b))
            elif tag == tags.NODE_NAME:
                node.name = self.text(a, b)
            elif tag == tags.NODE_OP:
                node.op_type = self.text(a, b)
            elif tag == tags.NODE_DOMAIN:
                node.domain = plain_domain(self.text(a, b))
            elif tag == tags.NODE_OVERLOAD:
                node.overload = self.text(a, b)
            elif tag == tags.NODE_ATTRIBUTE:
                spans.append((a, b))
            elif tag in tags.NODE_OTHER:
                self.form(a, b)
        self.keep(24 * (len(inputs) + len(outputs)) + 200 * len(spans))
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
                if tag == tags.ATTRIBUTE_NAME:
                    name = self.text(a, b)
                elif tag in tags.ATTRIBUTE_LISTS:
                    if self._append(lists.setdefault(tag & ~7, []), tag, a, b):
                        at = self._skip_run(tag, b, stop)
                        break
                elif tag == tags.ATTRIBUTE_GRAPH:
                    own.append((a, b))
                elif tag == tags.ATTRIBUTE_GRAPHS:
                    others.append((a, b))
                elif tag in tags.ATTRIBUTE_TENSORS:
                    value = self._attribute_tensor(tag, a, b, value, tensors)
                elif tag in tags.ATTRIBUTE_OTHER:
                    self.form(a, b)
                elif tag in tags.ATTRIBUTE_SCALARS:
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
        if tag in (tags.ATTRIBUTE_SPARSE, tags.ATTRIBUTE_SPARSES):
            tensors.extend(self.sparse(a, b)[:2])
            return value
        tensor = self.tensor(a, b)
        tensors.append(tensor)
        if tag == tags.ATTRIBUTE_TENSOR and isinstance(value, Tensor):
            raise Refused("an attribute holds two tensors where one belongs", place=f"byte {a}")
        return tensor if tag == tags.ATTRIBUTE_TENSOR else value

    def _append(self, values: list[int] | list[float], tag: int, a: int, b: int) -> bool:
        """Add to a list attribute; true when it is full and the rest should be skipped."""
        if len(values) >= limits.MAX_LIST:
            return True
        more: list[int] | list[float]
        if tag == tags.ATTRIBUTE_INT:
            more = [signed(a)]
        elif tag == tags.ATTRIBUTE_INTS:
            more = self.integers(a, b)
        else:
            if (b - a) % 4:
                raise Malformed(a)
            raw = bytes(self.reader.buffer[a : min(b, a + 4 * limits.MAX_LIST)])
            more = [v for (v,) in struct.iter_unpack("<f", raw)]
        self.keep(40 * len(more))
        values += more
        return False

    def _scalar(self, tag: int, a: int, b: int) -> Attribute:
        if tag == tags.ATTRIBUTE_I:
            return signed(a)
        raw = bytes(self.reader.buffer[a : min(b, a + limits.MAX_LIST)])
        if tag == tags.ATTRIBUTE_F:
            return float(struct.unpack("<f", raw)[0])
        self.keep(len(raw))
        return raw

    def _skip_run(self, tag: int, at: int, stop: int) -> int:
        """Pass over a long run of one number field; packed lists need no run."""
        run = {tags.ATTRIBUTE_INT: _INT_RUN, tags.ATTRIBUTE_FLOAT: _FLOAT_RUN}.get(tag)
        while run is not None:
            match = run.match(self.reader.buffer, at, min(stop, at + RELEASE // 2))
            if match is None:
                break
            self.reader.charge((match.end() - at) // 64 + 1)
            at = match.end()
            self.release(at)
        return at

    def graph(self, spans: Iterable[Span]) -> Graph:
        """A ``GraphProto``, written in one piece or in several that protobuf merges."""
        if self._depth >= limits.MAX_GRAPH_DEPTH:
            raise Refused(f"nests control flow deeper than {limits.MAX_GRAPH_DEPTH} levels")
        self._depth += 1
        graph = Graph()
        for start, stop in spans:
            for tag, a, b in self.reader.fields(start, stop):
                if tag == tags.GRAPH_NODE:
                    graph.nodes.append(self.node(a, b))
                elif tag == tags.GRAPH_INITIALIZER:
                    graph.initializers.append(self.tensor(a, b))
                elif tag == tags.GRAPH_SPARSE:
                    graph.sparse.append(self.sparse(a, b))
                elif tag == tags.GRAPH_INPUT:
                    graph.inputs.append(self.value(a, b))
                elif tag == tags.GRAPH_OUTPUT:
                    graph.outputs.append(self.value(a, b))
                elif tag == tags.GRAPH_VALUE:
                    self.passing_value(a, b)
                elif tag in tags.GRAPH_OTHER:
                    self.form(a, b)
                elif tag == tags.GRAPH_NAME:
                    graph.name = self.remark(a, b)
                self.release(b)
        self._depth -= 1
        return graph

    def function(self, start: int, stop: int) -> Function:
        """A ``FunctionProto``."""
        self.count("functions")
        function = Function()
        body = function.body
        for tag, a, b in self.reader.fields(start, stop):
            if tag == tags.FUNCTION_NAME:
                function.name = self.text(a, b)
            elif tag == tags.FUNCTION_DOMAIN:
                function.domain = plain_domain(self.text(a, b))
            elif tag == tags.FUNCTION_OVERLOAD:
                function.overload = self.text(a, b)
            elif tag == tags.FUNCTION_INPUT:
                body.inputs.append(Value(name=self.text(a, b)))
            elif tag == tags.FUNCTION_OUTPUT:
                body.outputs.append(Value(name=self.text(a, b)))
            elif tag == tags.FUNCTION_NODE:
                body.nodes.append(self.node(a, b))
            elif tag == tags.FUNCTION_OPSET:
                function.opsets.append(self.opset(a, b))
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
            if tag == tags.MODEL_GRAPH:
                spans.append((a, b))
            elif tag == tags.MODEL_IR:
                model.ir_version = signed(a)
            elif tag == tags.MODEL_PRODUCER:
                model.producer = self.remark(a, b)
            elif tag == tags.MODEL_PRODUCER_VERSION:
                model.producer_version = self.remark(a, b)
            elif tag == tags.MODEL_OPSET:
                model.opsets.append(self.opset(a, b))
            elif tag == tags.MODEL_METADATA:
                model.metadata.append(self.entry(a, b))
            elif tag == tags.MODEL_FUNCTION:
                model.functions.append(self.function(a, b))
            elif tag == tags.MODEL_TRAINING:
                self._training(model, a, b)
            self.release(a)
        if spans:
            model.graph = self.graph(spans)
        return model

    def _training(self, model: Model, start: int, stop: int) -> None:
        """Training graphs are never run here, but their tensors may name files."""
        for tag, a, b in self.reader.fields(start, stop):
            if tag in (tags.TRAINING_START, tags.TRAINING_STEP):
                model.training.append(self.graph([(a, b)]))
