"""Which opset to export for: floor and ceiling over the targets, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seatrial.codec import record
from seatrial.errors import UserError

#: Q/DQ pairs with one scale per channel came with this opset; INT8 builds need it.
QDQ_OPSET = 13
#: The dynamo exporter writes this opset or a newer one, whatever is asked.
DYNAMO_OPSET = 18


@record
class Limit:
    """One target's range; ``high`` 0: unknown."""

    target: str
    low: int
    high: int


@record
class Choice:
    """The range to export within.

    Attributes:
        low: lowest opset that all targets read.
        high: highest one; 0: unknown.
        wanted: what to ask the exporters for.
        reasons: one sentence each.
    """

    low: int
    high: int
    wanted: int
    reasons: tuple[str, ...] = ()


def choose(limits: Sequence[Limit], asked: int = 0) -> Choice:
    """The lowest opset that all targets accept, or the one asked for.

    Raises:
        UserError: no opset suits all targets.
    """
    low = max([QDQ_OPSET, *(x.low for x in limits)])
    forced = max(limits, key=lambda x: x.low, default=None)
    reasons = [f"Q/DQ pairs per channel need {QDQ_OPSET}"]
    if forced is not None and forced.low > QDQ_OPSET:
        reasons = [f"{forced.target} needs {forced.low} or newer"]
    capped = [x for x in limits if x.high]
    lowest = min(capped, key=lambda x: x.high, default=None)
    high = lowest.high if lowest is not None else 0
    if lowest is not None:
        reasons.append(f"{lowest.target} allows up to {lowest.high}")
    unknown = [x.target for x in limits if not x.high]
    if unknown:
        reasons.append(f"{', '.join(unknown[:3])} states no highest opset")
    if high and low > high:
        raise UserError("opset", "; ".join(reasons), advice="choose targets with -b")
    if asked:
        return Choice(low=low, high=high, wanted=asked, reasons=(f"{asked} was asked for",))
    wanted = max(low, DYNAMO_OPSET)
    if high and wanted > high:
        wanted = high
    return Choice(low=low, high=high, wanted=wanted, reasons=tuple(reasons))


def explain(opset: int, needs: Mapping[str, int], choice: Choice) -> str:
    """Why a file has the opset that it has, read back from it.

    Args:
        opset: of the file.
        needs: operator -> opset of its present form, the highest first.
        choice: what was asked for.
    """
    parts = [f"opset {opset}"]
    newest = [f"{op} needs {since}" for op, since in list(needs.items())[:2] if since > 1]
    parts += [", ".join(newest)] if newest else []
    parts += choice.reasons
    if opset != choice.wanted:
        parts.append(f"{choice.wanted} was asked, the exporter wrote {opset}")
    return "; ".join(parts)


def refused(opset: int, choice: Choice) -> str:
    """Why an opset suits not all targets, or ``""``."""
    if choice.high and opset > choice.high:
        return f"opset {opset} is newer than the targets' {choice.high}"
    return ""
