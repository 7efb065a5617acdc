"""The search for the worst: finds them, and with few evaluations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seatrial.diagnosis import search

LOSSES = st.lists(st.floats(0, 1), min_size=2, max_size=60)


def evaluations(losses, most=10_000):
    return search.Evaluations(lambda on: sum(losses[int(m)] for m in on), most)


@given(LOSSES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_worst_are_found_whatever_the_prior_says(losses, count, random):
    names = [str(k) for k in range(len(losses))]
    prior = {n: random.random() for n in names}
    half = len(names) // 2
    found = search.worst(
        [names[:half], names[half:]], prior, evaluations(losses), total=sum(losses), count=count
    )
    assert found.complete
    floor = search.NEGLIGIBLE * sum(losses) + 1e-12
    ranked = sorted(losses, reverse=True)
    for place, name in enumerate(sorted(found.alone, key=lambda n: -found.alone[n])[:count]):
        assert abs(losses[int(name)] - ranked[place]) < 1e-9 or ranked[place] <= floor
    missing = [x for x in ranked[:count] if x > floor]
    assert len(found.alone) >= min(len(missing), count)
    assert set(found.estimates(prior)) == set(names)


def test_one_bad_one_among_many_takes_few_evaluations():
    losses = [1e-6] * 256
    losses[77] = 1.0
    counted = evaluations(losses)
    names = [str(k) for k in range(256)]
    found = search.worst([names], {}, counted, total=sum(losses), count=1)
    assert max(found.alone, key=found.alone.__getitem__) == "77"
    assert len(counted.known) <= 1 + 2 * 8


def test_a_spent_budget_is_admitted():
    losses = [0.5] * 64
    names = [str(k) for k in range(64)]
    counted = evaluations(losses, most=6)
    found = search.worst([names], {}, counted, total=32.0, count=4)
    assert not found.complete
    assert len(counted.known) <= 7
    assert abs(sum(found.estimates({}).values()) - 32.0) < 1e-9


@given(st.lists(st.floats(0, 10), min_size=2, max_size=40))
def test_both_parts_have_members(weights):
    names = tuple(str(k) for k in range(len(weights)))
    prior = dict(zip(names, sorted(weights, reverse=True), strict=True))
    first, second = search.divided(names, prior)
    assert first and second and first + second == names
