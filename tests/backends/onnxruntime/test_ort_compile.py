from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from seatrial.errors import UserError
from seatrial.results import Depth, Placement, Verdict
from seatrial_onnxruntime import _targets

n = helper.make_node
F, D, H = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16


def named(report):
    return {f.node: f for f in report.findings if f.node}


def test_accepted_model_is_placed_and_kept(desk, make_convnet):
    report = desk.check(make_convnet())
    assert (report.verdict, report.depth) == (Verdict.SUPPORTED, Depth.ARTEFACT)
    assert {p.placement for p in report.placements} == {Placement.TARGET}
    assert len(report.placements) == 9
    assert report.artifact.inputs[0].shape == ("N", 3, 16, 16)
    assert any("fused" in note for note in report.notes)


def test_all_three_unknown_operators_are_named(desk, make_model):
    nodes = [
        n("MyOp", ["x"], ["a"], name="one", domain="acme"),
        n("Relu", ["a"], ["b"]),
        n("Reluu", ["b"], ["c"]),
        n("Other", ["c"], ["y"], domain="acme"),
    ]
    model = make_model(nodes, [("x", F, [2])], [("y", F, [2])], domains=["acme"])
    report = desk.check(model)
    assert report.verdict is Verdict.UNSUPPORTED
    assert set(named(report)) == {"one", "Reluu#2", "Other#3"}
    assert all(f.reason and f.advice for f in report.findings)
    assert all(f.placement is Placement.NOWHERE for f in report.findings)
    assert any("accepts the model" in note for note in report.notes)
    assert report.artifact is None


def test_a_model_too_large_to_follow_keeps_its_verdict(desk, make_convnet, monkeypatch) -> None:
    monkeypatch.setattr("seatrial_onnxruntime._compile.FOLLOWED", 8)
    report = desk.check(make_convnet())
    assert (report.verdict, report.depth) == (Verdict.SUPPORTED, Depth.ARTEFACT)
    assert {p.placement for p in report.placements} == {Placement.TARGET}
    assert report.notes == ("9 nodes are too many to follow through the optimiser",)


def test_domain_that_is_not_imported(desk, make_model):
    nodes = [n("A", ["x"], ["a"], domain="acme"), n("B", ["a"], ["y"], domain="acme")]
    report = desk.check(make_model(nodes, [("x", F, [2])], [("y", F, [2])]))
    assert set(named(report)) == {"A#0", "B#1"}


def test_every_node_without_a_kernel_for_its_type(desk, make_model):
    nodes = [
        n("Det", ["m"], ["a"], name="first"),
        n("Abs", ["a"], ["b"], name="fine"),
        n("BitShift", ["s", "s"], ["z"], direction="LEFT"),
        n("HardSwish", ["b"], ["y"], name="function"),
    ]
    io = [("m", D, [2, 2]), ("s", TensorProto.UINT16, [2])]
    report = desk.check(make_model(nodes, io, [("y", D, None), ("z", TensorProto.UINT16, [2])]))
    assert report.verdict is Verdict.UNSUPPORTED
    assert set(named(report)) == {"first", "BitShift#2", "function"}
    assert "tensor(double)" in named(report)["first"].reason
    assert "tensor(uint16)" in named(report)["BitShift#2"].reason
    assert "HardSigmoid" in named(report)["function"].reason


def test_nodes_with_one_name_are_told_apart(desk, make_model):
    nodes = [n("Det", ["m"], ["a"], name="d"), n("Det", ["k"], ["y"], name="d")]
    report = desk.check(
        make_model(nodes, [("m", D, [2, 2]), ("k", D, [3, 3])], [("a", D, []), ("y", D, [])])
    )
    assert [f.node for f in report.findings] == ["d", "d"]


def test_refused_node_in_a_branch_and_in_a_loop(desk, make_model):
    def branch(op, out):
        return helper.make_graph([n(op, ["x"], [out])], "b", [], [onnx.ValueInfoProto(name=out)])

    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [n("Identity", ["go"], ["go2"]), n("Nope", ["acc"], ["acc2"], name="bad")],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("acc", F, [2]),
        ],
        [value("go2", TensorProto.BOOL, []), value("acc2", F, [2])],
    )
    nodes = [
        n("If", ["c"], ["a"], name="if", then_branch=branch("Relu", "t"),
          else_branch=branch("Nope", "e")),
        n("Loop", ["k", "c", "a"], ["y"], name="loop", body=body),
    ]  # fmt: skip
    io = [("x", F, [2]), ("c", TensorProto.BOOL, []), ("k", TensorProto.INT64, [])]
    report = desk.check(make_model(nodes, io, [("y", F, [2])]))
    assert set(named(report)) == {"if/else_branch/Nope#0", "loop/body/bad"}


def test_opset_too_new_is_said_of_the_model(desk, make_model):
    model = make_model([n("Relu", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])], opset=999)
    report = desk.check(model)
    assert report.verdict is Verdict.UNSUPPORTED
    assert "opset 999" in report.findings[0].reason and report.findings[0].advice


def test_file_that_is_no_model(desk, tmp_path):
    path = tmp_path / "page.onnx"
    path.write_text("<html>not found</html>")
    report = desk.check(path)
    assert report.verdict is Verdict.UNSUPPORTED
    assert "parsing" in report.findings[0].reason


