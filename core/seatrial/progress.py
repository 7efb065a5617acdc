"""Where a verb says how far it is: the command line shows it, the Python functions drop it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """Where a verb says how far it is."""

    def __call__(self, stage: str, text: str, fraction: float | None = None) -> None:
        """Say what is being done now; ``fraction`` (0 to 1) when it is known."""

    def stage(self, name: str, index: int, total: int) -> AbstractContextManager[None]:
        """Enter stage ``index`` (from 1) of ``total``; leaving the context ends it."""


class NoProgress:
    """A :class:`Progress` that says nothing: what the Python functions use when given none."""

    def __call__(self, stage: str, text: str, fraction: float | None = None) -> None:
        """Drop the line."""

    @contextlib.contextmanager
    def stage(self, name: str, index: int, total: int) -> Iterator[None]:
        """Do nothing around the stage."""
        yield
