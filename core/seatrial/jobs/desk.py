"""The desk: prepares a job, has it done, and files what came of it."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.codec import decode, digest, encode
from seatrial.errors import UserError
from seatrial.results import Fault, FaultKind, Ref
from seatrial.workspace import Workspace

from .collecting import decoded, refusal, store
from .inprocess import LocalTransport, run_here
from .memory import Memory, Remembered, key_of
from .outcome import Outcome
from .prepare import Call, Prepared, identity_of, prepare
from .remote import ChildTransport, Finished, Progress, start, wait_for
from .sessions import SessionHandle, Transport
from .supervisor import Supervisor


class Desk:
    """Does jobs, in children or (for a debugger) in this process.

    Args:
        workspace: where objects, jobs and logs are.
        progress: called with stage, text and fraction, in the caller's thread.
        in_process: without children.
        memory: results of earlier jobs; ``None``: none are kept.
    """

    def __init__(
        self,
        workspace: Workspace,
        progress: Progress,
        *,
        in_process: bool,
        memory: Memory | None = None,
    ) -> None:
        self.workspace = workspace
        self.memory = memory
        self.progress = progress
        self.in_process = in_process
        self._supervisor: Supervisor | None = None
        self._sound: dict[str, list[tuple[str, int, int]]] = {}
        self._alive: list[Path] = []
        self._turn = threading.Lock()
        self._start = threading.Lock()
        self.halted = False

    def one_shot(self, call: Call, kind: type[Any] | None) -> Outcome[Any]:
        """Do a job to its end.

        Args:
            call: what is to be done.
            kind: the result's type; ``None``: as the core task says.

        Raises:
            UserError: a core task refused its input.
        """
        begin = time.monotonic()
        job = self._prepared(call)
        if isinstance(job, Fault):
            return Outcome(fault=job)
        key = key_of(job.id, call) if self.memory is not None and rememberable(call) else ""
        known = self._again(key, job, kind)
        if known is not None:
            return known
        if self.in_process:
            finished = run_here(job, self.progress)
        else:
            child = start(self._children(), job)
            finished = (
                child
                if isinstance(child, Finished)
                else wait_for(child, self._children(), job, self.progress)
            )
        outcome = self._outcome(job, finished, kind, begin)
        if finished.user_error and call.kind == "task":
            raise UserError(**finished.user_error)
        self._keep(key, call, finished, outcome)
        return outcome

    def _again(self, key: str, job: Prepared, kind: type[Any] | None) -> Outcome[Any] | None:
        """The outcome of a job that was done before, or ``None``."""
        if not key or self.memory is None:
            return None
        out = job.folder / "out"
        known = self.memory.recall(key, job.call.name, out)
        fault, result = None, None
        if known is not None:
            finished = Finished(value=known.value, type=known.type, peak_mb=known.peak_mb)
            fault, result = decoded(job, finished, kind)
        if known is None or fault is not None:
            shutil.rmtree(out, ignore_errors=True)  # what was linked before the flaw showed
            out.mkdir(exist_ok=True)
            return None
        shutil.rmtree(job.folder / "scratch", ignore_errors=True)
        return Outcome(
            result=result,
            seconds=known.seconds,
            peak_rss_mb=known.peak_mb,
            job_id=job.id,
            out=job.folder / "out",
            remembered=True,
        )

    def _keep(self, key: str, call: Call, finished: Finished, outcome: Outcome[Any]) -> None:
        if not key or self.memory is None or outcome.fault is not None:
            return
        if not (call.remember(outcome.result) if callable(call.remember) else call.remember):
            return
        known = Remembered(
            value=finished.value,
            type=finished.type,
            seconds=outcome.seconds,
            peak_mb=outcome.peak_rss_mb,
        )
        self.memory.keep(key, known, out=outcome.out)

    def session(self, call: Call) -> Outcome[SessionHandle]:
        """Open a session."""
        begin = time.monotonic()
        job = self._prepared(call)
        if isinstance(job, Fault):
            return Outcome(fault=job)
        transport = self._opened(job)
        if isinstance(transport, Finished):
            return self._outcome(job, transport, None, begin)
        now = Finished(network=transport.network, peak_mb=transport.peak_rss_mb)
        first: Outcome[Any] = self._outcome(job, now, None, begin, keep=True)
        self._alive.append(job.folder)
        handle = SessionHandle(
            transport, first, limits=call.limits, check=self.damaged, turn=self._turn
        )
        return dataclasses.replace(first, result=handle)

    def outputs(
        self,
        call: Call,
        samples: Ref,
        indices: Sequence[int] | None,
        *,
        batch: int,
        facts: str,
    ) -> Outcome[Ref]:
        """Open a session, run it once and close it; ``facts``: what the run depends on."""
        key = ""
        if self.memory is not None and rememberable(call):
            key = key_of(digest([identity_of(call), facts]), call)
            known = self._object(key, call.name)
            if known is not None:
                return known
        opened = self.session(call)
        if opened.result is None:
            return _failed(opened, call.name)
        with opened.result as handle:
            outcome = handle.run(samples, indices, keep=True, batch=batch, limits=call.limits)
            if outcome.result is None or outcome.result.outputs is None:
                return _failed(outcome, call.name)
            ref = self.workspace.adopt(outcome.out, outcome.result.outputs)
        if key and self.memory is not None:
            known_as = Remembered(value=encode(ref), seconds=outcome.seconds)
            self.memory.keep(key, known_as, refs=[ref])
        return Outcome(result=ref, seconds=outcome.seconds, log=outcome.log, out=outcome.out)

    def _object(self, key: str, name: str) -> Outcome[Ref] | None:
        """An object that an earlier run made, or ``None``."""
        assert self.memory is not None
        known = self.memory.recall(key, name, self.workspace.jobs)
        if known is None:
            return None
        return Outcome(result=decode(Ref, known.value), seconds=known.seconds, remembered=True)

    def _opened(self, job: Prepared) -> Transport | Finished:
        if self.in_process:
            return LocalTransport.load(job)
        child = start(self._children(), job)
        if isinstance(child, Finished):
            return child
        return ChildTransport.opened(child, self._children(), job, self.progress)

    def close(self) -> None:
        """Kill every child and everything they started; remove what sessions left lying."""
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None
        while self._alive:
            shutil.rmtree(self._alive.pop() / "scratch", ignore_errors=True)

    def halt(self) -> None:
        """Close, and start nothing any more: another thread may be about to."""
        with self._start:
            self.halted = True
        self.close()

    def _children(self) -> Supervisor:
        with self._start:
            if self.halted:
                raise RuntimeError("the runner was halted")
            if self._supervisor is None:
                self._supervisor = Supervisor()
            return self._supervisor

    def _prepared(self, call: Call) -> Prepared | Fault:
        """The job's directory, or why there is none: a bad plugin, a bad object, a full disk."""
        try:
            return self._refused(call) or prepare(self.workspace, call)
        except OSError as error:
            reason = f"the job cannot be written: {error}"
            return Fault(kind=FaultKind.UNAVAILABLE, stage=call.name, reason=reason)

    def _refused(self, call: Call) -> Fault | None:
        if call.plugin is not None and call.plugin.problem:
            return Fault(kind=FaultKind.UNAVAILABLE, stage=call.name, reason=call.plugin.problem)
        return self.damaged(call.digests(), call.name)

    def damaged(self, digests: Sequence[str], stage: str) -> Fault | None:
        """Objects are hashed again before their first use, and when a file of theirs changed."""
        for sha in digests:
            seen = _stamps(self.workspace.objects / sha)
            if seen and self._sound.get(sha) == seen:
                continue
            if not self.workspace.verify(Ref(sha256=sha, entry="")):
                reason = f"object {sha[:12]} is missing or not what its digest says"
                return Fault(kind=FaultKind.UNAVAILABLE, stage=stage, reason=reason)
            self._sound[sha] = seen
        return None

    def _outcome(
        self,
        job: Prepared,
        finished: Finished,
        kind: type[Any] | None,
        begin: float,
        *,
        keep: bool = False,
    ) -> Outcome[Any]:
        """Decode, store and hand on; ``keep``: the job goes on, its scratch folder stays."""
        fault, result = finished.fault, None
        if fault is None and not keep:
            fault, result = decoded(job, finished, kind)
        outcome: Outcome[Any] = Outcome(
            result=result,
            fault=fault,
            refusal=refusal(finished, fault),
            seconds=time.monotonic() - begin,
            peak_rss_mb=finished.peak_mb,
            log=job.log if job.log.exists() else None,
            job_id=job.id,
            out=job.folder / "out",
            network=finished.network,
        )
        if not keep:
            shutil.rmtree(job.folder / "scratch", ignore_errors=True)
            lost = store(job, outcome, finished.value)
            if lost and outcome.fault is None:
                return dataclasses.replace(outcome, result=None, fault=lost)
        return outcome


def _failed(outcome: Outcome[Any], stage: str) -> Outcome[Ref]:
    fault = outcome.fault or Fault(kind=FaultKind.RAISED, stage=stage, reason="gave no outputs")
    return Outcome(fault=fault, seconds=outcome.seconds, log=outcome.log, out=outcome.out)


def rememberable(call: Call) -> bool:
    """Whether all that a job depends on is known: not the user's code, nor a launcher's machine."""
    unknown = call.user or bool(call.where.launcher) or (call.plugin and not call.versions)
    return bool(call.remember) and not unknown


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    stamps = []
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        stamps.append((str(path), facts.st_mtime_ns, facts.st_size))
    return stamps
