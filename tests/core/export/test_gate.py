"""The parity rule: rounding passes, everything else does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.export.gate import FLOOR, KERNELS, Tally, overall
from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS


def judged(torch, onnx, exact=None, others_vary=True):
    tally = Tally("y", "fp64" if exact is not None else "")
    for i in range(len(torch)):
        tally.add(i, str(i), torch[i], onnx[i], None if exact is None else exact[i])
    return tally.result(others_vary=others_vary)


def outputs(seed=0, n=6, size=40):
    exact = np.random.default_rng(seed).standard_normal((n, size))
    return exact, exact.astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-20, 1e20))
def test_rounding_alone_passes_at_any_scale(seed, scale):
    exact, torch = outputs(seed)
    exact, torch = exact * scale, (exact * scale).astype(np.float32)
    noise = np.random.default_rng(seed + 1).uniform(-1, 1, torch.shape) * 2.0**-23
    assert judged(torch, (exact * (1 + noise)).astype(np.float32), exact).gate == PASS


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), own=st.floats(1e-7, 1e-4), times=st.floats(40, 1e3))
def test_an_error_far_beyond_the_modules_own_fails(seed, own, times):
    exact, _ = outputs(seed)
    scale = np.abs(exact).max(axis=1, keepdims=True)
    torch = exact.copy()
    torch[:, 0] += own * scale[:, 0]
    onnx = exact.copy()
    onnx[:, 1] += (times * own + 2 * FLOOR) * scale[:, 0]
    assert judged(torch, onnx, exact).gate == FAIL


def test_a_deep_nets_own_error_is_its_yardstick():
    exact, _ = outputs()
    rng = np.random.default_rng(5)
    torch = exact + 1e-4 * rng.standard_normal(exact.shape)
    onnx = exact + 1e-4 * rng.standard_normal(exact.shape)
    found = judged(torch, onnx, exact)
    assert found.gate == PASS and found.beyond > 0.5
    assert found.allowed == pytest.approx(KERNELS * found.own + FLOOR)


def test_what_float32_cannot_tell_is_not_proven():
    exact, _ = outputs()
    rng = np.random.default_rng(5)
    noisy = [exact + 0.05 * rng.standard_normal(exact.shape) for _ in range(2)]
    assert judged(*noisy, exact).gate == NOT_PROVEN


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_wrong_nonfinite_element_fails(value):
    exact, torch = outputs()
    onnx = torch.copy()
    onnx[3, 7] = value
    found = judged(torch, onnx, exact)
    assert (found.gate, found.worst, found.nonfinite) == (FAIL, "3", 1)


def test_nan_fails_even_where_the_module_gives_it_too():
    exact, torch = outputs()
    torch[2, 2] = np.nan
    assert judged(torch, torch.copy(), exact).gate == FAIL


def test_equal_infinities_pass():
    _, torch = outputs()
    torch[:, 4] = -np.inf
    assert judged(torch, torch.copy(), torch.astype(np.float64)).gate == PASS


def test_constant_outputs_fail_unless_the_module_has_another_that_varies():
    constant = np.ones((5, 3), np.float32)
    assert judged(constant, constant, constant, others_vary=False).gate == FAIL
    assert judged(constant, constant, constant, others_vary=True).gate == PASS
    exact, torch = outputs(n=5, size=3)
    assert judged(torch, np.repeat(torch[:1], 5, 0), exact).gate == FAIL


def test_whole_numbers_must_be_equal_but_for_what_rounding_flips():
    torch = np.arange(40).reshape(4, 10)
    wrong = torch.copy()
    wrong[1, 1] += 1
    assert judged(torch, torch, torch).gate == PASS
    assert judged(torch, wrong, torch).gate == FAIL
    assert judged(torch, wrong, wrong).gate == PASS


def test_another_shape_fails_and_nothing_proves_nothing():
    _, torch = outputs()
    assert judged(torch, torch[:, :-1]).gate == FAIL
    assert judged(torch[:, :0], torch[:, :0]).gate == FAIL
    assert overall([]) == FAIL
