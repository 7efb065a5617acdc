from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seatrial.benchmark.stats import design_effect, quantile, ranks, steady


@pytest.mark.parametrize(
    ("n", "q", "expected"),
    [
        (100, 0.5, (39, 60)),  # the 40th and 61st of 100, Conover (1999), table A3
        (6, 0.5, (0, 5)),
        (5, 0.5, (-1, -1)),
        (368, 0.99, (359, 367)),
        (367, 0.99, (358, -1)),
    ],
)
def test_ranks(n: int, q: float, expected: tuple[int, int]) -> None:
    assert ranks(n, q) == expected


@given(st.integers(1, 800), st.sampled_from([0.5, 0.9, 0.99]))
@settings(deadline=None, max_examples=50)
def test_ranks_cover_and_are_the_tightest(n: int, q: float) -> None:
    low, high = ranks(n, q)
    count = stats.binom(n, q)
    if low >= 0:
        assert count.cdf(low) <= 0.025 + 1e-12
    assert count.cdf(low + 1) > 0.025 - 1e-12
    if high >= 0:
        assert count.sf(high) <= 0.025 + 1e-12
        assert count.sf(high - 1) > 0.025 - 1e-12


@given(
    st.lists(st.lists(st.floats(0.1, 100), min_size=1, max_size=20), min_size=1, max_size=12),
    st.sampled_from([0.5, 0.9, 0.99]),
)
@settings(deadline=None)
def test_an_interval_holds_its_quantile(rounds: list[list[float]], q: float) -> None:
    found = quantile(rounds, q)
    assert found.low is None or found.low <= found.value + 1e-9
    assert found.high is None or found.high >= found.value - 1e-9
    assert (found.half_width == math.inf) == (found.low is None or found.high is None)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_coverage_with_rounds_that_differ(spread: float) -> None:
    rng = np.random.default_rng(0)
    truth, repeats, hits = 10.0, 150, 0
    for _ in range(repeats):
        rounds = [(truth + spread * rng.normal() + rng.normal(size=15)).tolist() for _ in range(15)]
        found = quantile(rounds, 0.5)
        hits += found.low is not None and found.low <= truth <= (found.high or -1)
    assert hits / repeats >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)


def test_bursts_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    calm = [rng.normal(10, 1, 50).tolist() for _ in range(20)]
    bursts = [rng.normal(10 + rng.normal(0, 1), 0.1, 50).tolist() for _ in range(20)]
    assert design_effect(calm, 10, 0.5) < 3
    assert design_effect(bursts, 10, 0.5) > 10
    assert quantile(bursts, 0.5).half_width > 2 * quantile(calm, 0.5).half_width


def test_steady_waits_for_the_warm_up_to_end() -> None:
    falling = [50, 40, 30, 25, 20, 17, 15, 14, 13, 12.0]
    assert not steady(falling, 3)
    assert not steady([10.0] * 8, 3)
    assert steady(falling + [10.0] * 9, 3)
    assert steady([10.0, 10.1, 9.9] * 3, 3)


def test_no_latencies_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        quantile([[], []], 0.5)
