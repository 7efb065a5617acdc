"""Calls of one session that several threads share, and what the process takes meanwhile.

Standard library only. Python 3.10 and newer.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Feeds(Protocol):
    """Feeds by position."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        """One of them; several threads may ask at once."""


class Shared:
    """Calls that several threads share: each takes the next one until none is left.

    Args:
        run: what is called.
        feeds: what with, in turn.
        calls: how many in all.
    """

    def __init__(self, run: Any, feeds: Feeds, calls: int) -> None:
        self._run, self._feeds, self._calls = run, feeds, calls
        self._next = itertools.count()
        self.latencies: list[int] = []
        self.last: Any = None
        self.failure: Exception | None = None

    def pull(self) -> None:
        """Work of one thread; the first failure ends all of them."""
        size = len(self._feeds)
        while self.failure is None and (i := next(self._next)) < self._calls:
            feeds = self._feeds[i % size]
            begun = time.perf_counter_ns()
            try:
                self.last = self._run(feeds)
            except Exception as error:  # noqa: BLE001 - handed on as a fault
                self.failure = error
                return
            self.latencies.append(time.perf_counter_ns() - begun)

    def by(self, streams: int) -> tuple[int, int]:
        """Make all calls from so many threads; wall and CPU time in nanoseconds."""
        threads = [threading.Thread(target=self.pull) for _ in range(streams)]
        cpu, begun = time.process_time_ns(), time.perf_counter_ns()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter_ns() - begun, time.process_time_ns() - cpu


def resident_mb() -> float:
    """Resident memory of this process now, MiB; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
