"""ONNX models as TVM's importer gets them, under the labels that the report knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from seatrial.results import node_label

#: Operators of another domain that the importer means when it sees their names.
MICROSOFT = {
    *("AllClassNMS", "BiasGelu", "DequantizeLinear", "EmbedLayerNormalization", "FastGelu"),
    *("Gelu", "MatMulInteger16", "QuantizeLinear", "SkipLayerNormalization"),
}


class InvalidModelError(Exception):
    """The model is refused as a whole, before any operator is looked at."""


@dataclass(frozen=True)
class Model:
    """A valid model.

    Attributes:
        proto: with local functions expanded.
        labels: of the main graph's nodes as they were before the expansion.
        names: their operators, for the report.
        expanded: there were local functions, so the positions of ``proto`` are not those of labels.
    """

    proto: Any
    labels: tuple[str, ...]
    names: tuple[str, ...]
    expanded: bool

    def label(self, index: int) -> str:
        """Label of a node of ``proto``, or ``""`` when it came out of a function."""
        if self.expanded:
            node = self.proto.graph.node[index]
            return node.name if node.name in self.labels else ""
        return self.labels[index]


def read(path: Path) -> Model:
    """Read and check a model. TVM's importer only warns of what the checker finds.

    Raises:
        InvalidModelError: the checker refuses it, or its opset is not known.
    """
    try:
        onnx.checker.check_model(path, full_check=True)
        proto = onnx.load(path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError) as error:
        raise InvalidModelError(short(error)) from None
    newest = onnx.defs.onnx_opset_version()
    for used in proto.opset_import:
        if used.domain in ("", "ai.onnx") and used.version > newest:
            raise InvalidModelError(f"opset {used.version}; the newest known is {newest}")
    nodes = proto.graph.node
    labels = tuple(node_label(n.name, n.op_type, k) for k, n in enumerate(nodes))
    names = tuple(n.op_type for n in nodes)
    expanded = bool(proto.functions)
    if expanded:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    _name_sizes(proto)
    return Model(proto, labels, names, expanded)


def _name_sizes(proto: Any) -> None:
    """Name the free sizes that have no name: the importer takes all of these for the same size."""
    for tensor in proto.graph.input:
        for k, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"size_{tensor.name}_{k}"


def foreign(node: Any) -> bool:
    """Whether a node's domain is one whose operators the importer does not mean by their names."""
    if node.domain == "com.microsoft":
        return node.op_type not in MICROSOFT
    return node.domain not in ("", "ai.onnx")


def short(error: BaseException, size: int = 300) -> str:
    """Type and message of an exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:size] if text else type(error).__name__
