"""What the report says of the machine and of the packages, read without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

from seatrial.report import rows

#: Distributions whose versions belong to every claim, where they are installed. Backends state
#: their toolchains' versions themselves when they are probed.
PACKAGES = ("numpy", "onnx", "onnxruntime", "pillow", "pluggy", "torch", "onnxscript")

#: CPU flags that change which kernels run; the other hundred tell nothing here.
TELLING = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve", "sve2"),
)


def environment_row() -> rows.Row:
    """Versions, processor and platform."""
    from seatrial.benchmark.machine import machine

    here = machine()
    return rows.environment(
        seatrial=metadata.version("seatrial"),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu={
            "model": here.model,
            "flags": [f for f in here.flags if f in TELLING],
            "cores": here.cores,
            "governor": here.governor,
        },
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
