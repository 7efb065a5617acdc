"""How a model is refused: one line of at most 200 characters, whatever its names are."""

from __future__ import annotations

import posixpath

from seatrial.errors import UserError
from seatrial.text import clean

#: Longest line, and the least that each part of it keeps when the others are long.
LINE = 200
_REASON = 110
_SUBJECT = 30
_PLACE = 24
_MARKS = len(": :  ()")


class Refused(Exception):
    """A rule said no. :func:`refusal` adds the file and makes the line.

    Args:
        reason: what is wrong, without a full stop.
        place: a tensor, a node, a byte; raw text from the model is welcome.
        advice: the next step.
    """

    def __init__(self, reason: str, *, place: str = "", advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
        self.advice = advice


def refusal(path: str, refused: Refused) -> UserError:
    """The user's error for a refused file; path and place give way so that the line fits."""
    reason = clean(refused.reason, _REASON)
    room = LINE - _MARKS - len(reason)
    advice = clean(refused.advice or "repair or re-export the model", room - _SUBJECT - _PLACE)
    room -= len(advice)
    place = clean(refused.place, room - _SUBJECT)
    subject = _shown_path(path, room - len(place))
    return UserError(subject, reason, place=place, advice=advice)


def _shown_path(path: str, room: int) -> str:
    """The path as given, or its last part when there is no room for all of it."""
    shown = clean(path, 4096)
    if len(shown) <= room:
        return shown
    name = clean(posixpath.basename(path) or path, room - 2)
    return f"…/{name}"


def quoted(name: str, limit: int = 40) -> str:
    """A name from the model inside a reason."""
    return f"'{clean(name, limit)}'"
