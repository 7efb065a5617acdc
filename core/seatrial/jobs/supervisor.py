"""The thread that owns all children of a runner: it starts, reads, measures and ends them.

One thread for all, alive as long as the runner: the kernel ties a child's life to the thread
that started it, and a caller that computes must not keep a deadline from passing.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from . import guard, processes
from .bounds import Deadline
from .children import Child, Spawn

#: Between two samples of memory.
TICK_S = 0.05
#: Between two walks over the process tree.
LOOK_S = 0.25


_adopters = 0
_adopters_lock = threading.Lock()


def _adopt_orphans(change: int) -> None:
    """Be a subreaper while any supervisor of this process is at work, and no longer."""
    global _adopters  # noqa: PLW0603 - the kernel's flag is the whole process's, too
    with _adopters_lock:
        _adopters += change
        guard.adopt_orphans(_adopters > 0)


class Supervisor:
    """Starts children and answers for their end."""

    def __init__(self) -> None:
        self._children: set[Child] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe()
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = self._closed = False
        self._failure = ""
        self._looked = 0.0
        _adopt_orphans(+1)
        self._watchman = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(processes.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        self._thread = threading.Thread(target=self._loop, name="seatrial-jobs", daemon=True)
        self._thread.start()

    def start(self, spawn: Spawn, deadline: Deadline) -> Child:
        """Start a child.

        Raises:
            OSError: its interpreter or launcher cannot be started.
        """
        answer: queue.SimpleQueue[Child | OSError] = queue.SimpleQueue()
        self._do(lambda: answer.put(self._start(spawn, deadline)))
        while True:
            try:
                child = answer.get(timeout=1)
                break
            except queue.Empty:
                if not self._thread.is_alive():
                    raise OSError(self._failure or "the runner is closed") from None
        if isinstance(child, OSError):
            raise child
        return child

    def end(self, child: Child, cause: str, *, detail: str = "") -> None:
        """Kill a child; its :class:`Ending` follows among its events."""
        self._do(lambda: None if child.ended else child.end(cause, detail, now=True))

    def close(self) -> None:
        """Kill every child and what it left, and stop the thread."""
        if self._closing:
            return
        self._closing = True
        self._do(lambda: None)
        self._thread.join(timeout=5)
        self._closed = True
        assert self._watchman.stdin
        for stop in (self._watchman.stdin.close, self._watchman.kill, self._watchman.wait):
            with contextlib.suppress(OSError):
                stop()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)
        _adopt_orphans(-1)

    def _do(self, work: Callable[[], None]) -> None:
        if not self._closed:
            self._todo.put(work)
            os.write(self._wake_in, b".")

    def _start(self, spawn: Spawn, deadline: Deadline) -> Child | OSError:
        try:
            child = Child(spawn, deadline)
        except (OSError, ValueError) as error:
            return error if isinstance(error, OSError) else OSError(str(error))
        self._children.add(child)
        for fd in child.pipes:
            self._selector.register(fd, selectors.EVENT_READ, child)
        self._note(f"+ {child.process.pid} {spawn.nonce}")
        return child

    def _note(self, line: str) -> None:
        assert self._watchman.stdin
        with contextlib.suppress(OSError):
            self._watchman.stdin.write(line.encode("ascii") + b"\n")

    def _loop(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - a caller must never wait for a dead thread
            self._failure = f"the supervising thread failed: {type(error).__name__}: {error}"
            for child in self._children:
                child.abandon(self._failure)

    def _watch(self) -> None:
        next_tick = time.monotonic()
        while not (self._closing and not self._children):
            pause = max(0.0, next_tick - time.monotonic()) if self._children else None
            if any(child.silent for child in self._children):
                pause = 0.002
            for key, _ in self._selector.select(pause):
                self._ready(key)
            self._work()
            if self._closing:
                for child in self._children:
                    child.end("interrupted", now=True)
            if time.monotonic() >= next_tick:
                self._tick()
                next_tick = time.monotonic() + TICK_S
            self._bury()

    def _ready(self, key: selectors.SelectorKey) -> None:
        if key.data is None:
            os.read(key.fd, 4096)
            return
        child = key.data
        known = child.tree.network
        if not child.read(key.fd):
            self._selector.unregister(key.fd)
        if child.tree.network != known:
            self._note(f"n {child.process.pid}")

    def _work(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._todo.get_nowait()()

    def _tick(self) -> None:
        now = time.monotonic()
        look = now - self._looked >= LOOK_S
        if look:
            self._looked = now
        for child in self._children:
            child.check(now)
            child.sample(look=look)

    def _bury(self) -> None:
        for child in [c for c in self._children if c.died()]:
            self._children.discard(child)
            for fd in child.pipes:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(fd)
            child.bury()
            self._note(f"- {child.process.pid}")
