"""Whether compiler, runtime and chip of a target are here, told apart."""

from __future__ import annotations

from typing import Any

from seatrial.results import Availability

from . import sdk
from .targets import INSTALL, Chip, chip_of, emulated

_RUNTIME_HINT = "HailoRT (driver, library and the hailort wheel) from hailo.ai/developer-zone"


def probe(target: str) -> Availability:
    """Say what is missing, the first thing first: compiler, its line, runtime, chip."""
    chip = chip_of(target)
    if chip is None:
        return Availability(usable=False, reason=f"there is no target {target!r}")
    if not sdk.installed(sdk.COMPILER):
        reason = f"the Dataflow Compiler is not installed (no module {sdk.COMPILER})"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    found = sdk.version(sdk.COMPILER)
    versions = {sdk.COMPILER: found}
    line = sdk.major(found)
    if line != chip.line:
        reason = f"Dataflow Compiler {found or 'of unknown version'} does not build for {chip.arch}"
        hint = f"{chip.title} needs {chip.line}.x; {INSTALL}"
        return Availability(usable=False, reason=reason, install_hint=hint, versions=versions)
    if emulated(target):
        return Availability(usable=True, versions=versions)
    return _device(chip, versions)


def _device(chip: Chip, versions: dict[str, str]) -> Availability:
    if not sdk.installed(sdk.RUNTIME):
        reason = f"HailoRT is not installed (no module {sdk.RUNTIME}); {chip.arch}/emulator works"
        return Availability(
            usable=False, reason=reason, install_hint=_RUNTIME_HINT, versions=versions
        )
    versions = {**versions, sdk.RUNTIME: sdk.version(sdk.RUNTIME)}
    try:
        devices = scan(sdk.runtime())
    except Exception as error:  # noqa: BLE001 - driver and library fail in many ways, all told
        reason = f"HailoRT cannot look for devices: {type(error).__name__}: {error}"
        return Availability(
            usable=False, reason=reason, install_hint=_RUNTIME_HINT, versions=versions
        )
    if not devices:
        reason = f"no Hailo device found; {chip.arch}/emulator works without one"
        hint = "check lspci | grep -i hailo and the driver (modprobe hailo_pci)"
        return Availability(usable=False, reason=reason, install_hint=hint, versions=versions)
    return Availability(usable=True, versions=versions, devices=devices)


def scan(platform: Any) -> tuple[str, ...]:
    """Ids of the devices that the runtime sees."""
    return tuple(str(device) for device in platform.Device.scan())
