"""Files that people give instead of an ONNX model, told by their first bytes."""

from __future__ import annotations

from .refusal import Refused

#: Bytes to read from the start of a file, and from its end for archives.
HEAD = 4096
TAIL = 65536

_EXPORT = "export it first: seatrial export MODULE:FACTORY -o model.onnx"
_SOURCE = "give the ONNX model it was made from"


def refuse_other_format(head: bytes, tail: bytes) -> None:
    """Refuse what certainly is another format.

    Args:
        head: first :data:`HEAD` bytes.
        tail: last :data:`TAIL` bytes, where an archive lists its members.

    Raises:
        Refused: naming the format and the next step.
    """
    if not head:
        raise Refused("is an empty file", advice="export or download the model again")
    if head.startswith(b"version https://git-lfs.github.com/"):
        raise Refused("is a Git LFS pointer, not the model", advice="run: git lfs pull")
    for magic, at, what, advice in _MAGIC:
        if head[at:].startswith(magic):
            raise Refused(f"is {what}, not an ONNX model", advice=advice)
    if head.startswith(b"PK\x03\x04"):
        what, advice = _archive(head + tail)
        raise Refused(f"is {what}, not an ONNX model", advice=advice)
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        raise Refused("is a Python pickle, which can run code; it is not opened", advice=_EXPORT)


def describe_other(head: bytes) -> tuple[str, str]:
    """Words and advice for a file that did not parse; ``("", "")`` when nothing fits."""
    if len(head) >= 9 and head[8:9] == b"{":
        return "is a safetensors file: weights without a network", _EXPORT
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    for beginnings, what, advice in _TEXTS:
        if start.startswith(beginnings):
            return what, advice
    if b"\0" not in head and _mostly_text(head):
        return "is a text file, not an ONNX model", "give the binary .onnx file"
    return "", ""


def _mostly_text(head: bytes) -> bool:
    plain = sum(1 for b in head if 0x20 <= b < 0x7F or b in b"\t\r\n")
    return plain >= 0.95 * len(head)


def _archive(data: bytes) -> tuple[str, str]:
    if b"constants.pkl" in data:
        return "a TorchScript archive", _EXPORT
    if b"data.pkl" in data:
        return "a PyTorch checkpoint", _EXPORT
    if b".npy" in data:
        return "a NumPy archive of samples", "give it as --calibration or --test"
    return "a zip archive", "unpack it and give the .onnx file"


_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")

_TEXTS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (_HTML, "is an HTML page, perhaps a login or error page", "download the model again"),
    ((b"<?xml",), "is an XML file, not an ONNX model", _SOURCE),
    ((b"{", b"["), "is JSON text, not an ONNX model", "convert it to the binary form"),
)

_MAGIC = (
    (b"\x1f\x8b", 0, "gzip-compressed", "run gunzip on it"),
    (b"BZh", 0, "bzip2-compressed", "run bunzip2 on it"),
    (b"\xfd7zXZ\0", 0, "xz-compressed", "run unxz on it"),
    (b"\x28\xb5\x2f\xfd", 0, "zstd-compressed", "run unzstd on it"),
    (b"TFL3", 4, "a TensorFlow Lite model", _SOURCE),
    (b"ORTM", 4, "one runtime's own serialised form", _SOURCE),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (Keras)", "convert it to ONNX"),
    (b"\x93NUMPY", 0, "a NumPy array", "give it as --calibration or --test"),
    (b"GGUF", 0, "a GGUF file", _SOURCE),
    (b"\x7fELF", 0, "an executable or library", "give the .onnx file"),
    (b"ustar", 257, "a tar archive", "unpack it and give the .onnx file"),
)
