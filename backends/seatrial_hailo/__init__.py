"""The Hailo backend: hooks only, each hands over to a module that is imported late.

Importing this package imports no toolchain. The Dataflow Compiler (``hailo_sdk_client``) pins an
old NumPy and brings TensorFlow, so it usually lives in an interpreter of its own, named in the
configuration: ``[env.dfc] python = "..."`` and ``-b hailo@dfc:hailo8``.
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
    LoadRequest,
    ProbeRequest,
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
    """Say whether compiler, runtime and chip of one target are here."""
    from .probing import probe

    return probe(request.target)


@hookimpl
def seatrial_check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Say what is publicly known of each node, with the confidence of each row."""
    from .static import check_static

    return check_static(request, job)


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Ask the parser (and the mapper, where the options say so)."""
    from .checking import compile_check

    return compile_check(request, job)


@hookimpl
def seatrial_build(request: BuildRequest, job: Job) -> Build:
    """Write the translated float model, which the compiler's emulator runs."""
    from .building import build

    return build(request, job)


@hookimpl
def seatrial_build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Quantise with the compiler's own optimiser, and compile for the chip."""
    from .building import build_int8

    return build_int8(request, job)


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live session: the chip for a HEF, the emulator for a HAR."""
    from .session import load

    return load(request, job)
