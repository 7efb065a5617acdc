"""How an output is held against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seatrial.testing.cases import Case
from seatrial.testing.judge import Tolerance, difference

CASE = Case(name="nets/some", ops=("Relu",))
TIGHT = Tolerance(rtol=1e-3, atol=1e-5)
ODD = [0.0, -0.0, 1.0, -3e38, np.inf, -np.inf, np.nan, 1e-30]


def told(given, wanted, case=CASE):
    return difference(np.asarray(given), np.asarray(wanted), case, TIGHT)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0), elements=st.floats(width=32)))
def test_everything_equals_itself(value):
    assert told(value, value) == ""


@given(st.sampled_from(ODD), st.sampled_from(ODD), st.integers(0, 3))
def test_a_difference_in_one_place_is_found_there(a, b, place):
    wanted = np.zeros(4, np.float32)
    wanted[place] = b
    given = wanted.copy()
    given[place] = a
    near = a == b or (np.isnan(a) and np.isnan(b)) or (abs(a) <= 1e-5 and abs(b) <= 1e-5)
    text = told(given, wanted)
    assert (text == "") == near
    if text and not np.isnan(a) and not np.isnan(b):
        assert f"at [{place}]" in text


@pytest.mark.parametrize(
    ("given", "wanted", "says"),
    [
        (np.zeros(2, np.float64), np.zeros(2, np.float32), "type float64, not float32"),
        (np.zeros((1, 2), np.float32), np.zeros(2, np.float32), "shape (1, 2), not (2,)"),
        (np.array([True]), np.array([False]), "1 at [0], the truth is 0"),
        (np.array([255], np.uint8), np.array([0], np.uint8), "255 at [0]"),
        (np.float32([1.01]), np.float32([1.0]), "1.01 at [0]"),
        (np.float32([1.0005]), np.float32([1.0]), ""),
        (np.float16([1.002]), np.float16([1.0]), ""),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), ""),
    ],
)
def test_type_shape_and_value(given, wanted, says):
    assert told(given, wanted) == says or (says and says in told(given, wanted))


def test_sums_are_rounded_in_the_size_of_their_terms():
    wanted = np.float32([945.0, 0.0])
    assert told(np.float32([945.0, 1e-4]), wanted) == ""
    assert "at [1]" in told(np.float32([945.0, 1e-2]), wanted)


def test_int8_may_differ_by_steps_of_its_quantizer():
    case = Case(name="int8/some", ops=("Conv",), steps=2.0, step=0.1)
    assert told(np.float32([0.2]), np.float32([0.0]), case) == ""
    assert "at [0]" in told(np.float32([0.3]), np.float32([0.0]), case)


def test_numbers_that_are_drawn_are_compared_in_type_and_shape_only():
    case = Case(name="nodes/bernoulli", ops=("Bernoulli",), compare=False)
    assert told(np.float32([1.0]), np.float32([0.0]), case) == ""
    assert "shape" in told(np.float32([[1.0]]), np.float32([0.0]), case)
