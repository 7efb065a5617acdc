"""ONNX models as the compiler gets them: valid, static, and with nodes that can be found again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from seatrial.results import node_label

_MARK = re.compile(r"seatrial_(\d+)(?!\d)")


class InvalidModelError(Exception):
    """The model is refused as a whole, before any operator is looked at."""


@dataclass(frozen=True)
class Model:
    """A valid model, and the labels of its nodes by the names that the compiler sees.

    Attributes:
        path: a copy with static shapes, whose nodes are called ``seatrial_0``, ``seatrial_1``, ...
        proto: the same in memory.
        labels: of the main graph's nodes, in order.
        types: their operators.
        domains: and the domains of these.
    """

    path: Path
    proto: Any
    labels: tuple[str, ...]
    types: tuple[str, ...]
    domains: tuple[str, ...]

    def index(self, text: str) -> int | None:
        """Position of the node that the compiler names in a text; ``None``: it names none."""
        match = _MARK.search(text)
        index = int(match[1]) if match else len(self.labels)
        return index if index < len(self.labels) else None

    def layer(self, name: str) -> int | None:
        """Position of the node that a layer is named after, alone or with what was fused to it."""
        return self.index(name) if _MARK.match(name) else None

    @property
    def inputs(self) -> list[Any]:
        """What is fed, without the constants."""
        constants = {t.name for t in self.proto.graph.initializer}
        return [i for i in self.proto.graph.input if i.name not in constants]


def read(path: Path, shapes: Mapping[str, tuple[int, ...]], scratch: Path) -> Model:
    """Check a model and write the copy that is compiled.

    Args:
        path: the user's model.
        shapes: a static shape for each input that gets one.
        scratch: a folder for the copy.

    Raises:
        InvalidModelError: the checker refuses it, or its opset is not known.
    """
    copy = scratch / "model.onnx"
    try:
        proto = _loaded(path, copy)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError) as error:
        raise InvalidModelError(short(error)) from None
    newest = onnx.defs.onnx_opset_version()
    for used in proto.opset_import:
        if used.domain in ("", "ai.onnx") and used.version > newest:
            raise InvalidModelError(f"opset {used.version}; the newest known is {newest}")
    nodes = proto.graph.node
    labels = tuple(node_label(n.name, n.op_type, k) for k, n in enumerate(nodes))
    types, domains = tuple(n.op_type for n in nodes), tuple(n.domain for n in nodes)
    for k, node in enumerate(nodes):
        node.name = f"seatrial_{k}"
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    if shapes:
        _freeze(proto, shapes)
    onnx.save(proto, copy, save_as_external_data=False)
    return Model(copy, proto, labels, types, domains)


def _loaded(path: Path, copy: Path) -> Any:
    """The checked model. A file format newer than this environment's is read as its newest.

    What operators mean is a matter of their opset, which is looked at on its own.
    """
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        if "ir_version" not in str(error):
            raise
        proto = onnx.load(path)
        proto.ir_version = min(proto.ir_version, onnx.IR_VERSION)
        onnx.save(proto, copy, save_as_external_data=False)
        onnx.checker.check_model(copy, full_check=True)
        return proto
    return onnx.load(path)


def _freeze(proto: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write static shapes into the inputs, and forget what followed from the free ones."""
    for tensor in proto.graph.input:
        if tensor.name in shapes:
            dims = tensor.type.tensor_type.shape.dim
            for dim, size in zip(dims, shapes[tensor.name], strict=True):
                dim.ClearField("dim_param")
                dim.dim_value = size
    del proto.graph.value_info[:]
    for tensor in proto.graph.output:
        for dim in tensor.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
            dim.ClearField("dim_value")
    inferred = onnx.shape_inference.infer_shapes(proto)
    del proto.graph.output[:]
    proto.graph.output.extend(inferred.graph.output)


def short(error: BaseException, size: int = 300) -> str:
    """Type and message of an exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:size] if text else type(error).__name__
