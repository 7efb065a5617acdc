"""One document per command, and the ways to look at it.

:mod:`~seatrial.report.model` starts, finishes and writes the document; the views turn a finished
document into terminal output or Markdown and decide nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Report, finish, new

__all__ = ["Report", "finish", "new"]


def __getattr__(name: str) -> Any:
    """Import the model when it is first used: the command line starts without it."""
    if name in __all__:
        from . import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
