"""Values as people write them: ``p99=12ms``, ``512MB``, ``1.5%``, ``1/255``.

Every parser takes what TOML or the command line gave and raises ``ValueError`` with a reason.
Standard library only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from seatrial.sla import LatencyLimit

Parser = Callable[[Any], Any]

QUANTILES = ("p50", "p90", "p95", "p99")
_TIME: Mapping[str, float] = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES: Mapping[str, float] = {
    **{"B": 1e-6, "kB": 1e-3, "KB": 1e-3, "MB": 1.0, "GB": 1e3, "TB": 1e6},
    **{"KiB": 2**10 / 1e6, "MiB": 2**20 / 1e6, "GiB": 2**30 / 1e6, "TiB": 2**40 / 1e6},
}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_LATENCY = re.compile(rf"^\s*(?:(p\d+|median)\s*=\s*)?{_NUMBER}\s*(us|µs|ms|s)?\s*$")
_MEMORY = re.compile(rf"^\s*{_NUMBER}\s*([kKMGT]i?B|B)?\s*$")
_FRACTION = re.compile(rf"^\s*([-+]?){_NUMBER}\s*/\s*{_NUMBER}\s*$")


def latency(value: Any) -> LatencyLimit:
    """``p99=12ms``, ``p50 = 0.5 s``, ``median=800us``: a quantile and its limit in milliseconds."""
    if isinstance(value, LatencyLimit):
        return value
    match = _LATENCY.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a quantile and a time, p99=12ms")
    quantile, number, unit = match.groups()
    if quantile is None:
        raise ValueError(f"say which latency: p50={value.strip()} or p99={value.strip()}")
    if unit is None:
        raise ValueError(f"say the unit: {quantile}={number}ms")
    quantile = "p50" if quantile == "median" else quantile
    if quantile not in QUANTILES:
        raise ValueError(f"{quantile} is not measured; choose {', '.join(QUANTILES)}")
    ms = float(number) * _TIME[unit]
    if not 0 < ms < math.inf:
        raise ValueError("a latency limit is above 0")
    return LatencyLimit(quantile=quantile, ms=ms)


def memory_mb(value: Any) -> float:
    """``512MB``, ``1.5GB``, ``256MiB``, as MB (10^6 bytes); a bare number is MB."""
    if _is_number(value):
        number, unit = float(value), "MB"
    else:
        match = _MEMORY.match(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("write an amount and a unit, 512MB or 2GiB")
        number, unit = float(match[1]), match[2] or "MB"
    amount = number * _BYTES[unit]
    if not 0 < amount < math.inf:
        raise ValueError("an amount of memory is above 0")
    return amount


def points(value: Any) -> float:
    """``1.0``, ``"1.0"`` or ``"1%"``: percentage points, from 0 to 100."""
    text = value.strip().removesuffix("%") if isinstance(value, str) else value
    number = _to_float(text, "write a number of points, 1.0")
    if not 0 <= number <= 100:
        raise ValueError("points go from 0 to 100")
    return number


def amount(value: Any) -> float:
    """``1.0`` or ``"1%"``: points, or the unit of the task's metric; from 0 on."""
    text = value.strip().removesuffix("%") if isinstance(value, str) else value
    number = _to_float(text, "write a number of points, 1.0")
    if number < 0:
        raise ValueError("a limit in points, or in the metric's unit, is not below 0")
    return number


def number(value: Any) -> float:
    """A finite number, or a fraction as text: ``"1/255"``."""
    if isinstance(value, str) and (match := _FRACTION.match(value)):
        below = float(match[3])
        if below == 0:
            raise ValueError("0 cannot be divided by")
        value = (-1 if match[1] == "-" else 1) * float(match[2]) / below
    return _to_float(value, 'write a number, or a fraction "1/255"')


def numbers(value: Any) -> tuple[float, ...]:
    """A number, or a list of numbers."""
    if not isinstance(value, list):
        return (number(value),)
    if not value:
        raise ValueError("the list is empty")
    return tuple(number(v) for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _to_float(value: Any, reason: str) -> float:
    if not (isinstance(value, str) or _is_number(value)):
        raise ValueError(reason)
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise ValueError(reason) from None
    if not math.isfinite(result):
        raise ValueError("is not a finite number")
    return result


def integer(least: int = 0) -> Parser:
    """A whole number of at least ``least``; texts of digits too, for flags."""

    def parse(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("write a whole number")
        if value < least:
            raise ValueError(f"is {value}, the least is {least}")
        return value

    return parse


def positive(value: Any) -> float:
    """A number above 0."""
    result = number(value)
    if result <= 0:
        raise ValueError("is not above 0")
    return result


def text(value: Any) -> str:
    """A text without NUL."""
    if not isinstance(value, str):
        raise ValueError("write a text in quotes")
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def flag(value: Any) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text stands for a list of one."""
    if isinstance(value, str):
        return (text(value),)
    if not isinstance(value, list):
        raise ValueError('write a list of texts, ["a", "b"]')
    return tuple(text(v) for v in value)


def integers(value: Any) -> tuple[int, ...]:
    """A list of whole numbers above 0; one number stands for itself twice in a ``size``."""
    if not isinstance(value, list) or not value:
        raise ValueError("write a list of whole numbers, [224, 224]")
    return tuple(integer(1)(v) for v in value)


def shape(value: Any) -> tuple[int, ...]:
    """A list of whole numbers above 0; an empty one is a single number's shape."""
    if value == []:
        return ()
    return integers(value)


def choice(*known: str) -> Parser:
    """One of a few words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"write one of {', '.join(known)}")
        return value

    return parse


def mapping(item: Parser) -> Parser:
    """A table whose values all have one form."""

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError('write a table, { name = "value" }')
        return {key: item(v) for key, v in value.items()}

    return parse


def scalar_text(value: Any) -> str:
    """A text, or a number or truth value as a table's cell would hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return text(value)


def option(value: Any) -> Any:
    """A value for a backend: truth value, number or text."""
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("options are texts, numbers, true or false")
