"""The parent's end of a live session."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from seatrial.codec import CodecError, decode, encode
from seatrial.results import Fault, FaultKind, Ran, Ref
from seatrial.session import RunReply, RunRequest

from .outcome import Limits, Outcome

T = TypeVar("T")


class Transport(Protocol):
    """How commands reach a session: over a channel, or by a plain call (in process)."""

    load_ns: int
    network: str

    @property
    def rss_mb(self) -> float:
        """Resident memory now."""

    @property
    def peak_rss_mb(self) -> float:
        """Its peak so far."""

    def ask(self, command: dict[str, Any], limits: Limits, stage: str) -> Any:
        """The answer's JSON value, or a :class:`Fault`."""

    def close(self) -> None:
        """End the session and its child."""


class SessionHandle:
    """A loaded artefact in a child of its own; several may be alive, one runs at a time.

    Args:
        transport: the way to the child.
        first: the outcome's facts that all later outcomes share (log, id, network, out).
        limits: for every call that states none.
        check: gives a fault when an object is damaged.
        turn: held while a session runs.
    """

    def __init__(
        self,
        transport: Transport,
        first: Outcome[Any],
        *,
        limits: Limits,
        check: Callable[[Sequence[str], str], Fault | None],
        turn: threading.Lock,
    ) -> None:
        self.load_ns = transport.load_ns
        self._transport = transport
        self._first = first
        self._limits = limits
        self._check = check
        self._turn = turn
        self._rounds = itertools.count(1)
        self._closed = False

    @property
    def rss_mb(self) -> float:
        """Resident memory of the child's tree at the last sample."""
        return self._transport.rss_mb

    @property
    def peak_rss_mb(self) -> float:
        """Peak of the child's resident memory since it started."""
        return self._transport.peak_rss_mb

    def run(
        self,
        samples: Ref,
        indices: Sequence[int] | None = None,
        *,
        keep: bool = False,
        warmup: int = 0,
        repeat: int = 1,
        batch: int = 1,
        streams: int = 1,
        beside: bool = False,
        limits: Limits | None = None,
    ) -> Outcome[RunReply]:
        """One round, see :class:`seatrial.session.RunRequest`.

        Kept outputs are adopted with ``runner.adopt(outcome, outcome.result.outputs)``.
        """
        name = f"run-{next(self._rounds)}"
        out = self._first.out / name
        damaged = self._check([samples.sha256], "run")
        if damaged:
            return replace(self._first, result=None, fault=damaged, out=out)
        path = f"../../objects/{samples.sha256}"
        request = RunRequest(
            path=f"{path}/{samples.entry}" if samples.entry else path,
            indices=None if indices is None else tuple(int(i) for i in indices),
            keep=keep,
            warmup=warmup,
            repeat=repeat,
            batch=batch,
            out=name,
            streams=streams,
            beside=beside,
        )
        command = {"do": "run", "request": encode(request), "refs": {samples.sha256: path}}
        return self._ask(RunReply, command, limits, out)

    def ran(self) -> Outcome[Ran]:
        """What really ran so far."""
        return self._ask(Ran, {"do": "ran"}, None, self._first.out)

    def close(self) -> None:
        """Close the session and end its child; twice does no harm."""
        if not self._closed:
            self._closed = True
            self._transport.close()
            shutil.rmtree(self._first.out.parent / "scratch", ignore_errors=True)

    def __enter__(self) -> SessionHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self, kind: type[T], command: dict[str, Any], limits: Limits | None, out: Path
    ) -> Outcome[T]:
        start = time.monotonic()
        stage = str(command["do"])
        fault: Fault | None = None
        result: T | None = None
        if self._closed:
            answer: Any = Fault(kind=FaultKind.UNAVAILABLE, stage=stage, reason="session closed")
        else:
            with self._turn:
                answer = self._transport.ask(command, limits or self._limits, stage)
        if isinstance(answer, Fault):
            fault = answer
        else:
            try:
                result = decode(kind, answer)
            except CodecError as error:
                fault = Fault(kind=FaultKind.BROKE_CONTRACT, stage=stage, reason=str(error))
        return Outcome(
            result=result,
            fault=fault,
            seconds=time.monotonic() - start,
            peak_rss_mb=self.peak_rss_mb,
            log=self._first.log,
            job_id=self._first.job_id,
            out=out,
            network=self._first.network,
        )
