"""Opening ``.npy`` and ``.npz`` files that may lie: no pickles, no bombs, flat memory.

A header is read and compared with the file's size before anything is allocated; an ``.npz``
member is unpacked to disk in pieces, under caps, and memory-mapped.
Runs in a child only.
"""

from __future__ import annotations

import math
import shutil
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from seatrial.errors import UserError

#: A member above this size that shrank more than RATIO times is taken for a zip bomb.
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
#: Most bytes that one archive may unpack to.
TOTAL_BYTES = 64 << 30
_MAX_HEADER = 64 << 10
_PIECE = 1 << 20


def open_npy(path: Path, subject: str) -> Any:
    """Memory-map an ``.npy`` file.

    Args:
        path: the file.
        subject: what to call it in messages.

    Raises:
        UserError: it is no ``.npy``, holds Python objects, or its header and its size disagree.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            shape, dtype = _header(file, subject)
            start = file.tell()
    except OSError as error:
        raise UserError(subject, f"cannot be read: {error.strerror or error}") from None
    claimed = math.prod(shape) * dtype.itemsize
    present = path.stat().st_size - start
    if claimed != present:
        reason = f"its header claims {claimed} bytes of {dtype} data, the file holds {present}"
        raise UserError(subject, reason, place="npy header", advice="the file is cut or forged")
    if claimed == 0:
        return np.empty(shape, dtype)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise UserError(subject, f"cannot be read: {error}", place="npy header") from None


def _header(file: BinaryIO, subject: str) -> tuple[tuple[int, ...], Any]:
    import numpy as np

    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file, _MAX_HEADER)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file, _MAX_HEADER)
        else:
            raise UserError(subject, f"npy version {version} is not read", place="npy header")
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        reason = (
            f"is not a readable npy file: {str(error).splitlines()[0] if str(error) else error!r}"
        )
        raise UserError(subject, reason, place="npy header") from None
    if dtype.hasobject:
        raise UserError(
            subject,
            "holds pickled Python objects, which are never loaded",
            place="npy header",
            advice="save plain numbers: array.astype('float32')",
        )
    if any(d < 0 for d in shape):
        raise UserError(subject, f"has the shape {shape}", place="npy header")
    return shape, dtype


class Npz:
    """The arrays of an ``.npz``, unpacked one by one when asked for.

    Args:
        path: the archive.
        scratch: folder for unpacked members.

    Raises:
        UserError: no zip archive, or one that would unpack to too much.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self.scratch = scratch
        self._open: dict[str, Any] = {}
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
            raise UserError(path.name, f"is not a readable npz file: {error}") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.filename.endswith(".npy"):
                name = info.filename.removesuffix(".npy")
                if name in self._members:
                    raise UserError(path.name, f"holds the array {name!r} twice")
                self._members[name] = info
        self._check_sizes()
        self.names: tuple[str, ...] = tuple(self._members)

    def _check_sizes(self) -> None:
        total = sum(info.file_size for info in self._members.values())
        free = shutil.disk_usage(self.scratch).free
        if total > min(TOTAL_BYTES, free):
            reason = (
                f"would unpack to {total >> 20} MiB; the limit is {min(TOTAL_BYTES, free) >> 20}"
            )
            raise UserError(self.path.name, reason, advice="split it, or save an .npy per array")
        for name, info in self._members.items():
            if info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * info.compress_size:
                ratio = info.file_size // max(info.compress_size, 1)
                raise UserError(
                    self.path.name,
                    f"unpacks {ratio}-fold to {info.file_size >> 20} MiB: taken for a zip bomb",
                    place=name,
                    advice="save it with numpy.savez instead of savez_compressed",
                )

    def array(self, name: str) -> Any:
        """One array, memory-mapped.

        Raises:
            UserError: it is broken, forged, encrypted or holds objects.
        """
        if name not in self._open:
            target = self.scratch / f"npz-{len(self._open)}.npy"
            self._unpack(name, target)
            self._open[name] = open_npy(target, f"{self.path.name}: {name}")
        return self._open[name]

    def shape(self, name: str) -> tuple[tuple[int, ...], Any]:
        """Shape and dtype of one array, from its header alone."""
        subject = f"{self.path.name}: {name}"
        try:
            with self._zip.open(self._members[name]) as packed:
                return _header(packed, subject)  # type: ignore[arg-type]  # IO[bytes] is enough
        except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError) as error:
            raise UserError(subject, f"cannot be unpacked: {error}") from None

    def _unpack(self, name: str, target: Path) -> None:
        import zlib

        info = self._members[name]
        left = info.file_size
        try:
            with self._zip.open(info) as packed, target.open("wb") as plain:
                while piece := packed.read(min(_PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise zipfile.BadZipFile("more bytes than the directory claims")
                    plain.write(piece)
        except (
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            EOFError,
            NotImplementedError,
        ) as error:
            reason = f"cannot be unpacked: {error}"
            raise UserError(f"{self.path.name}: {name}", reason) from None
