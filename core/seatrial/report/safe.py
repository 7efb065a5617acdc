"""The last gate before text reaches a terminal, a log or a page.

Names come from models and plugins. Cells are cleaned one by one (:func:`safe`), and the finished
output is checked again as a whole (:func:`guard`), since wrapping may put any part of a name at
the start of a line, where CI systems look for commands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO

from seatrial.text import clean

if TYPE_CHECKING:
    from rich.text import Text

#: What a plain ASCII stream shows instead of the few other characters the views use themselves.
_ASCII = {"…": "...", "·": "-", "—": "-", "–": "-", "×": "x", "→": "->", "≥": ">=", "≤": "<="}

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMMAND = re.compile(
    r"^((?:\s|\x1b\[[0-9;]*m)*)(:(?=(?:\x1b\[[0-9;]*m)*:)|#(?=#\[))", re.MULTILINE
)
_TRAILING = re.compile(r" +$", re.MULTILINE)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def safe(value: Any, limit: int = 120) -> str:
    """One printable line of at most ``limit`` characters, from anything."""
    return clean("" if value is None else str(value), limit)


def styled(value: str, style: str = "") -> Text:
    """Text for rich, never read as markup."""
    from rich.text import Text

    return Text(value, style=style)


def guard(output: str) -> str:
    """Rendered output without a line that a CI system takes for a command.

    Only colour sequences and newlines may be left as control characters; anything else is a
    defect of a view, and is made visible here all the same.
    """
    output = _COMMAND.sub(lambda m: f"{m.group(1)}\\x{ord(m.group(2)):02x}", output)
    parts = []
    end = 0
    for colour in _COLOUR.finditer(output):
        parts += [_CONTROL.sub(_visible, output[end : colour.start()]), colour.group()]
        end = colour.end()
    return _TRAILING.sub("", "".join([*parts, _CONTROL.sub(_visible, output[end:])]))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def encodable(output: str, encoding: str | None) -> str:
    """What a stream of this encoding can carry; the rest is spelt out."""
    try:
        output.encode(encoding or "ascii")
    except UnicodeError:
        plain = output.translate({ord(k): v for k, v in _ASCII.items()})
        return plain.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")
    except LookupError:
        return encodable(output, "ascii")
    return output


def emit(output: str, stream: TextIO) -> None:
    """Write rendered output to a stream, guarded and in the stream's encoding."""
    stream.write(encodable(guard(output), stream.encoding))
    stream.flush()
