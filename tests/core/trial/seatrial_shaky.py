"""A backend with one target per fault: ``STAGE-FAULT`` fails at that stage in that way.

Until then it works. It offers no INT8, so that each target has one artefact only.
"""

from __future__ import annotations

import ctypes
import shutil
import time

from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"

STAGES = ("compile_check", "build", "load", "run")
FAULTS = ("raises", "crashes", "hangs", "eats", "breaks")
IDS = (
    "probe-crashes",
    *(f"{stage}-{fault}" for stage in STAGES for fault in FAULTS),
)


def _raises():
    raise ValueError("node 'stem' has\na bad [bold]shape[/bold]")


def _crashes():
    ctypes.string_at(0)


def _hangs():
    time.sleep(1000)


def _eats():
    hoard = []
    while True:
        hoard.append(bytearray(b"\1") * 10_000_000)
        time.sleep(0.002)


def _breaks():
    return [1.0]


def _shake(stage, target):
    """Fail if it is this target's turn; true if the answer must be a wrong one."""
    where, _, how = target.partition("-")
    return where == stage and globals()[f"_{how}"]() is not None


def _copy(request, job):
    shutil.copyfile(job.path(request.model), job.out / "model.onnx")
    return r.Artifact(format="onnx", entry="model.onnx", files=("model.onnx",))


@hookimpl
def seatrial_describe():
    return r.Description(
        title="Shaky",
        vendor="nobody",
        targets=tuple(r.Target(id=i, title=f"Shaky {i}", device=i) for i in IDS),
        int8_forms=(),
    )


@hookimpl
def seatrial_probe(request):
    _shake("probe", request.target)
    return r.Availability(usable=True, versions={"shaky": "1.0"})


@hookimpl
def seatrial_compile_check(request, job):
    if _shake("compile_check", request.target):
        return {"verdict": "supported"}
    artifact = _copy(request, job)
    return r.CompileReport(verdict=r.Verdict.SUPPORTED, depth=r.Depth.ARTEFACT, artifact=artifact)


@hookimpl
def seatrial_build(request, job):
    if _shake("build", request.target):
        return r.Availability(usable=True)
    return r.Build(artifact=_copy(request, job), precision="FP32")


@hookimpl
def seatrial_load(request):
    if _shake("load", request.target):
        return object()
    return Session(request.target)


class Session:
    """Fails at its first inference."""

    def __init__(self, target):
        self.target = target

    def run(self, feeds):
        _shake("run", self.target)
        return [1.0]

    def ran(self):
        return r.Ran(where=r.TargetKind.DEVICE, device="CPU")

    def close(self):
        pass
