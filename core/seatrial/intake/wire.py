"""The protobuf wire format, read in place: no message is copied, nothing is allocated on faith.

Encoding: https://protobuf.dev/programming-guides/encoding/. A field is reported with its *tag*
(number << 3 | wire type), so a known field with another wire type falls through like an unknown
one, which is what every protobuf parser does with it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from . import limits
from .refusal import Refused

#: What can be read: the mapped file, or bytes in a test.
Buffer = mmap.mmap | bytes

_VARINT_MAX = 10


class Malformed(Exception):
    """The bytes are not protobuf.

    Args:
        at: offset of the field at fault.
        end: where the field would have to end, when it goes on past its message.
    """

    def __init__(self, at: int, end: int = 0) -> None:
        super().__init__(f"byte {at}")
        self.at = at
        self.end = end


def varint_tag(number: int) -> int:
    """Tag of an integer field."""
    return number << 3


def fixed64_tag(number: int) -> int:
    """Tag of an 8-byte field."""
    return number << 3 | 1


def bytes_tag(number: int) -> int:
    """Tag of a length-delimited field: text, bytes, message or packed list."""
    return number << 3 | 2


def fixed32_tag(number: int) -> int:
    """Tag of a 4-byte field."""
    return number << 3 | 5


def signed(value: int) -> int:
    """A varint as the int64 that protobuf means by it."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def varint(buffer: Buffer, at: int) -> tuple[int, int]:
    """Read one varint.

    Returns:
        Its value (unsigned) and the position after it.

    Raises:
        Malformed: more than ten bytes, or past the end of the file.
    """
    value = shift = 0
    try:
        for i in range(at, at + _VARINT_MAX):
            byte = buffer[i]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, i + 1
            shift += 7
    except IndexError:
        raise Malformed(at, len(buffer) + 1) from None
    raise Malformed(at)


def give_back(buffer: Buffer) -> None:
    """Drop the pages that were read from a mapped file; they come back when they are needed."""
    if isinstance(buffer, mmap.mmap):
        buffer.madvise(mmap.MADV_DONTNEED)


class Reader:
    """Reads fields of one file and counts them.

    Args:
        buffer: the whole file.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self._left = limits.MAX_FIELDS

    def charge(self, fields: int) -> None:
        """Count fields; refuse the file when there are too many."""
        self._left -= fields
        if self._left < 0:
            raise Refused("has more protobuf fields than any network needs")

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The fields of one message.

        Yields:
            ``(tag, start, stop)`` of the payload of a length-delimited or fixed-size field, or
            ``(tag, value, stop)`` of a varint. Groups are skipped.

        Raises:
            Malformed: the bytes are not protobuf, or a field goes on past ``end``.
        """
        try:
            yield from self._fields(at, end)
        except IndexError:
            raise Malformed(at, len(self.buffer) + 1) from None

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        buffer = self.buffer
        count = 0
        while at < end:
            begin = at
            tag = buffer[at]
            tag, at = varint(buffer, at) if tag >= 0x80 else (tag, at + 1)
            count += 1
            if not count & 0xFFFF:
                self.charge(0x1_0000)
            wire = tag & 7
            if tag < 8:
                raise Malformed(begin)
            if wire == 2:
                value = buffer[at]
                value, at = varint(buffer, at) if value >= 0x80 else (value, at + 1)
                value, at = at, at + value
            elif wire == 0:
                value = buffer[at]
                value, at = varint(buffer, at) if value >= 0x80 else (value, at + 1)
            elif wire in (1, 5):
                value, at = at, at + (8 if wire == 1 else 4)
            elif wire == 3:
                at = self._after_group(at, end, tag >> 3)
                continue
            else:
                raise Malformed(begin)
            if at > end:
                raise Malformed(begin, at)
            yield tag, value, at
        self.charge(count & 0xFFFF)

    def _after_group(self, at: int, end: int, number: int) -> int:
        """Skip a group (a deprecated form that ONNX never writes) without recursion."""
        open_groups = [number]
        while open_groups:
            if at >= end:
                raise Malformed(at)
            begin = at
            tag, at = varint(self.buffer, at)
            self.charge(1)
            wire = tag & 7
            if wire == 0:
                _, at = varint(self.buffer, at)
            elif wire == 2:
                size, at = varint(self.buffer, at)
                at += size
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            elif wire == 3 and len(open_groups) < 100:
                open_groups.append(tag >> 3)
            elif wire != 4 or open_groups.pop() != tag >> 3:
                raise Malformed(begin)
        if at > end:
            raise Malformed(begin, at)
        return at
