"""Opening a file that a stranger named: regular files only, never blocking, copied once."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from . import limits
from .refusal import Refused


class Hasher(Protocol):
    """What ``hashlib`` makes."""

    def update(self, data: bytes, /) -> None:
        """Take in bytes."""


_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a symbolic link"),
)


def kind_of(mode: int) -> str:
    """``""`` for a regular file, words for anything else."""
    return next((words for test, words in _KINDS if test(mode)), "")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file that the user named; a link on the command line is fine.

    Raises:
        Refused: missing, unreadable, or not a regular file.
    """
    try:
        kind = kind_of(path.stat().st_mode)
        if kind:
            raise Refused(f"is {kind}, not a regular file", advice="give the path of a model file")
        descriptor = os.open(path, _OPEN)
    except (OSError, ValueError) as error:
        raise Refused(os_reason(error), advice="check the path") from None
    try:
        kind = kind_of(os.fstat(descriptor).st_mode)
        if kind:
            raise Refused(f"is {kind}, not a regular file", advice="give the path of a model file")
        yield descriptor
    finally:
        os.close(descriptor)


def os_reason(error: OSError | ValueError) -> str:
    """What went wrong, in words without the path."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror.lower()}"
    return "is not a path that a file can have"


@contextmanager
def opened_inside(folder: int, location: str) -> Iterator[int]:
    """A descriptor of a regular file under ``folder``, reached without following any link.

    Args:
        folder: descriptor of the folder.
        location: relative POSIX path, checked by :func:`~.external.safe_location`.

    Raises:
        Refused: missing, or reached through a link, or linked from elsewhere, or not regular.
    """
    descriptors: list[int] = []
    try:
        at = folder
        *parents, name = location.split("/")
        for parent in parents:
            _refuse_link(at, parent, f"its folder {parent} is a symbolic link")
            flags = _OPEN | os.O_NOFOLLOW | os.O_DIRECTORY
            at = os.open(parent, flags, dir_fd=at)
            descriptors.append(at)
        _refuse_link(at, name, "is a symbolic link")
        kind = kind_of(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
        if kind:
            raise Refused(f"is {kind}, not a regular file")
        descriptors.append(os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=at))
        status = os.fstat(descriptors[-1])
        if kind_of(status.st_mode):
            raise Refused(f"is {kind_of(status.st_mode)}, not a regular file")
        if status.st_nlink > 1:
            raise Refused("is a hard link, another name leads to it", advice="copy it (cp) first")
        yield descriptors[-1]
    except (OSError, ValueError) as error:
        raise Refused(os_reason(error)) from None
    finally:
        for descriptor in reversed(descriptors):
            os.close(descriptor)


def _refuse_link(folder: int, name: str, reason: str) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise Refused(reason)


def copy(descriptor: int, target: Path, *hashers: Hasher) -> tuple[str, int]:
    """Copy a file's bytes as they are now.

    Args:
        descriptor: of the file.
        target: the copy; must not exist.
        hashers: are fed the bytes as well, so that they are read once.

    Returns:
        sha256 and size of what was written.

    Raises:
        Refused: no room, or the file changed while it was read.
    """
    size = os.fstat(descriptor).st_size
    target.parent.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(target.parent).free:
        raise Refused(f"does not fit into the work folder ({size} bytes)", advice="free some disk")
    digest = hashlib.sha256()
    written = 0
    try:
        with target.open("xb") as out:
            while block := os.pread(descriptor, limits.CHUNK, written):
                for hasher in (digest, *hashers):
                    hasher.update(block)
                out.write(block)
                written += len(block)
                if written > size:
                    break
    except OSError as error:
        raise Refused(f"cannot be copied: {(error.strerror or 'i/o error').lower()}") from None
    if written != size:
        raise Refused("changed while it was read", advice="run again when nobody writes to it")
    return digest.hexdigest(), written
