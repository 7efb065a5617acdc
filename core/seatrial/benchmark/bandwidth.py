"""How fast this machine copies memory: the yardstick for what is bound by it. Runs in a child."""

from __future__ import annotations

import time

from seatrial.codec import record
from seatrial.hookspecs import Job

#: Far above any cache of an edge machine, MiB; copies are read and written once.
SIZE_MB = 64
RUNS = 7


@record
class BandwidthRequest:
    """Ask for the bandwidth of a plain copy in one thread."""

    size_mb: int = SIZE_MB


@record
class Bandwidth:
    """Bytes per second, read and written ones counted, the best of a few copies."""

    bytes_per_s: float


def measure(request: BandwidthRequest, job: Job) -> Bandwidth:
    """Copy a block a few times; the fastest counts, since others can only slow it down."""
    import numpy as np

    source = np.ones(request.size_mb * 2**17, np.float64)
    target = np.empty_like(source)
    best = float("inf")
    for _ in range(RUNS):
        begun = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - begun)
    return Bandwidth(bytes_per_s=2 * source.nbytes / best)
