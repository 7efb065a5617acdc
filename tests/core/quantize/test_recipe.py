"""When something structural is tried, and on what."""

import math

import pytest

from seatrial.quantize.bakeoff import Entry
from seatrial.quantize.recipe import ERROR_FINE, KL_FINE, calls_for_structure, closest
from seatrial.quantize.types import Score


def entry(name: str, kl: float | None, error: float = 0.5, **more: int) -> Entry:
    losses = (kl if kl is not None else error,) * 3
    score = Score(n=3, classification=kl is not None, kl=kl, losses=losses, errors=(error,) * 3)
    for key, value in more.items():
        score = Score(**{f: getattr(score, f) for f in score.__slots__} | {key: value})
    return Entry(name=name, score=score)


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([], False),
        ([Entry(name="crashed", fault="crashed")], False),
        ([entry("a", 0.3), entry("b", KL_FINE * 1.1)], True),
        ([entry("a", 0.3), entry("b", KL_FINE)], False),
        ([entry("a", math.nan)], True),
        ([entry("a", 0.3), entry("b", 0.001, nonfinite=1)], True),
        ([entry("a", 0.3), entry("b", 0.001, stopped=True)], True),
        ([entry("a", None, ERROR_FINE * 1.1)], True),
        ([entry("a", None, ERROR_FINE * 0.9)], False),
    ],
)
def test_only_where_nothing_came_close(entries: list[Entry], wanted: bool) -> None:
    assert calls_for_structure(entries) is wanted


def test_the_closest_come_first() -> None:
    entries = [
        entry("far", 0.3),
        Entry(name="crashed", fault="crashed"),
        entry("near", 0.1),
        entry("broken", 0.01, nonfinite=2),
    ]
    assert closest(entries) == ["near", "far"]
    assert closest([]) == []
