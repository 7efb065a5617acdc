"""What a target did with a model, so that two answers can be told to be the same one."""

from __future__ import annotations

import re

from seatrial import results as r
from seatrial.codec import record
from seatrial.isolation import Outcome

#: Letters only, three or more: figures and names of nodes differ between a model and its parts.
_WORD = re.compile(r"[A-Za-z]{3,}")
#: Texts that quote a name.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\S*[/\d]\S*")
#: Share of words that two reasons must have in common.
ALIKE = 0.6


@record
class Symptom:
    """What is to be reproduced.

    Attributes:
        kind: a kind of fault, or ``refused``.
        signal: that ended the process, else ``""``.
        op_type: of the node that was refused, where the compiler names one.
        text: one line, in the toolchain's words.
    """

    kind: str
    signal: str = ""
    op_type: str = ""
    text: str = ""

    @property
    def title(self) -> str:
        """Kind and signal, for people."""
        return f"{self.kind} ({self.signal})" if self.signal else self.kind

    def same(self, other: Symptom | None) -> bool:
        """Whether another answer shows the same thing."""
        if other is None or (self.kind, self.signal) != (other.kind, other.signal):
            return False
        if self.kind in (r.FaultKind.CRASHED.value, r.FaultKind.TIMED_OUT.value):
            return True
        if self.op_type and other.op_type:
            return self.op_type == other.op_type
        return _alike(self.text, other.text)


def _alike(one: str, other: str) -> bool:
    first, second = _gist(one), _gist(other)
    if not first or not second:
        return first == second
    return len(first & second) / len(first | second) >= ALIKE


def _gist(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(_QUOTED.sub(" ", text))}


def of(outcome: Outcome[r.CompileReport]) -> Symptom | None:
    """The symptom of a compile-check; ``None``: the target took the model."""
    fault, report = outcome.fault, outcome.result
    if fault is not None:
        return Symptom(kind=fault.kind.value, signal=fault.signal, text=fault.reason)
    if report is None:
        return None
    errors = [f for f in report.findings if f.severity == "error"]
    if report.verdict is not r.Verdict.UNSUPPORTED and not errors:
        return None
    if not errors:
        return Symptom(kind="refused", text="; ".join(report.notes))
    first = next((f for f in errors if f.node), errors[0])
    return Symptom(kind="refused", op_type=first.op_type, text=first.reason)
