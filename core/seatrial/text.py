"""Text from models, plugins and file names, made safe to print on one line.

Such text is hostile: it can move the cursor, colour a fake verdict, reverse the reading order,
or start a command of the CI system that prints it. :func:`clean` makes every such character
visible instead of dropping it, so that two different names stay different.
Standard library only.
"""

from __future__ import annotations

import hashlib
import re

#: C0, DEL and C1 controls, line and paragraph separators, bidirectional controls, invisible
#: characters (soft hyphen, zero-width, tags, variation selectors) and lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)

#: A CI command at the start of a line (``::error::``), and those that work anywhere in it.
_COMMAND_START = re.compile(r"^(\s*):(?=:)")
_COMMAND = re.compile(r"#(?=#(?:\[|vso\[|teamcity\[))")

_HASH_DIGITS = 8


def clean(text: str, limit: int = 120) -> str:
    r"""Make text printable on one line, in any terminal, log or CI system.

    Control, bidirectional, invisible and line-breaking characters and lone surrogates become
    ``\x1b`` or ``\u202e`` escapes. Text longer than ``limit`` is cut and ends in ``~`` and eight
    digits of the sha256 of the whole, so that two long names with one beginning stay different.
    The result is not markup of any kind: a report still has to escape it for its own format.

    Args:
        text: anything.
        limit: longest result, in characters (at least 16).
    """
    shown = _escape(text if len(text) <= limit else text[:limit])
    if len(text) <= limit and len(shown) <= limit:
        return shown
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    keep = max(limit, 16) - _HASH_DIGITS - 1
    return f"{_whole_escapes(shown[:keep])}~{mark}"


def _escape(text: str) -> str:
    text = _UNSAFE.sub(_visible, text)
    text = _COMMAND_START.sub(r"\1\\x3a", text)
    return _COMMAND.sub(r"\\x23", text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _whole_escapes(text: str) -> str:
    """Drop an escape that the cut went through."""
    return re.sub(r"\\(?:x[0-9a-f]?|u[0-9a-f]{0,3}|U[0-9a-f]{0,7})?\Z", "", text)
