"""ONNX Runtime as a backend: every execution provider of the installed wheel is a target.

This module only wires the hooks; the work is done in the private modules, which import onnx and
onnxruntime when they are called.
"""

from __future__ import annotations

from seatrial import results as r
from seatrial.hookspecs import Job, Session, hookimpl

#: Version of the contract this backend is written for.
SEATRIAL_CONTRACT = "1.0"


@hookimpl
def seatrial_describe() -> r.Description:
    """Name the execution providers, without importing the runtime."""
    from ._targets import description

    return description()


@hookimpl
def seatrial_probe(request: r.ProbeRequest, job: Job) -> r.Availability:
    """Look for the provider in the installed wheel, and ask its device."""
    from ._probe import probe

    return probe(request)


@hookimpl
def seatrial_check_static(request: r.CheckRequest, job: Job) -> r.StaticReport:
    """Look every node up in the runtime's own kernel registry."""
    from ._static import check_static

    return check_static(request, job)


@hookimpl
def seatrial_compile_check(request: r.CheckRequest, job: Job) -> r.CompileReport:
    """Create a session, and say where each node went or which nodes were refused."""
    from ._compile import compile_check

    return compile_check(request, job)


@hookimpl
def seatrial_transform_layout(request: r.LayoutRequest, job: Job) -> r.LayoutResult:
    """Rewrite the image inputs' layout with transposes at the border."""
    from ._layout import transform_layout

    return transform_layout(request, job)


@hookimpl
def seatrial_quantize(request: r.QuantizeRequest, job: Job) -> r.Quantized:
    """Quantise with the runtime's own static quantizer."""
    from ._quantize import quantize

    return quantize(request, job)


@hookimpl
def seatrial_build(request: r.BuildRequest, job: Job) -> r.Build:
    """Give the float model that a session loads, and the precision it runs in."""
    from ._build import build

    return build(request, job)


@hookimpl
def seatrial_build_int8(request: r.Int8Request, job: Job) -> r.Int8Build:
    """Give the INT8 model, and say from the optimised graph which nodes run in INT8."""
    from ._build import build_int8

    return build_int8(request, job)


@hookimpl
def seatrial_load(request: r.LoadRequest, job: Job) -> Session:
    """Open a session."""
    from ._load import load

    return load(request, job)
