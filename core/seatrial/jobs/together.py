"""Calls side by side: a child that starts up uses one core, and most children do little else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

#: Children at once: memory is not what a call forecasts.
MOST = 4


def together(calls: Sequence[Callable[[], T]], halt: Callable[[], None]) -> list[T]:
    """Results of calls in their order.

    Args:
        calls: what is to be called, each from a thread.
        halt: ends whatever the calls wait for, when this thread is interrupted.

    Raises:
        Exception: the first that a call raised, once all have ended.
    """
    workers = min(len(calls), MOST, len(os.sched_getaffinity(0)))
    if workers < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(workers, "seatrial-call") as pool:
        try:
            waiting = [pool.submit(call) for call in calls]
            return [one.result() for one in waiting]
        except Exception:
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            halt()
            raise
