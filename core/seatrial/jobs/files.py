"""The ``job`` argument of a hook or task. Standard library only, Python 3.10 and newer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from seatrial.results import Ref


class JobFiles:
    """The ``job`` argument of a hook: where files are, and how to report progress.

    Args:
        folder: the job's directory.
        refs: path of each referenced object by digest, relative to ``folder``.
        progress: what takes a text and a fraction.
    """

    def __init__(
        self,
        folder: Path,
        refs: Mapping[str, str],
        progress: Callable[[str, float | None], None] = lambda text, fraction: None,
    ) -> None:
        self.out = folder / "out"
        self.scratch = folder / "scratch"
        self._folder = folder
        self._refs = dict(refs)
        self._progress = progress
        for part in (self.out, self.scratch):
            part.mkdir(parents=True, exist_ok=True)

    def add(self, refs: Mapping[str, str]) -> None:
        """Make more objects known: a session's sample stores come after it was opened."""
        self._refs.update(refs)

    def path(self, ref: Ref) -> Path:
        """Where a referenced object's entry lies; KeyError if it is not part of this job."""
        root = (self._folder / self._refs[ref.sha256]).resolve()
        return root / ref.entry if ref.entry else root

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Report how far the work is; each call extends the soft deadline."""
        self._progress(str(text), None if fraction is None else float(fraction))
