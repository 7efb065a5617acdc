"""``report.html``: one self-contained page, a pure function of the document.

No network, no file beside it: style and script are in the page and allowed by their digests, and
nothing else is. Without a script everything but the zoom, the colours of the model map and the
table of all nodes is still there. Every text of the document is escaped and its hidden characters
are made visible; pictures carry classes, never styles.
"""

from __future__ import annotations

from html import escape

from seatrial.report.sheets import Data
from seatrial.text import clean

__all__ = ["FAILED", "render", "rendered"]

#: What a page says that could not be drawn.
FAILED = "This page could not be drawn"


def render(document: Data) -> str:
    """The page of a finished report.

    Args:
        document: as in ``report.json``; documents of older versions lack parts, and are shown
            without them.

    Raises:
        KeyError: the document is no report.
    """
    from .page import page

    return page(document)


def rendered(document: Data) -> str:
    """The page, or one that says why there is none.

    The document is the result and the page a view of it: an oddity that a view has not foreseen
    must not cost a trial its verdict.
    """
    try:
        return render(document)
    except Exception as error:  # noqa: BLE001 - whatever it is, the document is written already
        why = escape(clean(f"{type(error).__name__}: {error}", 300))
        return (
            f"<!DOCTYPE html><title>{FAILED}</title>"
            f"<h1>{FAILED}</h1><p>{why}</p><p>Everything is in report.json beside it.</p>"
        )
