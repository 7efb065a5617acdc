"""Drops of pooled metrics: those of means where both forms can say them, and what is unproven."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seatrial.verdict.pooled import Resampling, alike, compared, interval
from seatrial.verdict.stats import paired


def means(values: Any) -> Any:
    """A mean as a pooled metric."""

    def metric(weights: Any) -> float:
        total = weights.sum()
        return float(weights @ values / total) if total else float("nan")

    return metric


def drop(first: Any, second: Any, groups: Any = None, **known: Any) -> Any:
    names = [str(g) for g in (groups if groups is not None else range(len(first)))]
    over = Resampling(names, range(len(first)), seed=0)
    same = [bool(a == b) for a, b in zip(first, second, strict=True)]
    return compared(over.draws(means(first)), over.draws(means(second)), same, over, **known)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_mean_in_either_form_has_the_same_interval(grouped: bool) -> None:
    rng = np.random.default_rng(0)
    first = rng.random(120)
    second = first - rng.normal(0.02, 0.05, 120)
    groups = np.arange(120) // 4 if grouped else np.arange(120)
    pooled = drop(first, second, groups)
    plain = paired(first, second, groups=[str(g) for g in groups], scale=1.0)
    assert pooled.drop == pytest.approx(plain.drop)
    assert pooled.ci95 == pytest.approx(plain.ci95, abs=0.002)
    assert (pooled.n, pooled.unit, pooled.differing) == (plain.n, plain.unit, plain.differing)
    turned = drop(first, second, groups, higher_is_better=False)
    assert turned.drop == pytest.approx(-pooled.drop)


def test_few_differing_units_are_bounded_or_say_nothing() -> None:
    first = np.full(100, 0.5)
    second = first.copy()
    second[:3] = 0.4
    assert drop(first, second).ci95 is None
    bounded = drop(first, second, bounds=(0.0, 1.0), scale=100.0, margin=1.0)
    assert bounded.ci95 is not None and bounded.ci95[1] > 5.0
    equal = drop(first, first, bounds=(0.0, 1.0), margin=1.0, scale=100.0)
    assert equal.drop == 0.0 and equal.ci95 is not None and 0 < equal.ci95[1] < 4.0


def test_rare_units_that_are_lost_whole_raise_the_upper_end() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(60)
    second = first + rng.normal(0, 0.001, 60)
    small = drop(first, second)
    careful = drop(first, second, bounds=(0.0, 1.0))
    assert small.ci95[1] < 0.01 < careful.ci95[1]
    assert "rare" in careful.method


def test_repeats_count_once_and_weights_follow_units() -> None:
    over = Resampling(["a", "a", "b", "c"], [0, 1, 3], seed=0)
    assert over.units == 2 and over.name == "groups"
    assert over.weights([2, 1]).tolist() == [2, 2, 0, 1]
    assert over.changed([False, True, False, True]) == 1
    assert sum(len(b) for b in over.blocks()) == 2


def test_a_costly_metric_is_drawn_less_often() -> None:
    assert Resampling(["a", "b"], [0, 1], cost=0).count == 2000
    assert Resampling(["a", "b"], [0, 1], cost=10**9).count == 1000


def test_an_undefined_metric_has_no_interval() -> None:
    draws = np.where(np.arange(1000) % 10 == 0, np.nan, 0.5 + np.arange(1000) / 1e4)
    assert interval(draws, np.array([0.4, 0.5, 0.6]), 0.5) is None
    assert interval(draws[1:10], np.array([0.5, 0.5]), 0.5) is None
    assert interval(np.full(100, 0.5), np.full(9, 0.5), 0.5) == (0.5, 0.5)
    assert interval(draws[1:10], np.array([0.4, np.nan, 0.6, 0.55]), 0.5) is not None


def coverage(seed: int, n: int, sets: int) -> float:
    """How often the interval of a ratio of sums holds the truth."""
    hits = 0
    for k in range(sets):
        rng = np.random.default_rng([seed, k])
        size = rng.integers(1, 6, n).astype(float)
        a = rng.binomial(size.astype(int), 0.8).astype(float)
        b = np.minimum(a, rng.binomial(size.astype(int), 0.75))

        def metric(weights: Any, part: Any = None, size: Any = size) -> float:
            return float(weights @ part / (weights @ size))

        over = Resampling([str(i) for i in range(n)], range(n), seed=k)
        over.count = 300
        first, second = (over.draws(lambda w, p=p: metric(w, p)) for p in (a, b))
        found = compared(first, second, [x == y for x, y in zip(a, b, strict=True)], over)
        mean = expected_loss()
        hits += found.ci95 is not None and found.ci95[0] <= mean <= found.ci95[1]
    return hits / sets


def expected_loss() -> float:
    """The true drop of :func:`coverage`, by a large sample."""
    rng = np.random.default_rng(99)
    size = rng.integers(1, 6, 400_000)
    a = rng.binomial(size, 0.8)
    b = np.minimum(a, rng.binomial(size, 0.75))
    return float((a - b).sum() / size.sum())


@pytest.mark.long
def test_intervals_of_a_ratio_hold_what_they_promise() -> None:
    assert coverage(0, 80, 300) >= 0.92


def test_statistics_of_any_make_are_compared() -> None:
    a = {"x": np.array([1, 2]), "y": (1.0, [np.array([3])])}
    b = {"x": np.array([1, 2]), "y": (1.0, [np.array([3])])}
    assert alike(a, b)
    b["y"] = (1.0, [np.array([4])])
    assert not alike(a, b)
    assert not alike(np.array([1]), np.array([1, 2]))
    assert alike(3, 3) and not alike((1, 2), (1,))
