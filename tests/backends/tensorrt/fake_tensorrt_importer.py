"""What the fake's parser refuses, and in which words.

[source] texts and rules of the importer for TensorRT 10.1; which operators and types are not
taken is the published operator table, the same data that the backend reads.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import seatrial_tensorrt

TABLE = json.loads(Path(seatrial_tensorrt.__file__).with_name("operators.json").read_text("utf-8"))
TYPES = {
    1: "FP32", 11: "FP32", 10: "FP16", 16: "BF16", 6: "INT32", 7: "INT64", 9: "BOOL", 3: "INT8",
    2: "UINT8", 17: "FP8", 22: "INT4", 23: "FP4",
}  # fmt: skip
LISTED = {op: TABLE["types"][kind] for kind, ops in TABLE["listed"].items() for op in ops}
PLUGIN = "Plugin not found, are the plugin name, version, and namespace correct?"


class Importer:
    """Looks at every node, nested ones and bodies of functions among them."""

    def __init__(self, model, major):
        self.model, self.major = model, major
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.constants = {t.name: t for t in model.graph.initializer}
        self.kinds = {}
        with contextlib.suppress(Exception):
            model = onnx.shape_inference.infer_shapes(model)
        graph = model.graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.kinds[value.name] = value.type.tensor_type.elem_type
        self.kinds |= {t.name: t.data_type for t in graph.initializer}

    def errors(self):
        """(error code, text, index in its own graph or of the call, node, functions above it)."""
        return list(self._graph(self.model.graph))

    def _graph(self, graph):
        self.constants |= {t.name: t for t in graph.initializer}
        for index, node in enumerate(graph.node):
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
                if attribute.HasField("g"):
                    yield from self._graph(attribute.g)
            for inner in self._body(node):
                yield (*self._node(inner), index, inner, [node.op_type])
            found = self._node(node)
            if found:
                yield (*found, index, node, [])

    def _body(self, node):
        """Refused nodes in the body of a local function."""
        function = self.functions.get((node.domain, node.op_type))
        return [n for n in (function.node if function else ()) if self._node(n)]

    def _node(self, node):
        if (node.domain, node.op_type) in self.functions:
            return None
        # [source] the name alone counts
        if node.op_type not in LISTED or self._too_new(node.op_type):
            return "INVALID_NODE", f"No importer registered for op {node.op_type}. {PLUGIN}"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return self._pair(node)
        kind = self.kinds.get(node.input[0]) if node.input else None
        takes = LISTED[node.op_type]
        elsewhere = ("Where", "OneHot", "If", "Loop", "Scan", "ConstantOfShape", "EyeLike")
        if takes and kind and node.op_type not in elsewhere and TYPES.get(kind) not in takes:
            return "UNSUPPORTED_NODE_DATATYPE", f"{node.op_type} does not take this type"
        return None

    def _too_new(self, op):
        since = TABLE["since"].get(op)
        return since is not None and self.major < int(since.split(".")[0])

    def _pair(self, node):
        zero = self._constant(node, 2)
        if self.kinds.get(node.input[0]) == onnx.TensorProto.INT32:
            return "UNSUPPORTED_NODE", "only activation types allowed as input to this layer"
        if zero is not None and zero.dtype == np.uint8:
            return "UNSUPPORTED_NODE", "TensorRT doesn't support QuantizeLinear to UINT8"
        if zero is not None and zero.any():
            text = "TensorRT only supports symmetric quantization. The zero point must be all zeros"
            return "UNSUPPORTED_NODE", text
        return None

    def _constant(self, node, position):
        if position >= len(node.input):
            return None
        tensor = self.constants.get(node.input[position])
        return None if tensor is None else numpy_helper.to_array(tensor)
