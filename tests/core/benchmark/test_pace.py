"""Why INT8 is not faster: only what was measured is said, with its figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.benchmark import pace
from seatrial.benchmark.pace import Seen, causes, islands, lone


def layer(
    op: str = "Conv", precision: str = "INT8", ms: float | None = 1.0, node: str = ""
) -> dict[str, Any]:
    return {
        "layer": node or op,
        "op_type": op,
        "precision": precision,
        "ms": ms,
        "nodes": [node] if node else [],
    }


def codes(seen: Seen) -> list[str]:
    return [row["code"] for row in causes(seen)]


def test_nothing_is_said_when_nothing_is_known() -> None:
    assert causes(Seen()) == []
    assert causes(Seen(int8=(layer(), layer()), fp32_ms=9.0, int8_ms=9.0)) == []


@pytest.mark.parametrize(("products", "told"), [(True, False), (False, True), (None, False)])
def test_a_cpu_without_int8_products_is_told_where_it_counts(products, told) -> None:
    assert ("no-int8-products" in codes(Seen(products=products))) == told


@pytest.mark.parametrize(
    ("op", "code"),
    [
        ("QuantizeLinear", "conversions"),
        ("convert_f32", "conversions"),
        ("Cast", "conversions"),
        ("Reorder", "reformat"),
        ("Transpose", "reformat"),
    ],
)
def test_conversions_and_copies_are_told_with_their_share(op, code) -> None:
    (found,) = causes(Seen(int8=(layer(op, ms=1.0), layer(ms=3.0))))
    assert (found["code"], found["share"]) == (code, 0.25)
    assert "25% of the layers' time" in found["text"]


@pytest.mark.parametrize("ms", [0.04, None])
def test_what_costs_nothing_or_was_not_timed_is_no_cause(ms) -> None:
    assert causes(Seen(int8=(layer("Reorder", ms=ms), layer(ms=0.96 if ms else None)))) == []


def test_islands_of_float_between_int8_layers() -> None:
    chain = (
        layer(node="a"),
        layer("DequantizeLinear", "FP32", 0.1),
        layer("Softmax", "FP32", 2.0),
        layer("Mul", "FP32", 1.0),
        layer("QuantizeLinear", ms=0.1),
        layer(node="b"),
        layer("Softmax", "FP32", 5.0),
    )
    assert [[ly["op_type"] for ly in run] for run in islands(chain)] == [["Softmax", "Mul"]]
    found = {row["code"]: row for row in causes(Seen(int8=chain, heavy=("a", "b")))}
    assert found["islands"]["share"] == pytest.approx(3.0 / 10.2)
    assert found["islands"]["layers"] == ["Softmax", "Mul"]
    assert "1 island of float between INT8 layers: 2 layers" in found["islands"]["text"]
    assert "not-int8" not in found


def test_weights_that_stayed_in_float_are_another_cause() -> None:
    chain = (layer(node="a"), layer("Conv", "FP32", 3.0, "b"), layer(node="c"))
    (found,) = causes(Seen(int8=chain, heavy=("a", "b", "c")))
    assert found["code"] == "not-int8"
    assert found["text"].startswith("1 of 3 layers with weights ran in float, 60%")


def test_layers_whose_precision_is_not_told_are_not_called_float() -> None:
    assert islands((layer(), layer(precision=""), layer())) == []


def test_lone_int8_layers_pay_two_conversions() -> None:
    chain = (
        layer("Add", "FP32"),
        layer(node="a"),
        layer("Add", "FP32"),
        layer(node="b"),
        layer(node="c"),
        layer("Add", "FP32"),
        layer(node="d"),
    )
    assert lone(chain, ("a", "b", "c", "d")) == ("a",)


def test_slower_kernels_and_tiny_layers() -> None:
    tiny = tuple(layer(ms=0.01) for _ in range(8))
    seen = Seen(int8=(*tiny, layer(ms=0.1)), slower={"a": 0.05, "b": 0.01})
    found = {row["code"]: row for row in causes(seen)}
    assert found["slower-kernels"]["share"] == pytest.approx(0.06 / 0.18)
    assert found["slower-kernels"]["layers"] == ["a", "b"]
    assert found["tiny-layers"]["share"] == pytest.approx(0.08 / 0.18)
    assert "8 of 9 layers" in found["tiny-layers"]["text"]


def test_memory_bound_by_the_bandwidth_that_was_measured() -> None:
    known = {"int8_bytes": 5_000_000, "int8_ms": 1.0}
    (found,) = causes(Seen(bandwidth=1e10, **known))
    assert (found["code"], found["share"]) == ("memory-bound", 0.5)
    assert "10.0 GB/s" in found["text"]
    assert causes(Seen(bandwidth=1e11, **known)) == []
    assert causes(Seen(bandwidth=0.0, **known)) == []


def test_layers_without_weights_bound_what_can_be_gained() -> None:
    fp32 = (layer("Conv", "FP32", 1.0, "a"), layer("Softmax", "FP32", 3.0))
    (found,) = causes(Seen(fp32=fp32, heavy=("a",)))
    assert (found["code"], found["share"]) == ("bound", 0.75)
    assert "1.3x as fast at most" in found["text"]
    # Without a layer that is known to have weights nothing can be said of the others.
    assert causes(Seen(fp32=fp32, heavy=("z",))) == []


@pytest.mark.parametrize(
    ("over", "said"),
    [((0.9, 0.8, 0.95), "faster"), ((1.0, 0.97, 1.03), "as fast"), ((2, 1.9, 2.1), "")],
)
def test_the_runtimes_own_float_may_be_as_fast(over, said) -> None:
    found = causes(Seen(native=("BF16", *over)))
    assert [row["code"] for row in found] == (["native-float"] if said else [])
    assert all(
        f"BF16, this runtime's own float on this machine, is {said}" in r["text"] for r in found
    )


@given(st.floats(min_value=1e-6, max_value=1e3, allow_nan=False))
def test_only_a_tiny_model_is_called_tiny(ms: float) -> None:
    assert ("dispatch" in codes(Seen(fp32_ms=ms))) == (ms < pace.TINY_MS)


LAYERS = st.lists(
    st.builds(
        layer,
        st.sampled_from(["Conv", "Add", "Reorder", "QuantizeLinear", "Softmax"]),
        st.sampled_from(["INT8", "FP32", "BF16", "", "U8", "INT64"]),
        st.one_of(st.none(), st.floats(0, 10)),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=12,
)


@given(LAYERS, LAYERS)
def test_shares_are_shares_and_every_cause_has_words(int8, fp32) -> None:
    seen = Seen(int8=tuple(int8), fp32=tuple(fp32), heavy=("a", "b"), int8_ms=1.0)
    for row in causes(seen):
        assert row["text"]
        assert row["share"] is None or 0 <= row["share"] <= 1 + 1e-9
        assert len(row["layers"]) <= pace.NAMED


def test_an_artefact_that_is_int8_in_name_is_told_by_its_layers() -> None:
    """As an INT8 model ran of which only the last product was quantised."""
    convs = [layer(ms=0.02, precision="FP32", node=f"Conv#{k}") for k in range(9)]
    ends = [
        layer("ReorderOutput", "FP32", 0.004),
        layer("QuantizeLinear", "INT8", 0.004),
        layer("QGemm", "INT8", 0.007, node="Gemm#25"),
        layer("DequantizeLinear", "FP32", 0.004),
    ]
    told = pace.in_name_only([*convs, *ends])
    assert told == "INT8 in name: 1 of 10 layers with weights runs in INT8"
    # Labels of the float model need not be those of the quantised one.
    found = next(
        c for c in causes(Seen(int8=(*convs, *ends), heavy=("Gemm#9",))) if c["code"] == "not-int8"
    )
    assert found["text"].startswith("9 of 10 layers with weights ran in float")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([], False),
        ([("Add", "FP32"), ("Convert", "FP32")], False),
        ([("Conv", ""), ("Conv", "")], False),
        ([("QLinearConv", "INT8"), ("Conv", "FP32")], False),
        ([("Convolution", "I8"), ("FullyConnected", "f32"), ("MatMul", "BF16")], True),
        ([("Conv", "FP16"), ("Conv", "")], True),
        ([("QLinearConv", "INT8"), ("Conv", ""), ("Conv", "")], False),
    ],
)
def test_only_layers_with_weights_and_a_told_precision_count(layers: Any, told: bool) -> None:
    assert bool(pace.in_name_only([layer(op, precision) for op, precision in layers])) == told
