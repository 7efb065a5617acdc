"""Dyadic histograms against counting by hand."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seatrial.calibration.histogram import BINS, CHUNK, Dyadic, count, unpacked
from seatrial.calibration.types import Histogram

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
PARTS = st.lists(
    arrays.arrays(np.float32, st.integers(0, 40), elements=FINITE), min_size=1, max_size=5
)


def by_hand(values: Any, exponent: int) -> Any:
    index = np.trunc(values.astype(np.float64) * (BINS / 2.0**exponent)).astype(int) + BINS - 1
    return np.bincount(index, minlength=2 * BINS - 1)


@given(PARTS)
def test_every_value_is_in_its_bin_whatever_the_order(parts: list[Any]) -> None:
    histogram, backwards = Dyadic(), Dyadic()
    for part in parts:
        histogram.add(part)
    for part in reversed(parts):
        backwards.add(part)
    everything = np.concatenate(parts)
    assert histogram.counts.sum() == everything.size
    np.testing.assert_array_equal(histogram.counts, by_hand(everything, histogram.exponent))
    assert (backwards.exponent, histogram.exponent) == (histogram.exponent,) * 2
    np.testing.assert_array_equal(backwards.counts, histogram.counts)


@given(PARTS, st.data())
def test_several_at_once_are_as_one_after_the_other(parts: list[Any], data: Any) -> None:
    parts = [np.abs(part) if data.draw(st.booleans()) else part for part in parts]
    parts.append(np.zeros(CHUNK + 3, np.float32))
    together, alone = [Dyadic() for _ in parts], [Dyadic() for _ in parts]
    peaks = [float(np.abs(part).max(initial=0)) for part in parts]
    positive = [bool((part >= 0).all()) for part in parts]
    count(zip(together, parts, peaks, positive, strict=True))
    for one, other, part in zip(together, alone, parts, strict=True):
        other.add(part)
        assert one.counts.sum() == part.size
        np.testing.assert_array_equal(one.counts, other.counts)


def test_a_wrong_claim_of_no_negative_values_counts_them_all_the_same() -> None:
    values = np.linspace(-1, 1, 1000, dtype=np.float32)
    histogram = Dyadic()
    count([(histogram, values, 1.0, True)])
    np.testing.assert_array_equal(histogram.counts, by_hand(values, histogram.exponent))


@given(st.sampled_from([1e-20, 0.3, 1.0, 7.5, 1e20]), st.integers(1, 1000))
def test_half_of_the_bins_are_in_use(peak: float, count: int) -> None:
    histogram = Dyadic()
    histogram.add(np.linspace(-peak / 7, peak, count, dtype=np.float32))
    used = np.flatnonzero(histogram.counts)
    assert max(BINS - 1 - used.min(), used.max() - BINS + 1) >= BINS // 2 or count == 1


def test_zeros_only() -> None:
    histogram = Dyadic()
    histogram.add(np.zeros(3, np.float32))
    assert histogram.counts[BINS - 1] == histogram.counts.sum() == 3
    histogram.add(np.ones(2, np.float32))
    assert histogram.counts[BINS - 1] == 3
    assert histogram.counts.sum() == 5


@pytest.mark.parametrize("peak", [None, 2.0])
def test_what_is_not_finite_is_left_out(peak: float | None) -> None:
    values = np.full(CHUNK + 10, 0.5, np.float32)
    values[[3, CHUNK + 2]] = np.nan
    if peak is None:
        values[4] = np.inf
    histogram = Dyadic()
    histogram.add(values, peak)
    assert histogram.counts.sum() == np.isfinite(values).sum()


def test_a_bound_that_is_given_is_kept_to() -> None:
    histogram = Dyadic()
    histogram.add(np.full(4, 0.25, np.float32), peak=5.0)
    assert histogram.exponent == 3
    histogram.add(np.full(4, 9.0, np.float32), peak=9.0)
    np.testing.assert_array_equal(
        histogram.counts, by_hand(np.repeat([0.25, 9.0], 4), histogram.exponent)
    )


@given(PARTS)
def test_packing_loses_nothing(parts: list[Any]) -> None:
    histogram = Dyadic()
    for part in parts:
        histogram.add(part)
    again = unpacked(histogram.packed())
    assert again.exponent == histogram.exponent
    np.testing.assert_array_equal(again.counts, histogram.counts)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", zlib.compress(b"\0" * 16), zlib.compress(b"\xff" * 8 * (2 * BINS - 1))],
)
def test_other_data_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        unpacked(Histogram(exponent=0, counts=base64.b64encode(data).decode()))
