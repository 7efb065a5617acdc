"""Each plant breaks INT8 and leaves float alone, seen with ONNX Runtime directly.

Nothing of the project is imported here: these tests guard the generators, not the checks.
"""

import logging

import numpy as np
import onnx
import pytest
from blind_nets import INPUT, build, drawn, run
from planted_causes import CASES, int8, plant

CALIBRATE = 64
QUANTISED: dict[bytes, bytes] = {}


@pytest.fixture(autouse=True)
def quiet():
    """The quantiser advises a preprocessing step through the root logger."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def quantised(model, samples):
    if model not in QUANTISED:
        QUANTISED[model] = int8(model, samples[:CALIBRATE])
    return QUANTISED[model]


def decibels(right, other):
    return 10 * np.log10((right**2).mean() / ((right - other) ** 2).mean())


@pytest.mark.parametrize("name", CASES)
def test_int8_breaks_and_float_does_not(name):
    made = plant(name)
    x = made.samples[-64:]
    right = run(made.sound, {INPUT: x})
    after = run(made.damaged, {INPUT: x})
    assert np.abs(right - after).max() < 1e-3 * np.abs(right).max()
    sound = quantised(made.sound, made.samples)
    broken = quantised(made.damaged, made.samples)
    if made.edit:
        assert made.damaged == made.sound
        broken = made.edit(broken)
        onnx.checker.check_model(onnx.load_model_from_string(broken))
    good = run(sound, {INPUT: x}, literal=True)
    bad = run(broken, {INPUT: x}, literal=True)
    assert decibels(right, good) > 10, "without the fault INT8 works"
    assert decibels(right, bad) < decibels(right, good) - 3
    same = [np.mean(right.argmax(1) == y.argmax(1)) for y in (good, bad)]
    assert same[0] > 0.85 and same[1] < same[0] - 0.06


@pytest.mark.parametrize("name", CASES)
def test_the_guilty_are_in_the_model(name):
    made = plant(name)
    graph = onnx.load_model_from_string(made.damaged).graph
    assert set(made.nodes) <= {n.name for n in graph.node}
    tensors = {o for n in graph.node for o in (*n.input, *n.output)}
    assert set(made.tensors) <= tensors
    assert made.words == tuple(w.lower() for w in made.words)


def test_seeded():
    x, labels = drawn.__wrapped__(1, 48)
    again, _ = drawn.__wrapped__(1, 48)
    assert np.array_equal(x, again)
    first, same, other = (build("inverted", s, x, labels, 6).model() for s in (1, 1, 2))
    assert first == same != other
    assert len(CASES) >= 15
