"""A backend that builds float pictures in NCHW with fixed shapes, and refuses every other form.

``honest`` says so with a ``RefusedError``, ``crude`` with an exception of its own; ``fickle``
refuses what its compile-check took.
"""

from __future__ import annotations

import shutil

from seatrial_sly import Session

from seatrial import hookimpl, models
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"
IDS = ("honest", "crude", "fickle")


def _refuse(target, reason):
    finding = r.Finding(node="stem", op_type="Relu", reason=reason)
    raise RuntimeError(reason) if target == "crude" else models.RefusedError(finding, finding)


def _copy(request, job):
    shutil.copyfile(job.path(request.model), job.out / "model.onnx")
    return r.Artifact(format="onnx", entry="model.onnx", files=("model.onnx",))


@hookimpl
def seatrial_describe():
    return r.Description(
        title="Picky",
        vendor="nobody",
        targets=tuple(r.Target(id=i, title=f"Picky {i}", device=i) for i in IDS),
        int8_forms=(),
        options=("method", "net.*"),
    )


@hookimpl
def seatrial_probe(request):
    return r.Availability(usable=True, versions={"picky": "1.0"})


@hookimpl
def seatrial_compile_check(request, job):
    artifact = _copy(request, job)
    return r.CompileReport(verdict=r.Verdict.SUPPORTED, depth=r.Depth.ARTEFACT, artifact=artifact)


@hookimpl
def seatrial_transform_layout(request, job):
    _refuse(request.target, f"no kernels for {request.layout}")


@hookimpl
def seatrial_build(request, job):
    import onnx

    graph = onnx.load(job.path(request.model)).graph
    if graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        _refuse(request.target, "no kernels for bytes")
    if not request.shapes:
        _refuse(request.target, "shapes must be fixed")
    if request.target == "fickle":
        _refuse(request.target, "not today")
    return r.Build(artifact=_copy(request, job), precision="FP32")


@hookimpl
def seatrial_load(request, job):
    import onnxruntime

    return Session(
        onnxruntime.InferenceSession(
            str(job.path(request.artifact)), providers=["CPUExecutionProvider"]
        )
    )
