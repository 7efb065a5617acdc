from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from seatrial.results import Claim, Verdict

n = helper.make_node
F, D, H = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16


def claims(report):
    return {c.node: (c.claim, c.reason) for c in report.claims}


def test_listed_nodes_name_the_registry(desk, make_convnet):
    report = desk.static(make_convnet())
    assert {c.claim for c in report.claims} == {Claim.LISTED}
    assert {c.confidence for c in report.claims} == {"high"}
    assert onnxruntime.__version__ in report.claims[0].source
    assert [c.node for c in report.claims][:3] == ["conv1", "Relu#1", "bn"]


def test_reason_names_operator_opset_or_type(desk, make_model):
    nodes = [
        n("Nope", ["x"], ["a"], name="unknown"),
        n("Det", ["m"], ["d"], name="double"),
        n("Gelu", ["x"], ["b"], name="newer"),
        n("Relu", ["x"], ["y"], name="fine"),
    ]
    io = [("x", F, [2]), ("m", D, [2, 2])]
    found = claims(desk.static(make_model(nodes, io, [("y", F, [2])], opset=17)))
    assert found["unknown"] == (Claim.UNSUPPORTED, "operator Nope is not known to the runtime")
    assert found["double"][0] is Claim.UNSUPPORTED
    assert "tensor(double)" in found["double"][1] and "tensor(float)" in found["double"][1]
    assert found["newer"][0] is Claim.UNSUPPORTED and "opset" in found["newer"][1]
    assert found["fine"][0] is Claim.LISTED


def test_opset_newer_than_the_runtime(desk, make_model):
    model = make_model([n("Relu", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])], opset=999)
    claim, reason = claims(desk.static(model))["Relu#0"]
    assert claim is Claim.UNSUPPORTED and "999" in reason


def test_nested_graphs_and_their_types(desk, make_model):
    inner = helper.make_graph([n("Det", ["m"], ["z"])], "b", [], [onnx_value("z")])
    other = helper.make_graph([n("Identity", ["k"], ["z2"])], "b", [], [onnx_value("z2")])
    nodes = [n("If", ["c"], ["y"], name="if", then_branch=inner, else_branch=other)]
    io = [("c", TensorProto.BOOL, []), ("m", D, [2, 2]), ("k", D, [])]
    found = claims(desk.static(make_model(nodes, io, [("y", D, None)])))
    assert found["if"][0] is Claim.LISTED
    assert found["if/then_branch/Det#0"][0] is Claim.UNSUPPORTED
    assert found["if/else_branch/Identity#0"][0] is Claim.LISTED


def onnx_value(name):
    import onnx

    return onnx.ValueInfoProto(name=name)


def test_functions_are_followed_to_their_nodes(desk, make_model):
    listed = make_model([n("Celu", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])])
    assert claims(desk.static(listed))["Celu#0"][0] is Claim.LISTED
    refused = make_model([n("HardSwish", ["x"], ["y"])], [("x", D, [2])], [("y", D, [2])])
    claim, reason = claims(desk.static(refused))["HardSwish#0"]
    assert claim is Claim.UNSUPPORTED and "HardSigmoid" in reason


def test_a_function_body_of_a_later_opset_does_not_count(desk, make_model):
    for opset, expected in ((17, Claim.UNSUPPORTED), (18, Claim.LISTED)):
        model = make_model(
            [n("HardSigmoid", ["x"], ["y"])], [("x", D, [2])], [("y", D, [2])], opset=opset
        )
        assert claims(desk.static(model))["HardSigmoid#0"][0] is expected
        accepted = desk.check(model).verdict is Verdict.SUPPORTED
        assert accepted is (expected is Claim.LISTED)


@pytest.mark.parametrize(("op", "claim"), [("Relu", Claim.LISTED), ("Nope", Claim.UNSUPPORTED)])
def test_local_functions(desk, make_model, op, claim):
    body = helper.make_function(
        "own", "F", ["a"], ["b"], [n(op, ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = make_model(
        [n("F", ["x"], ["y"], domain="own")],
        [("x", F, [2])],
        [("y", F, [2])],
        domains=["own"],
        functions=[body],
    )
    assert claims(desk.static(model))["F#0"][0] is claim


def test_a_function_that_calls_itself_does_not_recurse(desk, make_model):
    body = helper.make_function(
        "own", "F", ["a"], ["b"], [n("F", ["a"], ["b"], domain="own")],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    model = make_model(
        [n("F", ["x"], ["y"], domain="own")], [("x", F, [2])], [("y", F, [2])],
        domains=["own"], functions=[body],
    )  # fmt: skip
    assert claims(desk.static(model))["F#0"][0] is Claim.UNSUPPORTED


def test_half_precision_is_listed_with_the_casts_named(desk, make_model):
    model = make_model(
        [n("Conv", ["x", "w"], ["y"])],
        [("x", H, [1, 1, 4, 4])],
        [("y", H, None)],
        weights={"w": np.ones((1, 1, 1, 1), np.float16)},
    )
    claim, reason = claims(desk.static(model))["Conv#0"]
    assert claim is Claim.LISTED and "float32" in reason


def test_unsorted_nodes_are_typed(desk, make_model):
    nodes = [n("Det", ["a"], ["y"], name="late"), n("Cast", ["x"], ["a"], name="first", to=D)]
    found = claims(desk.static(make_model(nodes, [("x", F, [2, 2])], [("y", D, None)])))
    assert found["late"][0] is Claim.UNSUPPORTED and "double" in found["late"][1]


def test_a_type_that_cannot_be_known_is_unknown(desk, make_model):
    nodes = [
        n("Nope", ["x"], ["a"]),
        n("Relu", ["a"], ["b"], name="after"),
        n("Cast", ["b"], ["y"], to=F),
    ]
    found = claims(desk.static(make_model(nodes, [("x", F, [2])], [("y", F, [2])])))
    assert found["after"][0] is Claim.UNKNOWN
