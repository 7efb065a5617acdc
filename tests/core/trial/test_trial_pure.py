"""Layouts by shape, static shapes, the clock: functions of their arguments."""

from __future__ import annotations

import types

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seatrial.audit.rules import RED, Finding
from seatrial.benchmark.ranking import Ratio
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.stats import Quantile
from seatrial.report import speed_rows, target_rows
from seatrial.results import TensorIO
from seatrial.trial import context, execution, layouts, optimised, pace, shapes
from seatrial.trial.remarks import NEAR_TEST, material, red_rows

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
    found = Ratio(value=price, ci95=None, distinguishable=told_apart)
    chosen, reason = layouts._choice("NCHW", "NHWC", found)
    assert (chosen == "NHWC") == (told_apart and price <= 1)
    assert reason.startswith("NHWC ")
    assert ("within the noise" in reason) == (not told_apart)


def state(variant=None, **more):
    known = (
        {"layout": target_rows.layout_variant("NHWC", "rewritten", **variant)} if variant else {}
    )
    facts = {"layout_variants": known, "layout_native": "NCHW", **more}
    return types.SimpleNamespace(facts=facts)


def timed(**by_name):
    """Rounds that know contestants by name alone."""
    return types.SimpleNamespace(of=lambda state, name: by_name.get(name))


def test_no_proof_no_layout_row():
    assert layouts.layout_row(types.SimpleNamespace(facts={}), timed()) is None


def test_a_layout_that_computes_something_else_is_never_chosen():
    row = layouts.layout_row(state({"equivalent": False}), timed())
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
    rounds = timed(fp32=timing(own), layout=timing(changed))
    row = layouts.layout_row(state({"equivalent": True}), rounds)
    assert (row["native"], row["chosen"], row["reason"]) == ("NCHW", chosen, reason)
    first, second = row["variants"]
    assert (first["layout"], first["ratio"], first["p50_ms"]) == ("NCHW", 1.0, own)
    assert (second["layout"], second["p50_ms"]) == ("NHWC", changed)
    assert second["ratio"] == pytest.approx(changed / own)
    assert second["penalty_percent"] == pytest.approx(100 * (changed / own - 1))
    low, high = second["penalty_ci95"]
    assert low <= second["penalty_percent"] <= high
    assert second["distinguishable"] == (own != changed)


def test_too_few_rounds_choose_nothing():
    rounds = timed(fp32=timing(2.0, rounds=3), layout=timing(1.0, rounds=3))
    row = layouts.layout_row(state({"equivalent": True}), rounds)
    assert row["chosen"] == "NCHW" and "within the noise" in row["reason"]
    assert row["variants"][1]["penalty_ci95"] is None


def test_camera_frames_are_priced_beside_what_they_save():
    told = state({"equivalent": True}, layout_host_ms=0.4)
    told.facts["layout_variants"]["frames"] = target_rows.layout_variant(
        "NHWC", "folded", dtype="uint8", equivalent=True
    )
    rounds = timed(fp32=timing(1.0), layout=timing(1.0), frames=timing(1.1))
    row = layouts.layout_row(told, rounds)
    assert "camera frames cost +10.0 % in the graph and save 0.4 ms per call" in row["reason"]
    assert row["chosen"] == "NCHW"


def layer(op, layout="", ms=1.0, nodes=()):
    return {"op_type": op, "layout": layout, "ms": ms, "nodes": list(nodes), "layer": op}


def test_the_runtimes_own_layout_is_where_the_time_goes():
    layers = [
        layer("Conv", "acdb,x", 3.0),
        layer("Conv", "abcd", 2.0),
        layer("Reorder", "abcd", 9.0),
        layer("MatMul", "ab", 9.0),
    ]
    assert execution.main_layout(layers) == "acdb"
    assert execution.main_layout(layers[3:]) == "ab"
    assert execution.main_layout([layer("Conv")]) == ""
    assert execution.moving_ms(layers) == 9.0
    assert execution.moving_ms([layer("Conv", ms=None)]) is None


