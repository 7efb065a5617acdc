"""One document per command, and the ways to look at it.

:mod:`~seatrial.report.model` starts, finishes and writes the document; the views turn a finished
document into terminal output or Markdown and decide nothing.
"""

from .model import Report, finish, new

__all__ = ["Report", "finish", "new"]
