"""The float artefact and the INT8 artefact."""

from __future__ import annotations

from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import Build, BuildRequest, Int8Build, Int8Request

from . import graph as g
from .artifacts import save
from .layers import int8_and_float, runtime_layers, unaccounted
from .names import Names, names_of
from .runtime import Runtime, precision_name


def build(request: BuildRequest, job: Job) -> Build:
    """Write the float artefact, and state the precision that it will run in.

    The files are the same for ``fp32`` and ``native``: OpenVINO picks the precision when it
    compiles, so the session pins it, or leaves it.

    Raises:
        ValueError: neither ``fp32`` nor ``native`` was asked for.
        RuntimeError: OpenVINO refuses the model.
    """
    if request.precision not in ("fp32", "native"):
        raise ValueError(f"precision {request.precision!r}: there are fp32 and native")
    runtime = Runtime(request.target)
    path = job.path(request.model)
    model = runtime.read(path, request.shapes)
    graph = g.read(path)
    job.progress("compiling", 0.3)
    properties = runtime.properties(request.precision, request.options)
    device = runtime.device_name(request.options)
    compiled = runtime.compile(model, properties, device)
    precision = precision_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    artifact = save(runtime, model, names_of(graph, model), job.out)
    return Build(artifact=artifact, precision=precision, notes=_float_notes(request, precision))


def _float_notes(request: BuildRequest, precision: str) -> tuple[str, ...]:
    if request.precision == "fp32":
        return ("pinned with INFERENCE_PRECISION_HINT=f32 when it is loaded",)
    return (f"with no hint OpenVINO runs the float parts in {precision} on this machine",)


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Write the INT8 artefact, and say which nodes run in INT8.

    Raises:
        ValueError: unknown form, no calibration data, or NNCF cannot quantise the model.
        RuntimeError: OpenVINO refuses the model.
    """
    runtime = Runtime(request.target)
    path = job.path(request.model)
    graph = g.read(path)
    model = runtime.read(path, request.shapes)
    names = names_of(graph, model)
    if request.form == "qdq":
        method = "Q/DQ pairs of the ONNX model, read by OpenVINO"
    elif request.form == "float":
        from .quantizing import quantize_model

        model, method = quantize_model(request, job, model, graph, names)
    else:
        raise ValueError(f"form {request.form!r}: there are qdq and float")
    job.progress("compiling", 0.8)
    properties = runtime.properties("int8", request.options)
    compiled = runtime.compile(model, properties, runtime.device_name(request.options))
    told, how = _precisions(compiled, graph, names)
    artifact = save(runtime, model, names, job.out)
    return Int8Build(
        artifact=artifact,
        method=method,
        int8_nodes=told[0],
        float_nodes=told[1],
        notes=(*how, "the float parts are pinned to FP32 when it is loaded"),
    )


def _precisions(
    compiled: Any, graph: g.Graph, names: Names
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], tuple[str, ...]]:
    """INT8 and float nodes as the kernels tell, and what they do not tell."""
    notes = []
    if any(port.get_partial_shape().is_dynamic for port in compiled.inputs):
        # kernels of a model with free dimensions are picked when the first shapes come
        try:
            _run_once(compiled)
        except (RuntimeError, ValueError) as error:
            notes.append(f"kernels were read before any run: {str(error).strip()[:200]}")
    told = int8_and_float(runtime_layers(compiled, names), names.types)
    if open_ := unaccounted(graph, *told):
        notes.append(f"the runtime does not tell the precision of {', '.join(open_)}")
    return told, tuple(notes)


def _run_once(compiled: Any) -> None:
    """One inference on zeros with every free dimension 1, for its choice of kernels only."""
    import numpy as np

    feeds = []
    for port in compiled.inputs:
        shape = [d.get_length() if d.is_static else 1 for d in port.get_partial_shape()]
        feeds.append(np.zeros(shape, port.get_element_type().to_dtype()))
    compiled.create_infer_request().infer(feeds)
