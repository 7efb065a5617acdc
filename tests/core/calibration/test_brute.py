"""Every choice of a range against the same choice by brute force on the elements themselves.

The brute force knows no histogram of ours: it goes through all elements for every range or
threshold that could be chosen. Chosen ranges are compared by what they cost, not by their ends:
where two thresholds cost the same it does not matter which one is taken.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.calibration.choose import chosen
from seatrial.calibration.histogram import BINS, Dyadic
from seatrial.calibration.types import RangeTable, TensorRange

#: Largest squared error above the least one by brute force, as a fraction of it.
MORE_ERROR = 0.03

#: The same for divergence, with nats on top, at one of the candidates next to the chosen one:
#: from one to the next it jumps by more, with single elements that lie in the last bins.
MORE_DIVERGENCE, NATS, NEXT = 0.25, 0.005, 2

#: Candidates and levels of the search by divergence, as its documentation states them.
MAGNITUDES, LEVELS, STRIDE = 2048, 128, 16

SOME = settings(deadline=None, max_examples=12, derandomize=True)


@st.composite
def tensors(draw: st.DrawFn) -> Any:
    """Elements of an activation: bulk, tails, zeros and a few outliers, at any scale."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([20_000, 50_000]))
    kind = draw(st.sampled_from(["normal", "tails", "skewed", "even", "two"]))
    x = {
        "normal": lambda: rng.normal(0, 1, count),
        "tails": lambda: rng.standard_t(3, count),
        "skewed": lambda: rng.exponential(1, count),
        "even": lambda: rng.uniform(-1, 1, count),
        "two": lambda: np.append(rng.normal(-2, 0.3, count // 2), rng.normal(3, 1, count // 2)),
    }[kind]()
    x += draw(st.floats(-1, 1))
    if draw(st.booleans()):
        x = np.maximum(x, 0)
    outliers = draw(st.integers(0, 4))
    x = np.append(x, np.append(rng.uniform(3, 12, outliers), 0.5))
    return (x * 10.0 ** draw(st.floats(-4, 4))).astype(np.float32)


def choice(x: Any, method: str, **how: bool) -> tuple[float, float]:
    """The range from a histogram that saw the elements in two parts."""
    histogram = Dyadic()
    for part in np.array_split(x, 2):
        histogram.add(part)
    tensor = TensorRange(
        lo=float(x.min()), hi=float(x.max()), count=2, histogram=histogram.packed()
    )
    return chosen(RangeTable(method="minmax", count=2, tensors={"t": tensor}), method, **how)["t"]


def divergences(x: Any) -> dict[int, float]:
    """KL divergence of every candidate threshold, by its number of magnitude bins."""
    magnitude = np.abs(x[x != 0].astype(np.float64))
    peak = magnitude.max()
    bins = [0.0] * MAGNITUDES
    for m in magnitude:
        bins[min(int(m / peak * MAGNITUDES), MAGNITUDES - 1)] += 1
    found = {}
    for size in range(LEVELS, MAGNITUDES + 1, STRIDE):
        p, q = bins[:size], [0.0] * size
        p[-1] += sum(bins[size:])
        for level in range(LEVELS):
            members = range(level * size // LEVELS, (level + 1) * size // LEVELS)
            occupied = [k for k in members if p[k] > 0]
            inside = sum(bins[k] for k in members)
            for k in occupied:
                q[k] = inside / len(occupied)
        total, kept = sum(p), sum(q)
        if kept:
            pairs = [(a / total, max(b / kept, 1e-9)) for a, b in zip(p, q, strict=True) if a > 0]
            found[size] = sum(a * math.log(a / b) for a, b in pairs)
    return found


@SOME
@given(tensors())
def test_the_divergence_is_the_least(x: Any) -> None:
    lo, hi = choice(x, "entropy")
    peak = float(np.abs(x).max())
    # The range is cut to the extremes, so the threshold shows on the side of the peak.
    limit = max(hi, -lo)
    size = round(limit / peak * MAGNITUDES)
    cost = divergences(x)
    assert size in cost
    assert limit == pytest.approx(peak * size / MAGNITUDES, rel=1e-5)
    near = min(cost.get(size + k * STRIDE, math.inf) for k in range(-NEXT, NEXT + 1))
    assert near <= min(cost.values()) * (1 + MORE_DIVERGENCE) + NATS


def squared_error(x: Any, lo: float, hi: float) -> float:
    """What 8-bit quantisation with this range costs, over all elements."""
    scale = (hi - lo) / 255
    zero = round(-lo / scale)
    steps = np.clip(np.round(x.astype(np.float64) / scale) + zero, 0, 255)
    return float((((steps - zero) * scale - x) ** 2).sum())


@SOME
@given(tensors())
def test_the_squared_error_is_the_least(x: Any) -> None:
    lo, hi = choice(x, "mse")
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    parts = np.linspace(0.01, 1, 60)
    lows, highs = (low * parts if low < 0 else [0.0]), (high * parts if high > 0 else [0.0])
    if low < 0 < high:  # the full grid takes too long: first coarse, then around its best
        coarse = min(
            ((a, b) for a in lows[::4] for b in highs[::4]), key=lambda r: squared_error(x, *r)
        )
        lows, highs = (c * np.linspace(0.85, 1.15, 9) for c in coarse)
    least = min(squared_error(x, max(a, low), min(b, high)) for a in lows for b in highs if b > a)
    assert squared_error(x, min(lo, 0.0), max(hi, 0.0)) <= least * (1 + MORE_ERROR)


@SOME
@given(tensors(), st.sampled_from([99.9, 99.99, 99.999]))
def test_a_percentile_leaves_as_many_outside_as_it_says(x: Any, level: float) -> None:
    lo, hi = choice(x, f"percentile-{level}")
    outside = (100 - level) / 200 * x.size
    width = 2 * float(np.abs(x).max()) / BINS
    for end, sign in ((hi, 1), (-lo, -1)):
        if end <= 0:  # zero is always inside
            continue
        assert np.count_nonzero(sign * x > end + width) <= outside
        assert np.count_nonzero(sign * x > end - width) >= outside - 1
