from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from seatrial.verdict.proportions import Z, binomial_tail, clopper_pearson, needed, tango


def likelihood_q(b: float, c: float, n: float, delta: float) -> float:
    """Maximum-likelihood P(only the candidate is right) under a difference, by brute force."""
    low, high = max(0.0, -delta), (1 - delta) / 2

    def loss(q: float) -> float:
        terms = 0.0
        for count, p in ((b, q + delta), (c, q), (n - b - c, 1 - 2 * q - delta)):
            if count:
                terms -= count * math.log(max(p, 1e-300))
        return terms

    return float(
        optimize.minimize_scalar(
            loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
        ).x
    )


def brute_upper(b: int, c: int, n: int) -> float:
    """The upper limit by inverting the score test with that estimate."""

    def score(delta: float) -> float:
        q = likelihood_q(b, c, n, delta)
        spread = math.sqrt(max(n * (2 * q + delta - delta**2), 0.0))
        return b - c - n * delta + Z * spread

    return float(optimize.brentq(score, (b - c) / n + 1e-9, 1 - 1e-9, xtol=1e-10))


@pytest.mark.parametrize(
    ("b", "c", "n"), [(19, 19, 744), (0, 1, 44), (5, 0, 60), (0, 5, 60), (12, 3, 100), (0, 0, 400)]
)
def test_tango_equals_the_score_test_inverted_by_brute_force(b: int, c: int, n: int) -> None:
    low, high = tango(b, c, n)
    assert high == pytest.approx(brute_upper(b, c, n), abs=2e-5)
    assert low == pytest.approx(-brute_upper(c, b, n), abs=2e-5)


def test_tango_without_discordant_samples_has_its_closed_form() -> None:
    low, high = tango(0, 0, 400)
    assert (low, high) == pytest.approx((-(Z**2) / (400 + Z**2), Z**2 / (400 + Z**2)))


def test_tango_of_a_published_example() -> None:
    """Airway reactivity before and after transplantation, 21 children: -0.517 to -0.026.

    M. W. Fagerland, S. Lydersen and P. Laake, Statistics in Medicine 33 (2014) 2850-2875.
    """
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_at_the_ends() -> None:
    assert tango(50, 0, 50)[1] == pytest.approx(1.0)
    assert tango(0, 50, 50)[0] == pytest.approx(-1.0)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 500))
@settings(deadline=None)
def test_tango_holds_its_estimate_and_turns_with_the_sign(b: int, c: int, rest: int) -> None:
    n = b + c + rest
    low, high = tango(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert tango(c, b, n) == pytest.approx((-high, -low), abs=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 500))
@settings(deadline=None)
def test_one_more_loss_raises_both_limits(b: int, c: int, rest: int) -> None:
    n = b + c + rest
    low, high = tango(b, c, n)
    worse_low, worse_high = tango(b + 1, c, n)
    assert worse_low >= low - 1e-12
    assert worse_high >= high - 1e-12


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 300))
@settings(deadline=None)
def test_the_same_shares_of_more_samples_narrow_the_interval(b: int, c: int, rest: int) -> None:
    n = b + c + rest
    low, high = tango(b, c, n)
    more_low, more_high = tango(2 * b, 2 * c, 2 * n)
    assert more_high - more_low < high - low


@pytest.mark.parametrize("bad", [(1, 1, 1), (-1, 0, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        tango(*bad)


@pytest.mark.parametrize("share", [0.015, 0.05, 0.3])
@pytest.mark.parametrize("n", [244, 744, 2000])
def test_false_ship_rate_at_the_margin(n: int, share: float) -> None:
    margin, repeats = 0.01, 4000
    rng = np.random.default_rng(n)
    truth = [(share + margin) / 2, (share - margin) / 2, 1 - share]
    counts = rng.multinomial(n, truth, size=repeats)
    shipped = (tango(counts[:, 0], counts[:, 1], n)[1] <= margin).mean()
    # Nominal is 2.5 %; four standard errors of the simulation on top.
    assert shipped <= 0.025 + 4 * math.sqrt(0.025 * 0.975 / repeats)


@pytest.mark.parametrize(
    ("b", "c", "wald", "sure"),
    [(19, 19, 1963, 4009), (17, 15, 3091, 6314), (21, 18, 5653, 11550), (6, 5, 758, 1549)],
)
def test_needed_is_near_the_usual_approximation(b: int, c: int, wald: int, sure: int) -> None:
    """Wald's figure is a little too low: it uses a variance that the limit excludes."""
    found = needed(b, c, 744, 0.01)
    assert found is not None
    assert wald < found < wald * 1.35
    assert needed(b, c, 744, 0.01, power=0.8) == pytest.approx(sure, abs=2)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(100, 900))
@settings(max_examples=40, deadline=None)
def test_needed_is_the_first_size_that_ships(b: int, c: int, n: int) -> None:
    found = needed(b, c, n, 0.01)
    if (b - c) / n >= 0.01:
        assert found is None
    elif found is not None:
        p, q = b / n, c / n
        assert tango(p * found, q * found, found)[1] <= 0.01
        assert found <= 8 or tango(p * (found - 1), q * (found - 1), found - 1)[1] > 0.01


def test_a_drop_at_the_margin_is_never_proven() -> None:
    assert needed(24, 14, 744, 0.01) is None


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_clopper_pearson_equals_the_beta_quantiles(counts: tuple[int, int]) -> None:
    k, n = counts
    low, high = clopper_pearson(k, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0, abs=1e-9)


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_binomial_tail_equals_scipy(n: int, share: float, p: float) -> None:
    k = round(share * n)
    assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), abs=1e-10)
