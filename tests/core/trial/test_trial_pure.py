"""Layouts by shape, static shapes, the clock: functions of their arguments."""

from __future__ import annotations

import types

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seatrial.audit.rules import RED, Finding
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.stats import Quantile
from seatrial.results import TensorIO
from seatrial.trial import context, layouts, shapes
from seatrial.trial.remarks import NEAR_TEST, material

channels = st.sampled_from(layouts.CHANNELS)
sides = st.one_of(st.integers(5, 4096), st.sampled_from(("h", "w", "?")))
batches = st.one_of(st.integers(1, 64), st.sampled_from(("n", "?")))


@given(batches, channels, sides, sides)
def test_the_channel_axis_tells_the_layout(n, c, h, w):
    assert layouts.image_layout((n, c, h, w)) == "NCHW"
    assert layouts.image_layout((n, h, w, c)) == "NHWC"


@given(st.lists(st.one_of(st.integers(1, 64), st.just("?")), max_size=6).map(tuple))
def test_no_layout_is_guessed(shape):
    found = layouts.image_layout(shape)
    if found is None:
        return
    assert len(shape) == 4
    channel, other = (1, 3) if found == "NCHW" else (3, 1)
    assert shape[channel] in layouts.CHANNELS and shape[other] not in layouts.CHANNELS


@pytest.mark.parametrize(
    "shape", [(1, 3, 224, 3), (1, 8, 8, 8), (1, 64), ("...",), (1, 3, 224), (1, 1, 1, 1)]
)
def test_shapes_without_an_answer(shape):
    assert layouts.image_layout(shape) is None


def test_only_images_are_image_inputs():
    inputs = (
        TensorIO(name="photo", shape=("n", 3, 32, 32)),
        TensorIO(name="mask", shape=(1, 32, 32, 1)),
        TensorIO(name="gain", shape=("n", 1)),
    )
    assert layouts.image_inputs(inputs) == {"photo": "NCHW", "mask": "NHWC"}


def test_the_other_layout():
    assert layouts.other(layouts.other("NCHW")) == "NCHW"
    assert layouts.other("NCHW") == "NHWC"


@given(st.floats(0.1, 10), st.booleans())
def test_a_layout_is_chosen_only_if_it_is_measurably_faster(price, told_apart):
    chosen, reason = layouts._choice("NCHW", "NHWC", price, told_apart)
    assert (chosen == "NHWC") == (told_apart and price <= 1)
    assert reason.startswith("NHWC ")
    assert ("within the noise" in reason) == (not told_apart)


def state(variant=None, **more):
    return types.SimpleNamespace(facts={"layout_variant": variant, "layout_native": "NCHW", **more})


def test_no_proof_no_layout_row():
    assert layouts.layout_row(types.SimpleNamespace(facts={}), None, None) is None


def test_a_layout_that_computes_something_else_is_never_chosen():
    variant = {"layout": "NHWC", "equivalent": False}
    row = layouts.layout_row(state(variant), None, None)
    assert (row["native"], row["chosen"]) == ("NCHW", "NCHW")
    assert row["reason"] == "NHWC does not give the same results"


def timing(ms, rounds=8):
    """Rounds of a steady contestant, a little apart so that an interval has a width."""
    return Timing(
        facts=Facts(target="t", artifact="a", precision="FP32"),
        rounds=tuple((ms * (1 + i / 1e4),) * 5 for i in range(rounds)),
        quantiles={"p50": Quantile(q=0.5, value=ms, low=ms, high=ms)},
    )


@pytest.mark.parametrize(
    ("own", "changed", "chosen", "reason"),
    [
        (1.0, 2.0, "NCHW", "NHWC is 100.0 % slower"),
        (2.0, 1.0, "NHWC", "NHWC is 100.0 % faster"),
        (1.0, 1.0, "NCHW", "NHWC costs the same within the noise (+0.0 %)"),
    ],
)
def test_the_price_of_a_layout_is_the_ratio_of_the_medians(own, changed, chosen, reason):
    variant = {"layout": "NHWC", "equivalent": True}
    row = layouts.layout_row(state(variant), timing(own), timing(changed))
    assert (row["native"], row["chosen"], row["reason"]) == ("NCHW", chosen, reason)
    first, second = row["variants"]
    assert (first["layout"], first["ratio"], first["p50_ms"]) == ("NCHW", 1.0, own)
    assert (second["layout"], second["p50_ms"]) == ("NHWC", changed)
    assert second["ratio"] == pytest.approx(changed / own)


