"""Finding the class scores among a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Integer types that quantised class scores come in; wider ones are indices.
_QUANTISED = ("int8", "uint8", "int16", "uint16")


def vector(value: Any) -> Any | None:
    """One sample's scores as a vector, shape (classes,), or ``None`` when they are no vector.

    Axes of length 1 are dropped: (C,), (1, C) and (C, 1, 1) are all vectors of C > 1 numbers.
    """
    import numpy as np

    array = np.asarray(value)
    long = [d for d in array.shape if d != 1]
    if len(long) != 1 or long[0] < 2 or not _numbers(array):
        return None
    return array.reshape(-1)


def _numbers(array: Any) -> bool:
    return array.dtype.kind == "f" or array.dtype.name in (*_QUANTISED, "bfloat16")


def scores_name(outputs: Mapping[str, Any]) -> str | None:
    """The output that holds class scores: the first float vector, else the first quantised one."""
    import numpy as np

    quantised = None
    for name, value in outputs.items():
        if vector(value) is None:
            continue
        if np.asarray(value).dtype.name not in _QUANTISED:
            return name
        quantised = quantised or name
    return quantised


def best(scores: Any) -> int:
    """Index of the largest score, the first of equal ones; -1 when any score is not finite.

    ``argmax`` itself would give the index of a NaN, a class like any other.
    """
    import numpy as np

    if scores.dtype.kind == "f" and not np.isfinite(scores).all():
        return -1
    return int(scores.argmax())
