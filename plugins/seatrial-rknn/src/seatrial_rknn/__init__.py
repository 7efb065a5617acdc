"""The hooks of the RKNN backend. Importing this module imports no toolchain.

RKNN-Toolkit2 compiles for Rockchip's NPUs on a PC and simulates what it compiled. Its pins (numpy
below 2, an old onnx and torch) fit no other package's, so it lives in an environment of its own.
"""

from __future__ import annotations

import platform
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
    Target,
    TargetKind,
)

#: Version of the contract that this backend is written for.
SEATRIAL_CONTRACT = "1.0"

FORMAT = "rknn"
INSTALL = (
    "an x86-64 Linux environment of Python 3.8 to 3.12 with rknn-toolkit2==2.5.0, 'setuptools<81'"
    " and pluggy; name it in seatrial.toml: [env.rknn] python = ..."
)
#: Chips that the compiler builds for.
CHIPS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b", "rv1106", "rv1103", "rk2118")


@hookimpl
def seatrial_describe() -> Description:
    """Say who this backend is."""
    return Description(
        title="RKNN-Toolkit2",
        vendor="Rockchip",
        targets=tuple(
            Target(
                id=chip,
                title=f"{chip.upper()} NPU, simulated",
                device=f"rknn-{chip}",
                default=chip == CHIPS[0],
                kind=TargetKind.SIMULATOR,
                install_hint=INSTALL,
                rules=InputRules(opset_min=7, opset_max=19, static_shapes=True),
            )
            for chip in CHIPS
        ),
        artifact_format=FORMAT,
        install_hint=INSTALL,
        docs="https://github.com/airockchip/rknn-toolkit2",
        seconds_per_compile=4.0,
        seconds_per_sample=0.005,
        int8_forms=("float",),
        hardware_run="never",
    )


@hookimpl
def seatrial_probe(request: ProbeRequest, job: Job) -> Availability:
    """Say whether a target can be used here, with versions, or why not."""
    if request.target not in CHIPS:
        return Availability(usable=False, reason=f"there is no target {request.target!r}")
    if missing := [n for n in ("rknn", "onnx", "numpy", "pkg_resources") if find_spec(n) is None]:
        reason = f"{', '.join(missing)} cannot be imported"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    if platform.machine() != "x86_64":
        return Availability(usable=False, reason="the compiler and its simulator are x86-64 only")
    versions = {"rknn-toolkit2": metadata.version("rknn-toolkit2")}
    return Availability(usable=True, versions=versions, devices=(f"simulator of {request.target}",))


@hookimpl
def seatrial_compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Ask the compiler, and name every node that the NPU does not run."""
    from . import building

    return building.check(request, job)


@hookimpl
def seatrial_build(request: BuildRequest, job: Job) -> Build:
    """Give the FP16 model."""
    from . import building

    return building.build(request, job)


@hookimpl
def seatrial_build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Give the INT8 model, calibrated by the toolkit on the samples."""
    from . import building

    return building.build_int8(request, job)


@hookimpl
def seatrial_load(request: LoadRequest, job: Job) -> Session:
    """Give a live simulator."""
    from . import session

    return session.load(request, job)
