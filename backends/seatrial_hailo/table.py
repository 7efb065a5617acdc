"""What is publicly known of the operators. Standard library only.

The vendor's own tables are behind a login. Each row says how it is known, and none is more than
advisory: published outputs of the parser, a third party's comparison with the 5.3.0 guide, and
assumptions from architectures that are known to compile.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import NamedTuple

#: How a row is known -> what is said of that, and how far it can be relied on.
KNOWN = {
    "compiled": ("reported as documented, and seen in a model that compiled", "medium"),
    "documented": ("reported as documented", "medium"),
    "restricted": ("limits read off errors of the parser", "medium"),
    "refused": ("refused by the parser in a published log", "medium"),
    "reported": ("from a public text", "low"),
    "pattern": ("accepted inside a pattern only", "low"),
    "folds": ("accepted where it folds away only", "low"),
    "assumed": ("assumed", "low"),
}


class Row(NamedTuple):
    """One operator.

    Attributes:
        taken: whether the parser takes it at all.
        known: key of :data:`KNOWN`.
        limits: under which conditions, or why not.
    """

    taken: bool
    known: str
    limits: str

    @property
    def source(self) -> str:
        """The table, and how this row is known."""
        return f"public operator notes for Hailo, 2026-11: {KNOWN[self.known][0]}"

    @property
    def confidence(self) -> str:
        """``medium`` or ``low``; nothing here is the vendor's own word."""
        return KNOWN[self.known][1]


@cache
def rows() -> dict[str, Row]:
    """All rows by operator of the ``ai.onnx`` domain."""
    text = resources.files(__package__).joinpath("operators.json").read_text("utf-8")
    return {op: Row(**row) for op, row in json.loads(text).items()}
