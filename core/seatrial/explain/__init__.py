"""The longer story behind every finding: what it means, where the rule comes from, what to do.

The stories are Markdown under ``stories/``: a file per area, a section per story. A section's
heading holds its codes and its title (``## ladder.noise | Moves more than the noise floor``), its
first paragraph is the summary.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_HEADING = re.compile(r"^## +([^|\n]+?) *\| *(.+)$", re.MULTILINE)
_CODE = re.compile(r"`([a-z0-9-]+(?:\.[a-z0-9-]+)*)`")


@dataclass(frozen=True)
class Story:
    """One story.

    Attributes:
        codes: codes and topics it is found by, the first being its name.
        title: one line.
        summary: its first paragraph, on one line.
        text: all of it, as Markdown without the heading.
        area: name of its file.
    """

    codes: tuple[str, ...]
    title: str
    summary: str
    text: str
    area: str

    @property
    def related(self) -> tuple[str, ...]:
        """Codes of other stories that its text names, in order of appearance."""
        found = dict.fromkeys(_CODE.findall(self.text))
        return tuple(c for c in found if c in _index() and c not in self.codes)


def stories() -> tuple[Story, ...]:
    """All stories, by area and in their files' order."""
    return _read()


def about(code: str) -> Story | None:
    """The story of a code (``ladder.noise``), or of a topic (``non-inferiority``).

    Example:
        >>> about("ladder.noise").title
        'It moves more than the noise floor'
        >>> about("no.such.code") is None
        True
    """
    return _index().get(code.strip().lower())


def search(words: str) -> tuple[Story, ...]:
    """Stories that a phrase may mean: those that hold its words, then those spelt like it."""
    wanted = words.lower().split()
    holds = [
        s for s in _read() if all(w in f"{' '.join(s.codes)} {s.title}".lower() for w in wanted)
    ]
    told = [s for s in _read() if all(w in s.text.lower() for w in wanted)]
    near = [
        _index()[c] for c in difflib.get_close_matches(words.lower(), _index(), n=5, cutoff=0.6)
    ]
    return tuple(dict.fromkeys([*holds, *near, *told]))


@cache
def _read() -> tuple[Story, ...]:
    folder = resources.files("seatrial.explain").joinpath("stories")
    found: list[Story] = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".md"):
            area = file.name.removesuffix(".md").lstrip("0123456789-")
            found += _stories(file.read_text("utf-8"), area)
    return tuple(found)


def _stories(text: str, area: str) -> list[Story]:
    heads = list(_HEADING.finditer(text))
    ends = [*(h.start() for h in heads[1:]), len(text)]
    found = []
    for head, end in zip(heads, ends, strict=True):
        body = text[head.end() : end].strip()
        summary = " ".join(body.split("\n\n", 1)[0].split())
        codes = tuple(code.strip() for code in head.group(1).split(","))
        found.append(Story(codes, head.group(2).strip(), summary, body, area))
    return found


@cache
def _index() -> dict[str, Story]:
    return {code: story for story in _read() for code in story.codes}
