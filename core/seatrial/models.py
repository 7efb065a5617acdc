"""For vendors: an ONNX model as a compiler gets it, and refusals that name its nodes.

    from seatrial import models

    try:
        model = models.read(job.path(request.model), job.scratch, request.shapes)
        blob = compile(model.path)                      # your toolchain
    except AcmeError as error:                          # "no rule for seatrial_3"
        index = model.index(str(error))
        raise models.RefusedError(model.finding(index, str(error))) from None

A compile-check ends with ``except models.RefusedError as error: return error.report()``.
This module is carried to foreign interpreters: Python 3.10, pluggy, and the toolchain's own onnx,
which is loaded when a model is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import one_line
from .results import (
    Claim,
    CompileReport,
    Depth,
    Finding,
    NodeClaim,
    NodePlacement,
    Placement,
    StaticReport,
    Verdict,
    node_label,
)

#: Name of a node in the copy: its position in the main graph.
_MARK = re.compile(r"seatrial_(\d+)(?!\d)")
#: The checker's complaint of one node of the function that defines an operator.
_WITHIN = re.compile(r"\(op_type:(\w+)[^)]*\): \[\w+\] Inference error\(s\): \(op_type:")


class RefusedError(Exception):
    """A toolchain does not take a model.

    Args:
        findings: which nodes and why; at least one.
        depth: how far it came.
    """

    def __init__(self, *findings: Finding, depth: Depth = Depth.MAP) -> None:
        self.findings = findings
        self.depth = depth
        super().__init__(findings[0].reason)

    def report(self) -> CompileReport:
        """What ``seatrial_compile_check`` returns."""
        return CompileReport(verdict=Verdict.UNSUPPORTED, depth=self.depth, findings=self.findings)


class InvalidModelError(RefusedError):
    """The model is refused as a whole, before any operator is looked at."""

    def __init__(self, reason: str) -> None:
        finding = Finding(reason=reason, placement=Placement.NOWHERE)
        super().__init__(finding, depth=Depth.PARSE)


@dataclass(frozen=True)
class Model:
    """A valid model, and the labels of its nodes by the names that a toolchain sees.

    Attributes:
        path: the copy to compile. Its nodes are called ``seatrial_0``, ``seatrial_1``, ..., and
            its weights lie in the file.
        proto: the same in memory, an ``onnx.ModelProto``.
        labels: of the main graph's nodes as they were given, in order.
        types: their operators.
        domains: and the domains of these.
    """

    path: Path
    proto: Any
    labels: tuple[str, ...]
    types: tuple[str, ...]
    domains: tuple[str, ...]

    @property
    def inputs(self) -> list[Any]:
        """What is fed: the inputs without the constants."""
        constants = {t.name for t in self.proto.graph.initializer}
        return [i for i in self.proto.graph.input if i.name not in constants]

    def index(self, text: str) -> int | None:
        """Position of the node that a text names, ``None`` when it names none.

        Nodes that came out of a local function carry no such name.
        """
        match = _MARK.search(text)
        index = int(match[1]) if match else len(self.labels)
        return index if index < len(self.labels) else None

    def label(self, text: str) -> str:
        """Label of the node that a text names, ``""`` when it names none."""
        index = self.index(text)
        return "" if index is None else self.labels[index]

    def layer(self, name: str) -> int | None:
        """Position of the node that a layer is named after, alone or with what was fused to it."""
        return self.index(name) if _MARK.match(name) else None

    def finding(
        self,
        index: int | None,
        reason: str,
        placement: Placement = Placement.NOWHERE,
        **more: Any,
    ) -> Finding:
        """What is said of a node, or with ``None`` of the whole model.

        Args:
            index: position of the node.
            reason: in the toolchain's words.
            placement: where the node runs.
            more: other fields of a :class:`~seatrial.results.Finding`.
        """
        if index is None:
            return Finding(reason=reason, placement=placement, **more)
        return Finding(
            node=self.labels[index],
            op_type=self.types[index],
            domain=self.domains[index],
            reason=reason,
            placement=placement,
            **more,
        )

    def placed(self, on: str) -> tuple[NodePlacement, ...]:
        """The placements of a toolchain that takes all nodes or none."""
        return tuple(
            NodePlacement(node=label, op_type=kind, on=on, placement=Placement.TARGET)
            for label, kind in zip(self.labels, self.types, strict=True)
        )


def read(path: Path, scratch: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
    """Check a model, and write the copy that is compiled: some toolchains write into their input.

    Local functions are expanded. A file format newer than the toolchain's onnx is written as the
    newest it knows: what operators mean is a matter of their opset, which is looked at on its own.

    Args:
        path: the model as the job has it.
        scratch: a folder for the copy, as a rule ``job.scratch``.
        shapes: a static shape for each input that gets one.

    Raises:
        InvalidModelError: the checker refuses it, or its opset is not known.
    """
    import onnx

    try:
        proto = _checked(path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError) as error:
        raise InvalidModelError(one_line(error)) from None
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

        for node in (n for function in proto.functions for n in function.node):
            node.name = ""  # it would come out as a name like ours
        proto = inliner.inline_local_functions(proto)
    if shapes:
        _freeze(proto, shapes)
    copy = scratch / "model.onnx"
    onnx.save(proto, copy, save_as_external_data=False)
    return Model(copy, proto, labels, types, domains)


#: What a table says of a node (an ``onnx.NodeProto``), and why.
Judge = Callable[[Any], "tuple[Claim, str]"]


def claims(path: Path, judge: Judge, *, source: str, notes: tuple[str, ...] = ()) -> StaticReport:
    """What a table that goes by names says of each node of the main graph.

    Args:
        path: the model.
        judge: looks a node up. Of calls of the model's own functions nothing is known.
        source: of the table, with a version.
        notes: for the reader.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    own = {(f.domain, f.name) for f in model.functions}
    found = []
    for index, node in enumerate(model.graph.node):
        claim, reason = judge(node)
        if (node.domain, node.op_type) in own:
            claim, reason = Claim.UNKNOWN, "a function of the model: it is expanded first"
        found.append(
            NodeClaim(
                node=node_label(node.name, node.op_type, index),
                op_type=node.op_type,
                domain=node.domain,
                claim=claim,
                reason=reason,
                source=source,
                # by name alone: neither the operator's version nor its types are in the table
                confidence="high" if claim is Claim.UNSUPPORTED else "medium",
            )
        )
    return StaticReport(claims=tuple(found), notes=notes)


def _checked(path: Path) -> Any:
    """The model, its weights in memory, after onnx's checker took it."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        proto = onnx.load(path)
        if not _of_onnx(str(error), proto):
            raise
        onnx.checker.check_model(path)
        return proto
    except onnx.checker.ValidationError as error:
        if "ir_version" not in str(error):
            raise
        proto = onnx.load(path)
        proto.ir_version = min(proto.ir_version, onnx.IR_VERSION)
        onnx.checker.check_model(proto, full_check=True)
        return proto
    return onnx.load(path)


def _of_onnx(error: str, proto: Any) -> bool:
    """Whether the checker finds fault with ONNX's own definition of an operator, and nothing else.

    That of MeanVarianceNormalization-13 holds a Constant without a value (onnx 1.20 to 1.23).
    """
    found = _WITHIN.search(error)
    own = {function.name for function in proto.functions}
    return found is not None and found[1] not in own and error.count("(op_type:") == 2


def _freeze(proto: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write static shapes into the inputs, and forget what followed from the free ones."""
    import onnx

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
