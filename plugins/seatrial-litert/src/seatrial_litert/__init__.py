"""The hooks of the LiteRT backend. Importing this module imports no toolchain.

An ONNX model is converted by onnx2tf, quantised by LiteRT's own quantizer, and run by LiteRT's
interpreter with its CPU delegate (XNNPACK).
"""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec

from seatrial.hookspecs import Job, Session, hookimpl
from seatrial.results import (
    Availability,
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Description,
    InputRules,
    Int8Build,
    Int8Request,
    LayoutRequest,
    LayoutResult,
    LoadRequest,
    ProbeRequest,
    StaticReport,
    Target,
)

#: Version of the contract that this backend is written for.
SEATRIAL_CONTRACT = "1.0"

FORMAT = "tflite"
INSTALL = (
    "a Python 3.12 environment with onnx2tf==2.6.9, then litert-quantizer==0.11.0 and pluggy;"
    " name it in seatrial.toml: [env.litert] python = ..."
)
#: Module -> distribution, for the probe.
PACKAGES = {
    "onnx2tf": "onnx2tf",
    "ai_edge_litert": "ai-edge-litert",
    "litert_quantizer": "litert-quantizer",
    "onnx": "onnx",
    "numpy": "numpy",
}


@hookimpl
def seatrial_describe() -> Description:
    """Say who this backend is."""
    target = Target(
        id="cpu",
        title="LiteRT on this CPU, XNNPACK",
        device="litert-cpu",
        default=True,
        install_hint=INSTALL,
        rules=InputRules(opset_min=7, opset_max=25, static_shapes=True, layouts=("NHWC", "NCHW")),
    )
    return Description(
        title="LiteRT (TensorFlow Lite)",
        vendor="Google",
        targets=(target,),
        artifact_format=FORMAT,
        install_hint=INSTALL,
        docs="https://ai.google.dev/edge/litert",
        seconds_per_compile=6.0,
        seconds_per_sample=0.002,
        int8_forms=("float",),
        hardware_run="not needed",
    )


@hookimpl
def seatrial_probe(request: ProbeRequest, job: Job) -> Availability:
    """Say whether a target can be used here, with versions, or why not."""
    if request.target != "cpu":
        return Availability(usable=False, reason=f"there is no target {request.target!r}")
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        reason = f"{', '.join(missing)} cannot be imported"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    versions = {dist: metadata.version(dist) for dist in PACKAGES.values()}
    return Availability(usable=True, versions=versions, devices=(os.uname().machine,))


@hookimpl
def seatrial_check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Say what the converter's table knows of each node."""
    from seatrial import models

    from .static import judge
    from .table import SOURCE

    return models.claims(job.path(request.model), judge, source=SOURCE)


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Convert, have the interpreter take the result, and name every node that has no kernel."""
    from . import building

    return building.check(request, job)


@hookimpl
def seatrial_transform_layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """Give the model with its image inputs in the wanted layout."""
    from . import building

    return building.layout(request, job)


@hookimpl
def seatrial_build(request: BuildRequest, job: Job) -> Build:
    """Give the float model."""
    from . import building

    return building.build(request, job)


@hookimpl
def seatrial_build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Give the fully quantised model, calibrated on the samples."""
    from . import quantizing

    return quantizing.build_int8(request, job)


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live interpreter."""
    from . import session

    return session.load(request, job)
