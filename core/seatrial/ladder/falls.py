"""Single classes that lose more than their limit although the mean looks fine.

Whether a class loses more than the limit is asked of every class, so each answer allows for the
number of questions: S. Holm, "A simple sequentially rejective multiple test procedure",
Scandinavian Journal of Statistics 6 (1979) 65-70; if no class loses more than the limit, the chance
that any is named is at most 2.5 %. Normal approximations fail so far out in the tail of a few
cases, so tails are exact: those of the trinomial at the most likely rates that the limit allows
(K. Krishnamoorthy and J. Thomson, "A more powerful test for comparing two Poisson means", Journal
of Statistical Planning and Inference 119 (2004) 23-35, called it the E-test). Where samples come
in groups, whole groups are the units and limits are Student's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from seatrial.verdict.bootstrap import student, student_quantile
from seatrial.verdict.proportions import CONFIDENCE
from seatrial.verdict.stats import LEAST_DIFFERING

from .records import ClassDrop, ClassFall

#: Chance to name any class when none loses more than its limit.
ALPHA = (1 - CONFIDENCE) / 2

#: Red from so many points beyond the limit on, by the lower end of the corrected interval: every
#: tenth case of the class. Less keeps SHIP from being given.
FAR = 10.0

#: Cases of a class, and blocks of samples, that a jackknife needs.
LEAST_CASES = 20

#: Bisection steps for the end of an interval: to 1e-4 of a point.
_STEPS = 20


@dataclasses.dataclass(frozen=True)
class _Case:
    """One class: what it shows, and how likely that is if its true drop is a share."""

    fall: ClassFall
    chance: Callable[[float], float]


def falls(
    targets: Sequence[int],
    before: Sequence[float],
    after: Sequence[float],
    groups: Sequence[str],
    limit: float,
) -> tuple[ClassFall, ...]:
    """Classes that lose more than the limit beyond chance, the surest first.

    Args:
        targets: class of each sample.
        before: 1 where the reference is right, else 0.
        after: the same of the candidate.
        groups: of each sample; units if any repeats.
        limit: highest drop of a class, in points.
    """
    import numpy as np

    kinds, first, second = np.asarray(targets), np.asarray(before), np.asarray(after)
    grouped = len(set(groups)) < len(groups)
    keys = np.unique(np.asarray(groups, str), return_inverse=True)[1] if grouped else None
    classes = np.unique(kinds)
    cases = []
    for index in classes:
        own = kinds == index
        ask = _question(first[own] - second[own], None if keys is None else keys[own])
        if ask is None:
            continue
        fall = ClassFall(
            index=int(index),
            n=int(own.sum()),
            before=float(first[own].mean()),
            after=float(second[own].mean()),
            classes=len(classes),
            lost=int((first[own] > second[own]).sum()),
            won=int((first[own] < second[own]).sum()),
        )
        cases.append(_Case(fall, ask))
    return _beyond(cases, limit / 100, len(classes))


def pooled_falls(drops: Sequence[ClassDrop], without: Any, limit: float) -> tuple[ClassFall, ...]:
    """The same for classes of a pooled metric (average precision, IoU), by the jackknife.

    Args:
        drops: of all classes.
        without: their drops with each block of units left out, shape (blocks, classes), as shares;
            NaN where a block holds all cases of a class.
        limit: in points.
    """
    import numpy as np

    cases = []
    for drop, rest in zip(drops, np.asarray(without, float).T, strict=True):
        blocks = len(rest)
        if drop.n < LEAST_CASES or blocks < LEAST_CASES or drop.before <= drop.after:
            continue
        power = float(np.square(rest - rest.mean()).sum()) * (blocks - 1) / blocks
        if not power > 0:
            continue
        known = ClassFall(
            index=drop.index, n=drop.n, before=drop.before, after=drop.after, classes=len(drops)
        )
        cases.append(_Case(known, _student(drop.before - drop.after, power**0.5, blocks - 1)))
    return _beyond(cases, limit / 100, len(drops))


def _student(lost: float, deviation: float, freedom: int) -> Callable[[float], float]:
    """One-sided chance of an estimate this large, by Student's t."""
    from scipy.special import stdtr

    return lambda share: float(stdtr(freedom, -(lost - share) / deviation))


