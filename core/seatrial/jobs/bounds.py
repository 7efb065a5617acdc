"""Bounds on a child: how much of what it prints is kept, and how long it may take."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

LOG_HEAD = 768 * 1024
LOG_TAIL = 256 * 1024


class Log:
    """A file that holds the first and the last part of what came, however much came."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._room = LOG_HEAD
        self._tail = bytearray()
        self._lost = 0

    def write(self, data: bytes) -> None:
        """Take some output; never blocks and never fails."""
        head, rest = data[: self._room], data[self._room :]
        if head:
            self._room -= len(head)
            with contextlib.suppress(OSError):
                self._file.write(head)
                self._file.flush()
        self._tail += rest
        if len(self._tail) > 2 * LOG_TAIL:
            self._trim()

    def _trim(self) -> None:
        extra = max(0, len(self._tail) - LOG_TAIL)
        self._lost += extra
        del self._tail[:extra]

    def close(self) -> str:
        """Write the tail; gives the last 2 kB as text."""
        self._trim()
        with contextlib.suppress(OSError):
            if self._lost:
                self._file.write(f"\n[... {self._lost} bytes left out ...]\n".encode())
            self._file.write(self._tail)
            self._file.close()
        with contextlib.suppress(OSError), Path(self._file.name).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2048))
            return file.read().decode("utf-8", "replace")
        return ""


@dataclass
class Deadline:
    """When to give up: a hard limit, and a soft one that progress extends."""

    hard: float = float("inf")
    soft: float = float("inf")
    soft_s: float | None = None
    text: str = ""

    @classmethod
    def after(cls, timeout_s: float, soft_s: float | None) -> Deadline:
        """Counted from now."""
        now = time.monotonic()
        soft = now + soft_s if soft_s else float("inf")
        text = f"{round(timeout_s, 1):g} s"
        return cls(hard=now + timeout_s, soft=soft, soft_s=soft_s, text=text)

    def extend(self) -> None:
        """Progress was made."""
        if self.soft_s:
            self.soft = time.monotonic() + self.soft_s

    def missed(self, now: float) -> str:
        """What to say when the time is up, else ``""``."""
        if now >= self.hard:
            return f"no answer within {self.text}"
        return f"no progress for {self.soft_s:g} s" if now >= self.soft else ""
