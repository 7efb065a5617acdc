"""``seatrial.models``: what every vendor would write otherwise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial import models
from seatrial import results as r


def net(path, nodes, *, shape=("n", 4), opsets=(("", 17),), constants=(), functions=(), ir=8):
    """A model from ``x`` to ``y``."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))
    graph = helper.make_graph(nodes, "g", [given], [made], list(constants))
    ids = [helper.make_opsetid(d, v) for d, v in opsets]
    model = helper.make_model(graph, opset_imports=ids, functions=functions, ir_version=ir)
    onnx.save(model, path)
    return path


def chain(path, **more):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    return net(path, nodes, **more)


def test_nodes_are_found_again_under_their_labels(tmp_path):
    before = chain(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "s").mkdir()
    model = models.read(tmp_path / "m.onnx", tmp_path / "s")
    assert model.labels == ("first", r.node_label("", "Neg", 1)) and model.types == ("Relu", "Neg")
    copy = onnx.load(model.path)
    assert [n.name for n in copy.graph.node] == ["seatrial_0", "seatrial_1"]
    assert (tmp_path / "m.onnx").read_bytes() == before
    assert model.index("layer seatrial_1/Neg failed") == 1 and model.label("seatrial_0") == "first"
    assert model.index("seatrial_12") is None and model.index("Neg") is None
    assert model.layer("seatrial_1_fused") == 1 and model.layer("of seatrial_1") is None
    finding = model.finding(1, "no rule")
    assert (finding.node, finding.op_type) == (model.labels[1], "Neg")
    assert finding.placement is r.Placement.NOWHERE and model.finding(None, "no").node == ""
    assert [p.node for p in model.placed("npu")] == list(model.labels)


def test_static_shapes_are_written_through(tmp_path):
    chain(tmp_path / "m.onnx")
    (tmp_path / "s").mkdir()
    model = models.read(tmp_path / "m.onnx", tmp_path / "s", {"x": (3, 4)})
    for tensor in (*model.inputs, *onnx.load(model.path).graph.output):
        assert [d.dim_value for d in tensor.type.tensor_type.shape.dim] == [3, 4]


def test_weights_beside_the_model_are_in_the_copy(tmp_path):
    weights = numpy_helper.from_array(np.arange(400, dtype=np.float32).reshape(100, 4), "w")
    nodes = [
        helper.make_node("ReduceSum", ["w"], ["s"], keepdims=0, name="sum"),
        helper.make_node("Add", ["x", "s"], ["y"], name="add"),
    ]
    net(tmp_path / "m.onnx", nodes, constants=[weights])
    stored = onnx.load(tmp_path / "m.onnx")
    onnx.save(stored, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    (tmp_path / "s").mkdir()
    model = models.read(tmp_path / "m.onnx", tmp_path / "s")
    (copied,) = onnx.load(model.path, load_external_data=False).graph.initializer
    assert numpy_helper.to_array(copied).sum() == np.arange(400).sum()
    assert [i.name for i in model.inputs] == ["x"]


def test_functions_are_expanded_and_their_nodes_bear_no_label(tmp_path):
    inner = [helper.make_node("Relu", ["p"], ["q"], name="seatrial_1")]
    twice = helper.make_function("own", "Twice", ["p"], ["q"], inner, [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Twice", ["x"], ["a"], domain="own", name="call"),
        helper.make_node("Neg", ["a"], ["y"], name="neg"),
    ]
    net(tmp_path / "m.onnx", nodes, opsets=(("", 17), ("own", 1)), functions=[twice])
    (tmp_path / "s").mkdir()
    model = models.read(tmp_path / "m.onnx", tmp_path / "s")
    found = {n.op_type: model.label(n.name) for n in model.proto.graph.node}
    assert model.labels == ("call", "neg") and found["Neg"] == "neg"
    assert found["Relu"] == ""
    said = models.claims(tmp_path / "m.onnx", lambda n: (r.Claim.LISTED, ""), source="table 1")
    assert [c.claim for c in said.claims] == [r.Claim.UNKNOWN, r.Claim.LISTED]


def test_a_file_format_of_the_future_is_read_an_opset_of_the_future_is_not(tmp_path):
    (tmp_path / "s").mkdir()
    new = chain(tmp_path / "m.onnx", ir=onnx.IR_VERSION + 1)
    assert models.read(new, tmp_path / "s").proto.ir_version == onnx.IR_VERSION
    newest = onnx.defs.onnx_opset_version()
    chain(new, opsets=(("", newest + 1),))
    with pytest.raises(models.InvalidModelError) as caught:
        models.read(new, tmp_path / "s")
    report = caught.value.report()
    assert report.verdict is r.Verdict.UNSUPPORTED and report.depth is r.Depth.PARSE
    assert report.findings[0].reason


def test_a_fault_in_onnx_itself_is_not_the_models(tmp_path):
    """The checker refuses the function by which ONNX defines this operator."""
    (tmp_path / "s").mkdir()
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="mvn")
    net(tmp_path / "m.onnx", [node], shape=(3, 3, 3, 1), opsets=(("", 13),), ir=7)
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    assert models.read(tmp_path / "m.onnx", tmp_path / "s").labels == ("mvn",)
    wrong = helper.make_node("MatMul", ["x", "x"], ["y"], name="product")
    net(tmp_path / "m.onnx", [wrong], shape=(2, 4))
    with pytest.raises(models.InvalidModelError):
        models.read(tmp_path / "m.onnx", tmp_path / "s")


def test_an_invalid_model_and_a_refused_one_become_reports(tmp_path):
    (tmp_path / "s").mkdir()
    bad = net(tmp_path / "m.onnx", [helper.make_node("Relu", ["nobody"], ["y"])])
    with pytest.raises(models.RefusedError) as caught:
        models.read(bad, tmp_path / "s")
    (finding,) = caught.value.report().findings
    assert "nobody" in finding.reason and "\n" not in finding.reason
    model = models.read(chain(tmp_path / "n.onnx"), tmp_path / "s")
    report = models.RefusedError(*(model.finding(k, "no rule") for k in range(2))).report()
    assert report.depth is r.Depth.MAP and [f.node for f in report.findings] == list(model.labels)


def test_a_table_speaks_of_every_node(tmp_path):
    def judge(node):
        known = node.op_type == "Relu"
        return (r.Claim.LISTED, "") if known else (r.Claim.UNSUPPORTED, "no rule")

    said = models.claims(chain(tmp_path / "m.onnx"), judge, source="table 1", notes=("read",))
    assert [(c.node, c.confidence) for c in said.claims] == [
        ("first", "medium"),
        (r.node_label("", "Neg", 1), "high"),
    ]
    assert {c.source for c in said.claims} == {"table 1"} and said.notes == ("read",)
