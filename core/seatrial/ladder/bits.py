"""Right and wrong answers, one bit per sample, as short texts that a report can carry.

Two reports on the same test set can then be compared sample by sample. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Samples of one text: 1,024 hexadecimal digits.
CHUNK = 4096

#: Larger test sets are not kept sample by sample.
MOST = 262_144


def pack(scores: Sequence[float]) -> tuple[str, ...]:
    """Scores that are all 0 or 1 as hexadecimal texts of ``CHUNK`` samples each.

    The first sample is the highest bit of the first text; the last text is filled up with zeros
    to whole digits. Other scores, none at all or too many give ``()``.
    """
    if not 0 < len(scores) <= MOST or any(s not in (0.0, 1.0) for s in scores):
        return ()
    texts = []
    for start in range(0, len(scores), CHUNK):
        part = scores[start : start + CHUNK]
        digits = -(-len(part) // 4)
        bits = "".join("1" if s else "0" for s in part).ljust(4 * digits, "0")
        texts.append(f"{int(bits, 2):0{digits}x}")
    return tuple(texts)


def unpack(texts: Sequence[str], n: int) -> tuple[bool, ...] | None:
    """What :func:`pack` packed; ``None`` when the texts do not hold exactly ``n`` samples."""
    digits = "".join(texts)
    if not 0 < n <= MOST or len(digits) != -(-n // 4) or not set(digits) <= set("0123456789abcdef"):
        return None
    bits = f"{int(digits, 16):0{4 * len(digits)}b}"
    return None if "1" in bits[n:] else tuple(bit == "1" for bit in bits[:n])
