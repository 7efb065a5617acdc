"""What a caller of the isolation layer gives and gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from seatrial.results import Fault, Finding

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where children of a target run.

    Attributes:
        name: as written after ``@`` in a target.
        python: an interpreter; ``None``: ours (behind a launcher: ``python3``).
        launcher: command words put before the interpreter (``docker run -i ...``,
            ``ssh board``); the job's folder must be at the same path there.
        variables: added to the children's environment.
    """

    name: str = ""
    python: str | None = None
    launcher: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how much.

    Attributes:
        timeout_s: for one call.
        soft_s: without progress; each report of progress starts it again.
        memory_mb: resident memory of the child and all it starts; ``None``: nine tenths of what
            the machine has.
        address_space: enforce ``memory_mb`` as an address-space limit as well. It stops an
            allocation at once, but breaks toolchains that reserve address space (CUDA).
    """

    timeout_s: float = 600.0
    soft_s: float | None = None
    memory_mb: int | None = None
    address_space: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """A result or a fault, and what it took.

    Attributes:
        result: decoded and checked; ``None`` when there is a fault.
        fault: why there is no result.
        refusal: findings of the ``RefusedError`` that the hook raised: the fault says so too, and
            whoever asked decides whether it is one.
        seconds: wall time, process start included.
        peak_rss_mb: of the whole process tree.
        log: what the child printed, capped.
        job_id: see :mod:`seatrial.jobs.identity`.
        out: the folder that artefacts name their files in.
        network: how far the child was kept from the network: ``namespace``, ``proxies``,
            ``allowed``, or ``""`` when there was no child.
        remembered: an earlier run in this folder did the job; seconds and memory are that run's.
    """

    result: T | None = None
    fault: Fault | None = None
    refusal: tuple[Finding, ...] = ()
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    log: Path | None = None
    job_id: str = ""
    out: Path = Path()
    network: str = ""
    remembered: bool = False

    @property
    def ok(self) -> bool:
        """There is a result."""
        return self.fault is None
