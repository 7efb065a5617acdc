"""What the report says of the machine and of the packages, read without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

from seatrial.report import rows

#: Distributions whose versions belong to every claim, where they are installed. Backends state
#: their toolchains' versions themselves when they are probed.
PACKAGES = ("numpy", "onnx", "onnxruntime", "pillow", "pluggy", "torch", "onnxscript")


def environment_row() -> rows.Row:
    """Versions, processor and platform."""
    from seatrial.benchmark.machine import cpu

    return rows.environment(
        seatrial=metadata.version("seatrial"),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu(),
        packages=packages(),
    )


def packages() -> dict[str, str]:
    """Versions of the installed packages of :data:`PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
