import onnx
import pytest
from onnx import TensorProto, helper

from seatrial.codec import decode, encode
from seatrial.results import (
    CheckRequest,
    Claim,
    CompileReport,
    Depth,
    Placement,
    StaticReport,
    Verdict,
)
from seatrial_openvino import graph as g
from seatrial_openvino import seatrial_check_static, seatrial_compile_check
from seatrial_openvino.check import place
from seatrial_openvino.names import Names


def compile_check(zoo, path, **request):
    wanted = {"target": "CPU", **request}
    report = seatrial_compile_check(CheckRequest(model=zoo.job.add(path), **wanted), zoo.job)
    assert decode(CompileReport, encode(report)) == report
    return report


def static(zoo, path):
    report = seatrial_check_static(CheckRequest(model=zoo.job.add(path), target="CPU"), zoo.job)
    assert decode(StaticReport, encode(report)) == report
    return {c.node: c for c in report.claims}


def custom(zoo, name="custom"):
    """Three custom nodes, one of them without a name, between two standard ones."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="before"),
        helper.make_node("Odd", ["a"], ["b"], domain="acme"),
        helper.make_node("Odd", ["b"], ["c"], name="second", domain="acme"),
        helper.make_node("Relu", ["c"], ["d"], name="between"),
        helper.make_node("Other", ["d"], ["y"], name="third", domain="acme"),
    ]
    values = [zoo.value("x", [1, 4])], [zoo.value("y", [1, 4])]
    return zoo.save(nodes, *values, domains=["acme"], name=name)


def branches(zoo, inner, *, domain="", name="branches"):
    then = helper.make_graph(
        [helper.make_node(inner, ["x"], ["t"], name="inner", domain=domain)],
        "then",
        [],
        [zoo.value("t", None if domain else [1, 4])],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"], name="minus")], "else", [], [zoo.value("e", [1, 4])]
    )
    nodes = [
        helper.make_node("If", ["b"], ["y"], name="choice", then_branch=then, else_branch=other)
    ]
    inputs = [zoo.value("b", [], TensorProto.BOOL), zoo.value("x", [1, 4])]
    outputs = [zoo.value("y", [1, 4])]
    return zoo.save(nodes, inputs, outputs, domains=[domain] if domain else (), name=name)


def test_a_plain_model_is_built(zoo):
    report = compile_check(zoo, zoo.cnn())
    assert report.verdict is Verdict.SUPPORTED
    assert report.depth is Depth.ARTEFACT
    assert not report.findings
    assert {p.node for p in report.placements} == {
        "first", "act", "depth", "sum", "mean", "flat", "head",
    }  # fmt: skip
    assert all(p.placement is Placement.TARGET and p.on == "CPU" for p in report.placements)
    assert report.artifact.format == "openvino-ir"
    for file in report.artifact.files:
        assert (zoo.job.out / file).stat().st_size > 0
    assert [(t.name, t.dtype, t.shape) for t in report.artifact.inputs] == [
        ("x", "float32", (1, 3, 16, 16))
    ]


def test_every_custom_node_is_named(zoo):
    report = compile_check(zoo, custom(zoo))
    assert report.verdict is Verdict.UNSUPPORTED
    assert report.depth is Depth.PARSE
    assert report.artifact is None
    assert [(f.node, f.op_type, f.domain) for f in report.findings] == [
        ("Odd#1", "Odd", "acme"),
        ("second", "Odd", "acme"),
        ("third", "Other", "acme"),
    ]
    assert all(f.severity == "error" and "acme" in f.advice for f in report.findings)
    assert all(f.placement is Placement.NOWHERE for f in report.findings)


def test_static_lists_what_converts_and_never_says_supported(zoo):
    claims = static(zoo, custom(zoo))
    assert [claims[n].claim for n in ("Odd#1", "second", "third")] == [Claim.UNSUPPORTED] * 3
    assert claims["before"].claim is Claim.LISTED
    assert claims["between"].claim is Claim.LISTED
    assert all("OpenVINO" in c.source for c in claims.values())


def test_nodes_in_branches_are_named(zoo):
    good = branches(zoo, "Relu", name="good")
    assert compile_check(zoo, good).verdict is Verdict.SUPPORTED
    assert {n: c.claim for n, c in static(zoo, good).items()} == {
        "choice": Claim.LISTED,
        "choice/then_branch/inner": Claim.LISTED,
        "choice/else_branch/minus": Claim.LISTED,
    }
    bad = branches(zoo, "Odd", domain="acme", name="bad")
    report = compile_check(zoo, bad)
    assert report.verdict is Verdict.UNSUPPORTED
    assert [f.node for f in report.findings] == ["choice/then_branch/inner"]
    claims = static(zoo, bad)
    assert claims["choice/then_branch/inner"].claim is Claim.UNSUPPORTED
    assert claims["choice/else_branch/minus"].claim is Claim.LISTED


def test_loop(zoo):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"], name="same"),
            helper.make_node("Add", ["v", "v"], ["w"], name="double"),
        ],
        "body",
        [
            zoo.value("i", [], TensorProto.INT64),
            zoo.value("go", [], TensorProto.BOOL),
            zoo.value("v", [2]),
        ],
        [zoo.value("go_on", [], TensorProto.BOOL), zoo.value("w", [2])],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["y"], name="turn", body=body)]
    values = [zoo.value("x", [2])], [zoo.value("y", [2])]
    path = zoo.save(nodes, *values, [zoo.constant("n", 3)])
    assert compile_check(zoo, path).verdict is Verdict.SUPPORTED
    assert static(zoo, path)["turn/body/double"].claim is Claim.LISTED


def test_cause_and_consequence_are_told_apart(zoo):
    # Softmax before opset 13 needs a rank, which the custom node upstream has lost
    nodes = [
        helper.make_node("Odd", ["x"], ["a"], name="cause", domain="acme"),
        helper.make_node("Softmax", ["a"], ["y"], name="effect", axis=1),
    ]
    values = [zoo.value("x", [1, 4])], [zoo.value("y", [1, 4])]
    path = zoo.save(nodes, *values, domains=["acme"], opset=11)
    found = {f.node: f for f in compile_check(zoo, path).findings}
    assert set(found) == {"cause", "effect"}
    assert found["cause"].severity == "error"
    assert found["effect"].severity == "info"
    assert found["effect"].reason.startswith("follows from cause")


def test_a_rule_that_fails_names_all_nodes_it_fails_on(zoo):
    weights = [zoo.weight("w7", 7, 4)]
    nodes = [
        helper.make_node("MatMul", ["x", "w7"], ["a"], name="one"),
        helper.make_node("MatMul", ["x", "w7"], ["b"], name="two"),
        helper.make_node("Relu", ["x"], ["r"], name="fine"),
    ]
    outputs = [zoo.value(n, [1, 4]) for n in ("a", "b", "r")]
    report = compile_check(zoo, zoo.save(nodes, [zoo.value("x", [1, 4])], outputs, weights))
    assert [f.node for f in report.findings] == ["one", "two"]
    assert "Incompatible MatMul matrix dimension" in report.findings[0].reason


def test_a_file_that_is_no_model_is_refused_with_a_reason(zoo):
    path = zoo.root / "garbage.onnx"
    path.write_bytes(b"<html>sign in</html>")
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNSUPPORTED
    assert report.findings[0].node == ""
    assert report.findings[0].reason


def test_an_allocation_that_fails_is_no_verdict(zoo):
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["c"], name="huge"),
             helper.make_node("Add", ["c", "x"], ["y"], name="sum")]  # fmt: skip
    values = [zoo.value("x", [1])], [zoo.value("y", None)]
    path = zoo.save(nodes, *values, [zoo.constant("n", [1 << 44])])
    with pytest.raises(MemoryError):
        compile_check(zoo, path)


def test_external_data(zoo):
    path = zoo.cnn()
    model = onnx.load(path)
    folder = zoo.root / "apart"
    folder.mkdir()
    onnx.save(
        model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    assert compile_check(zoo, folder / "m.onnx").verdict is Verdict.SUPPORTED
    (folder / "m.data").unlink()
    report = compile_check(zoo, folder / "m.onnx")
    assert report.verdict is Verdict.UNSUPPORTED
    assert report.findings[0].reason


def test_shapes_make_a_free_model_static(zoo):
    path = zoo.cnn(batch="N")
    free = compile_check(zoo, path)
    assert free.artifact.inputs[0].shape == ("?", 3, 16, 16)
    fixed = compile_check(zoo, path, shapes={"x": (2, 3, 16, 16)})
    assert fixed.artifact.inputs[0].shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="lacks: z"):
        compile_check(zoo, path, shapes={"z": (1,)})


def test_int8_says_which_nodes_stay_float(zoo):
    report = compile_check(zoo, zoo.qdq(), precision="int8")
    assert report.verdict is Verdict.SUPPORTED
    assert [f.node for f in report.findings] == ["head"]
    assert report.findings[0].severity == "warning"
    assert "stays float" in report.findings[0].reason
    assert any(n.startswith("1 of 2 Conv, Gemm and MatMul nodes run in INT8") for n in report.notes)


def test_a_missing_device_gives_no_verdict(zoo):
    report = compile_check(zoo, zoo.cnn(), target="GPU")
    if report.verdict is not Verdict.UNKNOWN:
        pytest.skip("this machine has an Intel GPU")
    assert report.notes == ("OpenVINO sees no GPU here",)
    assert report.artifact is None


def test_unknown_options_are_refused(zoo):
    with pytest.raises(ValueError, match="unknown option nonsense"):
        compile_check(zoo, zoo.cnn(), options={"nonsense": 1})


def test_a_node_is_on_the_target_only_if_all_its_operations_are(zoo):
    graph = g.read(zoo.cnn())
    names = Names({n.label: n.label for n in graph.nodes}, {})
    devices = {"first/WithoutBiases": "GPU.0", "first": "CPU", "act": "GPU.0", "head": "CPU"}
    placed = {p.node: (p.placement, p.on) for p in place(graph, names, devices, "GPU")}
    assert placed["first"] == (Placement.FALLBACK, "CPU")
    assert placed["act"] == (Placement.TARGET, "GPU.0")
    assert placed["head"] == (Placement.FALLBACK, "CPU")


def test_shapes_reach_nodes_that_convert_only_with_them(zoo):
    # Softmax of opset 11 asks for a rank; the input states none
    nodes = [helper.make_node("Softmax", ["x"], ["y"], name="soft", axis=1)]
    path = zoo.save(nodes, [zoo.value("x", None)], [zoo.value("y", None)], opset=11)
    refused = compile_check(zoo, path)
    assert [f.node for f in refused.findings] == ["soft"]
    assert "static shapes" in refused.findings[0].advice
    assert compile_check(zoo, path, shapes={"x": (2, 4)}).verdict is Verdict.SUPPORTED


def test_sequences_and_maps_name_their_nodes(zoo):
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["y"], name="listed")]
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    path = zoo.save(nodes, [zoo.value("x", [2])], [output], name="sequence")
    assert [f.node for f in compile_check(zoo, path).findings] == ["listed"]

    nodes = [helper.make_node("ZipMap", ["x"], ["y"], name="zip", domain="ai.onnx.ml",
                              classlabels_int64s=[0, 1])]  # fmt: skip
    values = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    output = helper.make_value_info("y", helper.make_sequence_type_proto(values))
    path = zoo.save(nodes, [zoo.value("x", [1, 2])], [output], domains=["ai.onnx.ml"])
    (finding,) = compile_check(zoo, path).findings
    assert finding.node == "zip"
    assert "without ZipMap" in finding.advice
