"""The hooks of the TVM backend. Importing this module imports no toolchain."""

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
    LoadRequest,
    ProbeRequest,
    QdqDialect,
    StaticReport,
    Target,
    TargetKind,
)

#: Version of the contract that this backend is written for.
SEATRIAL_CONTRACT = "1.0"

#: A shared library that TVM exported, and what a session must know of it.
FORMAT = "tvm-library"
INSTALL = "pip install seatrial-tvm, and a C++ compiler for linking (apt install g++)"

#: Target -> the CPU that LLVM generates code for; ``""``: the one at hand.
CPUS = {"cpu": "", "cpu/x86-64-v3": "x86-64-v3", "cpu/x86-64-v2": "x86-64-v2"}


@hookimpl
def seatrial_describe() -> Description:
    """Say who this backend is."""
    return Description(
        title="Apache TVM",
        vendor="Apache Software Foundation",
        targets=tuple(_target(name, cpu) for name, cpu in CPUS.items()),
        artifact_format=FORMAT,
        install_hint=INSTALL,
        docs="https://tvm.apache.org/docs",
        seconds_per_compile=4.0,
        seconds_per_sample=0.02,
        int8_forms=("qdq",),
        hardware_run="not needed",
    )


def _target(name: str, cpu: str) -> Target:
    return Target(
        id=name,
        title=f"TVM, LLVM code for {cpu or 'this CPU'}",
        device="tvm-cpu",
        default=not cpu,
        kind=TargetKind.EMULATED if cpu else TargetKind.DEVICE,
        machine_class=cpu,
        install_hint=INSTALL,
        rules=InputRules(opset_min=7, qdq=QdqDialect()),
    )


@hookimpl
def seatrial_probe(request: ProbeRequest, job: Job) -> Availability:
    """Say whether a target can be used here, with versions, or why not."""
    if request.target not in CPUS:
        return Availability(usable=False, reason=f"there is no target {request.target!r}")
    if missing := [name for name in ("tvm", "onnx", "numpy") if find_spec(name) is None]:
        reason = f"{', '.join(missing)} cannot be imported"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    from . import building

    return building.probe(CPUS[request.target])


@hookimpl
def seatrial_check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Say what the importer's table knows of each node."""
    from . import static

    return static.claims(job.path(request.model))


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Ask the compiler, and name every node that it refuses."""
    from . import building

    return building.check(request, job, CPUS[request.target])


@hookimpl
def seatrial_build(request: BuildRequest, job: Job) -> Build:
    """Give the float library and state its precision."""
    from . import building

    return building.build(request, job, CPUS[request.target])


@hookimpl
def seatrial_build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Give the library of a Q/DQ model, and say what in it is INT8."""
    from . import building

    return building.build_int8(request, job, CPUS[request.target])


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live session on a library."""
    # Read when TVM starts its threads, which is when it is imported.
    if request.threads:
        os.environ["TVM_NUM_THREADS"] = str(request.threads)
    from . import session

    return session.load(request, job)


def version() -> str:
    """Version of the installed TVM."""
    return metadata.version("apache-tvm")
