"""Gaps are words with reasons, and strict: a gap that works is a failure, to be removed.

    gaps = {
        "operators/*": notimpl("only Add and Relu are mapped so far"),
        "operators/Add": None,                            # but for this one
        "int8/*-u8u8-*": notyet("the compiler's importer knows int8 weights only"),
        "flow/*": never("the device has no control flow"),
        "nodes/pad_*": flaky("it reads memory that nobody wrote: right on most runs"),
    }

Names are matched with ``*`` and ``?``; of several patterns that fit, the last one counts. Only what
is :func:`flaky` may go either way, and it is counted apart.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Words for gaps, in the order of the table.
FLAKY = "flaky"
WORDS = ("notimpl", "notyet", "never", FLAKY)
#: How a case that is not right can end.
REFUSED, WRONG, FAULT, DISHONEST = "refused", "wrong", "fault", "dishonest"
#: And how one that is.
RIGHT = "right"


@dataclass(frozen=True)
class Gap:
    """Something that is known not to work.

    Attributes:
        word: one of :data:`WORDS`.
        reason: for the reader, with the upstream place where there is one.
        shows: how it shows; a case that goes wrong in another way fails.
    """

    word: str
    reason: str
    shows: str = REFUSED

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError(f"{self.word} needs a reason")
        if self.shows not in (REFUSED, WRONG, FAULT, DISHONEST):
            raise ValueError(f"{self.shows!r} is not a way to go wrong")
        if self.either and self.shows == DISHONEST:
            raise ValueError("a backend that lies now and then is not flaky")

    @property
    def either(self) -> bool:
        """Whether a case may be right as well."""
        return self.word == FLAKY

    def allows(self, how: str) -> bool:
        """Whether a case may end so."""
        return how == self.shows or (self.either and how == RIGHT)


Gaps = Mapping[str, "Gap | None"]


def notimpl(reason: str, shows: str = REFUSED) -> Gap:
    """We could, and have not yet."""
    return Gap("notimpl", reason, shows)


def notyet(reason: str, shows: str = REFUSED) -> Gap:
    """The toolchain cannot, yet."""
    return Gap("notyet", reason, shows)


def never(reason: str, shows: str = REFUSED) -> Gap:
    """It will not come: the target is not made for it."""
    return Gap("never", reason, shows)


def flaky(reason: str, shows: str = WRONG) -> Gap:
    """The toolchain is right on some runs and not on others: both pass, and are counted apart.

    A crash, a hang or any other fault is covered only by ``shows="fault"``.
    """
    return Gap(FLAKY, reason, shows)


def find(gaps: Gaps, name: str) -> tuple[str, Gap | None]:
    """The pattern that counts for a name, and its gap."""
    found: tuple[str, Gap | None] = ("", None)
    for pattern, gap in gaps.items():
        if fits(pattern, name):
            found = pattern, gap
    return found


def fits(pattern: str, name: str) -> bool:
    """Whether a pattern names a case; brackets mean themselves."""
    literal = re.sub(r"\[", "[[]", pattern)
    return fnmatch.fnmatchcase(name, literal)


def idle(gaps: Gaps, names: Iterable[str]) -> list[str]:
    """Patterns that fit no name at all: a typing error, or a case that is gone."""
    known = list(names)
    return [p for p in gaps if not any(fits(p, n) for n in known)]
