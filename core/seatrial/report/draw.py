"""Drawing on a terminal with rich: headings, tables, notes, commands. Decides nothing."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .safe import emit, safe
from .sheets import REST, Sheet

#: No view is wider than this.
WIDEST = 100

#: Columns whose cells are all this short are never wrapped.
UNBROKEN = 18
#: The same for the first column, which holds names.
UNBROKEN_NAME = 36
#: What stays together in a name, and what does in a narrower column.
_PARTS = re.compile(r"[^\s:/@_]*[\s:/@_]+|[^\s:/@_]+")
_SMALLER = re.compile(r"[^-]*-+|[^-]+")
#: The longest that a number gets: an interval of small ones.
NUMBER = 26
#: Columns of words are not made narrower than this.
NARROW = 7

#: A head over a line, two spaces between columns.
_RULED = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")

#: Style of words that mean something wherever they stand.
WORDS = {
    "SHIP": "bold green",
    "DO NOT SHIP": "bold red",
    "NOT PROVEN": "bold yellow",
    "not asked": "dim",
    "supported": "green",
    "partial": "yellow",
    "unsupported": "bold red",
    "unknown": "yellow",
    "pass": "green",
    "fail": "bold red",
    "not proven": "yellow",
    "chosen": "bold green",
    "error": "bold red",
    "warning": "yellow",
    "info": "dim",
    "unavailable": "dim",
    "crashed": "bold red",
    "timed out": "bold red",
    "out of memory": "bold red",
    "broke contract": "bold red",
    "raised": "bold red",
    "yes": "green",
    "no": "red",
    "-": "dim",
}

#: Labels that stand below one another.
LEVELS = ("error", "warning", "info")

_BANNER = {
    "SHIP": "bold white on green",
    "DO NOT SHIP": "bold white on red",
    "NOT PROVEN": "bold black on yellow",
}


def console(stream: TextIO) -> Console:
    """A console for this stream: at most ``WIDEST`` columns, never reading markup or emoji."""
    given = os.environ.get("COLUMNS", "")
    made = Console(file=stream, markup=False, emoji=False, highlight=False, legacy_windows=False)
    if made.is_terminal or given.isdigit():
        made.width = max(40, min(made.width, WIDEST))
    else:
        made.width = WIDEST
    return made


class Page:
    """Collects what a view prints, then writes it to the stream in one guarded piece.

    Args:
        stream: where to.
        rest: where what is left out can be read.
    """

    def __init__(self, stream: TextIO, rest: str = REST) -> None:
        self._stream = stream
        self.rest = rest
        self._console = console(stream)
        self._console.begin_capture()
        self._begun = False

    @property
    def width(self) -> int:
        """Columns."""
        return self._console.width

    def end(self) -> None:
        """Write everything."""
        emit(self._console.end_capture(), self._stream)

    def line(self, *parts: str | tuple[str, str], indent: int = 2) -> None:
        """One paragraph of text and ``(text, style)`` parts; wrapped lines keep the indent."""
        self._begun = True
        self._console.print(Padding(Text.assemble(*parts), (0, 0, 0, indent)))

    def markdown(self, text: str) -> None:
        """Our own Markdown; nothing of anybody else's may come here."""
        from rich.markdown import Markdown

        self._begun = True
        self._console.print(Markdown(text, hyperlinks=False))

    def space(self) -> None:
        """An empty line, but not at the top."""
        if self._begun:
            self._console.print()
        self._begun = True

    def heading(self, title: str, note: str = "") -> None:
        """A heading with an empty line above it."""
        self.space()
        self.line((title, "bold"), (f"  {note}" if note else "", "dim"), indent=0)

    def banner(self, verdict: str, subject: str) -> None:
        """The verdict on its colour, readable without any."""
        self.line((f" {verdict} ", _BANNER.get(verdict, "bold")), "  ", (subject, "bold"), indent=0)

    def labelled(self, label: str, text: str, style: str = "", indent: int = 2) -> None:
        """A short label with text hanging to the right of it; labels of levels line up."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, min_width=7 if label in LEVELS else None)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style=style or WORDS.get(label, "")), Text(text))
        self._console.print(Padding(grid, (0, 0, 0, indent)))

    def grid(self, rows: Iterable[Sequence[tuple[str, str]]]) -> None:
        """Rows of ``(text, style)`` cells in aligned columns; the last one takes the rest."""
        listed = list(rows)
        table = Table.grid(padding=(0, 2, 0, 0))
        for i in range(len(listed[0]) if listed else 0):
            table.add_column(overflow="fold", no_wrap=i == 0)
        for cells in listed:
            table.add_row(*(Text(text, style=style) for text, style in cells))
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def sheet(self, sheet: Sheet) -> None:
        """A table under its heading; nothing when it has no rows. Numbers are never cut."""
        if not sheet.rows:
            return
        self.heading(sheet.title, sheet.note)
        shown = fitting(sheet, self.width)
        widths = shares(sheet, shown, self.width - 2)
        if widths is None:
            self._records(sheet, shown)
        else:
            self._table(sheet, shown, widths)
        for text in sheet.notes:
            self.note(text)

    def note(self, text: str) -> None:
        """A dim line; where it sends the reader to a report that was not written, the way to it."""
        told = text.removesuffix(REST) + self.rest if text.endswith(REST) else text
        self.line((told, "dim"))

    def _table(self, sheet: Sheet, shown: Sequence[int], widths: Sequence[int]) -> None:
        table = Table(
            box=_RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, border_style="dim"
        )
        for i, width in zip(shown, widths, strict=True):
            column = sheet.columns[i]
            table.add_column(
                Text(column.title),
                justify="right" if column.right else "left",
                overflow="fold",
                header_style="dim",
                width=width,
            )
        for row in sheet.rows:
            cells = ((row[i], width) for i, width in zip(shown, widths, strict=True))
            table.add_row(*(_cell(text, width) for text, width in cells))
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def _records(self, sheet: Sheet, shown: Sequence[int]) -> None:
        """Rows one below the other, where the numbers alone are wider than the terminal."""
        for row in sheet.rows:
            names = [row[i] for i in shown if not sheet.columns[i].right]
            told = [(sheet.columns[i].title, row[i]) for i in shown if sheet.columns[i].right]
            self.line("  ".join(name for name in names if name.strip("-")))
            text = ", ".join(f"{title} {value}" for title, value in told if value.strip("-"))
            if text:
                self.line(text, indent=4)

    def commands(self, commands: Sequence[str], title: str = "Next") -> None:
        """Commands ready to paste: broken only between words, with a backslash."""
        if not commands:
            return
        self.heading(title)
        for command in commands:
            for text in command_lines(safe(command, 4000), self.width - 4):
                self._console.print(Text(f"  {text}"), no_wrap=True, crop=False, overflow="ignore")


def fitting(sheet: Sheet, width: int) -> list[int]:
    """The columns that fit: those marked ``wide`` go, from the right, until the rest has room."""
    shown = list(range(len(sheet.columns)))
    while sum(_least(sheet, i) + 2 for i in shown) > width:
        wide = [i for i in shown if sheet.columns[i].wide]
        if not wide:
            break
        shown.remove(wide[-1])
    return shown


def shares(sheet: Sheet, shown: Sequence[int], room: int) -> list[int] | None:
    """A width for each column, ``None`` where no table can be read: what gives way are words.

    Numbers keep their width, their titles are broken between words. The longest of the other
    columns gives way first: down to the longest part of a name, then down to :data:`NARROW`.
    """
    room -= 2 * (len(shown) - 1)
    titles = [sheet.columns[i].title for i in shown]
    widths = [max(_longest(sheet, i), len(t)) for i, t in zip(shown, titles, strict=True)]
    numbers = {k for k, i in enumerate(shown) if _number(sheet, i)}
    if sum(widths) > room:
        for k in numbers:
            widths[k] = max(_longest(sheet, shown[k]), *map(len, titles[k].split()), 1)
    longest = [max(len(p) for row in sheet.rows for p in _parts(row[i], 99)) for i in shown]
    smaller = [max(len(p) for row in sheet.rows for p in _parts(row[i], 0)) for i in shown]
    for floors in (longest, smaller, [NARROW] * len(shown)):
        while sum(widths) > room:
            words = [
                (w, k)
                for k, w in enumerate(widths)
                if k not in numbers and w > max(NARROW, floors[k])
            ]
            if not words:
                break
            widths[max(words)[1]] -= 1
    return widths if sum(widths) <= room else None


def _parts(text: str, width: int) -> list[str]:
    """Where a name is broken: after a space, colon, slash, ``@`` or ``_``; else after a dash."""
    found: list[str] = []
    for part in _PARTS.findall(text):
        found += [part] if len(part.rstrip()) <= width else _SMALLER.findall(part)
    return [part for part in found if part] or [""]


def broken(text: str, width: int) -> str:
    """A text in lines of at most ``width``, if no part of a name is longer."""
    lines = [""]
    for part in _parts(text, width):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _number(sheet: Sheet, i: int) -> bool:
    return sheet.columns[i].right and _longest(sheet, i) <= NUMBER


def _unbroken(sheet: Sheet, i: int) -> bool:
    return _longest(sheet, i) <= (UNBROKEN if i else UNBROKEN_NAME)


def _longest(sheet: Sheet, i: int) -> int:
    return max(len(row[i]) for row in sheet.rows)


def _least(sheet: Sheet, i: int) -> int:
    """The least width a column can be read at."""
    longest = _longest(sheet, i)
    return max(
        longest if _unbroken(sheet, i) else min(longest, UNBROKEN), len(sheet.columns[i].title)
    )


def _cell(text: str, width: int) -> Text:
    """A cell; the words that mean something have their style, also before a comma or a star."""
    first = text.split(",", maxsplit=1)[0].rstrip("*")
    return Text(broken(text, width) if len(text) > width else text, style=WORDS.get(first, ""))


def command_lines(command: str, width: int) -> list[str]:
    """A command in lines of at most ``width`` (unless one word is longer), ready to paste."""
    if len(command) <= width:
        return [command]
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:
        return [command]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
