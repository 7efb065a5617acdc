"""Which outputs of a model may feed which of its inputs in the next step. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seatrial.results import TensorIO


def fits(output: TensorIO, given: TensorIO) -> bool:
    """Whether an output can be fed back: same type, and no two fixed lengths that differ."""
    if output.dtype != given.dtype:
        return False
    if ("...",) in (tuple(output.shape), tuple(given.shape)):
        return True
    return len(output.shape) == len(given.shape) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(output.shape, given.shape, strict=True)
    )


#: What names add to say "before" or "after".
_MARKS = ("prev", "next", "init", "new", "out", "in", "cur", "last", "n", "0", "t")


def guessed(inputs: Sequence[TensorIO], outputs: Sequence[TensorIO]) -> dict[str, str]:
    """Pairs of output and input whose names say the same thing and whose shapes fit.

    ``state`` and ``stateN``, ``h0`` and ``hn``, ``h_in`` and ``h_out``; never a pair that only
    shapes speak for, and none at all when two outputs claim one input.
    """
    found: dict[str, str] = {}
    for given in inputs:
        claims = [
            o.name
            for o in outputs
            if _stem(o.name) == _stem(given.name) and _stem(given.name) and fits(o, given)
        ]
        if len(claims) == 1:
            found[claims[0]] = given.name
    return found if len(set(found.values())) == len(found) else {}


def _stem(name: str) -> str:
    """A name without case, separators and one mark of before or after; ``""``: it says nothing."""
    stem = "".join(c for c in name.lower() if c.isalnum())
    if re.fullmatch(r"(in|out)puts?\d*", stem):
        return ""
    for mark in _MARKS:
        if stem.endswith(mark) and len(stem) > len(mark):
            return stem.removesuffix(mark)
        if stem.startswith(mark) and len(stem) > len(mark) + 2:
            return stem.removeprefix(mark)
    return stem