def test_external_data_travel_with_the_artefact(desk, make_convnet):
    path = desk.save(make_convnet(), save_as_external_data=True, location="w.bin", size_threshold=0)
    job = desk.job()
    import seatrial_onnxruntime as backend
    from seatrial.results import CheckRequest

    request = CheckRequest(model=job.add(path), target="cpu")
    report = backend.seatrial_compile_check(request, job)
    assert report.verdict is Verdict.SUPPORTED
    assert set(report.artifact.files) == {"model.onnx", "w.bin"}
    assert (job.out / "w.bin").read_bytes() == (path.parent / "w.bin").read_bytes()
    onnxruntime.InferenceSession(job.out / report.artifact.entry)
    (path.parent / "w.bin").unlink()
    gone = desk.check(path)
    assert gone.verdict is Verdict.UNSUPPORTED
    assert "external data" in gone.findings[0].advice


def test_refused_nodes_beside_external_data(desk, make_model):
    model = make_model(
        [n("MatMul", ["x", "w"], ["a"]), n("Nope", ["a"], ["y"])],
        [("x", F, [2, 2])], [("y", F, [2, 2])],
        weights={"w": np.eye(2, dtype=np.float32)},
    )  # fmt: skip
    path = desk.save(model, save_as_external_data=True, location="w.bin", size_threshold=0)
    report = desk.check(path)
    assert set(named(report)) == {"Nope#1"}
    assert any("accepts the model" in note for note in report.notes)


def test_half_precision_model_compiles(desk, make_model):
    model = make_model(
        [n("Conv", ["x", "w"], ["y"])], [("x", H, [1, 1, 4, 4])], [("y", H, None)],
        weights={"w": np.ones((1, 1, 1, 1), np.float16)},
    )  # fmt: skip
    assert desk.check(model).verdict is Verdict.SUPPORTED


def test_shapes_are_applied_to_what_is_built(desk, make_convnet):
    report = desk.check(make_convnet(), shapes={"x": (4, 3, 16, 16)})
    assert report.artifact.inputs[0].shape == (4, 3, 16, 16)
    assert report.artifact.outputs[0].shape == (4, 5)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"x": (4, 3, 17, 16)}, "fixed at 16"),
        ({"x": (4, 3)}, "2 dimensions"),
        ({"z": (4,)}, "no such input"),
    ],
)
def test_shapes_that_do_not_fit(desk, make_convnet, shapes, words):
    with pytest.raises(UserError, match=words):
        desk.check(make_convnet(), shapes=shapes)


def test_unnamed_free_dimension_is_fixed_too(desk, make_convnet):
    report = desk.check(make_convnet(batch=None), shapes={"x": (2, 3, 16, 16)})
    assert report.artifact.inputs[0].shape == (2, 3, 16, 16)


def test_folded_nodes_are_told_from_running_ones(desk, make_model):
    nodes = [n("Add", ["k", "k"], ["kk"], name="fold"), n("Add", ["x", "kk"], ["y"], name="stay")]
    model = make_model(
        nodes, [("x", F, [2])], [("y", F, [2])], weights={"k": np.ones(2, np.float32)}
    )
    found = {p.node: p.on for p in desk.check(model).placements}
    assert found == {"fold": "folded away", "stay": "CPUExecutionProvider"}


def test_int8_asked_of_a_float_model_is_a_finding(desk, make_convnet):
    report = desk.check(make_convnet(), precision="int8")
    assert any("no QuantizeLinear" in f.reason for f in report.findings)


def test_fallback_to_the_cpu_is_never_hidden(desk, make_convnet, monkeypatch):
    """The one provider beside the CPU in the plain wheel takes no node of a model."""
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this wheel holds no second provider")
    azure = _targets.Provider(
        "AzureExecutionProvider", "Azure", "remote", "nothing", compiles=False
    )
    monkeypatch.setattr(_targets, "PROVIDERS", {**_targets.PROVIDERS, "azure": azure})
    report = desk.check(make_convnet(), "azure")
    assert report.verdict is Verdict.PARTIAL
    assert {p.placement for p in report.placements} == {Placement.FALLBACK}
    assert set(named(report)) == {p.node for p in report.placements}
    assert "took no node at all" in report.findings[0].reason


def test_a_release_without_records_never_claims_a_device(desk, make_convnet):
    from seatrial_onnxruntime import _model
    from seatrial_onnxruntime._placement import placed

    places = list(_model.nodes(make_convnet().graph))
    found = placed(object(), places, _targets.PROVIDERS["cuda"], by_mark=False)
    assert found.fallback and {p.placement for p in found.placements} == {Placement.UNKNOWN}


def test_a_provider_that_drops_out_is_no_verdict():
    from seatrial_onnxruntime import _ort

    class Lost:
        def get_providers(self):
            return ["CPUExecutionProvider"]

    azure = _targets.Provider("AzureExecutionProvider", "Azure", "remote", "nothing")
    if azure.name not in onnxruntime.get_available_providers():
        pytest.skip("this wheel holds no second provider")
    assert "did not answer" in _ort.missing(azure, Lost())
