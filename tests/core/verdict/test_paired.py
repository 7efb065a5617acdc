from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from seatrial.verdict.bootstrap import bca, student, student_quantile
from seatrial.verdict.proportions import tango
from seatrial.verdict.stats import mean_interval, paired


def votes(b: int, c: int, n: int) -> tuple[list[float], list[float]]:
    """Two score vectors with given discordant counts."""
    reference = [1.0] * b + [0.0] * c + [1.0] * (n - b - c)
    candidate = [0.0] * b + [1.0] * c + [1.0] * (n - b - c)
    return reference, candidate


def test_shares_of_lone_samples_use_tango_in_points() -> None:
    found = paired(*votes(19, 19, 744), margin=1.0)
    assert found.ci95 == pytest.approx([100 * x for x in tango(19, 19, 744)])
    assert (found.worse, found.better, found.n, found.drop) == (19, 19, 744, 0.0)
    assert found.needed == 2028
    assert found.needed_sure == pytest.approx(4009, abs=1)
    assert "Tango" in found.method


def test_a_drop_beyond_the_margin_needs_no_number() -> None:
    assert paired(*votes(24, 14, 744), margin=1.0).needed == -1


def test_lower_is_better_turns_the_sign() -> None:
    rng = np.random.default_rng(0)
    error = rng.random(200)
    found = paired(error, error + 0.1 + rng.normal(0, 0.01, 200), scale=1, higher_is_better=False)
    assert found.drop == pytest.approx(0.1, abs=0.01)


def test_few_differing_samples_of_an_unbounded_metric_prove_nothing() -> None:
    scores = np.linspace(0.1, 0.9, 300)
    other = scores.copy()
    other[:9] -= 0.01
    found = paired(scores, other, scale=1, margin=0.5)
    assert found.ci95 is None
    assert "only 9 samples differ" in found.reason
    other[9] -= 0.01
    assert paired(scores, other, scale=1, margin=0.5).ci95 is not None


def test_few_differing_samples_of_a_bounded_metric_are_bounded() -> None:
    scores = np.linspace(0.1, 0.9, 1000)
    found = paired(scores, scores, scale=100, bounds=(0, 1))
    assert found.ci95 is not None
    assert found.ci95[1] == pytest.approx(0.368, abs=0.001)  # exact limit of 0 of 1,000
    assert found.ci95[0] == -found.ci95[1]


def test_groups_count_as_units_and_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    groups = [str(i // 20) for i in range(2000)]
    bad = rng.random(100) < 0.2
    reference = np.ones(2000)
    candidate = np.where(np.repeat(bad, 20) & (rng.random(2000) < 0.5), 0.0, 1.0)
    lone = paired(reference, candidate)
    grouped = paired(reference, candidate, groups=groups)
    assert grouped.n == 100
    assert grouped.unit == "groups"
    assert grouped.drop == pytest.approx(lone.drop)
    assert grouped.ci95 is not None
    assert lone.ci95 is not None
    assert grouped.ci95[1] - grouped.ci95[0] > 2 * (lone.ci95[1] - lone.ci95[0])


def test_a_group_of_one_each_is_no_grouping() -> None:
    reference, candidate = votes(5, 2, 100)
    assert paired(reference, candidate, groups=[str(i) for i in range(100)]).unit == "samples"


def test_the_seed_decides_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(100), rng.random(100)
    assert paired(a, b, seed=5) == paired(a, b, seed=5)


@pytest.mark.parametrize(
    ("reference", "candidate"), [([], []), ([1.0], [1.0, 0.0]), ([1.0], [float("nan")])]
)
def test_unusable_scores_are_refused(reference: list[float], candidate: list[float]) -> None:
    with pytest.raises(ValueError, match=r"score"):
        paired(reference, candidate)


@given(st.integers(0, 10_000), st.integers(20, 80))
@settings(max_examples=15, deadline=None)
def test_an_interval_holds_its_estimate(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(n), rng.random(n)
    found = paired(a, b, groups=[str(i // 2) for i in range(n)], scale=1)
    assert found.ci95 is not None
    assert found.ci95[0] <= found.drop <= found.ci95[1]


def test_bca_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    values = rng.exponential(size=80)
    low, high = bca(values, np.ones(80), seed=1)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=8000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.02)
    assert high == pytest.approx(theirs.high, abs=0.02)


def test_student_of_lone_samples_is_the_t_interval() -> None:
    values = np.random.default_rng(4).normal(size=40)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert student(values, np.ones(40)) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


@pytest.mark.parametrize("freedom", [6, 9, 30, 500])
def test_student_quantile(freedom: int) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(
        scipy_stats.t.ppf(0.975, freedom), abs=1e-3
    )


def test_false_ship_rate_of_groups_at_the_margin() -> None:
    rng = np.random.default_rng(5)
    margin, shipped, repeats = 0.01, 0, 200
    groups = [str(i // 10) for i in range(1000)]
    for _ in range(repeats):
        scale = rng.gamma(2.0, 0.5, size=(2, 100))
        worse = np.repeat(0.03 * scale[0], 10)
        better = np.repeat(0.02 * scale[1], 10)
        draw = rng.random(1000)
        difference = np.where(draw < worse, 1, np.where(draw > 1 - better, -1, 0))
        reference = np.where(difference == 1, 1.0, np.where(difference == -1, 0.0, 1.0))
        found = paired(reference, reference - difference, groups=groups, scale=1)
        shipped += found.ci95 is not None and found.ci95[1] <= margin
    # 5 % and three standard errors of the simulation.
    assert shipped / repeats <= 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5


def frames(groups: int, size: int, lost: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores of grouped frames: a lost and a won frame in turn, and some groups lost whole."""
    reference, candidate = np.ones((groups, size)), np.ones((groups, size))
    reference[0::4, 0] = 0.0
    candidate[1::4, 0] = 0.0
    candidate[-1 : -1 - 4 * lost : -4] = 0.0
    names = [str(i) for i in range(groups) for _ in range(size)]
    return reference.reshape(-1), candidate.reshape(-1), names


def test_a_hundred_quiet_videos_do_not_prove_that_none_of_a_hundred_fails() -> None:
    reference, candidate, names = frames(100, 50, lost=0)
    found = paired(reference, candidate, groups=names, margin=1.0)
    assert found.drop == 0
    assert found.ci95 is not None
    # 1 - 0.025 ** (1 / 100): the share of failing videos of which none in a hundred is no surprise.
    assert found.ci95[1] == pytest.approx(3.6217, abs=1e-3)
    assert found.needed == 363
    assert "rare groups" in found.method
    many = paired(*frames(400, 50, lost=0)[:2], groups=frames(400, 50, 0)[2], margin=1.0)
    assert many.ci95 is not None
    assert many.ci95[1] <= 1.0


def test_videos_that_were_seen_to_fail_are_resampled() -> None:
    reference, candidate, names = frames(400, 50, lost=4)
    found = paired(reference, candidate, groups=names, margin=1.0)
    assert found.ci95 is not None
    assert "rare" not in found.method
    assert found.ci95[1] > 1.0
    assert found.needed == -1  # four of 400 videos lost are the whole point already


def test_the_interval_of_a_share_is_exact_and_of_groups_is_wider() -> None:
    scores = [1.0] * 80 + [0.0] * 20
    lone = mean_interval(scores)
    assert lone == pytest.approx((0.7082, 0.8733), abs=1e-4)
    grouped = mean_interval(scores, [str(i // 5) for i in range(100)])
    assert grouped is not None
    assert grouped[0] < 0.7082
    assert mean_interval([0.5, 0.6, 0.7]) is None
