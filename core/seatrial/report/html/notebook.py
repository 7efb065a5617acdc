"""A report in a notebook cell: verdict, one line per target, what next."""

from __future__ import annotations

from seatrial.report.sheets import Data

from . import page, summary, words


def fragment(data: Data) -> str:
    """Plain HTML without script or style of its own, so that it fits any notebook.

    Args:
        data: a finished document.
    """
    shown: dict[str, object] = {
        "d": data,
        "subject": page.subject(data),
        "overall": words.headline(data),
        "cards": summary.cards(data),
        "absent": summary.absent(data),
        "next": page.following(data),
    }
    return page.environment().get_template("notebook.html.j2").render(shown)
