"""The calibration table: one range per activation tensor, as a JSON file with its digest.

Standard library only; the parent reads tables, children write them.
"""

from __future__ import annotations

import json
from pathlib import Path

from seatrial.codec import CodecError, decode, encode
from seatrial.results import Artifact

from .types import SCHEMA, RangeTable

#: Name of the table's file in its artifact.
FILE = "ranges.json"

#: Key of the digest of everything else in it.
DIGEST = "sha256"


def save(table: RangeTable, folder: Path) -> Artifact:
    """Write a table under a job's ``out``."""
    data = {**encode(table), DIGEST: table.sha256}
    text = json.dumps(data, allow_nan=False, indent=1, sort_keys=True)
    (folder / FILE).write_text(text, "utf-8")
    return Artifact(format="ranges", entry=FILE, files=(FILE,))


def load(path: Path) -> RangeTable:
    """Read a table.

    Raises:
        ValueError: the file is not a table of this schema, or not as it was written.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        told = data.pop(DIGEST, "") if isinstance(data, dict) else ""
        table = decode(RangeTable, data)
    except (OSError, UnicodeError, json.JSONDecodeError, CodecError) as error:
        raise ValueError(f"{path.name} is not a calibration table: {error}") from None
    if table.schema != SCHEMA:
        raise ValueError(f"{path.name} has schema {table.schema!r}, not {SCHEMA}")
    if table.sha256 != told:
        raise ValueError(f"{path.name} is damaged: its content does not fit its digest")
    return table
