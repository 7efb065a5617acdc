"""The operator table: claims with types, conditions, Q/DQ form; never ``supported``."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from trt_world import Zoo

import seatrial_tensorrt as backend
from seatrial.results import Claim
from seatrial_tensorrt import _static, _table, _versions

T = TensorProto
F, H, D, I64, U8 = T.FLOAT, T.FLOAT16, T.DOUBLE, T.INT64, T.UINT8


@pytest.fixture(autouse=True)
def none_installed(monkeypatch):
    """No TensorRT here, unless a test says which."""
    monkeypatch.setattr(_static, "installed", lambda: None)


def claims(zoo, path, **keywords):
    report = backend.seatrial_check_static(request=zoo.check(path, **keywords), job=zoo.job)
    return {c.node: c for c in report.claims}, report.notes


def said(zoo, path, node="n", **keywords):
    found = claims(zoo, path, **keywords)[0][node]
    return found.claim, found.reason


def test_the_table_knows_each_operator_once_and_by_onnx_names():
    data = json.loads(Path(_table.__file__).with_name("operators.json").read_text("utf-8"))
    listed = [op for ops in data["listed"].values() for op in ops]
    assert len(listed) == len(set(listed)) and not set(listed) & set(data["refused"])
    assert len(listed) > 150 and len(data["refused"]) > 35
    onnx_names = {s.name for s in onnx.defs.get_all_schemas_with_history()}
    own = {op for op in listed if op.startswith("TRT_")}
    own |= {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of ONNX before its first opset
    assert {op for op in [*listed, *data["refused"]] if op not in onnx_names} == own
    assert set(data["since"]) <= {*listed}


def test_a_plain_network_is_listed_node_by_node(zoo):
    found, notes = claims(zoo, zoo.cnn())
    assert {c.claim for c in found.values()} == {Claim.LISTED} and len(found) == 7
    assert all(c.source.startswith("operator table of TensorRT") for c in found.values())
    assert {c.confidence for c in found.values()} == {"medium"}
    assert notes == ("the table is read for TensorRT 11.4, since none is installed",)


def test_versions_decide_what_is_listed(zoo, monkeypatch):
    path = zoo.one("Swish", ["x"], opset=24)
    assert said(zoo, path)[0] is Claim.LISTED
    monkeypatch.setattr(_static, "installed", lambda: (10, 16))
    claim, reason = said(zoo, path)
    assert claim is Claim.UNSUPPORTED and reason == "listed from TensorRT 11.0 on"


def test_opsets_outside_the_documented_range_are_unknown(zoo, monkeypatch):
    for opset in (7, 26):
        claim, reason = said(zoo, zoo.one("Relu", ["x"], opset=opset))
        assert claim is Claim.UNKNOWN and f"9 to 25; the model has {opset}" in reason
    monkeypatch.setattr(_static, "installed", lambda: (10, 16))
    assert said(zoo, zoo.one("Relu", ["x"], opset=25))[0] is Claim.UNKNOWN
    assert said(zoo, zoo.one("Det", ["x"], shape=(3, 3), opset=7))[0] is Claim.UNSUPPORTED


def test_foreign_operators_need_a_plugin(zoo):
    path = zoo.one("MyOp", ["x"], domain="acme.ops")
    claim, reason = said(zoo, path)
    assert claim is Claim.UNSUPPORTED and "needs a plugin named MyOp" in reason
    assert said(zoo, path, options={"plugins": "mine.so"})[0] is Claim.UNKNOWN
    claim, reason = said(zoo, zoo.one("EfficientNMS_TRT", ["x"], domain="TRT"))
    assert claim is Claim.UNKNOWN and "plugin library" in reason
    assert said(zoo, zoo.one("TRT_Attention", ["x"], domain="trt"))[0] is Claim.LISTED
    claim, reason = said(zoo, zoo.one("Nonsense", ["x"]))
    assert claim is Claim.UNSUPPORTED and "no operator of ONNX" in reason


def test_the_domain_of_a_known_name_is_not_looked_at(zoo):
    claim, reason = said(zoo, zoo.one("Gelu", ["x"], domain="com.microsoft"))
    assert claim is Claim.UNKNOWN and "by the name alone" in reason
    path = zoo.one(
        "DequantizeLinear", ["x", "s", "z"], domain="com.microsoft", kind=U8,
        weights=[zoo.constant("s", np.float32(1)), zoo.constant("z", np.uint8(3))],
    )  # fmt: skip
    assert said(zoo, path)[0] is Claim.UNSUPPORTED


def test_types_are_followed_through_the_graph(zoo):
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], name="cast", to=I64),
        helper.make_node("Identity", ["a"], ["b"], name="pass"),
        helper.make_node("Softmax", ["b"], ["c"], name="soft"),
        helper.make_node("Shape", ["c"], ["d"], name="shape"),
        helper.make_node("Add", ["d", "d"], ["y"], name="add"),
    ]
    path = zoo.save(nodes, [zoo.value("x", [2, 3])], [zoo.value("y", None, I64)])
    found, _ = claims(zoo, path)
    assert found["soft"].claim is Claim.UNSUPPORTED
    assert found["soft"].reason == "Softmax of int64: taken are FP32, FP16, BF16"
    assert found["add"].claim is found["shape"].claim is Claim.LISTED


@pytest.mark.parametrize(
    ("kind", "claim"),
    [(F, "listed"), (H, "listed"), (D, "listed"), (I64, "unsupported"), (U8, "unsupported"),
     (TensorProto.UINT16, "unsupported"), (TensorProto.STRING, "unsupported")],
)  # fmt: skip
def test_types_of_one_operator(zoo, kind, claim):
    found, reason = said(zoo, zoo.one("Tanh", ["x"], kind=kind))
    assert found.value == claim
    assert ("narrowed" in reason) == (kind == D)


def test_constants_of_other_types_may_be_folded(zoo):
    path = zoo.one("Identity", ["w"], weights=[zoo.constant("w", np.uint8(3))], kind=U8, out=[])
    claim, reason = said(zoo, path)
    assert claim is Claim.UNKNOWN and "may be folded" in reason


def op(*arguments, **keywords):
    return arguments, keywords


AX = ("axes", np.array([1]))
#: what is made -> claim, and a word of the reason
CONDITIONS = [
    (op("MaxPool", ["x"], kernel_shape=[2, 2]), "listed", ""),
    (op("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 2]), "unsupported", "dilations"),
    (op("LpPool", ["x"], kernel_shape=[2, 2], p=3), "unsupported", "p other than"),
    (op("AveragePool", ["x"], kernel_shape=[1] * 4, shape=(1,) * 6), "unsupported", "three"),
    (op("ReduceSum", ["x", "axes"], constants=[AX]), "listed", ""),
    (op("ReduceSum", ["x", "x"]), "unsupported", "axes of ReduceSum"),
    (op("Unsqueeze", ["x", "axes"], constants=[AX]), "listed", ""),
    (op("TopK", ["x", "k"], constants=[("k", np.array([5]))]), "listed", ""),
    (op("TopK", ["x", "k"], constants=[("k", np.array([4000]))]), "unsupported", "below 3840"),
    (op("TopK", ["x", "k"], constants=[("k", np.array([5]))], sorted=0), "unsupported", "sorted"),
    (op("Resize", ["x", "", "s"], constants=[("s", np.ones(4, np.float32))]), "listed", ""),
    (op("Resize", ["x", "", "s"], mode="cubic"), "unknown", "mode cubic"),
    (op("Resize", ["x", "", "s"], mode="area"), "unsupported", "mode area"),
    (op("Resize", ["x", "", "s"], coordinate_transformation_mode="tf_half_pixel_for_nn",
        nearest_mode="floor"), "unsupported", "other rounding"),
    (op("BatchNormalization", ["x", "s", "b", "m", "v"], training_mode=1), "unsupported", "train"),
    (op("LpNormalization", ["x"], p=3), "unsupported", "p other than"),
    (op("Einsum", ["x", "x"], equation="bchw,bchw->bc"), "listed", ""),
    (op("Einsum", ["x", "x"], equation="Bchw,Bchw->Bc"), "unsupported", "Einsum with B"),
    (op("Resize", ["x", "", "s"], antialias=1, opset=18), "unsupported", "antialias"),
    (op("Resize", ["x", "", "s"], coordinate_transformation_mode="tf_crop_and_resize"),
     "unsupported", "coordinates"),
    (op("Resize", ["x", "", "", "z"], keep_aspect_ratio_policy="not_larger", opset=18),
     "unsupported", "aspect ratio"),
    (op("Resize", ["x", "", "s"], axes=[2, 3], opset=18), "unsupported", "some of the axes"),
    (op("LSTM", ["x", "w", "r"], hidden_size=4, layout=1), "unsupported", "layout"),
    (op("GRU", ["x", "w", "r"], direction="bidirectional",
        activations=["Sigmoid", "Tanh", "Sigmoid", "Relu"]), "unsupported", "differ"),
    (op("Dropout", ["x", "r", "t"], constants=[("t", np.array(True))]), "unsupported", "training"),
    (op("Dropout", ["x", "r", "t"], constants=[("t", np.array(False))]), "listed", ""),
    (op("Dropout", ["x", "r", "t"]), "unknown", "not constant"),
    (op("CumSum", ["x", "a"]), "unknown", "not constant"),
    (op("ScatterND", ["x", "i", "u"], reduction="add", opset=16), "unsupported", "reduction"),
    (op("STFT", ["x", "s"], shape=(1, 64, 1)), "unsupported", "frame_step"),
    (op("STFT", ["x", "s"], constants=[("s", np.array(8))], shape=(1, 64, 2)),
     "unsupported", "complex"),
    (op("Attention", ["x", "k", "v"], softcap=2.0, opset=23), "unsupported", "softcap"),
    (op("Attention", ["x", "k", "v"], shape=(1, 3, 8), opset=23), "unsupported", "rank 3"),
    (op("TensorScatter", ["x", "u"], axis=1, opset=24), "unsupported", "axis"),
    (op("DeformConv", ["x", "w", "o"], pads=[0, 0, 1, 1], opset=19), "unsupported", "pads"),
    (op("GridSample", ["x", "g"], shape=(1, 2, 3, 4, 5), opset=20), "listed", ""),
    (op("If", ["x"], kind=TensorProto.BOOL), "listed", "branches of one rank"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "claim", "word"), CONDITIONS, ids=lambda p: str(p)[:40])
def test_conditions_are_read_off_the_node(zoo, made, claim, word):
    arguments, keywords = made
    keywords = dict(keywords)
    weights = [zoo.constant(*c) for c in keywords.pop("constants", [])]
    found, reason = said(zoo, zoo.one(*arguments, weights=weights, **keywords))
    assert found.value == claim and word in reason


def test_grid_samples_of_five_axes_came_with_11_2(zoo, monkeypatch):
    path = zoo.one("GridSample", ["x", "g"], shape=(1, 2, 3, 4, 5), opset=20)
    monkeypatch.setattr(_static, "installed", lambda: (11, 1))
    assert said(zoo, path)[0] is Claim.UNSUPPORTED


def test_second_outputs_are_looked_at(zoo):
    for name, inputs, word in (
        ("MaxPool", ["x"], "Indices"),
        ("LayerNormalization", ["x", "s"], "other than the first"),
    ):
        node = helper.make_node(name, inputs, ["y", "z"], name="n", kernel_shape=[2, 2])
        path = zoo.save([node], [zoo.value("x", [1, 3, 8, 8])], [zoo.value("y", None)])
        claim, reason = said(zoo, path)
        assert claim is Claim.UNSUPPORTED and word in reason


# --- Q/DQ -----------------------------------------------------------------------------------------


def test_pairs_in_the_wanted_form_are_listed(zoo):
    found, _ = claims(zoo, zoo.qdq())
    assert {c.claim for c in found.values()} == {Claim.LISTED}
    assert found["q"].source.startswith("Q/DQ rules of the importer")


@pytest.mark.parametrize(
    ("made", "node", "claim", "word"),
    [
        ({"zero": 3}, "q", "unsupported", "zero point other than 0"),
        ({"zero": 0, "kind": np.uint8}, "q", "unsupported", "uint8"),
        ({"zero": 0, "kind": np.uint8}, "dq", "unsupported", "uint8"),
        ({"bias": True}, "b_dq", "unsupported", "leave the bias in float"),
        ({"axis": 1}, "w_dq", "unknown", "not its output channels"),
    ],
)
def test_pairs_in_other_forms(zoo, made, node, claim, word):
    found, notes = claims(zoo, zoo.qdq(**made))
    assert found[node].claim.value == claim and word in found[node].reason
    assert any("Q/DQ nodes are in a form that is refused" in n for n in notes) == (
        claim == "unsupported"
    )


def edited(zoo, edit):
    path = zoo.qdq()
    model = onnx.load(path)
    edit(model, {t.name: t for t in model.graph.initializer}, {n.name: n for n in model.graph.node})
    onnx.save(model, path)
    return path


def test_scales_and_zero_points_are_counted_and_positive(zoo):
    def negative(model, weights, nodes):
        weights["s0"].CopyFrom(zoo.constant("s0", np.float32(-0.1)))

    def fewer(model, weights, nodes):
        weights["wz"].CopyFrom(zoo.constant("wz", np.zeros(1, np.int8)))

    def longer(model, weights, nodes):
        weights["ws"].CopyFrom(zoo.constant("ws", np.ones(5, np.float32)))
        del nodes["w_dq"].input[2:]

    def none(model, weights, nodes):
        del nodes["q"].input[2:]

    def old(model, weights, nodes):
        model.opset_import[0].version = 12

    for edit, node, claim, word in (
        (negative, "q", Claim.UNSUPPORTED, "not above 0"),
        (fewer, "w_dq", Claim.UNSUPPORTED, "1 zero points for 8 scales"),
        (longer, "w_dq", Claim.UNSUPPORTED, "5 scales along axis 0"),
        (none, "q", Claim.UNKNOWN, "ONNX quantises to uint8"),
        (old, "w_dq", Claim.UNSUPPORTED, "from 13 on"),
    ):
        found, reason = said(zoo, edited(zoo, edit), node)
        assert found is claim and word in reason


def test_a_dla_leaves_open_what_a_gpu_refuses(zoo):
    claim, reason = said(zoo, zoo.qdq(zero=3), "q", target="dla0")
    assert claim is Claim.UNKNOWN and "a DLA may take it" in reason
    assert said(zoo, zoo.cnn(), "first", target="dla0")[0] is Claim.UNKNOWN
    assert said(zoo, zoo.one("Det", ["x"], shape=(3, 3)), target="dla0")[0] is Claim.UNSUPPORTED


# --- nested graphs and functions ------------------------------------------------------------------


def test_nodes_of_branches_are_judged_with_the_types_outside(zoo):
    def branch(name, kind):
        nodes = [
            helper.make_node("Cast", ["x"], ["c"], name="cast", to=kind),
            helper.make_node("Softmax", ["c"], ["z"], name="soft"),
        ]
        return helper.make_graph(nodes, name, [], [zoo.value("z", None)])

    node = helper.make_node(
        "If", ["c"], ["y"], name="if", then_branch=branch("t", I64), else_branch=branch("e", H)
    )
    fed = [zoo.value("x", [2]), zoo.value("c", [], TensorProto.BOOL)]
    found, _ = claims(zoo, zoo.save([node], fed, [zoo.value("y", None)]))
    assert list(found) == [
        "if", "if/else_branch/cast", "if/else_branch/soft", "if/then_branch/cast",
        "if/then_branch/soft",
    ]  # fmt: skip
    assert found["if/then_branch/soft"].claim is Claim.UNSUPPORTED
    assert found["if/else_branch/soft"].claim is Claim.LISTED


@pytest.mark.parametrize(("inner", "claim"), [("Relu", "listed"), ("Det", "unsupported")])
def test_local_functions_are_followed(zoo, inner, claim):
    body = helper.make_function(
        "acme", "Block", ["a"], ["b"], [helper.make_node(inner, ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    path = zoo.one("Block", ["x"], domain="acme", functions=[body], shape=(3, 3))
    found, reason = said(zoo, path)
    assert found.value == claim and (inner in reason) == (claim == "unsupported")


def test_a_function_needs_all_of_its_inputs(zoo):
    body = helper.make_function(
        "acme", "Block", ["a", "b"], ["c"], [helper.make_node("Relu", ["a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    claim, reason = said(zoo, zoo.one("Block", ["x"], domain="acme", functions=[body]))
    assert claim is Claim.UNSUPPORTED and "not given all of its inputs" in reason


def test_a_function_that_calls_itself_ends(zoo):
    body = helper.make_function(
        "acme", "Block", ["a"], ["b"], [helper.make_node("Block", ["a"], ["b"], domain="acme")],
        [helper.make_opsetid("acme", 1)],
    )  # fmt: skip
    path = zoo.one("Block", ["x"], domain="acme", functions=[body])
    assert said(zoo, path)[0] is not Claim.LISTED


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_graph_gets_one_claim_per_node_and_never_supported(tmp_path_factory, data):
    """Random operators on random inputs: a table answers everything, and dies of nothing."""
    names = sorted({s.name for s in onnx.defs.get_all_schemas()})
    count = data.draw(st.integers(1, 6))
    nodes, tensors = [], ["x", "w", ""]
    for k in range(count):
        inputs = data.draw(st.lists(st.sampled_from(tensors), max_size=4))
        nodes.append(helper.make_node(data.draw(st.sampled_from(names)), inputs, [f"t{k}"]))
        tensors.append(f"t{k}")
    if data.draw(st.booleans()):
        nodes.reverse()
    zoo = Zoo(tmp_path_factory.mktemp("any"))
    value = data.draw(st.sampled_from([np.float32(1), np.zeros(3, np.int64)]))
    weights = [zoo.constant("w", value)]
    path = zoo.save(nodes, [zoo.value("x", [2, 3])], [zoo.value("t0", None)], weights, opset=20)
    found, _ = claims(zoo, path)
    assert len(found) == count
    assert all(c.source and c.claim in tuple(Claim) for c in found.values())


def test_the_installed_version_is_read_from_metadata(monkeypatch):
    assert _versions.installed() is None or _versions.installed()[0] >= 10


def test_bodies_of_loops_take_the_types_that_are_handed_in(zoo):
    """Their inputs need declare none."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c_out"], name="going"),
            helper.make_node("Softmax", ["v"], ["v_out"], name="soft"),
        ],
        "body",
        [helper.make_value_info(n, onnx.TypeProto()) for n in ("i", "c", "v")],
        [helper.make_value_info(n, onnx.TypeProto()) for n in ("c_out", "v_out")],
    )
    for kind, claim in ((F, Claim.LISTED), (I64, Claim.UNSUPPORTED)):
        node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=body)
        fed = [zoo.value("n", [], I64), zoo.value("x", [3], kind)]
        found, _ = claims(zoo, zoo.save([node], fed, [zoo.value("y", [3], kind)]))
        assert found["loop/body/soft"].claim is claim
        assert found["loop/body/going"].claim is Claim.LISTED
