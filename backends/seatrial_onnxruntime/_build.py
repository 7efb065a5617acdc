"""The artefacts: for this runtime they are ONNX models that a session has accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Build, BuildRequest, Int8Build, Int8Request, QuantizeRequest

from . import _model, _ort
from ._compile import Ready, inspect, prepare
from ._quantize import quantize
from ._targets import CPU, Provider, provider


def build(request: BuildRequest, job: Job) -> Build:
    """Answer ``seatrial_build``.

    Raises:
        RuntimeError: the provider is missing, or the runtime refuses the model.
    """
    chosen = provider(request.target)
    pinned = request.precision == "fp32"
    setup = _ort.Setup(provider=chosen, pin_fp32=pinned, options=request.options)
    ready = prepare(job.path(request.model), request.shapes)
    session = accepted(ready.source, setup, ready.folder)
    entry, files = ready.copy(job.out)
    notes = []
    if chosen.name == CPU:
        notes.append("the CPU provider computes float32 tensors in float32")
        if ready.model is not None and _holds_half(ready.model):
            notes.append("float16 nodes without float16 kernels run in float32")
    elif pinned and chosen.fp32:
        pins = ", ".join(f"{k}={v}" for k, v in chosen.fp32.items())
        notes.append(f"pinned to float32 by provider options: {pins}")
    elif pinned:
        notes.append(f"{chosen.name} runs float32 unless its options say otherwise")
    return Build(
        artifact=_model.artifact(session, entry, files),
        precision=_precision(chosen, pinned),
        notes=tuple(notes),
    )


def _precision(chosen: Provider, pinned: bool) -> str:
    # What a provider other than the CPU does by itself cannot be told before it ran.
    return "FP32" if pinned or chosen.name == CPU else "provider's default"


def _holds_half(model: Any) -> bool:
    half = 10
    return any(t.data_type == half for t in model.graph.initializer)


def accepted(source: Path | bytes, setup: _ort.Setup, folder: Path | None = None) -> Any:
    """A session, or one line why there is none.

    Raises:
        RuntimeError: the provider is missing, or the runtime refuses the model.
    """
    absent = _ort.missing(setup.provider)
    if absent:
        raise RuntimeError(f"{absent} ({setup.provider.wheel})")
    try:
        session = _ort.open_session(source, setup, folder)
    except _ort.errors() as error:
        raise RuntimeError(f"the runtime refuses the model: {_ort.plain(error)}") from None
    lost = _ort.missing(setup.provider, session)
    if lost:
        raise RuntimeError(lost)
    return session


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Answer ``seatrial_build_int8``.

    Raises:
        UserError: another form than ``qdq`` or ``float``, or no calibration data for ``float``.
        RuntimeError: the runtime refuses the model.
    """
    if request.form == "qdq":
        ready = prepare(job.path(request.model), request.shapes)
        entry, files = ready.copy(job.out)
        method = "Q/DQ model as it came; INT8 kernels are chosen when the session is created"
        notes: tuple[str, ...] = ()
    elif request.form == "float":
        entry, files, method, notes = _quantized(request, job)
    else:
        raise UserError("form", f"{request.form!r} is neither 'qdq' nor 'float'")
    setup = _ort.Setup(provider=provider(request.target), options=request.options)
    made = Ready(job.out / entry, _model.read(job.out / entry), changed=False)
    session = accepted(made.path, setup)
    result, seen = inspect(made, setup, session, job.scratch)
    eight, floating = seen.int8_and_float() if seen else ((), ())
    if seen is None:
        notes += ("this provider does not tell which nodes run in INT8",)
    elif not eight:
        notes += ("no node runs in INT8: the artefact computes in float",)
    if result.fallback:
        notes += tuple(f.reason for f in result.findings[:1])
    return Int8Build(
        artifact=_model.artifact(session, entry, files),
        method=method,
        int8_nodes=eight,
        float_nodes=floating,
        notes=notes,
    )


def _quantized(request: Int8Request, job: Job) -> tuple[str, tuple[str, ...], str, tuple[str, ...]]:
    if request.calibration is None:
        raise UserError("calibration", "the form 'float' needs calibration samples")
    if request.shapes:
        raise UserError("shapes", "give the float model static shapes before it is quantised")
    made = quantize(
        QuantizeRequest(
            model=request.model,
            target=request.target,
            calibration=request.calibration,
            keep_float=request.keep_float,
            seed=request.seed,
            options=request.options,
        ),
        job,
    )
    return made.artifact.entry, made.artifact.files, made.method, made.notes
