"""The OpenVINO backend: hooks only, each hands over to a module that is imported late.

Importing this package imports no toolchain; ``openvino`` and ``nncf`` load inside the child.
"""

from __future__ import annotations

from seatrial.hookspecs import Job, Session, hookimpl
from seatrial.results import (
    Availability,
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Description,
    Int8Build,
    Int8Request,
    LayoutRequest,
    LayoutResult,
    LoadRequest,
    ProbeRequest,
    Quantized,
    QuantizeRequest,
    StaticReport,
)

#: The contract this backend was written for.
SEATRIAL_CONTRACT = "1.0"


@hookimpl
def seatrial_describe() -> Description:
    """Say who this backend is."""
    from .targets import describe

    return describe()


@hookimpl
def seatrial_probe(request: ProbeRequest) -> Availability:
    """Say whether one target can be used here."""
    from .probing import probe

    return probe(request.target)


@hookimpl
def seatrial_check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Say what the ONNX front end converts, node by node, without compiling."""
    from .static import check_static

    return check_static(request, job)


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Compile, and name every node that is refused or placed elsewhere."""
    from .check import compile_check

    return compile_check(request, job)


@hookimpl
def seatrial_transform_layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """Give the model with its image inputs in another layout."""
    from .layout import transform_layout

    return transform_layout(request, job)


@hookimpl
def seatrial_quantize(request: QuantizeRequest, job: Job) -> Quantized:
    """Quantise with NNCF to a portable ONNX model with Q/DQ pairs."""
    from .quantizing import quantize

    return quantize(request, job)


@hookimpl
def seatrial_build(request: BuildRequest, job: Job) -> Build:
    """Write the float artefact."""
    from .building import build

    return build(request, job)


@hookimpl
def seatrial_build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Write the INT8 artefact, from Q/DQ pairs or with NNCF."""
    from .building import build_int8

    return build_int8(request, job)


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live session on an artefact of this backend or an ONNX model."""
    from .session import load

    return load(request, job)
