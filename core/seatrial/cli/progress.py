"""How far it is: live on a terminal, one plain line per stage elsewhere, nothing with ``-q``.

Progress goes to standard error, so standard output holds the result alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from seatrial.text import clean

from .output import put

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from seatrial.progress import Progress

#: Longest text of a step.
TEXT = 60


@contextlib.contextmanager
def make(args: Namespace, stream: TextIO | None = None) -> Iterator[Progress]:
    """The progress that the flags and the stream call for; leaving the context ends it."""
    from seatrial.progress import NoProgress

    stream = sys.stderr if stream is None else stream
    if args.quiet:
        yield NoProgress()
    elif args.verbose or not lively(stream):
        yield PlainProgress(stream, steps=args.verbose)
    else:
        with LiveProgress(stream) as live:
            yield live


def lively(stream: TextIO) -> bool:
    """Whether lines may be redrawn: a terminal that is not dumb, and no CI."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb" and not os.environ.get("CI", "")


def title(name: str, index: int, total: int) -> str:
    """``[3/9] build``."""
    return f"[{index}/{total}] {clean(name, TEXT)}"


class PlainProgress:
    """One line per stage; with ``steps``, also one per step that was reported."""

    def __init__(self, stream: TextIO, *, steps: bool = False) -> None:
        self._stream = stream
        self._steps = steps
        self._last = ""

    def __call__(self, stage: str, text: str, fraction: float | None = None) -> None:
        """Print the step unless it was the last one printed; the fraction is not."""
        line = f"  {clean(stage, TEXT)}: {clean(text, 160)}\n"
        if self._steps and line != self._last:
            self._last = line
            put(line, self._stream)

    @contextlib.contextmanager
    def stage(self, name: str, index: int, total: int) -> Iterator[None]:
        """Print the stage when it begins."""
        put(f"{title(name, index, total)}\n", self._stream)
        yield


class LiveProgress:
    """A bar with stage, step, time so far and time left; each finished stage leaves a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars = _bars(stream)
        self._task = self._bars.add_task("starting", total=None, step="")

    def __enter__(self) -> LiveProgress:
        """Begin drawing."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the bar goes away."""
        self._bars.stop()

    def __call__(self, stage: str, text: str, fraction: float | None = None) -> None:
        """Show the step; the bar moves when the fraction is known."""
        known = fraction is not None and 0.0 <= fraction <= 1.0
        self._bars.update(
            self._task,
            step=clean(text or stage, TEXT),
            total=1.0 if known else None,
            completed=fraction if known else 0.0,
        )

    @contextlib.contextmanager
    def stage(self, name: str, index: int, total: int) -> Iterator[None]:
        """Show the stage, with its own clock, and leave a line with its time."""
        from rich.text import Text

        started = time.monotonic()
        self._bars.reset(self._task, description=title(name, index, total), total=None, step="")
        yield
        took = time.monotonic() - started
        line = Text(f"{title(name, index, total)}  {took:.1f} s", style="dim")
        self._bars.console.print(line)


def _bars(stream: TextIO) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.text import Text

    class Left(Remaining):
        """The time left, named; nothing while it is not known."""

        def render(self, task: Task) -> Text:
            known = task.total is not None and task.time_remaining is not None
            return Text.assemble(super().render(task), " left") if known else Text()

    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    spinner = "dots" if console.encoding.startswith("utf") else "line"
    return Progress(
        SpinnerColumn(spinner),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        Elapsed(),
        Left(),
        TextColumn("{task.fields[step]}", markup=False, style="dim"),
        console=console,
        transient=True,
    )
