"""The pure rules of mixed precision: safe or not, how much to try, what no other point beats."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.diagnosis import mixed
from seatrial.intake.facts import ModelFacts, NodeFact
from seatrial.quantize.recipe import ERROR_FINE, KL_FINE
from seatrial.quantize.types import Score
from seatrial.results import LayerRun


def classes_score(kl, agreement=1.0, **more):
    losses = more.pop("losses", (kl, kl))
    return Score(n=100, classification=True, kl=kl, agreement=agreement, losses=losses, **more)


def error_score(*errors):
    return Score(n=len(errors), classification=False, losses=errors, errors=errors)


def facts(*nodes):
    rows = [
        NodeFact(
            label=label,
            op_type=op,
            domain="",
            index=k,
            scope="",
            inputs=tuple(inputs),
            outputs=(f"{label}_out",),
            depthwise=deep,
        )
        for k, (label, op, inputs, deep) in enumerate(nodes)
    ]
    return ModelFacts(
        path="m",
        sha256="",
        file_sha256="",
        bytes=0,
        ir_version=10,
        producer="",
        opsets={"": 20},
        inputs=(),
        outputs=(),
        op_types={},
        domains=(),
        nodes=tuple(rows),
    )


NET = facts(
    ("one", "Conv", ["x"], False),
    ("clip", "Clip", ["one_out"], False),
    ("two", "Conv", ["clip_out"], True),
    ("add", "Add", ["two_out", "clip_out"], False),
    ("relu", "Relu", ["add_out"], False),
    ("three", "Gemm", ["relu_out"], False),
)


# --- the safe rule ------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 20))
def test_safe_is_close_or_few_answers_changed(kl, agreement, max_drop):
    score = classes_score(kl, agreement)
    expected = kl <= KL_FINE or 100 * (1 - agreement) <= max_drop
    assert mixed.meets(score, max_drop) is expected
    assert f"KL {kl:.3g}" in mixed.rule_text(score, max_drop)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 10), st.floats(0, 10))
def test_a_larger_drop_never_makes_it_less_safe(kl, agreement, a, b):
    low, high = sorted((a, b))
    score = classes_score(kl, agreement)
    assert mixed.meets(score, high) >= mixed.meets(score, low)


def test_exactly_at_the_limits_is_safe():
    assert mixed.meets(classes_score(KL_FINE, 0.0), 0.0)
    assert not mixed.meets(classes_score(math.nextafter(KL_FINE, 1), 0.5), 1.0)
    assert mixed.meets(classes_score(9.0, 0.75), 25.0)
    assert mixed.meets(error_score(ERROR_FINE), 0.0)


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=20))
def test_without_classes_the_mean_relative_error_rules(errors):
    score = error_score(*errors)
    assert mixed.meets(score, 50.0) is (math.fsum(errors) / len(errors) <= ERROR_FINE)
    assert "relative error" in mixed.rule_text(score, 50.0)


def test_the_unknown_is_not_safe_and_not_unsafe():
    assert mixed.meets(None, 1.0) is None
    assert mixed.meets(classes_score(0.0, losses=()), 1.0) is None


@pytest.mark.parametrize("broken", [{"nonfinite": 1}, {"losses": (0.0, math.nan)}])
def test_an_output_that_is_no_number_is_never_safe(broken):
    assert mixed.meets(classes_score(0.0, 1.0, **broken), 100.0) is False


def test_the_loss_is_the_mean_and_none_where_it_means_nothing():
    assert mixed.loss(classes_score(0.5, losses=(0.25, 0.75))) == 0.5
    assert mixed.loss(None) is None
    assert mixed.loss(classes_score(0.5, losses=())) is None
    assert mixed.loss(classes_score(0.5, nonfinite=2)) is None


# --- prefixes -----------------------------------------------------------------------------------


@given(st.integers(0, 5000))
def test_sizes_double_and_end_with_all(total):
    found = mixed.sizes(total)
    assert list(found) == sorted(set(found))
    assert (found == ()) is (total == 0)
    if total:
        assert found[0] == 1 and found[-1] == total
        assert len(found) <= total.bit_length() + 1
        assert all(b <= 2 * a for a, b in itertools.pairwise(found))


@given(st.integers(1, 2000), st.data())
def test_the_refined_size_meets_and_is_close_to_one_that_fails(total, data):
    """With layers that help in order, the search ends within an eighth of the fewest needed."""
    needed = data.draw(st.integers(1, total))
    sizes = mixed.sizes(total)
    met = next(s for s in sizes if s >= needed)
    failed = max((s for s in sizes if s < needed), default=0)
    tries = 0
    while (middle := mixed.between(failed, met)) is not None:
        assert failed < middle < met
        failed, met = (failed, middle) if middle >= needed else (middle, met)
        tries += 1
    assert needed <= met <= needed + max(1, met // 8)
    assert tries <= 4


# --- the Pareto front ---------------------------------------------------------------------------

POINTS = st.dictionaries(
    st.text(max_size=3), st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12
)


@given(POINTS)
def test_the_front_is_what_no_other_point_beats(points):
    front = mixed.front(points)
    assert bool(front) is bool(points)

    def beats(p, q):
        return p != q and p[0] <= q[0] and p[1] <= q[1]

    for name, at in points.items():
        assert (name in front) is not any(beats(p, at) for p in points.values())
        # Whatever was left out is beaten by something that stayed.
        assert name in front or any(beats(points[kept], at) for kept in front)


def test_equal_points_stay_both():
    assert mixed.front({"a": (1, 1), "b": (1, 1), "c": (1, 2)}) == {"a", "b"}


# --- layers and their time ----------------------------------------------------------------------


def test_a_layer_ends_where_something_else_reads_or_joins():
    known = mixed.owners(NET)
    assert known["clip"] == known["clip_out"] == known["one_out"] == "one"
    assert known["two_out"] == "two" and known["three"] == "three"
    assert "add" not in known and "relu" not in known


def run(name, ms):
    return LayerRun(layer=name, op_type="", ms=ms)


def test_time_is_found_by_the_beginning_of_a_name():
    layers = [run("one/fused", 2.0), run("two_out", 1.0), run("other", 1.0), run("three", -1.0)]
    times, share = mixed.time_by_layer(layers, mixed.owners(NET))
    assert times == {"one": 2.0, "two": 1.0}
    assert share == 0.75
    assert mixed.time_by_layer([], mixed.owners(NET)) == ({}, 0.0)


def test_no_name_is_mistaken_for_a_shorter_one():
    times, _ = mixed.time_by_layer([run("onepoint", 1.0)], mixed.owners(NET))
    assert times == {}


def test_slower_layers_are_those_beyond_a_tenth_most_lost_first():
    plain = [run("one", 1.0), run("two", 1.0), run("three", 1.0)]
    int8 = [run("one", 1.5), run("two", 3.0), run("three", 1.1)]
    order = ("one", "two", "three")
    assert mixed.slower(NET, plain, int8, order) == {"two": 2.0, "one": 0.5}
    assert list(mixed.slower(NET, plain, int8, order)) == ["two", "one"]
    assert mixed.slower(NET, plain, int8, ("three",)) == {}


def test_a_profile_that_is_not_understood_decides_nothing():
    plain = [run("one", 1.0), run("unknown", 5.0)]
    assert mixed.slower(NET, plain, [run("one", 9.0)], ("one",)) == {}


def test_classes_divide_the_quantised_nodes_or_are_none():
    found = mixed.classes(NET, ("three", "one", "two"))
    assert found == {"Conv": ("one",), "depthwise Conv": ("two",), "Gemm": ("three",)}
    assert mixed.classes(NET, ("one",)) == {}
