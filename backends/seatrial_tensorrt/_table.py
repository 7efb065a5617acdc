"""The operator table: what the ONNX parser of TensorRT is documented to take, as data.

``operators.json`` is our own digest; where it was read is in its ``source``. A row says *listed*,
never *supported*: no compiler was asked. Standard library only.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Version as (major, minor).
Version = tuple[int, int]

#: Assumed when no TensorRT is installed: the newest one that the table has notes for.
NEWEST: Version = (11, 4)


@dataclass(frozen=True)
class Row:
    """What the table says of one operator.

    Attributes:
        listed: it is in the parser of this version.
        types: TensorRT's names of the types it takes; empty: not told.
        condition: under which condition, in words; ``""``: none.
        since: first version that has it, ``(0, 0)``: all of them.
    """

    listed: bool
    types: tuple[str, ...] = ()
    condition: str = ""
    since: Version = (0, 0)


@dataclass(frozen=True)
class Table:
    """The rows for one version of TensorRT."""

    version: Version
    source: str
    opsets: tuple[int, int]
    rows: dict[str, Row]

    def row(self, op_type: str) -> Row | None:
        """The row of an operator, ``None`` when the table does not know it."""
        return self.rows.get(op_type)


def table(version: Version = NEWEST) -> Table:
    """The table as it reads for one version."""
    data = _data()
    since = {op: _version(text) for op, text in data["since"].items()}
    rows = {op: Row(False, condition=_condition(data, op)) for op in data["refused"]}
    for kind, operators in data["listed"].items():
        for op in operators:
            first = since.get(op, (0, 0))
            rows[op] = Row(
                listed=version >= first,
                types=tuple(data["types"][kind]),
                condition=_condition(data, op),
                since=first,
            )
    low, high = data["opsets"]["11" if version[0] >= 11 else "10"]
    return Table(version, data["source"], (low, high), rows)


def _condition(data: dict[str, Any], op: str) -> str:
    family = "Reduce*" if op.startswith("Reduce") else op
    return str(data["conditions"].get(family, ""))


@functools.cache
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("operators.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _version(text: str) -> Version:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
