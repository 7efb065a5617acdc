"""Numbers as people read them. An unknown number is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Sequence

DASH = "-"

Number = int | float | None


def count(value: Number) -> str:
    """``2048`` as ``2,048``."""
    return DASH if value is None else f"{value:,.0f}"


def significant(value: Number) -> str:
    """Three significant digits: ``0.0123``, ``9.42``, ``118``, ``1,240``."""
    if value is None:
        return DASH
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or size == 0:
        return f"{value:z.2f}"
    return f"{value:.3g}"


def points(value: Number, *, sign: bool = False) -> str:
    """Two decimals; with ``sign``, a plus before what is worse."""
    if value is None:
        return DASH
    return f"{value:+z.2f}" if sign else f"{value:z.2f}"


def interval(pair: Sequence[Number] | None, digits: int | None = 2) -> str:
    """``[-0.14, 0.74]``; three significant digits when ``digits`` is ``None``."""
    if pair is None or pair[0] is None or pair[1] is None:
        return DASH
    if digits is None:
        return f"[{significant(pair[0])}, {significant(pair[1])}]"
    return f"[{pair[0]:z.{digits}f}, {pair[1]:z.{digits}f}]"


def size(value: Number) -> str:
    """Bytes in decimal units: ``14.2 MB``."""
    if value is None:
        return DASH
    amount = float(value)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{significant(amount)} {unit}"
        amount /= 1000
    return f"{significant(amount)} GB"


def megabytes(value: Number) -> str:
    """Mebibytes of memory as ``182 MB``."""
    return DASH if value is None else f"{value:,.0f} MB"


def seconds(value: Number) -> str:
    """``8.1 s``, ``2 min 05 s``."""
    if value is None:
        return DASH
    if value < 99.5:
        return f"{significant(value)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 node``, ``3 nodes``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
