"""What ``repro`` prints."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TextIO

from seatrial.repro.types import RANDOM

from .draw import Page
from .safe import emit, safe

if TYPE_CHECKING:
    from seatrial.repro.command import Repro


def show(made: Repro, stream: TextIO, *, brief: bool = False) -> None:
    """What it shows, how small it became, and what of the model is still in it."""
    if brief:
        emit(f"{made.folder}: {made.symptom.title}, {made.nodes} nodes\n", stream)
        return
    page = Page(stream)
    page.line((safe(made.symptom.title, 60), "bold red"), f"  {safe(made.target, 60)}", indent=0)
    page.line(safe(made.symptom.text, 300))
    page.space()
    page.labelled("nodes", f"{made.nodes} of {made.nodes_before}")
    own = made.weights == RANDOM
    page.labelled(
        "weights",
        "none of the model's" if own else "the model's own: it needs them; ask before you publish",
        "" if own else "yellow",
    )
    page.labelled(
        "names", "the model's own" if made.named else "none of the model's", "yellow" * made.named
    )
    page.labelled("shown", f"in {made.shown} of {made.asked} tries")
    page.commands([f"cd {shlex.quote(str(made.folder))} && {made.next}"])
    page.line(f"{safe(made.folder, 200)}/README.md goes with it", indent=2)
    page.end()
