"""What ``init`` prints: the files it wrote, what it assumed, and the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from .safe import safe

if TYPE_CHECKING:
    from seatrial.init.records import InitResult


def show(result: InitResult, stream: TextIO) -> None:
    """Print it."""
    from .draw import Page

    page = Page(stream)
    page.line((f"wrote {safe(result.config, 300)}", "bold"), indent=0)
    if result.contact_sheet:
        page.line((f"wrote {safe(result.contact_sheet, 300)}", "bold"), indent=0)
        page.line("look at it: these are inputs as the network sees them", indent=2)
    for text in result.lines:
        page.labelled("·", safe(text, 300))
    page.commands(result.next)
    page.end()
