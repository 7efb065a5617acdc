"""Process trees as /proc shows them: sampling memory, finding and killing what escaped.

Run as a script this file is the *watchman*: a tiny process that outlives its parent's SIGKILL
and then ends every job that was still running. Standard library only, no sibling imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_MARKER = b"SEATRIAL_JOB="


def stat(pid: int) -> tuple[str, int, int, int] | None:
    """State, parent, process group and start time of a process; ``None`` when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[19])


def children(pid: int) -> list[int]:
    """Direct children of a process (of any of its threads)."""
    found: list[int] = []
    try:
        threads = [entry.name for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return found
    for thread in threads:
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii")
        except OSError:
            continue
        found += map(int, text.split())
    return found


def rss_kb(pid: int) -> int:
    """Resident memory of a process in KiB, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * PAGE_KB
    except (OSError, IndexError):
        return 0


def everyone() -> Iterator[int]:
    """All process ids."""
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


class Tree:
    """A child and all that it ever started, as far as sampling saw it.

    Args:
        root: the child's process id.
        nonce: value of the marker variable in its environment.
    """

    def __init__(self, root: int, nonce: str) -> None:
        self.root = root
        self.nonce = nonce.encode("ascii")
        self.network = 0
        self._held = -1
        self._born: dict[int, int] = {}

    def hold_network(self) -> None:
        """Note the root's network namespace, if it has one of its own: no descendant sheds it.

        It is held open, since the kernel gives the number of a namespace that is gone to the next
        one, and that would be another job's.
        """
        if self._held >= 0:
            return
        try:
            self._held = os.open(f"/proc/{self.root}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._held).st_ino
            if found != Path("/proc/self/ns/net").stat().st_ino:
                self.network = found
        except OSError:
            return

    def let_go(self) -> None:
        """Forget the network namespace."""
        self.network = 0
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def look(self) -> None:
        """Remember descendants that are alive now, with their start times."""
        queue = [self.root, *self._alive()]
        seen = set(queue)
        while queue:
            for pid in children(queue.pop()):
                if pid not in seen:
                    seen.add(pid)
                    queue.append(pid)
                    facts = stat(pid)
                    if facts:
                        self._born[pid] = facts[3]

    def rss_kb(self) -> int:
        """Resident memory of all that is known of the tree; shared pages count once each."""
        return rss_kb(self.root) + sum(rss_kb(pid) for pid in self._alive())

    def _alive(self) -> list[int]:
        alive = []
        for pid, born in list(self._born.items()):
            facts = stat(pid)
            if facts is None or facts[3] != born:
                del self._born[pid]
            else:
                alive.append(pid)
        return alive

    def strays(self) -> list[int]:
        """Everything of the job that is left but the root: by ancestry, marker or namespace."""
        self.look()
        found = set(self._alive())
        mine = {os.getpid(), self.root}
        for pid in everyone():
            if pid not in found and pid not in mine and self._is_ours(pid):
                found.add(pid)
                facts = stat(pid)
                if facts:
                    # Once dead it has no marker any more, and must still be waited for.
                    self._born[pid] = facts[3]
        return sorted(found - mine)

    def _is_ours(self, pid: int) -> bool:
        try:
            if self.network and Path(f"/proc/{pid}/ns/net").stat().st_ino == self.network:
                return True
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return _MARKER + self.nonce in variables

    def kill(self, within_s: float = 2.0) -> list[int]:
        """SIGKILL the group, then everything that left it, until nothing is found.

        Returns:
            The process ids that had escaped from the group.
        """
        escaped: set[int] = set()
        end = time.monotonic() + within_s
        with contextlib.suppress(OSError):
            os.killpg(self.root, signal.SIGKILL)
        while True:
            running = [pid for pid in self.strays() if not self._reap(pid)]
            if not running or time.monotonic() > end:
                return sorted(escaped)
            for pid in running:
                escaped.add(pid)
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def _reap(self, pid: int) -> bool:
        """Whether a process is dead; if it is an orphan of ours, it is waited for."""
        facts = stat(pid)
        if facts is None:
            return True
        if facts[0] not in "ZX":
            return False
        if facts[1] == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return True


def watch(lines: Iterable[str]) -> None:
    """The watchman: note the jobs that start and end; at the end kill the rest.

    Args:
        lines: ``+ PID NONCE``, ``n PID`` (it has its network namespace by now) and ``- PID``; they
            end when the parent is gone.
    """
    jobs: dict[int, Tree] = {}
    for line in lines:
        sign, number, *rest = line.split()
        pid = int(number)
        if sign == "+":
            jobs[pid] = Tree(pid, rest[0])
        elif sign == "n" and pid in jobs:
            jobs[pid].hold_network()
        elif sign == "-" and pid in jobs:
            jobs.pop(pid).let_go()
    for tree in jobs.values():
        tree.kill()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin)
