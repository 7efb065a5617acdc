"""TensorRT 10 and 11 as a backend: hooks only, each hands over to a module imported late.

Importing this package imports no toolchain; ``tensorrt`` loads inside the child.
"""

from __future__ import annotations

from seatrial import results as r
from seatrial.hookspecs import Job, Session, hookimpl

#: Version of the contract this backend is written for.
SEATRIAL_CONTRACT = "1.0"


@hookimpl
def seatrial_describe() -> r.Description:
    """Say who this backend is."""
    from ._targets import describe

    return describe()


@hookimpl
def seatrial_probe(request: r.ProbeRequest, job: Job) -> r.Availability:
    """Say whether package, libraries, driver and device are here, or which of them is missing."""
    from ._probe import probe

    return probe(request.target)


@hookimpl
def seatrial_check_static(request: r.CheckRequest, job: Job) -> r.StaticReport:
    """Look every node up in the operator table, with its types, conditions and Q/DQ form."""
    from ._static import check_static

    return check_static(request, job)


@hookimpl
def seatrial_compile_check(request: r.CheckRequest, job: Job) -> r.CompileReport:
    """Parse and build, and name every node that is refused or runs elsewhere."""
    from ._compile import compile_check

    return compile_check(request, job)


@hookimpl
def seatrial_transform_layout(request: r.LayoutRequest, job: Job) -> r.LayoutResult:
    """Build an engine whose image inputs lie channels-last in memory."""
    from ._layout import transform_layout

    return transform_layout(request, job)


@hookimpl
def seatrial_build(request: r.BuildRequest, job: Job) -> r.Build:
    """Build the float engine."""
    from ._compile import build

    return build(request, job)


@hookimpl
def seatrial_build_int8(request: r.Int8Request, job: Job) -> r.Int8Build:
    """Build the INT8 engine from a Q/DQ model, and say which nodes stayed float."""
    from ._compile import build_int8

    return build_int8(request, job)


@hookimpl
def seatrial_load(request: r.LoadRequest, job: Job) -> Session:
    """Open a session on an engine."""
    from ._run import load

    return load(request, job)


@hookimpl
def seatrial_benchmark(request: r.BenchmarkRequest, job: Job) -> r.BenchmarkSamples:
    """Time the computation alone by CUDA events, without copies."""
    from ._run import benchmark

    return benchmark(request, job)
