"""The hooks of the example backend. Importing this module imports no toolchain."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from seatrial.hookspecs import Job, Session, hookimpl
from seatrial.results import (
    Artifact,
    Availability,
    CheckRequest,
    CompileReport,
    Depth,
    Description,
    Finding,
    LoadRequest,
    NodePlacement,
    Placement,
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
        compiled = toolchain.compile_model(job.path(request.model), job.out)
    except toolchain.InvalidModelError as error:
        finding = Finding(reason=str(error), placement=Placement.NOWHERE)
        return CompileReport(verdict=Verdict.UNSUPPORTED, depth=Depth.PARSE, findings=(finding,))
    if compiled.refused:
        return CompileReport(
            verdict=Verdict.UNSUPPORTED,
            depth=Depth.MAP,
            findings=tuple(
                Finding(node=n.label, op_type=n.op_type, reason=n.why, placement=Placement.NOWHERE)
                for n in compiled.refused
            ),
        )
    return CompileReport(
        verdict=Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        placements=tuple(
            NodePlacement(node=n.label, op_type=n.op_type, on="cpu", placement=Placement.TARGET)
            for n in compiled.nodes
        ),
        artifact=Artifact(format=FORMAT, entry=compiled.files[0], files=compiled.files),
    )


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live session on what the compile-check built."""
    from . import toolchain

    if request.format != FORMAT:
        raise ValueError(f"this backend loads {FORMAT}, not {request.format}")
    return toolchain.Program(job.path(request.artifact), request.taps)
