"""Read a report back: found, bounded, and refused in one line when it is none.

A report may have been written by anybody. What is read here is plain JSON values; every view
makes the texts safe for its own form, as it does for a report that was just made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from seatrial.errors import UserError
from seatrial.text import clean

from .model import SCHEMA, new

#: Largest report that is read, in bytes.
LARGEST = 64 * 1024 * 1024
#: Longest name in a message.
TEXT = 300


@cache
def schema() -> Mapping[str, Any]:
    """The published schema of the report."""
    text = resources.files("seatrial.report").joinpath("schema/report-1.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def find(path: str) -> Path:
    """The report that a path names: the file, or ``report.json`` in a trial's folder.

    Raises:
        UserError: neither is there.
    """
    given = Path(path)
    file = given / "report.json" if given.is_dir() else given
    if not file.is_file():
        reason = "holds no report.json" if given.is_dir() else "does not exist or is not a file"
        raise UserError(clean(path, TEXT), reason, advice="a report.json or the folder of a trial")
    return file


def document(file: Path) -> dict[str, Any]:
    """A whole report, as it was written.

    A report of an older 0.x version may lack keys of later ones: they are filled in as unknown.

    Raises:
        UserError: not a report, of another major version, too large, cut off or damaged.
    """
    name = clean(str(file), TEXT)
    data = checked(read_json(file, name), name)
    whole = {**new(str(data.get("command"))), **data}
    _validate(whole, name)
    return whole


def read_json(file: Path, name: str) -> Any:
    """Any JSON of at most :data:`LARGEST` bytes.

    Raises:
        UserError: it cannot be read, or is no strict JSON.
    """
    try:
        if not file.is_file():
            reason = "does not exist" if not file.exists() else "is not a file"
            raise UserError(name, reason, advice="a report.json or the folder of a trial")
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(name, (error.strerror or "cannot be read").lower()) from None
    if len(content) > LARGEST:
        raise UserError(name, f"is larger than {LARGEST // 2**20} MiB: no report is")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        reason = f"is not JSON, or was cut off: {error.msg.lower()}"
        raise UserError(name, reason, place=place) from None
    except UnicodeDecodeError as error:
        raise UserError(name, "is not UTF-8 text", place=f"byte {error.start}") from None
    except (RecursionError, ValueError) as error:
        kind = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(name, f"is not a report: {clean(kind, 80)}") from None


def checked(data: Any, name: str) -> dict[str, Any]:
    """The same object, if it says that it is a report of this schema.

    Raises:
        UserError: it does not.
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, str) or not schema.startswith("seatrial.report/"):
        said = f", but {clean(schema, 40)}" if isinstance(schema, str) else ""
        raise UserError(name, f"is no report of seatrial{said}", advice=f"it has to be {SCHEMA}")
    if schema != SCHEMA:
        reason = f"is of schema {clean(schema, 40)}; this version reads {SCHEMA}"
        raise UserError(name, reason, advice="use the version of seatrial that wrote it")
    whole: dict[str, Any] = data
    return whole


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _validate(data: dict[str, Any], name: str) -> None:
    """Hold the document against the published schema, where jsonschema is installed.

    Without it a damaged document is found by the view that stumbles over it.
    """
    try:
        import jsonschema
    except ImportError:
        return
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema()).iter_errors(data)
    )
    if error is not None:
        raise UserError(
            name,
            f"is not a whole report: {clean(error.message, 160)}",
            place=clean(error.json_path, 120),
            advice="run the trial again, or use the version of seatrial that wrote it",
        )
