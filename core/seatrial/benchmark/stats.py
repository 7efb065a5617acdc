"""Quantiles of latencies with intervals that own up to bursts.

The interval of a quantile is made of order statistics (no distribution assumed): ranks from the
binomial distribution, see W. J. Conover, "Practical Nonparametric Statistics", 3rd edition
(1999), section 3.2. Latencies of one round resemble one another, so the number of calls counts
only as the effective number n / deff, with the design effect of cluster sampling (R. S. Woodruff,
"Confidence intervals for medians and other position measures", JASA 47 (1952) 635-646).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from seatrial.codec import record
from seatrial.verdict.bootstrap import student_quantile
from seatrial.verdict.proportions import CONFIDENCE, binomial_tail

#: Rounds below which no figure per round has an interval.
LEAST_ROUNDS = 5

#: Consecutive windows whose medians are this close are steady.
STEADY = 0.03


@record
class Quantile:
    """A quantile and its 95 % interval; an end is ``None`` where too few calls bound it."""

    q: float
    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """Half the interval's width over the value; infinite while an end is missing."""
        if self.low is None or self.high is None or self.value <= 0:
            return math.inf
        return (self.high - self.low) / 2 / self.value


def quantile(rounds: Sequence[Sequence[float]], q: float, most: int = 0) -> Quantile:
    """A quantile over rounds of one contestant.

    Args:
        rounds: latencies in any unit, one sequence per round.
        q: 0 < q < 1.
        most: observations that the calls stand for, at most; 0: as many as they are.

    Raises:
        ValueError: there are no latencies.
    """
    values = sorted(v for one in rounds for v in one)
    if not values:
        raise ValueError("no latencies")
    n = len(values)
    value = statistics.median(values) if q == 0.5 else values[min(n - 1, math.ceil(q * n) - 1)]
    deff = design_effect(rounds, value, q)
    effective = max(1, min(int(n / deff), most or n))
    low, high = ranks(effective, q)
    # Ranks among the effective calls, taken to the same shares of all calls.
    return Quantile(
        q=q,
        value=value,
        low=None if low < 0 else values[min(n - 1, low * n // effective)],
        high=None if high < 0 else values[min(n - 1, -(-(high + 1) * n // effective) - 1)],
    )


def spread(rounds: Sequence[Sequence[float]], steps: int = 40) -> list[float]:
    """The distribution as ``steps + 1`` evenly spaced quantiles, extremes included.

    Args:
        rounds: latencies in any unit, one sequence per round.
        steps: intervals between the quantiles.

    Returns:
        Values in ascending order, to four significant digits; empty without latencies.
    """
    values = sorted(v for one in rounds for v in one)
    last = len(values) - 1
    return [float(f"{values[round(last * k / steps)]:.4g}") for k in range(steps + 1) if values]


def ranks(n: int, q: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Positions (from 0) of the order statistics that bound a quantile; -1: n is too small.

    The lower is the largest i with P(Binomial(n, q) <= i) <= tail, the upper the smallest j
    with P(Binomial(n, q) >= j + 1) <= tail; tail is half of what the confidence leaves.
    """
    tail = (1 - confidence) / 2
    low = _last(n, lambda i: 1 - binomial_tail(i + 1, n, q) <= tail)
    high = _last(n, lambda i: binomial_tail(i + 1, n, q) > tail) + 1
    return low, high if high < n else -1


def _last(n: int, holds: Callable[[int], bool]) -> int:
    """The largest i in [0, n) for which a condition holds that once false stays false; -1."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def over_rounds(values: Sequence[float]) -> tuple[float, tuple[float, float] | None] | None:
    """Geometric mean of one figure per round and its 95 % interval (Student's, of logarithms).

    Returns:
        ``None`` without values above 0; the interval is ``None`` with fewer than 5 rounds.
    """
    logs = [math.log(v) for v in values if v > 0]
    if not logs:
        return None
    centre = statistics.fmean(logs)
    if len(logs) < LEAST_ROUNDS:
        return math.exp(centre), None
    half = student_quantile(0.975, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    return math.exp(centre), (math.exp(centre - half), math.exp(centre + half))


def design_effect(rounds: Sequence[Sequence[float]], value: float, q: float) -> float:
    """How many times wider the variance of a share above ``value`` is than with lone calls."""
    filled = [one for one in rounds if len(one)]
    counts = [len(one) for one in filled]
    if len(counts) < 2 or not 0 < q < 1:
        return 1.0
    above = [sum(v > value for v in one) for one in filled]
    n, share = sum(counts), sum(above) / sum(counts)
    if share in (0.0, 1.0):
        return 1.0
    k = len(counts)
    spread = sum((a - share * c) ** 2 for a, c in zip(above, counts, strict=True))
    clustered = k / (k - 1) * spread / n**2
    return max(1.0, clustered / (share * (1 - share) / n))


def steady(latencies: Sequence[float], window: int) -> bool:
    """Whether the last three windows have settled: their medians lie within a few per cent.

    Caches, clocks and lazily built kernels make the first calls slow; a trend that still goes
    down shows as a first window above the last.
    """
    if len(latencies) < 3 * window:
        return False
    last = latencies[-3 * window :]
    medians = [statistics.median(last[i * window : (i + 1) * window]) for i in range(3)]
    middle = statistics.median(medians)
    return max(medians) - min(medians) <= 2 * STEADY * middle
