"""The paired drop of one rung against another, with an interval that says what it cannot know.

Which interval is used:

* every sample scores 0 or 1 and no two samples share a group: Tango's score interval;
* otherwise, with at least ten units (samples or groups) that differ: the wider of a BCa bootstrap
  and a t interval over whole units. In simulation at the limit, BCa alone ships falsely in 4 to
  6 % of cases, the wider of both in 2 to 4 %;
  The upper end is never below what units that are lost nearly whole could cost although (almost)
  none was drawn: with 100 videos, one in a hundred of which fails, a third of all test sets shows
  no failure. In simulation the resampled intervals alone ship falsely in up to 32 % of such cases;
* fewer units that differ, and scores known to be bounded: the exact upper limit of the share of
  units that differ, times the largest possible difference;
* otherwise there is no interval, and so nothing is proven.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from seatrial.codec import record

from .bootstrap import bca, student
from .proportions import Z, clopper_pearson, needed, tango

#: Below this number of differing units a resampling interval is not trusted.
LEAST_DIFFERING = 10

#: So many units that were lost or won nearly whole are enough to resample them. In simulation (70
#: cells) 1, 3 and 10 have the same worst false SHIP rate, and an average power of 35, 32 and 22 %.
SEEN_ENOUGH = 3

#: Chance of success behind ``Paired.needed_sure``.
POWER = 0.8

#: How many half-widths below the limit the drop must lie for that chance.
SURE = 1 + NormalDist().inv_cdf(POWER) / Z


@record
class Paired:
    """A paired difference: reference minus candidate, positive means the candidate is worse.

    Attributes:
        drop: in the metric's unit (points for shares).
        ci95: its two-sided 95 % interval; ``None`` when too little differs to tell.
        n: units that the interval rests on: samples, or groups where samples share one.
        samples: samples compared.
        unit: ``samples`` or ``groups``.
        differing: units whose scores differ.
        worse: samples that only the reference gets right (scores of 0 and 1 only, else -1).
        better: samples that only the candidate gets right (likewise).
        method: how the interval was made.
        reason: why there is none.
        needed: units at which the interval would come down to the limit, were the observed
            rates the truth; -1: none would do; 0: not asked or not known.
        needed_sure: the same with an 80 % chance of success.
    """

    drop: float
    ci95: tuple[float, ...] | None
    n: int
    samples: int
    unit: str = "samples"
    differing: int = 0
    worse: int = -1
    better: int = -1
    method: str = ""
    reason: str = ""
    needed: int = 0
    needed_sure: int = 0


def paired(
    reference: Sequence[float],
    candidate: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    scale: float = 100.0,
    higher_is_better: bool = True,
    bounds: tuple[float, float] | None = None,
    margin: float | None = None,
    seed: int = 0,
) -> Paired:
    """Compare two score vectors of the same samples.

    Args:
        reference: one score per sample, shape (n,).
        candidate: the same samples in the same order.
        groups: a key per sample; samples with one key are resampled together.
        scale: what turns a mean score into the metric's unit (100: shares to points).
        higher_is_better: else the sign of the drop is turned.
        bounds: least and largest possible score, when known.
        margin: the limit, in the metric's unit, for ``needed``.
        seed: of the bootstrap.

    Raises:
        ValueError: no samples, unequal lengths, or a score that is not finite.
    """
    import numpy as np

    first, second = np.asarray(reference, dtype=float), np.asarray(candidate, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise ValueError(f"{first.shape} and {second.shape} are no two equal score vectors")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a score is not finite")
    differences = (first - second) * (1.0 if higher_is_better else -1.0)
    binary = bool(np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())
    if groups is not None and len(groups) != len(first):
        raise ValueError(f"{len(groups)} groups for {len(first)} samples")
    grouped = groups is not None and len(set(groups)) < len(first)
    if binary and not grouped:
        return _proportions(differences, scale, margin)
    sums, sizes = _units(differences, groups if grouped else None)
    unit = "groups" if grouped else "samples"
    found = _means(sums, sizes, unit, (0.0, 1.0) if binary else bounds, seed)
    drop, differing = float(sums.sum() / sizes.sum()), int((sums != 0).sum())
    counts = _counts(differences) if binary else (-1, -1)
    ci95 = None if found is None else (scale * found.lower, scale * max(found.upper, found.rare))
    asked = None if margin is None or found is None else (found, drop, len(sums), margin / scale)
    return Paired(
        drop=scale * drop,
        ci95=ci95,
        n=len(sums),
        samples=len(differences),
        unit=unit,
        differing=differing,
        worse=counts[0],
        better=counts[1],
        method=found.method if found else "",
        reason="" if found else f"only {differing} {unit} differ, {LEAST_DIFFERING} are needed",
        needed=_wanted(*asked) if asked else 0,
        needed_sure=_wanted(*asked, SURE) if asked else 0,
    )


def mean_interval(
    scores: Sequence[float], groups: Sequence[str] | None = None, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of a mean score: exact for shares of lone samples, else over whole units.

    Returns:
        (lower, upper) in the score's own unit, or ``None`` when too few units differ to tell.
    """
    import numpy as np

    values = np.asarray(scores, dtype=float)
    grouped = bool(groups) and len(set(groups or ())) < len(values)
    if not grouped and np.isin(values, (0, 1)).all():
        return clopper_pearson(int(values.sum()), len(values))
    sums, sizes = _units(values, groups if grouped else None)
    # Counted as differing are units away from the mean, for a mean has no zero to differ from.
    apart = int((sums / sizes != values.mean()).sum())
    return _resampled(sums, sizes, seed) if apart >= LEAST_DIFFERING else None


