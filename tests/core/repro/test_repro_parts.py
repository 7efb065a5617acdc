"""The search is exact where it can be, and a cut computes what the whole model computes there."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.repro import child
from seatrial.repro.search import shortest
from seatrial.repro.symptom import Symptom
from seatrial.repro.types import RANDOM, CutRequest
from seatrial.testing import LocalJob


@given(st.data())
def test_the_run_that_is_needed_is_found_with_few_questions(data):
    count = data.draw(st.integers(1, 400))
    first = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(first + 1, count))
    asked = []

    def shows(low, high):
        asked.append((low, high))
        return low <= first and end <= high

    assert shortest(count, shows) == (first, end)
    assert len(asked) == len(set(asked)) <= 2 * count.bit_length() + 4


@given(st.integers(1, 60), st.randoms())
def test_every_run_that_is_given_was_seen_to_show_it(count, random):
    shown = {(0, count)}

    def shows(low, high):
        if random.random() < 0.4:
            shown.add((low, high))
            return True
        return False

    assert shortest(count, shows) in shown


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("crashed", "SIGSEGV", "", "died"), ("crashed", "SIGSEGV", "", "other words"), True),
        (("crashed", "SIGSEGV", "", ""), ("crashed", "SIGABRT", "", ""), False),
        (("crashed", "SIGSEGV", "", ""), ("timed out", "", "", ""), False),
        (
            ("refused", "", "TopK", "no TopK for n7"),
            ("refused", "", "TopK", "k is too large"),
            True,
        ),
        (("refused", "", "TopK", "no"), ("refused", "", "Conv", "no"), False),
        (
            ("raised", "", "", "RuntimeError: tensor 'conv_12/out' has rank 5, wanted 4"),
            ("raised", "", "", "RuntimeError: tensor 't3' has rank 5, wanted 4"),
            True,
        ),
        (
            ("raised", "", "", "RuntimeError: tensor has rank 5, wanted 4"),
            ("raised", "", "", "KeyError: no such attribute of this operator"),
            False,
        ),
    ],
)
def test_what_counts_as_the_same_symptom(one, other, same):
    keys = ("kind", "signal", "op_type", "text")
    first, second = (Symptom(**dict(zip(keys, v, strict=True))) for v in (one, other))
    assert first.same(second) is same
    assert not first.same(None)


def net(path):
    """Eight nodes with a branch, a body that reads from outside, and secret names."""
    draw = np.random.default_rng(0)
    body = helper.make_graph(
        [helper.make_node("Mul", ["secret_sum", "secret_two"], ["secret_then"])],
        "secret_body",
        [],
        [helper.make_tensor_value_info("secret_then", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(np.float32(2), "secret_two")],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["secret_sum"], ["secret_else"])],
        "secret_other",
        [],
        [helper.make_tensor_value_info("secret_else", TensorProto.FLOAT, [1, 6])],
    )
    nodes = [
        helper.make_node("Gemm", ["secret_x", "secret_w1"], ["secret_a"], name="secret_gemm1"),
        helper.make_node("Relu", ["secret_a"], ["secret_b"], name="secret_relu"),
        helper.make_node("Gemm", ["secret_b", "secret_w2"], ["secret_c"], name="secret_gemm2"),
        helper.make_node("Sigmoid", ["secret_b"], ["secret_d"], name="secret_sigmoid"),
        helper.make_node("Add", ["secret_c", "secret_d"], ["secret_sum"], name="secret_add"),
        helper.make_node("ReduceSum", ["secret_sum"], ["secret_r"], name="s1", keepdims=0),
        helper.make_node("Greater", ["secret_r", "secret_zero"], ["secret_if"], name="s2"),
        helper.make_node(
            "If", ["secret_if"], ["secret_y"], name="s3", then_branch=body, else_branch=other
        ),
    ]
    weights = [
        numpy_helper.from_array(draw.normal(0, 1, (5, 6)).astype(np.float32), "secret_w1"),
        numpy_helper.from_array(draw.normal(0, 1, (6, 6)).astype(np.float32), "secret_w2"),
        numpy_helper.from_array(np.float32(0), "secret_zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "secret_graph",
        [helper.make_tensor_value_info("secret_x", TensorProto.FLOAT, [1, 5])],
        [helper.make_tensor_value_info("secret_y", TensorProto.FLOAT, [1, 6])],
        weights,
        doc_string="secret_text",
    )
    model = helper.make_model(
        graph,
        producer_name="secret_tool",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, {"secret_key": "secret_value"})
    onnx.save(model, path)
    return path


def cut(tmp_path, path, **more):
    job = LocalJob(tmp_path / f"job{len(list(tmp_path.iterdir()))}")
    result = child.cut(CutRequest(model=job.add(path), **more), job)
    return result, job.out / "model.onnx"


def run(path, feeds, outputs=None):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = outputs or [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def tapped(path, tmp_path):
    """Every tensor of the main graph of the whole model, for one input."""
    model = onnx.load(path)
    inferred = onnx.shape_inference.infer_shapes(model)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.value_info)
    model.graph.output.append(helper.make_tensor_value_info("secret_y", TensorProto.FLOAT, [1, 6]))
    whole = tmp_path / "tapped.onnx"
    onnx.save(model, whole)
    x = np.random.default_rng(1).normal(0, 1, (1, 5)).astype(np.float32)
    return {"secret_x": x, **run(whole, {"secret_x": x})}


@pytest.mark.parametrize("first", range(8))
def test_a_cut_computes_what_the_model_computes_there(tmp_path, first):
    path = net(tmp_path / "m.onnx")
    values = tapped(path, tmp_path)
    for end in range(first + 1, 9):
        result, made = cut(tmp_path, path, first=first, end=end)
        assert result.artifact is not None, result.why_not
        assert result.nodes == end - first
        model = onnx.load(made)
        onnx.checker.check_model(model, full_check=True)
        given = run(made, {v.name: values[v.name] for v in model.graph.input})
        assert given
        for name, value in given.items():
            np.testing.assert_allclose(value, values[name], rtol=1e-5, atol=1e-6)


def test_nothing_of_the_original_is_left(tmp_path):
    path = net(tmp_path / "m.onnx")
    assert b"secret" in path.read_bytes()
    result, made = cut(tmp_path, path, weights=RANDOM, rename=True)
    content = made.read_bytes()
    assert b"secret" not in content
    assert result.replaced == 2
    for tensor in onnx.load(path).graph.initializer:
        if np.prod(tensor.dims) > child.STRUCTURE:
            assert tensor.raw_data not in content
    x = np.zeros((1, 5), np.float32)
    (name,) = (v.name for v in onnx.load(made).graph.input)
    assert next(iter(run(made, {name: x}).values())).shape == (1, 6)


def test_weights_are_the_same_each_time_and_say_when_they_are_kept(tmp_path):
    path = net(tmp_path / "m.onnx")
    _, one = cut(tmp_path, path, weights=RANDOM, seed=3)
    _, two = cut(tmp_path, path, weights=RANDOM, seed=3)
    assert one.read_bytes() == two.read_bytes()
    kept, _ = cut(tmp_path, path, first=0, end=1)
    assert kept.kept > 0
    bare, _ = cut(tmp_path, path, first=1, end=2)
    assert bare.kept == 0


@settings(max_examples=10, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_name_becomes_a_number(name):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", [name], [f"{name}1"], name=name)],
            name,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [name, 3])],
            [helper.make_tensor_value_info(f"{name}1", TensorProto.FLOAT, [name, 3])],
        )
    )
    child._rename(model)
    graph = model.graph
    assert graph.node[0].input[0] == graph.input[0].name == "t1"
    dims = [v.type.tensor_type.shape.dim[0].dim_param for v in (graph.input[0], graph.output[0])]
    assert dims[0] == dims[1]
    assert dims[0].startswith("d")
