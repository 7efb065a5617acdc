"""How a model is refused: one line of at most 200 characters, whatever its names are."""

from __future__ import annotations

import posixpath

from seatrial.errors import UserError
from seatrial.text import clean

LINE = 200
_SUBJECT = 60
_PLACE_MIN = 24


class Refused(Exception):
    """A rule said no. :func:`refusal` adds the file and makes the line.

    Args:
        reason: what is wrong, without a full stop; names in it are cleaned by the caller.
        place: a tensor, a node, a byte; raw text from the model is welcome.
        advice: the next step.
    """

    def __init__(self, reason: str, *, place: str = "", advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
        self.advice = advice


def refusal(path: str, refused: Refused) -> UserError:
    """The user's error for a refused file: place and path give way so that the line fits."""
    reason = clean(refused.reason, LINE - _SUBJECT)
    advice = clean(refused.advice or "repair or re-export the model", LINE - 80)
    room = LINE - len(reason) - len(advice) - len(": : ()")
    place = clean(refused.place, max(_PLACE_MIN, room - _SUBJECT)) if refused.place else ""
    subject = _shown_path(path, max(_PLACE_MIN, room - len(place)))
    if len(subject) + len(place) > room:
        advice = clean(advice, max(16, len(advice) - len(subject) - len(place) + room))
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
