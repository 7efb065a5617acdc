"""What ``new-backend`` prints: the files it wrote, and the way on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TextIO

from .safe import safe

if TYPE_CHECKING:
    from seatrial.scaffold import NewBackendResult


def show(result: NewBackendResult, stream: TextIO) -> None:
    """Print it."""
    from .draw import Page

    page = Page(stream)
    page.line((f"wrote {safe(result.folder, 300)}", "bold"), indent=0)
    for name in result.files:
        page.labelled("·", safe(name, 300))
    page.line("it works as it is: a simulator that takes a few operators; edit toolchain.py")
    folder = shlex.quote(result.folder)
    page.commands(
        [
            f"pip install -e {shlex.quote(result.folder + '[dev]')}",
            f"pytest {folder}",
            "seatrial backends",
        ]
    )
    page.end()
