"""ONNX to TFLite by onnx2tf, and which nodes are at fault when it does not get there."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.errors import one_line
from seatrial.models import Model, RefusedError
from seatrial.results import Finding

#: What is converted to channels last by the converter's own rule.
IMAGE_RANK = 4
NHWC = (0, 2, 3, 1)
#: The interpreter on a type that a kernel does not know, and on a loop without its input.
_NO_KERNEL = (
    *("is unsupported", "not supported", "oes not support type", "failed to prepare"),
    *("only supports", "lacks data"),
)
_NUMBER = re.compile(r"Node number (\d+) \(")


@dataclass(frozen=True)
class Converted:
    """A model that the interpreter takes.

    Attributes:
        path: the float ``.tflite`` file.
        records: of each ONNX tensor, what became of it.
    """

    path: Path
    records: tuple[dict[str, Any], ...]


def convert(model: Model, scratch: Path, *, keep: Sequence[str] = ()) -> Converted:
    """Convert, and load the result once.

    The converter turns every operator that it does not know into a custom one and calls that a
    success; the interpreter has no such kernel. So both are asked, and the report on each node is
    read.

    Args:
        model: what to convert.
        scratch: a folder for what the converter writes.
        keep: inputs whose layout stays as it is, besides those that are no images.

    Raises:
        RefusedError: with a finding per node, as far as nodes are to blame.
    """
    out = scratch / "converted"
    kept = {*keep, *(i.name for i in model.inputs if not _is_image(i))}
    said = io.StringIO()
    error: BaseException | None = None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        error = _onnx2tf(model.path, out, sorted(kept))
    if error is not None:
        raise RefusedError(*_from_error(model, out, error, said.getvalue()))
    if custom := list(_custom(model, out)):
        raise RefusedError(*custom)
    path = out / f"{model.path.stem}_float32.tflite"
    records = json.loads(_report(out, "tensor_correspondence") or "{}").get("records", [])
    try:
        _try(load(path))
    except (RuntimeError, ValueError) as refusal:
        index = _node_at(model, str(refusal), records)
        reason = f"the interpreter refuses what was converted: {one_line(refusal)}"
        raise RefusedError(model.finding(index, reason)) from None
    return Converted(path, tuple(records))


def load(path: Path, **options: Any) -> Any:
    """An interpreter with its tensors allocated.

    Raises:
        RuntimeError, ValueError: it does not take the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), **options)
    interpreter.allocate_tensors()
    return interpreter


def _try(interpreter: Any) -> None:
    """Run once on zeros: some kernels refuse a type only then.

    Whole numbers may be sizes, so they are 1.

    Raises:
        RuntimeError: a kernel that is missing. Whatever the numbers may be wrong for is let pass.
    """
    import numpy as np

    for detail in interpreter.get_input_details():
        kind = np.dtype(detail["dtype"])
        value = np.full(detail["shape"], int(kind.kind in "iu"), kind)
        interpreter.set_tensor(detail["index"], value)
    try:
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        if any(sign in str(error) for sign in _NO_KERNEL):
            raise


def _node_at(model: Model, message: str, records: Sequence[dict[str, Any]]) -> int | None:
    """The ONNX node behind "Node number 3 (ADD)", as the converter keeps account of it."""
    match = _NUMBER.search(message)
    for record in records if match else ():
        if record.get("producer_operator_index") == int(match[1]):
            return model.index(record.get("onnx_op_name") or "")
    return 0 if len(model.labels) == 1 else None


def _onnx2tf(path: Path, out: Path, kept: list[str]) -> BaseException | None:
    """Call the converter; what it raised, which may be an exit."""
    import onnx2tf

    try:
        onnx2tf.convert(
            input_onnx_file_path=str(path),
            output_folder_path=str(out),
            keep_ncw_or_nchw_or_ncdhw_input_names=kept or None,
            report_op_coverage=True,
            non_verbose=True,
            verbosity="error",
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it ends in errors of every kind
        return error
    return None


def _is_image(tensor: Any) -> bool:
    """Whether an input has channels that can be moved to the end, and be told to have been."""
    dims = [d.dim_value for d in tensor.type.tensor_type.shape.dim]
    return len(dims) == IMAGE_RANK and dims[1] != dims[2]


def _report(out: Path, kind: str) -> str:
    found = sorted(out.glob(f"*{kind}*.json"))
    return found[0].read_text("utf-8") if found else ""


def _custom(model: Model, out: Path) -> Iterator[Finding]:
    """Nodes that became custom operators or nothing at all."""
    report = json.loads(_report(out, "op_coverage") or "{}")
    for kind in ("unsupported_nodes", "custom_lowered_nodes"):
        for row in report.get(kind, ()):
            what = "no conversion" if kind.startswith("un") else "no kernel: left a custom operator"
            reason = f"{row['onnx_op']}: {what}"
            yield model.finding(model.index(row["node_name"]), reason)


def _from_error(model: Model, out: Path, error: BaseException, log: str) -> Iterator[Finding]:
    """The nodes that the converter names in its report or its message; else the model."""
    named = list(_custom(model, out))
    yield from named
    tail = " ".join(log.split())[-200:]
    text = one_line(error) if str(error).strip("0123456789 ") else f"the converter gave up: {tail}"
    index = model.index(text) if model.index(text) is not None else model.index(log)
    if index is None and len(model.labels) == 1:
        index = 0
    if not named or (index is not None and model.labels[index] not in {f.node for f in named}):
        yield model.finding(index, text)
