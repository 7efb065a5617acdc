"""One child as its parent sees it: pipes, capped log, deadlines, memory."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bounds import Deadline, Log
from .processes import Tree

#: A record longer than this is no record: the parent's memory stays bounded.
RECORD_BYTES = 32 * 1024 * 1024
#: Between SIGTERM and SIGKILL.
GRACE_S = 0.5
#: For which a child may live on after its result.
LINGER_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Spawn:
    """What it takes to start a child.

    Attributes:
        command: the whole command line.
        environment: all variables.
        folder: where it starts.
        log: file for what it prints.
        nonce: carried by its records and by its marker variable.
        memory_kb: ceiling on the resident memory of the whole tree.
        launched: the command starts with a launcher, whose own words may precede the first record.
    """

    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    nonce: str
    memory_kb: int
    launched: bool = False


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a child ended.

    Attributes:
        status: exit status; negative: the signal.
        cause: why the parent ended it: ``"timed out"``, ``"out of memory"``, ``"interrupted"``.
        detail: the cause in figures.
        hello: it came as far as saying hello.
        foreign: the start of what was on the channel and is no record.
        log_tail: the last lines that it printed.
        peak_mb: peak of the tree's resident memory.
    """

    status: int
    cause: str = ""
    detail: str = ""
    hello: bool = False
    foreign: str = ""
    log_tail: str = ""
    peak_mb: float = 0.0


#: What each kind of record must hold.
_SHAPES: dict[str, dict[str, Any]] = {
    "hello": {"contract": str, "network": str},
    "progress": {"text": str, "fraction": (int, float, type(None))},
    "opened": {"load_ns": int},
    "result": {"value": object},
    "reply": {"id": int, "value": object},
    "fault": {"kind": str, "reason": str},
}


def _genuine(record: Any, nonce: str) -> bool:
    """Whether a JSON value is one of our records; a plugin can know the nonce and try its luck."""
    if not isinstance(record, dict) or record.get("nonce") != nonce:
        return False
    shape = _SHAPES.get(str(record.get("type")))
    if shape is None or not isinstance(record.get("rss_mb", 0), (int, float)):
        return False
    return all(k in record and isinstance(record[k], kinds) for k, kinds in shape.items())


@dataclass(eq=False)
class Child:
    """A running child. The supervisor's thread owns all but ``events`` and :meth:`tell`.

    ``silent`` means that a pipe has ended: the child is about to die.
    """

    spawn: Spawn
    deadline: Deadline
    events: queue.SimpleQueue[dict[str, Any] | Ending] = field(default_factory=queue.SimpleQueue)
    rss_mb: float = 0.0
    peak_mb: float = 0.0
    ended: bool = False
    silent: bool = False

    def __post_init__(self) -> None:
        self._kill_at = float("inf")
        self._cause = self._detail = self._foreign = ""
        self._hello = False
        self._buffer = bytearray()
        self._log = Log(self.spawn.log)
        try:
            self.process = subprocess.Popen(
                list(self.spawn.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=self.spawn.folder,
                env=self.spawn.environment,
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise
        self.tree = Tree(self.process.pid, self.spawn.nonce)
        assert self.process.stdout and self.process.stderr
        self.pipes = {
            self.process.stdout.fileno(): self._hear,
            self.process.stderr.fileno(): self._log.write,
        }
        for fd in self.pipes:
            os.set_blocking(fd, False)

    def tell(self, command: dict[str, Any]) -> bool:
        """Send a command to a session; ``False`` when the child is gone."""
        data = json.dumps({"nonce": self.spawn.nonce, **command}, allow_nan=False)
        view = memoryview(data.encode("ascii") + b"\n")
        assert self.process.stdin
        try:
            while view:
                view = view[self.process.stdin.write(view) or 0 :]
        except (OSError, ValueError):
            return False
        return True

    def read(self, fd: int) -> bool:
        """Take what a pipe has; ``False`` at its end."""
        try:
            data = os.read(fd, 1 << 18)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EINTR)
        if data:
            self.pipes[fd](data)
        self.silent = self.silent or not data
        return bool(data)

    def _hear(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._take(line)
        if len(self._buffer) > RECORD_BYTES:
            self._foreign = self._foreign or "a record without an end"
            self._buffer.clear()
            self.end("broke contract", "a record without an end", now=True)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            genuine = _genuine(record, self.spawn.nonce)
        except (ValueError, RecursionError):
            genuine = False
        if not genuine:
            self._stranger(line)
        elif record["type"] == "hello":
            self._hello = True
            if not self.spawn.launched:
                self.tree.hold_network()
            self.events.put(record)
        else:
            if record["type"] == "progress":
                self.deadline.extend()
            elif record["type"] == "result":
                self.deadline = Deadline.after(LINGER_S, None)
            self.peak_mb = max(self.peak_mb, float(record.get("rss_mb", 0.0)))
            self.events.put(record)

    def _stranger(self, line: bytes) -> None:
        if not self._hello:
            self._log.write(line + b"\n")
        elif line.strip() and not self._foreign:
            self._foreign = line[:80].decode("utf-8", "replace")
            self.end("broke contract", "foreign bytes on the private channel", now=True)

    def sample(self, *, look: bool) -> None:
        """Measure the tree's memory, and end the child when it is over its ceiling."""
        if look:
            self.tree.look()
        used = self.tree.rss_kb()
        self.rss_mb = used / 1024
        self.peak_mb = max(self.peak_mb, self.rss_mb)
        if used > self.spawn.memory_kb:
            allowed = self.spawn.memory_kb // 1024
            self.end("out of memory", f"{used // 1024} MB used, {allowed} MB allowed", now=True)

    def check(self, now: float) -> None:
        """Enforce the deadline and the grace after SIGTERM."""
        if now >= self._kill_at:
            self._signal(signal.SIGKILL)
        elif not self._cause and (late := self.deadline.missed(now)):
            self.end("timed out", late)

    def end(self, cause: str, detail: str = "", *, now: bool = False) -> None:
        """Ask the group to stop, and kill it after the grace (or at once)."""
        if not self._cause:
            self._cause, self._detail = cause, detail
        self._signal(signal.SIGKILL if now else signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + (0.0 if now else GRACE_S))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, number)

    def abandon(self, reason: str) -> None:
        """Kill it and tell the caller, without looking after it any further."""
        self._signal(signal.SIGKILL)
        self.ended = True
        self.events.put(Ending(status=-signal.SIGKILL, cause="interrupted", detail=reason))

    def died(self) -> bool:
        """Whether the process itself has ended; it is not waited for yet."""
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        except ChildProcessError:
            return True

    def bury(self) -> None:
        """After its death: kill what is left of the job, read the pipes out, tell the caller."""
        self.tree.kill()
        self.tree.let_go()
        for fd in self.pipes:
            for _ in range(64):
                if not self._drain(fd):
                    break
        status = self.process.wait()
        if self._hello and self._buffer.strip() and not self._foreign:
            self._foreign = bytes(self._buffer[:80]).decode("utf-8", "replace")
        elif self._buffer:
            self._log.write(bytes(self._buffer))
        ending = Ending(
            status=status,
            cause=self._cause,
            detail=self._detail,
            hello=self._hello,
            foreign=self._foreign,
            log_tail=self._log.close(),
            peak_mb=self.peak_mb,
        )
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream
            with contextlib.suppress(OSError):
                stream.close()
        self.ended = True
        self.events.put(ending)

    def _drain(self, fd: int) -> bool:
        try:
            data = os.read(fd, 1 << 18)
        except OSError:
            return False
        if data:
            self.pipes[fd](data)
        return bool(data)
