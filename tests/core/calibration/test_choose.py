"""Chosen ranges against the same choice made on all values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.calibration.choose import chosen
from seatrial.calibration.histogram import BINS, Dyadic
from seatrial.calibration.types import METHODS, RangeTable, TensorRange


def table_of(values: Any, **more: Any) -> RangeTable:
    histogram = Dyadic()
    histogram.add(values)
    lo, hi = float(values.min()), float(values.max())
    tensor = TensorRange(lo=lo, hi=hi, count=1, histogram=histogram.packed(), **more)
    return RangeTable(method="minmax", count=1, tensors={"t": tensor})


def error(values: Any, limits: tuple[float, float]) -> float:
    """Mean squared error of 8-bit quantisation."""
    lo, hi = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = (hi - lo) / 255
    zero = np.rint(-lo / scale)
    back = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float(np.mean((back - values.astype(np.float64)) ** 2))


SHAPES: dict[str, Callable[[np.random.Generator], Any]] = {
    "normal": lambda rng: rng.normal(0.3, 1, 50_000),
    "heavy tails": lambda rng: rng.standard_t(3, 50_000),
    "relu": lambda rng: np.maximum(rng.normal(0, 1, 50_000), 0),
    "relu with an outlier": lambda rng: np.append(np.maximum(rng.normal(0, 1, 50_000), 0), 40),
    "skewed": lambda rng: rng.exponential(1, 50_000) - 0.2,
    "uniform": lambda rng: rng.uniform(-1, 2, 50_000),
}


@pytest.fixture(params=list(SHAPES))
def values(request: Any) -> Any:
    return SHAPES[request.param](np.random.default_rng(0)).astype(np.float32)


@given(
    st.integers(0, 1000),
    st.sampled_from([99.9, 99.99, 99.999]),
    st.floats(-0.5, 0.5),
    st.floats(1e-3, 1e3),
)
@settings(deadline=None, max_examples=40)
def test_percentiles_are_right_to_a_bin(seed: int, level: float, shift: float, size: float) -> None:
    rng = np.random.default_rng(seed)
    x = ((rng.standard_t(4, 20_000) + shift) * size).astype(np.float32)
    lo, hi = chosen(table_of(x), f"percentile-{level}")["t"]
    ordered = np.sort(x)
    k = int((100 - level) / 200 * len(x))
    bin_width = 2 * float(np.abs(x).max()) / BINS
    assert ordered[max(k - 1, 0)] - bin_width <= lo <= ordered[k + 1] + bin_width
    assert ordered[-k - 2] - bin_width <= hi <= ordered[-max(k, 1)] + bin_width


def test_a_percentile_range_holds_zero() -> None:
    """Every quantised range does: padding and ReLU must stay exact."""
    x = np.random.default_rng(0).normal(50, 1, 10_000).astype(np.float32)
    lo, hi = chosen(table_of(x), "percentile-99.9")["t"]
    assert lo == x.min()
    assert hi == pytest.approx(np.quantile(x, 0.9995), abs=0.2)


def test_least_error_is_near_the_best_of_all_ranges(values: Any) -> None:
    table = table_of(values)
    found = chosen(table, "mse")["t"]
    assert error(values, found) <= error(values, chosen(table, "minmax")["t"]) * 1.001
    lo, hi = min(float(values.min()), 0), float(values.max())
    steps = np.linspace(0.02, 1, 50)
    grid = [(lo * a, hi * b) for a in (steps if lo < 0 else [1.0]) for b in steps]
    sample = values[:: len(values) // 5000]
    best = min(grid, key=lambda r: error(sample, r))
    assert error(values, found) <= error(values, best) * 1.05


def test_least_error_of_a_symmetric_range(values: Any) -> None:
    lo, hi = chosen(table_of(values), "mse", symmetric=True)["t"]
    limit = max(-lo, hi)
    peak = float(np.abs(values).max())

    def loss(m: float) -> float:
        scale = m / 127
        back = np.clip(np.rint(values / scale), -128, 127) * scale
        return float(np.mean((back - values) ** 2))

    assert loss(limit) <= min(loss(peak * f) for f in np.linspace(0.02, 1, 50)) * 1.05


def test_divergence_clips_a_lonely_outlier_and_keeps_the_bulk() -> None:
    rng = np.random.default_rng(0)
    x = np.append(np.maximum(rng.normal(0, 1, 200_000), 0), 40).astype(np.float32)
    lo, hi = chosen(table_of(x), "entropy")["t"]
    assert lo == 0
    assert 2 < hi < 10
    even = rng.uniform(0, 1, 200_000).astype(np.float32)
    assert chosen(table_of(even), "entropy")["t"][1] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_no_method_leaves_the_extremes(method: str, values: Any) -> None:
    more = {"lo_moving": float(values.min()) / 2, "hi_moving": float(values.max()) / 2}
    lo, hi = chosen(table_of(values, **more), method)["t"]
    assert values.min() <= lo <= hi <= values.max()
    if method == "moving-average":
        assert (lo, hi) == (more["lo_moving"], more["hi_moving"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_tensor_of_one_value(method: str, value: float) -> None:
    x = np.full(10, value, np.float32)
    assert chosen(table_of(x, lo_moving=value, hi_moving=value), method)["t"] == (value, value)


def test_what_cannot_be_served_is_refused() -> None:
    bare = TensorRange(lo=-1.0, hi=2.0, count=3)
    never = TensorRange(lo=0.0, hi=0.0, count=0, nonfinite=3)
    table = RangeTable(method="minmax", count=3, tensors={"a": bare, "b": never})
    assert chosen(table) == {"a": (-1.0, 2.0)}
    with pytest.raises(ValueError, match="needs histograms, and the table has none of a"):
        chosen(table, "mse")
    with pytest.raises(ValueError, match="magic"):
        chosen(table, "magic")
