"""Who is faster, where that can be said at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from seatrial.codec import record
from seatrial.verdict.bootstrap import student_quantile

from .records import Timing

#: Rounds in common below which no ratio has an interval.
LEAST_ROUNDS = 5


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
    if not pairs:
        return None
    centre = statistics.fmean(pairs)
    if len(pairs) < LEAST_ROUNDS:
        return Ratio(value=math.exp(centre), ci95=None, distinguishable=False)
    half = student_quantile(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    low, high = centre - half, centre + half
    return Ratio(
        value=math.exp(centre),
        ci95=(math.exp(low), math.exp(high)),
        distinguishable=not low <= 0 <= high,
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
