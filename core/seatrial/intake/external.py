"""External data: one policy for every backend, enforced before any of them opens a file.

Locations are relative, stay below the model's folder and pass no link; files are regular, have
one name, hold every byte that a tensor claims, and have the checksum that it states. What passes
is copied beside the model.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import dtypes, limits
from .files import copy, opened_inside
from .model import Tensor
from .refusal import Refused, quoted
from .tensors import stored_bytes

_KEYS = {"location", "offset", "length", "checksum"}
_SHA1 = re.compile("[0-9a-f]{40}")
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes of one tensor in one external file; ``bytes`` is what the tensor needs.

    ``checksum`` is the SHA-1 of the whole file that the tensor states (onnx.proto,
    ``external_data``), in lower case; empty: it states none.
    """

    tensor: Tensor
    place: str
    location: str
    offset: int
    bytes: int
    checksum: str = ""


def piece(tensor: Tensor, place: str) -> tuple[Piece, tuple[str, ...]]:
    """Read and check a tensor's ``external_data`` entries.

    Returns:
        Where its bytes are, and the keys that no release of ONNX knows.

    Raises:
        Refused: naming the tensor.
    """
    entries = tensor.external or {}
    location = safe_location(entries.get("location", ""), place)
    offset = _number(entries, "offset", 0, place)
    needed = stored_bytes(tensor) if dtypes.known(tensor.dtype) else 0
    length = _number(entries, "length", needed, place) or needed  # 0 stands for "not given"
    if length != needed and dtypes.known(tensor.dtype):
        raise Refused(f"external data of {length} bytes for a tensor of {needed}", place=place)
    if offset + length > _INT64_MAX:
        raise Refused("its external data ends beyond any file", place=place)
    unknown = tuple(sorted(set(entries) - _KEYS))
    checksum = _checksum(entries, place)
    return Piece(tensor, place, location, offset, length, checksum), unknown


def safe_location(location: str, place: str) -> str:
    """The location in plain form (no ``.`` and no empty parts).

    Raises:
        Refused: empty, absolute, leading out of the folder, or not a name at all.
    """
    advice = "save the model again with its data beside it"
    reason = ""
    if not location:
        reason = "its external data has no location"
    elif "\0" in location:
        reason = "the name of its external file holds a NUL"
    elif location.startswith(("/", "\\")) or location[1:3] in (":\\", ":/"):
        reason = f"the path of its external file is absolute: {quoted(location)}"
    elif ".." in location.replace("\\", "/").split("/"):
        reason = f"its external file is outside the model's folder: {quoted(location)}"
    elif len(location.encode()) >= limits.MAX_LIST:
        reason = "the name of its external file is too long"
    plain = posixpath.normpath(location) if not reason else ""
    if not reason and plain == ".":
        reason = "its external data has no location"
    if reason:
        raise Refused(reason, place=place, advice=advice)
    return plain


def _number(entries: dict[str, str], key: str, default: int, place: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > _INT64_MAX:
        raise Refused(f"external {key} {quoted(text, 24)} is not a size in bytes", place=place)
    return int(text)


def _checksum(entries: dict[str, str], place: str) -> str:
    text = entries.get("checksum", "").lower()
    if text and not _SHA1.fullmatch(text):
        reason = f"external checksum {quoted(text, 48)} is no SHA-1 in hexadecimal digits"
        raise Refused(reason, place=place, advice="save the model again with its data")
    return text


def stage(pieces: Iterable[Piece], folder: Path, target: Path, model: os.stat_result) -> list[str]:
    """Copy every external file that the pieces name.

    Args:
        pieces: where tensors lie.
        folder: the model's folder.
        target: the folder that receives the copies, under the same relative names.
        model: status of the model file, which must not be its own data.

    Returns:
        The locations, sorted.

    Raises:
        Refused: naming the tensor and the file.
    """
    by_file: dict[str, list[Piece]] = {}
    for part in pieces:
        by_file.setdefault(part.location, []).append(part)
    if len(by_file) > limits.MAX_EXTERNAL_FILES:
        raise Refused(f"names {len(by_file)} external files", advice="save the data as one file")
    if not by_file:
        return []
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for location, parts in by_file.items():
            try:
                _stage_one(root, location, parts, target / location, model)
            except Refused as refused:
                if refused.place:
                    raise
                reason = f"external file {quoted(location)} {_sentence(refused.reason)}"
                advice = refused.advice or "put the real file beside the model"
                raise Refused(reason, place=parts[0].place, advice=advice) from None
    finally:
        os.close(root)
    return sorted(by_file)


def _sentence(reason: str) -> str:
    return "does not exist" if reason == "no such file" else reason


def _stage_one(
    root: int, location: str, parts: list[Piece], target: Path, model: os.stat_result
) -> None:
    with opened_inside(root, location) as descriptor:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == (model.st_dev, model.st_ino):
            raise Refused("is the model itself")
        for part in parts:
            end = part.offset + part.bytes
            if end > status.st_size:
                reason = (
                    f"needs bytes {part.offset} to {end} of {quoted(location)}, "
                    f"which has {status.st_size}"
                )
                advice = "copy the external file again"
                raise Refused(reason, place=part.place, advice=advice)
        sha1 = hashlib.sha1(usedforsecurity=False)
        stated = [part for part in parts if part.checksum]
        copy(descriptor, target, *([sha1] if stated else []))
    for part in stated:
        if part.checksum != sha1.hexdigest():
            reason = (
                f"external file {quoted(location)} has the SHA-1 {sha1.hexdigest()[:12]}, "
                f"not {part.checksum[:12]} as the model states"
            )
            advice = "copy it again, or save the model anew"
            raise Refused(reason, place=part.place, advice=advice)
