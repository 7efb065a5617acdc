"""The machine that a measurement holds for, and what disturbed it meanwhile.

Reads ``/proc`` and ``/sys`` only; what a system does not tell is left empty, never guessed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.codec import record
from seatrial.report import speed_rows

#: Instruction sets that multiply 8-bit integers without saturating in 16 bits: flag -> name.
INT8_SETS = {
    "amx_int8": "AMX-INT8",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx_vnni_int8": "AVX-VNNI-INT8",
    "i8mm": "I8MM",
    "asimddp": "DotProd",
}

#: A share of stolen time above this makes latencies somebody else's.
STOLEN = 0.02


@record
class Machine:
    """What runs here.

    Attributes:
        model: the CPU's name.
        arch: ``x86_64``, ``aarch64`` ...
        flags: as the kernel lists them.
        cores: CPUs that this process may use.
        governor: of the first CPU, ``""`` when the system does not tell.
    """

    model: str
    arch: str
    flags: tuple[str, ...]
    cores: int
    governor: str

    @property
    def int8_sets(self) -> tuple[str, ...]:
        """Names of the INT8 dot-product instruction sets."""
        return tuple(name for flag, name in INT8_SETS.items() if flag in self.flags)

    @property
    def machine_class(self) -> str:
        """The class of machine that a verdict of a CPU target holds for, in words."""
        sets = ", ".join(self.int8_sets)
        return f"{self.arch} with {sets}" if sets else f"{self.arch} without INT8 dot products"


@record
class Disturbance:
    """What the counters say at one moment.

    Attributes:
        total: jiffies of all CPUs since boot.
        stolen: of these, those that the hypervisor gave to others.
        load: runnable tasks, average of the last minute.
        throttled: thermal throttling events since boot; -1: not told.
    """

    total: int
    stolen: int
    load: float
    throttled: int


def machine(root: Path = Path("/")) -> Machine:
    """Describe this machine; ``root`` is where ``proc`` and ``sys`` lie."""
    info: dict[str, str] = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip().lower(), value.strip())
    flags = info.get("flags") or info.get("features") or ""
    return Machine(
        model=info.get("model name") or info.get("cpu model") or platform.processor(),
        arch=platform.machine(),
        flags=tuple(sorted(set(flags.split()))),
        cores=len(os.sched_getaffinity(0)),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
    )


def look(root: Path = Path("/")) -> Disturbance:
    """Read the counters; call it before and after, :func:`disturbed` compares."""
    fields = _text(root / "proc/stat").splitlines()[:1]
    numbers = [int(x) for x in fields[0].split()[1:]] if fields else []
    load = _text(root / "proc/loadavg").split()
    counts = [
        int(text)
        for path in sorted((root / "sys/devices/system/cpu").glob("cpu*/thermal_throttle/*count"))
        if (text := _text(path).strip()).isdigit()
    ]
    return Disturbance(
        # User and nice already hold guest time, which stands again at the end of the line.
        total=sum(numbers[:8]),
        stolen=numbers[7] if len(numbers) > 7 else 0,
        load=float(load[0]) if load else 0.0,
        throttled=sum(counts) if counts else -1,
    )


def disturbed(before: Disturbance, after: Disturbance, cores: int) -> tuple[str, ...]:
    """What makes the latencies between two looks doubtful, one sentence each."""
    found = []
    stolen = stolen_share(before, after) or 0.0
    if stolen > STOLEN:
        found.append(f"the hypervisor took {100 * stolen:.1f} % of the CPU time meanwhile")
    if before.load > cores:
        where = "1 CPU" if cores == 1 else f"{cores} CPUs"
        found.append(f"the load was {before.load:.1f} on {where} before it began")
    if after.throttled > before.throttled >= 0:
        found.append(f"the CPU throttled {after.throttled - before.throttled} times for heat")
    return tuple(found)


def stolen_share(before: Disturbance, after: Disturbance) -> float | None:
    """Share of the CPU time that the hypervisor took between two looks; ``None``: not told."""
    passed = after.total - before.total
    return (after.stolen - before.stolen) / passed if passed > 0 else None


def conditions(
    before: Disturbance,
    after: Disturbance,
    *,
    threads: int,
    energy: tuple[str, str] = ("", ""),
    root: Path = Path("/"),
) -> dict[str, Any]:
    """The report's account of what a benchmark ran under.

    Args:
        before: a look before the rounds.
        after: one after them.
        threads: of one inference, as asked for; 0: each runtime's own choice.
        energy: its source, or why there is none.
        root: where ``proc`` and ``sys`` lie.
    """
    cpus = sorted(os.sched_getaffinity(0))
    folder = root / "sys/devices/system/cpu"
    governors = {_text(p).strip() for p in folder.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    share = stolen_share(before, after)
    throttled = after.throttled - before.throttled if before.throttled >= 0 else None
    return speed_rows.conditions(
        cpus=_spans(cpus),
        cores=len(cpus),
        threads=threads,
        governor=", ".join(sorted(governors - {""})),
        smt=_told(_text(folder / "smt/active").strip()),
        turbo=_turbo(folder),
        load_before=before.load,
        load_after=after.load,
        stolen_percent=None if share is None else 100.0 * share,
        throttled=throttled,
        energy=energy[0],
        energy_reason=energy[1],
        disturbances=list(disturbed(before, after, len(cpus))),
    )


def _turbo(folder: Path) -> bool | None:
    """Whether the clock may rise above its nominal value; ``None``: not told."""
    off = _told(_text(folder / "intel_pstate/no_turbo").strip())
    return (not off) if off is not None else _told(_text(folder / "cpufreq/boost").strip())


def _told(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def _spans(cpus: Sequence[int]) -> str:
    """``0-3,8`` for CPUs 0, 1, 2, 3 and 8."""
    spans: list[list[int]] = []
    for cpu in cpus:
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
