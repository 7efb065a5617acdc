"""A job without a child process, for tests and debuggers."""

from __future__ import annotations

from pathlib import Path

from seatrial.results import Artifact, Ref


class LocalJob:
    """The ``job`` argument of a hook, in this process.

    Example:
        >>> job = LocalJob(tmp_path)                                     # doctest: +SKIP
        >>> ref = job.add(Path("model.onnx"))                            # doctest: +SKIP
        >>> backend.seatrial_compile_check(CheckRequest(model=ref, target="cpu"), job)
        ...                                                              # doctest: +SKIP

    Args:
        root: a folder for this job's files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "out"
        self.scratch = root / "scratch"
        for folder in (self.out, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self.messages: list[str] = []
        self._paths: dict[str, Path] = {}

    def add(self, path: Path, entry: str = "") -> Ref:
        """Make a file (or a folder and its entry) known to the job; nothing is copied."""
        key = f"local:{path}"
        self._paths[key] = path
        return Ref(sha256=key, entry=entry)

    def adopt(self, artifact: Artifact) -> Ref:
        """Make what a hook built usable in a later request of this job."""
        return self.add(self.out / artifact.entry if artifact.entry else self.out)

    def path(self, ref: Ref) -> Path:
        """Where a reference lies; KeyError if it was never added."""
        root = self._paths[ref.sha256]
        return root / ref.entry if ref.entry else root

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Keep the message in ``messages``."""
        self.messages.append(text if fraction is None else f"{text} {fraction:.0%}")
