"""Every form that a report can take, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.errors import UserError

from .model import strict_json, write_text


@dataclass(frozen=True)
class Form:
    """One form of the document.

    Attributes:
        file: its file's name; CSV is a folder of tables.
        about: what it is for, in the help.
    """

    file: str
    about: str


FORMS = {
    "json": Form("report.json", "the document itself"),
    "markdown": Form("report.md", "a summary for a pull request"),
    "html": Form("report.html", "one self-contained page for people"),
    "junit": Form("report.junit.xml", "test cases for a CI system"),
    "sarif": Form("report.sarif", "findings by node for code scanning"),
    "csv": Form("tables", "every table for a spreadsheet, one file each"),
}


def render(data: Mapping[str, Any], form: str) -> dict[str, str]:
    """The files of one form, by name (relative to the folder they are for).

    Raises:
        UserError: no such form.
    """
    if form not in FORMS:
        raise UserError("--format", f"there is no form {form!r}", advice=", ".join(FORMS))
    file = FORMS[form].file
    if form == "csv":
        from . import tables

        made = tables.tables(data)
        return {f"{file}/{name}.csv": tables.to_csv(rows) for name, rows in made.items()}
    return {file: _text(data, form)}


def _text(data: Mapping[str, Any], form: str) -> str:
    if form == "json":
        return strict_json(data)
    if form == "html":
        from . import html

        return str(html.render(data))
    if form == "markdown":
        from . import markdown

        return markdown.render(data)
    if form == "junit":
        from . import junit

        return junit.render(data)
    from . import sarif

    return sarif.render(data)


def write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files under a folder, each whole or not at all.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    written = []
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            raise UserError(str(path), reason, advice="-o another folder") from None
        written.append(path)
    return written
