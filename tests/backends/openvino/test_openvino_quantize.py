import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import seatrial_openvino as backend
from seatrial.codec import decode, encode
from seatrial.results import Quantized, QuantizeRequest
from seatrial_openvino import graph as g
from seatrial_openvino.quantizing import SCHEMES


def quantize(zoo, path, tensors, **request):
    store = zoo.store(tensors)
    wanted = {"target": "CPU", "calibration": store, **request}
    result = backend.seatrial_quantize(QuantizeRequest(model=zoo.job.add(path), **wanted), zoo.job)
    assert decode(Quantized, encode(result)) == result
    assert result.artifact.format == "onnx"
    return result, zoo.job.out / result.artifact.entry


@pytest.mark.parametrize("scheme", ["", *SCHEMES])
def test_a_portable_qdq_model_close_to_the_float_one(zoo, scheme):
    path = zoo.cnn()
    result, written = quantize(zoo, path, {"x": zoo.images()}, scheme=scheme)
    onnx.checker.check_model(written)
    kinds = [n.op_type for n in onnx.load(written).graph.node]
    assert kinds.count("QuantizeLinear") >= 3
    assert kinds.count("DequantizeLinear") >= 5
    assert not result.float_nodes
    feeds = {"x": zoo.images(4)[:1]}
    exact, close = (onnxruntime.InferenceSession(p).run(None, feeds)[0] for p in (path, written))
    assert 0 < np.abs(exact - close).max() < 0.1 * np.abs(exact).max()


def test_labels_of_unnamed_nodes_survive(zoo):
    path = zoo.cnn()
    model = onnx.load(path)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, path)
    _, written = quantize(zoo, path, {"x": zoo.images()})
    before = {n.label for n in g.read(path).nodes}
    assert before <= {n.label for n in g.read(written).nodes}


def test_a_node_kept_in_float_has_no_pairs(zoo):
    path = zoo.cnn()
    result, _ = quantize(zoo, path, {"x": zoo.images()}, keep_float=("first",))
    assert result.float_nodes == ("first",)
    assert "1 operations kept in float" in result.method


def test_attention_makes_it_a_transformer(zoo):
    tokens = zoo.rng.normal(0, 1, (16, 6, 8)).astype(np.float32)
    result, _ = quantize(zoo, zoo.attention(), {"x": tokens})
    assert "model_type TRANSFORMER" in result.method


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("MatMul", "x w", "a"), ("Softmax", "a", "s"), ("MatMul", "s w", "y")], True),
        ([("MatMul", "x w", "a"), ("Softmax", "a", "y")], False),
        ([("Softmax", "x", "s"), ("MatMul", "s w", "y")], False),
        ([("MatMul", "x w", "a"), ("Relu", "a", "r"), ("Softmax", "r", "s"),
          ("MatMul", "s w", "y")], False),
        ([("LayerNormalization", "x w", "y")], True),
    ],
)  # fmt: skip
def test_attention_is_told_from_a_classifier(nodes, expected):
    made = [helper.make_node(op, ins.split(), [out]) for op, ins, out in nodes]
    model = helper.make_model(helper.make_graph(made, "g", [], []))
    assert g.has_attention(g.of(model)) is expected


def test_what_cannot_be_done_is_said(zoo):
    with pytest.raises(ValueError, match="no scheme 'best'; there are nncf-mixed-histogram"):
        quantize(zoo, zoo.cnn(), {"x": zoo.images()}, scheme="best")
    with pytest.raises(ValueError, match="opset 13 and later, this one has 11"):
        quantize(zoo, zoo.cnn(opset=11), {"x": zoo.images()})
    with pytest.raises(ValueError, match="'nowhere', which the model does not have"):
        quantize(zoo, zoo.cnn(), {"x": zoo.images()}, keep_float=("nowhere",))
    with pytest.raises(ValueError, match="NNCF cannot quantise this model"):
        quantize(zoo, zoo.cnn(), {"x": zoo.images()[:, :2]})


def test_same_data_same_model(zoo):
    images = zoo.images()
    _, first = quantize(zoo, zoo.cnn(), {"x": images})
    content = first.read_bytes()
    _, second = quantize(zoo, zoo.cnn(), {"x": images})
    ours, again = onnx.load_from_string(content), onnx.load(second)
    assert [n.name for n in ours.graph.node] == [n.name for n in again.graph.node]


def test_nncf_is_spared_torch_and_nobody_else(tmp_path):
    code = """
import importlib.util, sys
from seatrial_openvino.alone import without_torch
with without_torch():
    import nncf
    assert "torch" not in sys.modules, "nncf brought torch in"
    nncf.common.utils.backend.is_torch_model(None)
assert "torch" not in sys.modules
assert importlib.util.find_spec("torch").origin
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
