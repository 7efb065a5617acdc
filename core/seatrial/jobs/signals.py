"""Interruptions of the parent, as exceptions that are not lost.

Python raises what a signal handler raises wherever the main thread happens to be. In a finaliser
(``__del__``, as that of every child's handle) it is printed and forgotten: the run goes on as if
nobody had asked it to end.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

#: Seconds until a signal that came at such a moment is sent again.
AGAIN_S = 0.02


class Terminated(KeyboardInterrupt):
    """SIGTERM reached this process while a runner was open; handled like Ctrl-C."""


class Handlers:
    """Ours for SIGTERM and Ctrl-C, as long as nobody else has set any; main thread only."""

    def __init__(self) -> None:
        self._old: dict[int, Any] = {}

    def set(self) -> None:
        """Take the signals that are handled by default."""
        if threading.current_thread() is not threading.main_thread():
            return
        defaults = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
        for number, default in defaults.items():
            if signal.getsignal(number) is default:
                self._old[number] = signal.signal(number, raised)

    def reset(self) -> None:
        """Give them back."""
        while self._old:
            signal.signal(*self._old.popitem())


def raised(number: int, frame: FrameType | None) -> None:
    """Raise the interruption, or send the signal again where it would be lost.

    Raises:
        Terminated: SIGTERM.
        KeyboardInterrupt: Ctrl-C.
    """
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            later = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    if number == signal.SIGTERM:
        raise Terminated(signal.Signals(number).name)
    raise KeyboardInterrupt
