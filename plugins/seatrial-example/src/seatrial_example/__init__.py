"""The hooks of the example backend. Importing this module imports no toolchain."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from seatrial.hookspecs import Job, Session, hookimpl
from seatrial.models import RefusedError
from seatrial.results import (
    Artifact,
    Availability,
    CheckRequest,
    CompileReport,
    Depth,
    Description,
    LoadRequest,
    ProbeRequest,
    Target,
    TargetKind,
    Verdict,
)

#: Version of the contract that this backend is written for.
SEATRIAL_CONTRACT = "1.0"

#: The backend's own file format.
FORMAT = "example-program"
PACKAGES = ("numpy", "onnx")
INSTALL = "pip install seatrial-example"


@hookimpl
def seatrial_describe() -> Description:
    """Say who this backend is."""
    return Description(
        title="Seatrial example",
        vendor="Seatrial example",
        targets=(
            Target(
                id="cpu",
                title="Seatrial example: operators interpreted by NumPy",
                device="example-cpu",
                default=True,
                kind=TargetKind.SIMULATOR,
                install_hint=INSTALL,
            ),
        ),
        artifact_format=FORMAT,
        install_hint=INSTALL,
        options=(),  # names that a user may set in [target."example:cpu"] options
    )


@hookimpl
def seatrial_probe(request: ProbeRequest, job: Job) -> Availability:
    """Say whether a target can be used here, with versions, or why not."""
    if request.target != "cpu":
        return Availability(usable=False, reason=f"there is no target {request.target!r}")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} cannot be imported"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    return Availability(usable=True, versions={name: metadata.version(name) for name in PACKAGES})


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Ask the compiler, and name every node that it refuses."""
    from . import toolchain

    job.progress("compiling", 0.1)
    try:
        model, files = toolchain.compile_model(job.path(request.model), job.scratch, job.out)
    except RefusedError as error:
        return error.report()
    return CompileReport(
        verdict=Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        placements=model.placed("cpu"),
        artifact=Artifact(format=FORMAT, entry=files[0], files=files),
    )


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live session on what the compile-check built."""
    from . import toolchain

    if request.format != FORMAT:
        raise ValueError(f"this backend loads {FORMAT}, not {request.format}")
    return toolchain.Program(job.path(request.artifact), request.taps)
