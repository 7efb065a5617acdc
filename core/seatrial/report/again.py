"""``report``: a finished report in other forms, or fit to be shared, without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.errors import UserError
from seatrial.share.redact import share
from seatrial.share.rules import INTERNAL
from seatrial.text import clean

from . import formats, load
from .model import Report

if TYPE_CHECKING:
    from seatrial.options import ReportOptions


@dataclass(frozen=True)
class Rendered:
    """What ``report`` made.

    Attributes:
        report: the report, as it was shared.
        texts: contents of the forms that were asked for, by file name.
        written: the files written, in order.
        removed: what was taken out, one line each.
    """

    report: Report
    texts: Mapping[str, str]
    written: tuple[Path, ...] = ()
    removed: tuple[str, ...] = ()


def report(options: ReportOptions) -> Rendered:
    """Render a report again.

    Raises:
        UserError: no report there, or one that is damaged; no such form or level; several forms
            for standard output; or a folder that cannot be written.
    """
    source = load.find(options.source)
    data = load.document(source)
    forms = _forms(options)
    try:
        shared = share(data, options.share)
        texts = {name: text for form in forms for name, text in _render(shared, form).items()}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"is not a whole report: {type(error).__name__} at {clean(str(error), 60)}"
        raise UserError(clean(str(source), load.TEXT), reason) from None
    again = Report.read(shared)
    if options.out == "-" or not texts:
        return Rendered(again, texts, removed=_removed(shared))
    folder = Path(options.out) if options.out else _beside(source.parent, options.share)
    written = formats.write(folder, texts)
    return Rendered(again, texts, tuple(written), _removed(shared))


def _forms(options: ReportOptions) -> tuple[str, ...]:
    forms = tuple(formats.FORMS) if options.forms == ("all",) else options.forms
    if not forms and (options.share != INTERNAL or options.out):
        forms = ("html", "markdown", "json")
    if options.out == "-" and (len(forms) != 1 or forms == ("csv",)):
        reason = "only one document fits on standard output"
        raise UserError("--format", reason, advice="one of json, html, markdown, junit, sarif")
    return forms


def _render(data: Mapping[str, Any], form: str) -> dict[str, str]:
    return formats.render(data, form)


def _beside(folder: Path, level: str) -> Path:
    """Shared forms never lie among the files that they were made of."""
    whole = folder.resolve()
    return folder if level == INTERNAL else whole.with_name(f"{whole.name}-{level}")


def _removed(data: Mapping[str, Any]) -> tuple[str, ...]:
    part = data["sharing"]
    return tuple(f"{r['what']}: {r['count']} {r['how']}" for r in part["removed"]) if part else ()
