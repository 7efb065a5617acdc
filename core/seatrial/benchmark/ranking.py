"""Who is faster, where that can be said at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from seatrial.codec import record

from .records import Timing
from .stats import over_rounds


@record
class Ratio:
    """How many times faster one is than another.

    Attributes:
        value: median of the other over own median; above 1 is faster.
        ci95: of that ratio, from the rounds that both ran; ``None`` with too few of them.
        distinguishable: the interval excludes 1.
    """

    value: float
    ci95: tuple[float, ...] | None
    distinguishable: bool


def ratio(own: Timing, other: Timing) -> Ratio | None:
    """Compare two contestants of the same rounds; ``None`` when one was not timed.

    Each round gives one logarithm of a ratio of medians; they are paired, so that what slows a
    whole round down cancels. The interval is Student's over rounds.
    """
    pairs = [
        math.log(statistics.median(b) / statistics.median(a))
        for a, b in zip(own.rounds, other.rounds, strict=False)
        if a and b
    ]
    found = over_rounds([math.exp(x) for x in pairs])
    if found is None:
        return None
    value, ends = found
    return Ratio(
        value=value,
        ci95=ends,
        distinguishable=ends is not None and not ends[0] <= 1 <= ends[1],
    )


def rank(timings: Sequence[Timing]) -> tuple[tuple[int, ...], ...]:
    """Places, fastest first; contestants whose medians cannot be told apart share one.

    A place holds everybody whose interval overlaps that of any other on it, so no order is
    claimed that another run might turn round. Contestants without a bounded median are left out.

    Returns:
        Positions in ``timings``, one tuple per place.
    """
    known = []
    for i, timing in enumerate(timings):
        median = timing.quantiles.get("p50")
        if median is not None and median.low is not None and median.high is not None:
            known.append((median.low, median.high, i))
    places: list[list[int]] = []
    reach = -math.inf
    for low, high, i in sorted(known):
        if places and low <= reach:
            places[-1].append(i)
        else:
            places.append([i])
        reach = max(reach, high)
    return tuple(tuple(place) for place in places)