def _counts(differences: Any) -> tuple[int, int]:
    return int((differences > 0).sum()), int((differences < 0).sum())


def _proportions(differences: Any, scale: float, margin: float | None) -> Paired:
    n = len(differences)
    b, c = _counts(differences)
    lower, upper = tango(b, c, n)
    share = None if margin is None else margin / scale
    return Paired(
        drop=scale * (b - c) / n,
        ci95=(scale * lower, scale * upper),
        n=n,
        samples=n,
        differing=b + c,
        worse=b,
        better=c,
        method="Tango's score interval",
        needed=0 if share is None else needed(b, c, n, share) or -1,
        needed_sure=0 if share is None else needed(b, c, n, share, POWER) or -1,
    )


def _units(differences: Any, groups: Sequence[str] | None) -> tuple[Any, Any]:
    """Per unit the sum of its differences and its number of samples, both of shape (units,)."""
    import numpy as np

    if groups is None:
        return differences, np.ones(len(differences))
    _, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return np.bincount(index, weights=differences), np.bincount(index).astype(float)


def _resampled(sums: Any, sizes: Any, seed: int) -> tuple[float, float] | None:
    """The wider of two intervals, or ``None`` when too few units differ for either."""
    spread = (sums / sizes).max() > (sums / sizes).min()
    if int((sums != 0).sum()) < LEAST_DIFFERING or not spread:
        return None
    first, second = bca(sums, sizes, seed), student(sums, sizes)
    return min(first[0], second[0]), max(first[1], second[1])


@dataclasses.dataclass(frozen=True)
class _Limits:
    """An interval in the score's own unit; ``rare``: its upper end is at least this."""

    lower: float
    upper: float
    method: str
    rare: float = -math.inf


def _means(
    sums: Any, sizes: Any, unit: str, bounds: tuple[float, float] | None, seed: int
) -> _Limits | None:
    """Interval of the mean difference, and how it was made."""
    limits = _resampled(sums, sizes, seed)
    if limits is not None:
        method = f"BCa bootstrap and t interval over {unit}, the wider of both"
        rare = -math.inf if bounds is None else _rare(sums, sizes, bounds)
        if rare > limits[1]:
            method += f", raised to what rare {unit} could still cost"
        return _Limits(*limits, method, rare)
    if bounds is None:
        return None
    reach = clopper_pearson(int((sums != 0).sum()), len(sums))[1] * _largest(sizes, bounds)
    return _Limits(-reach, reach, f"exact limit of the share of {unit} that differ")


def _largest(sizes: Any, bounds: tuple[float, float]) -> float:
    """What the largest unit adds to the mean, times the units, if it is lost whole."""
    return (bounds[1] - bounds[0]) * float(sizes.max() / sizes.mean())


def _rare(sums: Any, sizes: Any, bounds: tuple[float, float]) -> float:
    """What units that are mostly lost could cost: too rare to be drawn, they are not resampled.

    The exact upper limit of the share of units that lose more than half of what they can, times
    what those that were seen lose on average (all of it if none was seen). It is the rule of
    three, in its exact form, for the event "a whole video fails". Once a few such units were seen,
    lost or won, the resampled intervals know of them: minus infinity.
    """
    lost = sums / sizes / (bounds[1] - bounds[0])
    if int((abs(lost) > 0.5).sum()) >= SEEN_ENOUGH:
        return -math.inf
    heavy = lost > 0.5
    seen = int(heavy.sum())
    each = float(lost[heavy].mean()) if seen else 1.0
    return clopper_pearson(seen, len(sums))[1] * each * _largest(sizes, bounds)


def _wanted(limits: _Limits, drop: float, n: int, margin: float, reach: float = 1.0) -> int:
    """Units needed if the half-width shrinks with the square root of their number; -1: never.

    What rare units could cost shrinks with their number itself.
    """
    if drop >= margin:
        return -1
    wide = math.ceil(n * (reach * (limits.upper - drop) / (margin - drop)) ** 2)
    return max(wide, math.ceil(n * limits.rare / margin)) if limits.rare > margin > 0 else wide
