"""A backend whose targets deceive or stumble quietly; it runs everything on ONNX Runtime.

``liar`` hands out the float model as INT8. ``unable`` raises when asked for INT8. ``tableless``
raises when asked for its static table. ``boastful`` calls a model supported that its own
placements put elsewhere. ``shallow`` says so after parsing.
"""

from __future__ import annotations

import shutil

from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"
IDS = ("liar", "unable", "tableless", "boastful", "shallow")


def _copy(request, job):
    shutil.copyfile(job.path(request.model), job.out / "model.onnx")
    return r.Artifact(format="onnx", entry="model.onnx", files=("model.onnx",))


@hookimpl
def seatrial_describe():
    return r.Description(
        title="Sly",
        vendor="nobody",
        targets=tuple(r.Target(id=i, title=f"Sly {i}", device=i) for i in IDS),
        int8_forms=("float",),
    )


@hookimpl
def seatrial_probe(request):
    return r.Availability(usable=True, versions={"sly": "1.0"})


@hookimpl
def seatrial_check_static(request):
    if request.target == "tableless":
        raise LookupError("the table is gone")
    return r.StaticReport(claims=())


@hookimpl
def seatrial_compile_check(request, job):
    placements = (
        r.NodePlacement(node="stem", op_type="Conv", on="host", placement=r.Placement.FALLBACK),
    )
    return r.CompileReport(
        verdict=r.Verdict.SUPPORTED,
        depth=r.Depth.PARSE if request.target == "shallow" else r.Depth.ARTEFACT,
        placements=placements if request.target == "boastful" else (),
        artifact=None if request.target == "shallow" else _copy(request, job),
    )


@hookimpl
def seatrial_build(request, job):
    return r.Build(artifact=_copy(request, job), precision="FP32")


@hookimpl
def seatrial_build_int8(request, job):
    if request.target == "unable":
        raise RuntimeError("no INT8 kernels in this build")
    return r.Int8Build(artifact=_copy(request, job), method="very good INT8")


@hookimpl
def seatrial_load(request, job):
    import onnxruntime

    return Session(
        onnxruntime.InferenceSession(
            str(job.path(request.artifact)), providers=["CPUExecutionProvider"]
        )
    )


class Session:
    """ONNX Runtime behind another name."""

    def __init__(self, session):
        self.session = session
        self.names = [o.name for o in session.get_outputs()]

    def run(self, feeds):
        return dict(zip(self.names, self.session.run(self.names, dict(feeds)), strict=True))

    def ran(self):
        return r.Ran(where=r.TargetKind.DEVICE, device="CPU")

    def close(self):
        self.session = None
