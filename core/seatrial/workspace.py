"""The folder of a run: immutable objects by content, job directories, logs.

Objects are written aside, fsynced and renamed, so one that exists is complete; whether it is
still what its name says is for :meth:`Workspace.verify`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from .codec import digest
from .errors import UserError
from .results import Artifact, Ref

_CHUNK = 1 << 20


class Workspace:
    """The store of one run.

    Args:
        root: the folder that holds (or will hold) ``objects``, ``jobs`` and ``logs``; it lies in
            the output folder, to which logs are named relatively.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.objects = self.root / "objects"
        self.jobs = self.root / "jobs"
        self.logs = self.root / "logs"
        self._moved: dict[Path, Path] = {}
        try:
            for folder in (self.objects, self.jobs, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            reason = f"cannot be written: {error.strerror}"
            raise UserError(str(root), reason, advice="choose another output folder") from None

    def add(self, files: Mapping[str, Path], entry: str) -> Ref:
        """Copy files in as one object.

        Args:
            files: source by name inside the object (relative, POSIX).
            entry: the file to open, or ``""`` for the folder itself.

        Raises:
            ValueError: a name leaves the object, or the entry is not among the names.
            OSError: a source cannot be read, or the disk is full; no object appears then.
        """
        return self._store(files, entry, _copy)

    def adopt(self, folder: Path, artifact: Artifact) -> Ref:
        """Move what a job wrote into the store; adopting the same files again is allowed.

        Args:
            folder: the job's ``out``.
            artifact: which files in it belong together.

        Raises:
            ValueError: the artefact's files are not all regular files inside the folder.
        """
        folder = folder.resolve()
        sources = {}
        for name in artifact.files:
            path = folder / plain_name(name)
            sources[name] = path if path.exists() else self._moved.get(path, path)
        problem = artifact_problem(folder, artifact, self._moved)
        if problem:
            raise ValueError(problem)
        ref = self._store(sources, artifact.entry, self._take)
        for name in artifact.files:
            self._moved[folder / name] = self.objects / ref.sha256 / name
        return ref

    def path(self, ref: Ref) -> Path:
        """The object's entry file, or its folder.

        Raises:
            FileNotFoundError: it is not in the store.
        """
        path = self.objects / ref.sha256 / ref.entry if ref.entry else self.objects / ref.sha256
        if not path.exists():
            raise FileNotFoundError(f"object {ref.sha256[:12]} has no {ref.entry or 'folder'}")
        return path

    def verify(self, ref: Ref) -> bool:
        """Read every byte again: is the object what its name says?"""
        folder = self.objects / ref.sha256
        try:
            listing = {name: hashed(folder / name) for name in _names(folder)}
        except OSError:
            return False
        return bool(listing) and digest(listing) == ref.sha256

    def _take(self, source: Path, target: Path) -> list[str | int]:
        """Move a job's file; one that is in the store already is copied."""
        if source.is_relative_to(self.objects):
            return _copy(source, target)
        try:
            source.rename(target)
        except OSError:
            return _copy(source, target)
        _seal(target)
        return hashed(target)

    def _store(
        self,
        files: Mapping[str, Path],
        entry: str,
        take: Callable[[Path, Path], list[str | int]],
    ) -> Ref:
        if not files or (entry and entry not in files):
            raise ValueError(f"entry {entry!r} is not one of the {len(files)} files")
        names = {name: plain_name(name) for name in files}
        staging = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=self.objects))
        try:
            listing: dict[str, list[str | int]] = {}
            for name, relative in names.items():
                target = staging / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                listing[name] = take(Path(files[name]), target)
            total = sum(int(size) for _, size in listing.values())
            ref = Ref(sha256=digest(listing), entry=entry, bytes=total)
            self._publish(staging, ref)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return ref

    def _publish(self, staging: Path, ref: Ref) -> None:
        final = self.objects / ref.sha256
        if final.exists() and not self.verify(ref):
            shutil.rmtree(final, ignore_errors=True)
        if not final.exists():
            staging.chmod(0o755)
            # Losing the race to another run is fine: the winner's bytes are the same.
            with contextlib.suppress(FileExistsError, OSError):
                staging.rename(final)
            if not final.exists():
                raise OSError(f"cannot create {final}")
        _sync_folder(self.objects)

    def _sweep(self) -> None:
        """Remove what runs that were killed left half written."""
        for stray in self.objects.glob(".new-*"):
            owner = stray.name.split("-")[1]
            if not Path(f"/proc/{owner}").exists():
                shutil.rmtree(stray, ignore_errors=True)


def artifact_problem(folder: Path, artifact: Artifact, moved: Mapping[Path, Path]) -> str:
    """What is wrong with the files that an artefact names, or ``""``.

    Args:
        folder: the job's ``out``.
        artifact: as the plugin gave it.
        moved: files of earlier artefacts that are in the store already.
    """
    if not artifact.files:
        return "the artefact names no files"
    if artifact.entry and artifact.entry not in artifact.files:
        return f"the artefact's entry {artifact.entry!r} is not among its files"
    root = folder.resolve()
    for name in artifact.files:
        try:
            path = folder / plain_name(name)
        except ValueError as error:
            return str(error)
        if path in moved and not path.exists():
            continue
        if path.is_symlink() or not path.is_file():
            return f"the artefact's file {name!r} is not a regular file under job.out"
        if not path.resolve().is_relative_to(root):
            return f"the artefact's file {name!r} lies outside job.out"
    return ""


def plain_name(name: str) -> str:
    """The name as it is; ValueError unless it is a plain relative path."""
    pure = PurePosixPath(name)
    bad = not name or "\0" in name or pure.is_absolute() or ".." in pure.parts
    if bad or str(pure) != name or name == ".":
        raise ValueError(f"{name!r} is not a plain relative path")
    return name


def _names(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() or path.is_symlink():
            yield path.relative_to(folder).as_posix()


def hashed(path: Path) -> list[str | int]:
    """sha256 and size of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
        return [sha.hexdigest(), file.tell()]


def _copy(source: Path, target: Path) -> list[str | int]:
    """Copy and fsync; the hash is of the bytes that were written."""
    sha = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            sha.update(chunk)
            writer.write(chunk)
        size = writer.tell()
    _seal(target)
    return [sha.hexdigest(), size]


def _seal(path: Path) -> None:
    """Flush to disk and make read-only."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o444)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
