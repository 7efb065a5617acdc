"""What a calibration will cost, what it has cost, and how long it still takes."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from .types import Forecast, Spent

#: Samples per worker that are let pass before the rate is measured, and that it is drawn from.
WARM, TIMED = 2, 4

#: The table is put together at the end: what that adds to the peak, at most, per histogram.
PACKING_MB = 0.03


class Meter:
    """Clocks of one pass.

    Args:
        workers: inferences at a time.
    """

    def __init__(self, workers: int) -> None:
        self.begin = time.monotonic()
        self.cpu = _cpu_s()
        self.warm, self.needed = WARM * workers, (WARM + TIMED) * workers
        self.setup_s = 0.0
        self.resumed = self.done = 0
        self.from_s, self.from_done = self.begin, -1
        self.now_s = self.begin

    def start(self, done: int) -> None:
        """Set-up is over; ``done`` samples had been observed before."""
        self.setup_s = time.monotonic() - self.begin
        self.resumed = self.done = done

    def tick(self, done: int) -> None:
        """``done`` samples have been observed."""
        self.now_s, self.done = time.monotonic(), done
        if self.from_done < 0 and done - self.resumed >= self.warm:
            self.from_s, self.from_done = self.now_s, done

    @property
    def known(self) -> bool:
        """Whether enough samples have been observed to say more."""
        return self.done - self.resumed >= self.needed and self.done > self.from_done

    def rate(self) -> float:
        """Wall seconds per sample so far, the first few left out."""
        return (self.now_s - self.from_s) / max(self.done - self.from_done, 1)

    def forecast(self, count: int, histograms: int) -> Forecast:
        """What the pass will have cost, from what it has cost so far.

        Args:
            count: samples in all.
            histograms: how many are kept.
        """
        each = self.rate()
        return Forecast(
            seconds=self.setup_s + (count - self.resumed) * each,
            setup_s=self.setup_s,
            sample_s=each,
            memory_mb=peak_mb() + PACKING_MB * histograms,
            timed=self.done - self.from_done,
            count=count - self.resumed,
        )

    def left_s(self, count: int) -> float | None:
        """Seconds until the end; ``None``: too early to say."""
        return self.rate() * (count - self.done) if self.known else None

    def spent(self) -> Spent:
        """What it came to."""
        return Spent(
            seconds=time.monotonic() - self.begin,
            setup_s=self.setup_s,
            cpu_s=_cpu_s() - self.cpu,
            memory_mb=peak_mb(),
            setup_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            resumed=self.resumed,
        )


def peak_mb() -> float:
    """Largest resident memory of this process so far (/proc: a parent's share is not in it)."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _cpu_s() -> float:
    parts = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(p.ru_utime + p.ru_stime for p in parts)
