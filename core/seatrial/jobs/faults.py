"""From the way a child ended to the fault that the report shows. Only the core names faults."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from seatrial.results import Fault, FaultKind

from .calls import looks_like_memory
from .children import Ending

_CAUSES = {
    "timed out": FaultKind.TIMED_OUT,
    "out of memory": FaultKind.OUT_OF_MEMORY,
    "interrupted": FaultKind.INTERRUPTED,
}
#: Share of the machine's memory above which a SIGKILL from elsewhere is put down to the kernel.
_KERNEL_KILL_SHARE = 0.7


def machine_memory_kb() -> int:
    """Memory this process may use: of the machine, or of its control group when that is less."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        total = next(int(x.split()[1]) for x in lines if x.startswith("MemTotal:"))
    except (OSError, StopIteration):
        total = 1 << 40
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
    except OSError:
        limit = "max"
    return min(total, int(limit) // 1024) if limit.isdigit() else total


def of_record(record: dict[str, Any], stage: str, log: str) -> Fault:
    """The fault that a child itself reported."""
    return Fault(kind=_kind(record), stage=stage, reason=str(record["reason"]), log=log)


def _kind(record: dict[str, Any]) -> FaultKind:
    """What a child says of itself; a kind that does not exist breaks the contract."""
    try:
        return FaultKind(record["kind"])
    except ValueError:
        return FaultKind.BROKE_CONTRACT


def of_ending(
    ending: Ending, record: dict[str, Any] | None, stage: str, log: str, *, launched: bool
) -> Fault | None:
    """Why there is no result, or ``None`` when ``record`` is a complete one.

    Args:
        ending: how the child ended.
        record: the last ``result`` or ``fault`` record, if one came.
        stage: hook or task.
        log: the log's path, relative to the output folder.
        launched: a launcher stood between, which reports signals as 128 + number.
    """
    if record is not None and record["type"] == "result" and not ending.foreign:
        return None
    status = ending.status
    if launched and ending.hello and 128 < status <= 128 + signal.NSIG:
        status = 128 - status
    if record is None and ending.cause in _CAUSES:
        kind, reason = _CAUSES[ending.cause], ending.detail or ending.cause
    elif ending.foreign and (record is not None or ending.cause or status >= 0):
        kind = FaultKind.BROKE_CONTRACT
        reason = f"foreign bytes or half a record on the private channel: {ending.foreign!r}"
    elif record is not None:
        kind, reason = _kind(record), str(record["reason"])
    elif ending.cause:
        kind, reason = FaultKind.BROKE_CONTRACT, ending.detail
    elif status < 0:
        return _of_signal(ending, -status, stage, log)
    else:
        kind, reason = _of_silence(ending, status)
    return Fault(kind=kind, stage=stage, reason=reason, log=log)


def _of_silence(ending: Ending, status: int) -> tuple[FaultKind, str]:
    if ending.hello:
        return FaultKind.CRASHED, f"exited {status} without a result record"
    words = ending.log_tail.strip().splitlines()
    last = f": {words[-1][:300]}" if words else ""
    return FaultKind.UNAVAILABLE, f"the child did not start (exit status {status}){last}"


def _of_signal(ending: Ending, number: int, stage: str, log: str) -> Fault:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    peak = f"peak {ending.peak_mb:.0f} MB"
    kernel = ending.peak_mb * 1024 > _KERNEL_KILL_SHARE * machine_memory_kb()
    if name == "SIGABRT" and looks_like_memory(ending.log_tail):
        kind, reason = FaultKind.OUT_OF_MEMORY, f"an allocation failed ({peak})"
    elif name == "SIGKILL" and kernel:
        kind, reason = FaultKind.OUT_OF_MEMORY, f"killed, likely for want of memory ({peak})"
    else:
        kind, reason = FaultKind.CRASHED, f"died of {name}"
    return Fault(kind=kind, stage=stage, reason=reason, signal=name, log=log)
