"""What ``explain`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from .draw import Page

if TYPE_CHECKING:
    from seatrial.explain import Story


def show(story: Story, stream: TextIO) -> None:
    """One story, and where to read on."""
    page = Page(stream)
    page.line((story.title, "bold"), indent=0)
    page.line((", ".join(story.codes), "dim"), indent=0)
    page.space()
    page.markdown(story.text)
    if story.related:
        page.space()
        page.line(("see also  ", "dim"), ", ".join(story.related), indent=0)
    page.end()


def contents(found: Sequence[Story], stream: TextIO) -> None:
    """Codes and titles, by area."""
    page = Page(stream)
    for area, stories in groupby(found, key=lambda s: s.area):
        page.heading(area.replace("-", " ").capitalize())
        listed = list(stories)
        width = min(30, max(len(s.codes[0]) for s in listed))
        for story in listed:
            page.line(f"{story.codes[0]:<{width}}  ", story.title)
    page.space()
    page.line(("seatrial explain TOPIC tells one", "dim"), indent=0)
    page.end()
