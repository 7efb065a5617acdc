"""Blocks written out and put together again: the same values, and only where they are the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from seatrial import reference
from seatrial.export.fuse_child import fuse
from seatrial.export.plain_child import Refused, write_out
from seatrial.export.recipes import PLAIN

quick = settings(deadline=None, max_examples=8)
SIZES = st.integers(1, 4)
SEEDS = st.integers(0, 99)


def graph(nodes, shapes, constants=None, *, opset=21):
    """A model; input shapes by name, constants by name, one output of the first rank."""
    rank = len(next(iter(shapes.values())))
    kind = onnx.TensorProto.FLOAT
    held = {k: np.asarray(v) for k, v in (constants or {}).items()}
    whole = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, kind, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info("y", kind, list(map(str, range(rank))))],
        [numpy_helper.from_array(v, k) for k, v in held.items()],
    )
    foreign = {n.domain for n in nodes if n.domain}
    opsets = [("", opset), *((d, 1) for d in foreign)]
    made = [helper.make_opsetid(*o) for o in opsets]
    return helper.make_model(whole, opset_imports=made, ir_version=10)


def types(model):
    return Counter(n.op_type for n in model.graph.node)


def outputs(model, feeds, folder):
    onnx.save(model, folder / "m.onnx")
    return reference.open_model(folder / "m.onnx").run(feeds)["y"]


def numbers(seed, *shape):
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(np.float32)


def same(one, two, feeds, folder, tolerance=2e-5):
    onnx.checker.check_model(two)
    a, b = outputs(one, feeds, folder), outputs(two, feeds, folder)
    assert a.shape == b.shape and np.abs(a - b).max() <= tolerance * max(np.abs(a).max(), 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forms")


@quick
@given(seed=SEEDS, shape=st.lists(SIZES, min_size=1, max_size=4), opset=st.sampled_from((14, 21)))
def test_hard_swish_there_and_back(folder, seed, shape, opset):
    model = graph([helper.make_node("HardSwish", ["x"], ["y"])], {"x": shape}, opset=opset)
    feeds = {"x": numbers(seed, *shape)}
    plain = write_out(model, ["HardSwish"])
    assert types(plain) == {"Add": 1, "Clip": 1, "Mul": 1, "Div": 1}
    same(model, plain, feeds, folder)
    back = fuse(plain, ["HardSwish"])
    assert types(back) == {"HardSwish": 1}
    same(model, back, feeds, folder)


SWISHES = {
    "x * (clip / 6)": ["Add x c3 a", "Clip a c0 c6 b", "Div b c6 c", "Mul x c y"],
    "x * (clip * sixth)": ["Add c3 x a", "Clip a c0 c6 b", "Mul b s c", "Mul c x y"],
    "(x * clip) * sixth": ["Add x c3 a", "Clip a c0 c6 b", "Mul b x c", "Mul s c y"],
    "(x * sixth) * clip": ["Mul x s c", "Add x c3 a", "Clip a c0 c6 b", "Mul c b y"],
    "min and max": ["Add x c3 a", "Max a c0 m", "Min m c6 b", "Mul x b c", "Div c c6 y"],
}
NUMBERS = {"c3": 3, "c0": 0, "c6": 6, "s": 1 / 6}


def swish(name, **other):
    words = [w.split() for w in SWISHES[name]]
    nodes = [helper.make_node(op, inputs, [out]) for op, *inputs, out in words]
    used = {w for line in words for w in line}
    held = {k: np.float32(v) for k, v in (NUMBERS | other).items() if k in used}
    return graph(nodes, {"x": [2, 3]}, held, opset=18)


@pytest.mark.parametrize("name", SWISHES)
def test_every_way_to_write_hard_swish_becomes_one(name, folder):
    model = swish(name)
    back = fuse(model, ["HardSwish"])
    assert types(back) == {"HardSwish": 1}
    same(model, back, {"x": numbers(1, 2, 3)}, folder)


@pytest.mark.parametrize("wrong", [{"c3": 2.9}, {"c6": 5.5}, {"c0": -0.1}, {"s": 0.17}])
@pytest.mark.parametrize("name", ["x * (clip * sixth)", "(x * clip) * sixth"])
def test_what_is_nearly_hard_swish_stays(name, wrong):
    with pytest.raises(Refused, match="nothing in the model"):
        fuse(swish(name, **wrong), ["HardSwish"])


@quick
@given(seed=SEEDS, alpha=st.floats(0.05, 2), beta=st.floats(-1, 1))
def test_hard_sigmoid_is_written_out(folder, seed, alpha, beta):
    node = helper.make_node("HardSigmoid", ["x"], ["y"], alpha=alpha, beta=beta)
    model = graph([node], {"x": ["n", 5]})
    plain = write_out(model, ["HardSigmoid"])
    assert types(plain) == {"Mul": 1, "Add": 1, "Clip": 1}
    same(model, plain, {"x": numbers(seed, 3, 5)}, folder)


@quick
@given(seed=SEEDS, groups=SIZES, each=SIZES, open_batch=st.booleans(), data=st.data())
def test_group_normalization_there_and_back(folder, seed, groups, each, open_batch, data):
    channels = groups * each
    sizes = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=2))
    node = helper.make_node(
        "GroupNormalization", ["x", "s", "b"], ["y"], num_groups=groups, epsilon=1e-3
    )
    held = {"s": numbers(seed + 1, channels), "b": numbers(seed + 2, channels)}
    model = graph([node], {"x": ["n" if open_batch else 2, channels, *sizes]}, held)
    feeds = {"x": numbers(seed, 2, channels, *sizes)}
    plain = write_out(model, ["GroupNormalization"])
    assert types(plain) == {"Reshape": 2, "InstanceNormalization": 1, "Mul": 1, "Add": 1}
    same(model, plain, feeds, folder, 1e-4)
    back = fuse(plain, ["GroupNormalization"])
    assert types(back) == {"GroupNormalization": 1}
    same(model, back, feeds, folder, 1e-4)


def test_group_normalization_with_a_factor_per_group_is_of_opset_18(folder):
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    held = {"s": numbers(1, 2), "b": numbers(2, 2)}
    model = graph([node], {"x": [2, 6, 3, 3]}, held, opset=18)
    plain = write_out(model, ["GroupNormalization"])
    x = numbers(3, 2, 6, 3, 3)
    parts = x.reshape(2, 2, -1).astype(np.float64)
    normal = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + 1e-5)
    expected = normal * held["s"][:, None] + held["b"][:, None]
    given = outputs(plain, {"x": x}, folder)
    assert np.abs(given - expected.reshape(x.shape)).max() < 1e-4


@quick
@given(seed=SEEDS, shape=st.lists(st.integers(2, 4), min_size=2, max_size=4), data=st.data())
def test_layer_normalization_is_written_out(folder, seed, shape, data):
    axis = data.draw(st.integers(-len(shape) + 1, len(shape) - 1).filter(lambda a: a != 0))
    opset = data.draw(st.sampled_from((17, 18)))
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis)
    inner = shape[axis:]
    held = {"s": numbers(seed + 1, *inner), "b": numbers(seed + 2, *inner)}
    model = graph([node], {"x": shape}, held, opset=opset)
    plain = write_out(model, ["LayerNormalization"])
    assert "LayerNormalization" not in types(plain) and types(plain)["ReduceMean"] == 2
    same(model, plain, {"x": numbers(seed, *shape)}, folder, 1e-3)


def test_layer_normalization_comes_back(folder):
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"])
    model = graph([node], {"x": [2, 8]}, {"s": numbers(1, 8), "b": numbers(2, 8)})
    back = fuse(write_out(model, ["LayerNormalization"]), ["LayerNormalization"])
    assert types(back) == {"LayerNormalization": 1}
    same(model, back, {"x": numbers(3, 2, 8)}, folder)


@quick
@given(seed=SEEDS, heads=SIZES, size=SIZES, steps=SIZES, masked=st.booleans(), flat=st.booleans())
def test_attention_is_written_out(folder, seed, heads, size, steps, masked, flat):
    shape = [2, steps, heads * size] if flat else [2, heads, steps, size]
    told = {"q_num_heads": heads, "kv_num_heads": heads} if flat else {"scale": 0.7}
    names = ["q", "k", "v", *(["m"] if masked else [])]
    node = helper.make_node("Attention", names, ["y"], **told)
    shapes = dict.fromkeys("qkv", shape) | ({"m": [steps, steps]} if masked else {})
    model = graph([node], shapes, opset=23)
    plain = write_out(model, ["Attention"])
    assert types(plain)["MatMul"] == 2 and types(plain)["Softmax"] == 1
    feeds = {n: numbers(seed + i, *s) / 3 for i, (n, s) in enumerate(shapes.items())}
    same(model, plain, feeds, folder)


@quick
@given(seed=SEEDS, heads=SIZES, size=SIZES, steps=SIZES, biased=st.booleans())
def test_a_fused_attention_of_the_reference_is_written_out(
    folder, seed, heads, size, steps, biased
):
    hidden = heads * size
    held = {"bias": numbers(seed + 9, 3 * hidden)} if biased else {}
    node = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", *held], ["y"], domain="com.microsoft", num_heads=heads
    )
    shapes = {n: [2, steps, hidden] for n in "qkv"}
    model = graph([node], shapes, held)
    plain = write_out(model, ["MultiHeadAttention"])
    assert {n.domain for n in plain.graph.node} == {""} and len(plain.opset_import) == 1
    feeds = {n: numbers(seed + i, *s) / 3 for i, (n, s) in enumerate(shapes.items())}
    same(model, plain, feeds, folder)


@quick
@given(seed=SEEDS, heads=SIZES, size=SIZES, steps=SIZES)
def test_a_packed_attention_of_the_reference_is_written_out(folder, seed, heads, size, steps):
    hidden = heads * size
    held = {"w": numbers(seed + 1, 5, 3 * hidden) / 3, "b": numbers(seed + 2, 3 * hidden)}
    node = helper.make_node(
        "Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=heads
    )
    model = graph([node], {"x": [2, steps, 5]}, held)
    plain = write_out(model, ["Attention"])
    assert {n.domain for n in plain.graph.node} == {""}
    same(model, plain, {"x": numbers(seed, 2, steps, 5) / 3}, folder)


REFUSED = [
    ("Attention", {"is_causal": 1}, ["q", "k", "v"], "is_causal"),
    ("Attention", {"softcap": 2.0}, ["q", "k", "v"], "softcap"),
    ("Attention", {}, ["q", "k", "v", "", "k", "v"], "a cache"),
    ("LayerNormalization", {}, ["q", "s"], "is read"),
]


@pytest.mark.parametrize(("op", "told", "inputs", "why"), REFUSED)
def test_a_use_that_is_not_covered_is_refused_by_name(op, told, inputs, why):
    more = {"LayerNormalization": ["mean"], "Attention": []}[op]
    nodes = [helper.make_node(op, inputs, ["a", *more], **told)]
    nodes.append(helper.make_node("Sum", ["a", *more], ["y"]))
    shapes = {n: [2, 3, 4, 5] for n in inputs if n and n != "s"}
    model = graph(nodes, shapes, {"s": numbers(1, 5)}, opset=23)
    with pytest.raises(Refused, match=why):
        write_out(model, [op])


def test_what_has_no_plain_form_or_is_not_there_is_refused():
    model = graph([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, opset=13)
    with pytest.raises(Refused, match="no plain form of Relu"):
        write_out(model, ["Relu"])
    for op in PLAIN:
        with pytest.raises(Refused, match="the model has no"):
            write_out(model, [op])
    with pytest.raises(Refused, match="HardSwish needs opset 14"):
        fuse(model, ["HardSwish"])
    with pytest.raises(Refused, match="no recipe that gives Relu"):
        fuse(model, ["Relu"])
