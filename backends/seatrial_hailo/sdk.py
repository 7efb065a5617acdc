"""Finds and imports the compiler (``hailo_sdk_client``) and the runtime (``hailo_platform``)."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import Any

COMPILER, RUNTIME = "hailo_sdk_client", "hailo_platform"
#: Names under which the wheels may be registered, the module's own name last.
_DISTRIBUTIONS = {
    COMPILER: ("hailo-dataflow-compiler", "hailo_dataflow_compiler", COMPILER),
    RUNTIME: ("hailort", "hailo-platform", RUNTIME),
}


def installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    return find_spec(module) is not None


def version(module: str) -> str:
    """The version of its distribution, else the module's own; ``""`` when neither is known."""
    from importlib import metadata  # late: it takes as long as all else that a probe does

    for name in _DISTRIBUTIONS[module]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:
        return str(getattr(importlib.import_module(module), "__version__", ""))
    except Exception:  # noqa: BLE001 - a broken SDK is told by whoever imports it for use
        return ""


def compiler() -> Any:
    """The compiler's module. Importing it takes many seconds, for it imports TensorFlow."""
    # Read at import time, and missing in containers.
    os.environ.setdefault("USER", "seatrial")
    return importlib.import_module(COMPILER)


def runtime() -> Any:
    """The runtime's module."""
    return importlib.import_module(RUNTIME)


def major(text: str) -> int:
    """The major number of a version, 0 when there is none."""
    head = text.partition(".")[0]
    return int(head) if head.isdigit() else 0
