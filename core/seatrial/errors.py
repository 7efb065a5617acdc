"""Errors in one line: what a user can cause, with place, reason and next step, and any other."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = f"{Path(__file__).parent}/"
_INSTALLED = ("/site-packages/", "/dist-packages/")


class UserError(Exception):
    """The input was refused. Commands print ``str(error)`` and end with exit code 2.

    Args:
        subject: the file, option or configuration key at fault.
        reason: what is wrong with it, without a full stop.
        place: where in it: a tensor, a line, a byte offset; may be empty.
        advice: the next step; may be empty.
    """

    def __init__(self, subject: str, reason: str, *, place: str = "", advice: str = "") -> None:
        self.subject = subject
        self.reason = reason
        self.place = place
        self.advice = advice
        super().__init__(self.line())

    def line(self) -> str:
        """The one line."""
        where = f"{self.subject}: {self.place}" if self.place else self.subject
        tail = f" ({self.advice})" if self.advice else ""
        return f"{where}: {self.reason}{tail}"


def one_line(error: BaseException, most: int = 400) -> str:
    """Type and message of an exception on one line of at most ``most`` characters."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= most else line[: most - 3] + "..."


def place_of(error: BaseException) -> str:
    """Where in the user's own code it was raised (``metric.py line 12``), or ``""``.

    The last frame that is neither ours nor of an installed package; else the last that is not ours.
    """
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_OURS)
    ]
    own = [f for f in frames if not _packaged(f.filename)] or frames
    return f"{Path(own[-1].filename).name} line {own[-1].lineno}" if own else ""


def _packaged(file: str) -> bool:
    standard = f"{Path(traceback.__file__).parent}/"
    return file.startswith((standard, "<frozen ")) or any(p in file for p in _INSTALLED)