def _beyond(cases: list[_Case], share: float, classes: int) -> tuple[ClassFall, ...]:
    """Holm's procedure: those that are beyond a share, each with the end of its interval."""
    found = []
    for k, case in enumerate(sorted(cases, key=lambda c: (c.chance(share), c.fall.index))):
        level = ALPHA / (classes - k)
        if case.chance(share) > level:
            break
        least = 100 * _least(case.chance, share, level)
        found.append(dataclasses.replace(case.fall, least=least))
    return tuple(found)


def _question(differences: Any, units: Any) -> Callable[[float], float] | None:
    """How likely a drop like this is when the true one is no more than a share; ``None``: never."""
    import numpy as np

    lost, won = int((differences > 0).sum()), int((differences < 0).sum())
    if lost <= won:
        return None
    if units is None:
        return lambda share: tail(lost, won, len(differences), share)
    sums, sizes = np.bincount(units, weights=differences), np.bincount(units).astype(float)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    if int((sums != 0).sum()) < LEAST_DIFFERING:
        return None
    estimate, freedom = float(sums.sum() / sizes.sum()), len(sums) - 1
    quantile = student_quantile((1 + CONFIDENCE) / 2, freedom)
    deviation = (estimate - student(sums, sizes)[0]) / quantile
    # All groups alike: nothing is known of how others would differ.
    return _student(estimate, deviation, freedom) if deviation > 0 else None


def tail(lost: int, won: int, n: int, share: float) -> float:
    """P(L - W >= lost - won) for n cases, at the likeliest rates with P(lost) - P(won) = share.

    Args:
        lost: cases that only the reference gets right, more than ``won``.
        won: cases that only the candidate gets right.
        n: cases.
        share: the true drop under test, 0 to 1.
    """
    import numpy as np
    from scipy.special import bdtr, xlog1py, xlogy

    if lost - won <= share * n:
        return 1.0
    win = _win_rate(lost, won, n, share)
    lose = min(win + share, 1.0 - win)
    counts = np.arange(n + 1)
    logs = xlogy(counts, lose) + xlog1py(n - counts, -lose) + _log_choose(n)
    # Given L cases lost, each other one is won with probability win / (1 - lose).
    most = np.minimum(counts - (lost - won), n - counts)
    able = most >= 0
    rest = win / (1 - lose) if lose < 1 else 0.0
    below = bdtr(most[able], n - counts[able], rest)
    below = np.where(most[able] >= n - counts[able], 1.0, below)
    return float(min(1.0, (np.exp(logs[able]) * below).sum()))


def _log_choose(n: int) -> Any:
    import numpy as np
    from scipy.special import gammaln

    k = np.arange(n + 1)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _win_rate(lost: int, won: int, n: int, share: float) -> float:
    """The likeliest rate of cases won if the rate of cases lost is higher by ``share``.

    The root of (2 n) q^2 + ((2 n - b + c) d - b - c) q - c d (1 - d) = 0 for b lost, c won and the
    difference d (Tango 1998, section 2).
    """
    linear = (2 * n - lost + won) * share - lost - won
    constant = -won * share * (1 - share)
    root = max(linear * linear - 8 * n * constant, 0.0) ** 0.5
    return float(min(max((root - linear) / (4 * n), 0.0), (1 - share) / 2))


def _least(ask: Callable[[float], float], limit: float, level: float) -> float:
    """The smallest true drop that is not ruled out at a level; at least the limit, which is."""
    low, high = limit, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if ask(middle) <= level else (low, middle)
    return low
