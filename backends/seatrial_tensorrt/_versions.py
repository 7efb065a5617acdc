"""Which TensorRT is installed, without importing it. Standard library only."""

from __future__ import annotations

import contextlib
import re
from importlib import util

from ._table import Version

#: Distributions that carry TensorRT or what it needs: reported where they are installed.
DISTRIBUTIONS = (
    "tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-cu12-bindings",
    "tensorrt-cu13-bindings", "tensorrt-cu12-libs", "tensorrt-cu13-libs",
)  # fmt: skip


def present() -> bool:
    """Whether there is something to import; a mere folder of that name is nothing."""
    try:
        spec = util.find_spec("tensorrt")
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def distributions() -> dict[str, str]:
    """Versions of the installed distributions, by name; none where there is nothing to import."""
    if not present():
        return {}
    from importlib import metadata  # late: it takes as long as a table takes to be read

    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def installed() -> Version | None:
    """The version that would be imported as its metadata tell, ``None`` when there is none."""
    for text in distributions().values():
        found = parse(text)
        if found != (0, 0):
            return found
    return None


def parse(text: str) -> Version:
    """``11.4.0.106`` -> (11, 4); (0, 0) for anything else."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