def test_too_few_rounds_choose_nothing():
    variant = {"layout": "NHWC", "equivalent": True}
    row = layouts.layout_row(state(variant), timing(2.0, rounds=3), timing(1.0, rounds=3))
    assert row["chosen"] == "NCHW" and "within the noise" in row["reason"]


# --- static shapes --------------------------------------------------------------------------------


def facts(batch="free", **inputs):
    return types.SimpleNamespace(
        batch=batch, inputs=tuple(TensorIO(name=n, shape=s) for n, s in inputs.items())
    )


@pytest.mark.parametrize(
    ("batch", "size"),
    [("free", 1), ("none", 1), ("fixed:4", 4), ("fixed:1", 1), ("fixed:", 1), ("fixed:x", 1)],
)
def test_samples_per_inference(batch, size):
    assert shapes.batch(facts(batch)) == size


def test_a_free_batch_gets_the_batch_and_other_free_dimensions_stay_open():
    model = facts(image=("n", 3, 8, 8), text=("n", "length"), scale=(), odd=("...",))
    assert shapes.known(model, {}, batch=2) == {"image": (2, 3, 8, 8)}


def test_what_was_given_wins_over_the_model():
    model = facts(image=("n", 3, "h", "w"))
    assert shapes.known(model, {"image": (1, 3, 9, 9)}, batch=1) == {"image": (1, 3, 9, 9)}


def test_a_fixed_batch_stays():
    assert shapes.known(facts("fixed:4", x=(4, 2)), {}, batch=4) == {"x": (4, 2)}


@given(
    st.lists(st.one_of(st.integers(1, 9), st.sampled_from(("n", "?"))), max_size=5).map(tuple),
    st.integers(1, 8),
)
def test_known_shapes_are_numbers_and_fit_the_model(shape, batch):
    found = shapes.known(facts("free", x=shape), {}, batch=batch).get("x")
    if found is None:
        return
    assert len(found) == len(shape)
    assert all(type(d) is int for d in found)
    assert all(a == b for a, b in zip(found[1:], shape[1:], strict=True))


# --- the clock ------------------------------------------------------------------------------------


@given(st.floats(0, 1e6), st.floats(0.1, 5))
def test_without_a_budget_nothing_is_capped(wanted, least):
    clock = context.Clock()
    assert clock.left_s == float("inf") and clock.reserve_s == 0
    assert clock.cap(wanted, least_s=least) == max(wanted, least)


@given(st.floats(1, 1e4), st.floats(0, 2e4), st.floats(0.1, 1e5))
def test_a_budget_caps_what_is_wanted_and_never_below_the_least(budget, passed, wanted):
    clock = context.Clock(budget)
    clock.started -= passed
    capped = clock.cap(wanted)
    assert 1.0 <= capped <= max(1.0, wanted)
    assert capped <= max(1.0, budget - passed)
    assert 0 <= clock.left_s <= max(0.0, budget - passed)
    assume(budget - passed > 1)
    assert clock.reserve_s == budget / 2


@pytest.mark.parametrize(
    ("count", "pairs", "tested", "decides"),
    [(4, 5, 2000, False), (19, 19, 2000, False), (4, 5, 300, True), (1, 20, 9000, True)],
)
def test_a_few_near_copies_keep_no_verdict_open(count, pairs, tested, decides):
    named = tuple((f"c{i}", f"t{i}", "test", "alike") for i in range(pairs))
    finding = Finding(code=NEAR_TEST, level=RED, text="near", count=count, pairs=named)
    assert material(finding, tested) is decides
