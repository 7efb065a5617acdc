"""Whether a target can be used on this machine."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from seatrial.results import Availability

from .targets import INSTALL, cap_of, describe, device_of

CPUINFO = Path("/proc/cpuinfo")

#: Flags worth reporting: those that decide which kernels run.
_TELLING = (
    "sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm",
    "bf16", "sve",
)  # fmt: skip


def probe(target: str) -> Availability:
    """Whether one target can be used here, with versions, or why not."""
    cap = cap_of(target)
    telling = tuple(f for f in _TELLING if f in cpu_flags(CPUINFO))
    versions = _versions()
    lacking = cannot_act(target)
    if lacking:
        return Availability(
            usable=False,
            reason=lacking,
            install_hint="run it on a CPU that has them",
            versions=versions,
            instruction_sets=telling,
        )
    try:
        from .runtime import Runtime

        runtime = Runtime(target)
    except (ImportError, OSError) as error:
        return Availability(
            usable=False,
            reason=f"import openvino failed: {error}",
            install_hint=INSTALL,
            versions=versions,
        )
    devices = tuple(runtime.core.available_devices)
    wanted = device_of(target)
    if not runtime.present():
        return Availability(
            usable=False,
            reason=f"OpenVINO sees no {wanted} here, only {', '.join(devices) or 'nothing'}",
            install_hint=_hint(target),
            versions=versions,
            devices=devices,
        )
    told = tuple(_told(runtime.core, d) for d in devices)
    capabilities = tuple(_property(runtime.core, wanted, "OPTIMIZATION_CAPABILITIES") or ())
    return Availability(
        usable=True,
        versions=versions
        | {"openvino build": str(runtime.ov.get_version())}
        | _drivers(runtime.core, wanted),
        devices=told,
        instruction_sets=(*((cap.isa,) if cap else telling), *capabilities),
    )


def cannot_act(target: str) -> str:
    """Why this CPU cannot act as the lesser one that a variant names; ``""`` when it can."""
    cap = cap_of(target)
    flags = cpu_flags(CPUINFO)
    missing = [f for f in cap.needs if f not in flags] if cap else []
    if not cap or not missing:
        return ""
    return f"this CPU lacks {', '.join(missing)} and cannot act an {cap.machine_class}"


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """Feature flags of the first CPU; empty where the kernel does not tell."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


def _versions() -> dict[str, str]:
    found = {}
    for package in ("openvino", "nncf"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"machine": platform.machine()}


def _drivers(core: Any, device: str) -> dict[str, str]:
    """Driver version of a GPU or an NPU; the CPU has none."""
    if device == "CPU":
        return {}
    for name in ("NPU_DRIVER_VERSION", "GPU_DRIVER_VERSION"):
        value = _property(core, device, name)
        if value is not None:
            return {f"{device} driver": str(value)}
    return {}


def _told(core: Any, device: str) -> str:
    name = _property(core, device, "FULL_DEVICE_NAME")
    return f"{device}: {name}" if name else device


def _property(core: Any, device: str, name: str) -> Any:
    """A device property, or ``None`` where the plugin has no such one."""
    with contextlib.suppress(RuntimeError):
        return core.get_property(device, name)
    return None


def _hint(target: str) -> str:
    return next(t.install_hint for t in describe().targets if t.id == target)
