"""Scales, zero points and integer weights against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.quantize.scales import (
    BIAS_MAX,
    SCALE_MIN,
    activation_scale,
    bias_scale,
    fake_quantize,
    quantize_bias,
    quantize_weight,
    weight_scale,
)
from seatrial.results import QdqDialect

VALUES = st.floats(-1e6, 1e6, width=32)
DIALECTS = st.builds(
    QdqDialect,
    activations=st.sampled_from(["uint8", "int8"]),
    symmetric=st.booleans(),
    weights=st.sampled_from(["int8", "uint8"]),
    reduce_range=st.booleans(),
)


@given(VALUES, VALUES, DIALECTS)
def test_zero_is_exact_and_the_ends_are_within_a_step(a: float, b: float, d: QdqDialect) -> None:
    lo, hi = min(a, b), max(a, b)
    scale = activation_scale(lo, hi, d)
    assert scale.scale.dtype == np.float32
    assert scale.scale >= SCALE_MIN
    assert fake_quantize(0.0, scale) == 0
    for end in (lo, hi):
        error = abs(float(fake_quantize(end, scale)) - end)
        assert error <= float(scale.scale) * 0.5001 + 1e-6 * abs(end)
    if d.symmetric:
        assert int(scale.zero) == (0 if d.activations == "int8" else 128)


def test_an_empty_range_has_scale_one() -> None:
    for d in (QdqDialect(), QdqDialect(activations="int8", symmetric=True)):
        assert activation_scale(0.0, 0.0, d).scale == 1


def test_ranges_are_widened_to_hold_zero() -> None:
    scale = activation_scale(3.0, 5.1, QdqDialect())
    assert int(scale.zero) == 0
    assert float(scale.scale) == pytest.approx(5.1 / 255)


@given(st.integers(0, 2**32 - 1), DIALECTS, st.sampled_from([None, 0, 1]))
def test_weights_come_back_within_half_a_step(seed: int, d: QdqDialect, axis: int | None) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(5, 4, 3)).astype(np.float32) * 10.0 ** rng.integers(-8, 8)
    weight[1] = 0
    scale = weight_scale(weight, axis, d)
    assert scale.scale.shape == (() if axis is None else (weight.shape[axis],))
    integers = quantize_weight(weight, scale, axis, d)
    assert integers.dtype == d.weights
    middle = 128 if d.weights == "uint8" else 0
    limit = 63 if d.reduce_range else 127
    steps = integers.astype(int) - middle
    assert np.abs(steps).max() <= limit
    shape = [1, 1, 1]
    if axis is not None:
        shape[axis] = -1
    step = scale.scale.reshape(shape if axis is not None else ())
    assert (np.abs(steps * step - weight) <= 0.5001 * step).all()


@given(st.floats(2.0**-40, 1e4), st.floats(0, 1e6), st.sampled_from([None, 0]))
def test_a_bias_always_fits(input_scale: float, size: float, axis: int | None) -> None:
    rng = np.random.default_rng(1)
    weight = (rng.normal(size=(4, 6)) * [[1e-9], [1], [0], [1e3]]).astype(np.float32)
    bias = (rng.normal(size=4) * size).astype(np.float32)
    d = QdqDialect()
    scale = weight_scale(weight, axis, d, bias, input_scale)
    step = bias_scale(input_scale, scale)
    assert (step.scale >= np.finfo(np.float32).tiny).all()
    integers = quantize_bias(bias, step)
    assert np.abs(integers.astype(np.int64)).max() <= BIAS_MAX * 1.001
    error = np.abs(integers * step.scale.astype(float) - bias)
    assert (error <= 0.5001 * step.scale + 1e-6 * np.abs(bias)).all()


def test_a_channel_of_zeros_does_not_lose_its_bias() -> None:
    weight = np.array([[0.0, 0.0], [1.0, -2.0]], np.float32)
    bias = np.array([0.75, 0.1], np.float32)
    scale = weight_scale(weight, 0, QdqDialect(), bias, 0.01)
    step = bias_scale(0.01, scale)
    np.testing.assert_allclose(quantize_bias(bias, step) * step.scale, bias, atol=1e-4)
