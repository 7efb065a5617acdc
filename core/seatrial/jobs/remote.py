"""Talking to a child: one result, or the answers of a session."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.results import CONTRACT, Fault, FaultKind

from .bounds import Deadline
from .children import Child, Ending
from .faults import of_ending, of_record
from .outcome import Limits
from .prepare import Prepared
from .supervisor import Supervisor

Progress = Callable[[str, str, "float | None"], None]

#: For which a session may take to close by itself.
CLOSE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What is known when a job (or the opening of a session) is over."""

    value: Any = None
    type: str = ""
    fault: Fault | None = None
    user_error: Mapping[str, str] | None = None
    refusal: Sequence[Any] = ()
    network: str = ""
    peak_mb: float = 0.0


def start(supervisor: Supervisor, job: Prepared) -> Child | Finished:
    """Start a job's child; a missing interpreter or launcher is a fault."""
    limits = job.call.limits
    try:
        return supervisor.start(job.spawn(), Deadline.after(limits.timeout_s, limits.soft_s))
    except (OSError, ValueError) as error:
        reason = f"cannot start {job.call.interpreter}: {error}"
        fault = Fault(kind=FaultKind.UNAVAILABLE, stage=job.call.name, reason=reason)
        return Finished(fault=fault)


class _Talk:
    """Reads a child's events; whatever interrupts the reader ends the child first."""

    def __init__(
        self, child: Child, supervisor: Supervisor, job: Prepared, progress: Progress
    ) -> None:
        self.child = child
        self.network = ""
        self._supervisor = supervisor
        self._job = job
        self._progress = progress

    def next(self, wanted: Callable[[dict[str, Any]], bool], stage: str) -> dict[str, Any] | Ending:
        """The next record that is wanted, or the child's ending."""
        try:
            while True:
                event = self.child.events.get()
                if isinstance(event, Ending):
                    return event
                if event["type"] == "hello":
                    self._greet(event)
                elif event["type"] == "progress":
                    self._progress(stage, str(event["text"]), event["fraction"])
                elif wanted(event):
                    return event
        except BaseException:
            self.kill()
            raise

    def _greet(self, hello: dict[str, Any]) -> None:
        self.network = str(hello["network"])
        theirs = str(hello["contract"])
        if theirs.split(".", maxsplit=1)[0] != CONTRACT.split(".")[0]:
            reason = f"the child speaks contract {theirs}, this is {CONTRACT}"
            self._supervisor.end(self.child, "broke contract", detail=reason)

    def kill(self) -> None:
        """End the child now and wait until it and all it started are gone."""
        self._supervisor.end(self.child, "interrupted")
        self.wait(CLOSE_S)

    def wait(self, seconds: float) -> bool:
        """Wait for the ending."""
        try:
            while not isinstance(self.child.events.get(timeout=seconds), Ending):
                continue
        except queue.Empty:
            return False
        return True

    def fault(self, ending: Ending, record: dict[str, Any] | None, stage: str) -> Fault | None:
        """The fault of an ending."""
        launched = bool(self._job.call.where.launcher)
        return of_ending(ending, record, stage, self._job.log_name, launched=launched)


def wait_for(child: Child, supervisor: Supervisor, job: Prepared, progress: Progress) -> Finished:
    """Wait for a one-shot job; its child and all that it started are gone after."""
    talk = _Talk(child, supervisor, job, progress)
    stage = job.call.name
    record = talk.next(lambda r: r["type"] in ("result", "fault"), stage)
    ending = record if isinstance(record, Ending) else talk.next(lambda _: False, stage)
    assert isinstance(ending, Ending)
    said = None if isinstance(record, Ending) else record
    fault = talk.fault(ending, said, stage)
    return Finished(
        value=said.get("value") if said and not fault else None,
        type=str(said.get("type_name", "")) if said else "",
        fault=fault,
        user_error=said.get("user_error") if said else None,
        refusal=said.get("refusal", ()) if said else (),
        network=talk.network,
        peak_mb=ending.peak_mb,
    )


class ChildTransport:
    """A session in a child."""

    def __init__(self, talk: _Talk, job: Prepared, load_ns: int) -> None:
        self.load_ns = load_ns
        self.network = talk.network
        self._talk = talk
        self._job = job
        self._ids = itertools.count(1)
        self._dead: Fault | None = None

    @classmethod
    def opened(
        cls, child: Child, supervisor: Supervisor, job: Prepared, progress: Progress
    ) -> ChildTransport | Finished:
        """Wait until the session is open."""
        talk = _Talk(child, supervisor, job, progress)
        stage = job.call.name
        record = talk.next(lambda r: r["type"] in ("opened", "fault"), stage)
        if not isinstance(record, Ending) and record["type"] == "opened":
            child.deadline = Deadline()
            return cls(talk, job, int(record["load_ns"]))
        ending = record if isinstance(record, Ending) else talk.next(lambda _: False, stage)
        assert isinstance(ending, Ending)
        said = None if isinstance(record, Ending) else record
        fault = talk.fault(ending, said, stage)
        return Finished(fault=fault, network=talk.network, peak_mb=ending.peak_mb)

    @property
    def rss_mb(self) -> float:
        """Resident memory of the tree at the last sample."""
        return self._talk.child.rss_mb

    @property
    def peak_rss_mb(self) -> float:
        """Its peak so far."""
        return self._talk.child.peak_mb

    def ask(self, command: dict[str, Any], limits: Limits, stage: str) -> Any:
        """Send a command and wait for its answer; once dead, always the same fault."""
        if self._dead:
            return self._dead
        number = next(self._ids)
        child = self._talk.child
        child.deadline = Deadline.after(limits.timeout_s, limits.soft_s)
        child.tell({**command, "id": number})
        answer = self._talk.next(lambda r: r.get("id") == number, stage)
        child.deadline = Deadline()
        if isinstance(answer, Ending):
            self._dead = self._talk.fault(answer, None, stage)
            return self._dead
        if answer["type"] == "fault":
            return of_record(answer, stage, self._job.log_name)
        return answer["value"]

    def close(self) -> None:
        """Let the session close by itself for a while, then kill what is left."""
        if self._dead is None:
            self._talk.child.deadline = Deadline.after(CLOSE_S, None)
            self._talk.child.tell({"do": "close", "id": 0})
            try:
                if not self._talk.wait(2 * CLOSE_S):
                    self._talk.kill()
            except BaseException:
                self._talk.kill()
                raise
            self._dead = Fault(kind=FaultKind.UNAVAILABLE, stage="close", reason="session closed")
