"""The float model: what would ship, what the converter refused, and where each node went."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.models import Model, RefusedError, read
from seatrial.results import (
    Artifact,
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    LayoutRequest,
    LayoutResult,
    TensorIO,
    Verdict,
)

from . import FORMAT
from .converting import NHWC, Converted, convert, load
from .flat import operators

ENTRY = "model.tflite"
FACTS = "model.json"
ON = "XNNPACK, or LiteRT's own kernels"


def check(request: CheckRequest, job: Job) -> CompileReport:
    """Convert, and say what happened to each node."""
    try:
        model = read(job.path(request.model), job.scratch, request.shapes)
        job.progress("converting", 0.2)
        began = time.perf_counter()
        made = convert(model, job.scratch)
    except RefusedError as error:
        return error.report()
    seconds = time.perf_counter() - began
    return CompileReport(
        verdict=Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        placements=model.placed(ON),
        findings=tuple(_emulated(made.path)) if request.precision == "int8" else (),
        artifact=save(made.path, made.records, model, job.out),
        notes=(f"converted in {seconds:.2f} s",),
    )


def _emulated(path: Path) -> list[Finding]:
    """That Q/DQ pairs became operators of their own, around float ones."""
    told = [o.precision for o in operators(path) if o.precision]
    floats = sum(p != "INT8" for p in told)
    if not floats:
        return []
    text = f"{floats} of {len(told)} operators compute in float between QUANTIZE and DEQUANTIZE"
    return [Finding(reason=text, severity="warning", advice="give the float model and samples")]


def save(path: Path, records: Sequence[Mapping[str, Any]], model: Model, out: Path) -> Artifact:
    """Copy a ``.tflite`` file, and write what a session must know beside it.

    Raises:
        ValueError: an input or output cannot be told from the model's.
    """
    shutil.copyfile(path, out / ENTRY)
    nodes: dict[str, list[str]] = {}
    taps: dict[str, dict[str, Any]] = {}
    last: dict[str, str] = {}
    turned: set[str] = set()
    for record in records:
        tensor = record.get("resolved_tflite_tensor_name") or ""
        index = model.index(record.get("onnx_op_name") or "")
        if not tensor or not record.get("exists_in_final_model"):
            continue
        if index is not None and model.labels[index] not in nodes.setdefault(tensor, []):
            nodes[tensor].append(model.labels[index])
        # of several tensors that became one, the last has the value: the others were fused away
        taps.pop(last.get(tensor, ""), None)
        last[tensor] = record["onnx_output_name"]
        channels_last = bool(record.get("assume_channel_last_layout"))
        taps[last[tensor]] = {"tensor": tensor, "channels_last": channels_last}
        if channels_last:
            turned.add(record["onnx_output_name"])
    signature = load(path).get_signature_runner()
    found = signature.get_output_details()
    outputs = {_key(o.name, found)[0]: o for o in model.proto.graph.output}
    facts = {
        "nodes": nodes,
        "taps": taps,
        "outputs": {k: [_dtype(o), len(_sizes(o))] for k, o in outputs.items()},
    }
    (out / FACTS).write_text(json.dumps(facts), "utf-8")
    return Artifact(
        format=FORMAT,
        entry=ENTRY,
        files=(ENTRY, FACTS),
        inputs=tuple(
            _input(_key(i.name, signature.get_input_details()), i.name, _sizes(i))
            for i in model.inputs
        ),
        outputs=tuple(
            _io((key, found[key]), o.name, _turn(found[key], _sizes(o), o.name in turned))
            for key, o in outputs.items()
        ),
    )


def _sizes(tensor: Any) -> list[int]:
    """Sizes of an ONNX tensor; 0: free."""
    return [d.dim_value for d in tensor.type.tensor_type.shape.dim]


def _dtype(tensor: Any) -> str:
    """The type of a tensor in numpy's words, ``""`` of a sequence."""
    import onnx

    if not tensor.type.HasField("tensor_type"):
        return ""
    return str(onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))


def _turn(detail: Mapping[str, Any], sizes: Sequence[int], said: bool) -> tuple[int, ...]:
    """How an output's axes are turned: its sizes tell or, where they are alike, the converter."""
    given = [int(k) for k in detail["shape"]]
    last = (0, *range(2, len(sizes)), 1)
    if len(given) != len(sizes) or len(sizes) < 3:
        return ()
    as_is, as_last = given == list(sizes), given == [sizes[k] for k in last]
    return last if as_last and (said or not as_is) else ()


def _key(name: str, details: Mapping[str, Any]) -> tuple[str, Any]:
    """A tensor of the signature by the name that ONNX has for it."""
    if name in details:
        return name, details[name]
    if len(details) == 1:
        return next(iter(details.items()))
    raise ValueError(f"{name!r} is not among {', '.join(sorted(details))}")


def _input(found: tuple[str, Any], name: str, shape: Sequence[int]) -> TensorIO:
    given = [int(k) for k in found[1]["shape"]]
    if given == list(shape) or len(shape) != len(NHWC):
        return _io(found, name)
    if given == [shape[k] for k in NHWC]:
        return _io(found, name, NHWC)
    raise ValueError(f"input {name!r} has shape {given}, the model's is {list(shape)}")


def _io(found: tuple[str, Any], name: str, perm: tuple[int, ...] = ()) -> TensorIO:
    import numpy as np

    key, detail = found
    scale, zero = detail["quantization"]
    return TensorIO(
        name=key,
        onnx=name,
        dtype=np.dtype(detail["dtype"]).name,
        shape=tuple(int(k) for k in detail["shape"]),
        perm=perm,
        scale=float(scale),
        zero_point=int(zero),
    )


def converted(request: Any, job: Job, *, keep: Sequence[str] = ()) -> tuple[Model, Converted]:
    """What a build starts with.

    Raises:
        ValueError: an invalid model, or one that is refused.
    """
    try:
        model = read(job.path(request.model), job.scratch, request.shapes)
        return model, convert(model, job.scratch, keep=keep)
    except RefusedError as error:
        raise ValueError(str(error)) from None


def build(request: BuildRequest, job: Job) -> Build:
    """The float model. XNNPACK keeps FP32 unless it is told otherwise, so ``native`` is the same.

    Raises:
        ValueError: an invalid model, or one that is refused.
    """
    model, made = converted(request, job)
    artifact = save(made.path, made.records, model, job.out)
    told = {o.precision for o in operators(made.path)}
    precision = next((p for p in ("FP32", "FP16") if p in told), "FP32")
    return Build(artifact=artifact, precision=precision)


def layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """The model with its images channels last, which is LiteRT's own way, or first.

    Raises:
        ValueError: an invalid model, one that is refused, or an input without that layout.
    """
    keep = request.inputs if request.layout == "NCHW" else ()
    before = job.scratch / "other"
    before.mkdir()
    model, made = converted(request, job, keep=keep)
    artifact = save(made.path, made.records, model, job.out)
    turned = {io.onnx for io in artifact.inputs if io.perm}
    if request.layout == "NHWC" and set(request.inputs) - turned:
        raise ValueError(f"{(set(request.inputs) - turned).pop()!r} cannot be told from its NHWC")
    other = convert(model, before, keep=() if keep else request.inputs)
    here, there = (sum(o.name == "TRANSPOSE" for o in operators(m.path)) for m in (made, other))
    return LayoutResult(
        artifact=artifact,
        transposes_added=max(0, here - there),
        transposes_removed=max(0, there - here),
        method="reconfigured",
        notes=("counted against the other layout, in the converted models",),
    )
