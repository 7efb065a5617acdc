"""What a child refuses on the user's account, as it crosses to the parent.

A ``UserError`` is not a fault: it comes back as a result, and the parent raises it again.
Standard library only.
"""

from __future__ import annotations

from .codec import record
from .errors import UserError


@record
class Refusal:
    """The parts of a ``UserError``."""

    subject: str
    reason: str
    place: str = ""
    advice: str = ""

    @classmethod
    def of(cls, error: UserError) -> Refusal:
        """What a child caught."""
        return cls(
            subject=error.subject, reason=error.reason, place=error.place, advice=error.advice
        )

    def error(self) -> UserError:
        """What the parent raises."""
        return UserError(self.subject, self.reason, place=self.place, advice=self.advice)