# --- what an optimiser did ------------------------------------------------------------------------


def node(label, op_type):
    return types.SimpleNamespace(label=label, op_type=op_type)


def test_fused_folded_and_inserted_are_told_by_what_became_of_each_node():
    nodes = [node("c", "Conv"), node("r", "Relu"), node("s", "Shape"), node("k", "Constant")]
    layers = [layer("Conv", "acdb", nodes=("r", "c")), layer("Reorder", "abcd", 0.5)]
    row = optimised.graph(nodes, layers)
    assert row["fused"] == [{"kinds": "Conv+Relu", "count": 1, "example": ["c", "r"]}]
    assert row["folded"] == ["s"]
    assert row["inserted"] == [{"op_type": "Reorder", "count": 1, "ms": 0.5}]
    assert row["layouts"] == {"acdb": 1, "abcd": 1}
    assert (row["nodes"], row["layers"], row["told"]) == (4, 2, True)


def test_a_runtime_that_names_no_nodes_has_folded_nothing():
    row = optimised.graph([node("c", "Conv")], [layer("anything")])
    assert (row["told"], row["folded"], row["inserted"], row["fused"]) == (False, [], [], [])


# --- what to ship for speed alone -----------------------------------------------------------------


def try_row(outcome="helps", of_fp32=1.5, ci95=(1.4, 1.6)):
    return speed_rows.pace_try("less", outcome=outcome, of_fp32=of_fp32, of_fp32_ci95=list(ci95))


@pytest.mark.parametrize(
    ("known", "native", "over", "recommend"),
    [
        ({"faster": True, "ci95": [1.4, 1.6]}, "", None, "INT8"),
        ({"faster": True, "ci95": [1.4, 1.6]}, "BF16", (0.8, True), "BF16"),
        ({"faster": True, "ci95": [1.4, 1.6]}, "BF16", (1.0, False), "BF16"),
        ({"faster": True, "ci95": [1.4, 1.6]}, "BF16", (1.2, True), "INT8"),
        ({"faster": False, "ci95": [0.6, 0.7]}, "", None, "FP32"),
        ({"faster": False, "ci95": [0.9, 1.1]}, "", None, "FP32"),
        ({"faster": False, "ci95": None}, "", None, ""),
        ({"faster": False, "ci95": [0.6, 0.7], "tried": [try_row()]}, "", None, "INT8 with less"),
        ({"faster": False, "ci95": [0.6, 0.7], "tried": [try_row("worse")]}, "", None, "FP32"),
        (
            {"faster": False, "ci95": [0.6, 0.7], "tried": [try_row(of_fp32=0.9, ci95=(0.8, 1))]},
            "",
            None,
            "FP32",
        ),
        ({"faster": False, "ci95": [0.6, 0.7], "tried": [try_row()]}, "BF16", (0.5, True), "BF16"),
    ],
)
def test_what_is_recommended_rests_on_intervals(known, native, over, recommend):
    row = speed_rows.pace(ratio=1.5, **known)
    found = Ratio(value=over[0], ci95=None, distinguishable=over[1]) if over else None
    said, text = pace.conclude(row, native, found)
    assert said == recommend
    assert text


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


def test_the_first_page_says_the_share_of_near_copies_that_decide_nothing():
    pairs = tuple((f"c{i}", f"t{i}", "test", "alike") for i in range(4))
    near = Finding(code=NEAR_TEST, level=RED, text="4 are near", count=4, pairs=pairs)
    [row] = red_rows([near], 1000)
    assert row["text"].endswith("touch 0.40% of the test set, and below 1% that is a warning only")
    [row] = red_rows([near], 100)
    assert row["text"] == "the audit has 1 red finding: 4 are near"
    [row] = red_rows([near, Finding(code="scale", level=RED, text="of 0 to 1")], 1000)
    assert (row["code"], row["level"]) == ("calibration.scale", "warning")
    assert row["text"] == "the audit has 2 red findings: of 0 to 1"
    assert red_rows([], 10) == []
