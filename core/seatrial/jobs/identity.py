"""What makes one job the same job as another: the canonical facts that its id is the hash of."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seatrial import __version__
from seatrial.codec import digest, encode
from seatrial.registry import Plugin
from seatrial.results import CONTRACT, Ref


@functools.cache
def cpu_flags() -> tuple[str, ...]:
    """Instruction-set flags of the first CPU, sorted; empty where the kernel does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ()
    for line in lines:
        if line.split(":")[0].strip().lower() in ("flags", "features"):
            return tuple(sorted(line.partition(":")[2].split()))
    return ()


def job_id(
    *,
    plugin: Plugin | None,
    name: str,
    request: Any,
    refs: Iterable[Ref],
    environment: Mapping[str, str],
    interpreter: str = sys.executable,
    versions: Mapping[str, str] | None = None,
) -> str:
    """sha256 of the canonical JSON of all that a job's result may depend on.

    Args:
        plugin: the backend; ``None`` for a core task.
        name: hook or task.
        request: its record.
        refs: the objects it reads.
        environment: the allow-listed variables, without paths that only this job has.
        interpreter: which Python ran it, launcher included.
        versions: toolchain and driver as ``seatrial_probe`` told them, when known.
    """
    facts = {
        "contract": CONTRACT,
        "seatrial": __version__,
        "plugin": [plugin.id, plugin.dist, plugin.version] if plugin else None,
        "versions": dict(versions or {}),
        "interpreter": interpreter,
        "python": ".".join(map(str, sys.version_info[:3])),
        "cpu": cpu_flags(),
        "environment": dict(environment),
        "name": name,
        "request": encode(request),
        "refs": sorted({ref.sha256 for ref in refs}),
    }
    return digest(facts)


def refs_in(value: Any) -> set[str]:
    """Digests of all references inside an encoded request."""
    if isinstance(value, Mapping):
        if set(value) == {"sha256", "entry", "bytes"}:
            return {str(value["sha256"])}
        return set().union(*(refs_in(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(refs_in(v) for v in value))
    return set()
