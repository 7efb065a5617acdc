"""Compile-checks and builds against the fake, which refuses as the real parser does."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import seatrial_tensorrt as backend
from seatrial.errors import UserError
from seatrial.results import BuildRequest, Depth, Int8Request, Placement, Verdict


def compile_check(zoo, path, **keywords):
    return backend.seatrial_compile_check(request=zoo.check(path, **keywords), job=zoo.job)


def test_a_model_is_built_and_every_node_is_placed(trt, zoo):
    report = compile_check(zoo, zoo.cnn())
    assert report.verdict is Verdict.SUPPORTED and report.depth is Depth.ARTEFACT
    assert {p.node for p in report.placements} == {
        "first", "act", "depth", "sum", "mean", "flat", "head",
    }  # fmt: skip
    assert {p.placement for p in report.placements} == {Placement.TARGET}
    artifact = report.artifact
    assert artifact.entry in artifact.files and "timings.bin" in artifact.files
    assert [(i.name, i.dtype, i.shape) for i in artifact.inputs] == [
        ("x", "float32", (1, 3, 16, 16))
    ]
    assert any("7 ONNX nodes run as 6 layers, 1 of them fused" in n for n in report.notes)
    assert any("TensorRT warns: a warning of the builder" in n for n in report.notes)
    assert "TensorRT: Building Engine, step 1" in zoo.job.messages


def test_nodes_without_names_keep_their_labels(trt, zoo):
    report = compile_check(zoo, zoo.cnn(nameless=True))
    assert [p.node for p in report.placements][:2] == ["Conv#0", "Relu#1"]
    assert report.verdict is Verdict.SUPPORTED


def test_a_refused_operator_is_a_finding_with_the_parsers_words(trt, zoo):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Det", ["a"], ["b"], name="bad"),
        helper.make_node("MyOp", ["b"], ["y"], name="custom", domain="acme.ops"),
    ]
    path = zoo.save(
        nodes, [zoo.value("x", [2, 3, 3])], [zoo.value("y", None)], domains=("acme.ops",)
    )
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNSUPPORTED and report.depth is Depth.PARSE
    found = {f.node: f for f in report.findings}
    assert set(found) == {"bad", "custom"}
    assert "Plugin not found" in found["custom"].reason and "INVALID_NODE" in found["bad"].reason
    assert "option plugins" in found["custom"].advice
    assert found["custom"].domain == "acme.ops"
    placed = {p.node: p.placement for p in report.placements}
    assert placed == {
        "fine": Placement.UNKNOWN, "bad": Placement.NOWHERE, "custom": Placement.NOWHERE,
    }  # fmt: skip
    assert report.artifact is None


def test_all_errors_are_told_though_only_the_last_node_is_cut_out(trt, zoo):
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="one"),
        helper.make_node("Relu", ["x"], ["b"], name="two"),
        helper.make_node("Det", ["b"], ["c"], name="three"),
    ]
    outputs = [zoo.value("a", [2]), zoo.value("c", [2])]
    report = compile_check(zoo, zoo.save(nodes, [zoo.value("x", [2, 3, 3])], outputs))
    assert {f.node for f in report.findings} == {"one", "three"}


def test_a_refusal_inside_a_branch_blames_the_inner_node(trt, zoo):
    def branch(op):
        node = helper.make_node(op, ["x"], ["z"], name=f"in_{op}")
        return helper.make_graph([node], op, [], [zoo.value("z", None)])

    node = helper.make_node(
        "If", ["c"], ["y"], name="choice", then_branch=branch("Det"), else_branch=branch("Relu")
    )
    fed = [zoo.value("x", [2, 3, 3]), zoo.value("c", [], TensorProto.BOOL)]
    # Inside the branch the refused node has index 0, as this one has outside.
    first = helper.make_node("Relu", ["x"], ["before"], name="innocent")
    out = [zoo.value("y", None), zoo.value("before", None)]
    report = compile_check(zoo, zoo.save([first, node], fed, out))
    assert report.verdict is Verdict.UNSUPPORTED
    assert {f.node for f in report.findings} == {"choice/then_branch/in_Det"}


def test_a_refusal_inside_a_function_blames_the_call(trt, zoo):
    body = helper.make_function(
        "acme", "Block", ["a"], ["b"],
        [helper.make_node("Det", ["a"], ["b"], name="inner")], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    path = zoo.one("Block", ["x"], domain="acme", functions=[body], shape=(2, 3, 3))
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNSUPPORTED
    assert [(f.node, f.op_type) for f in report.findings] == [("n", "Block")]


def test_a_name_inside_a_function_is_no_name_of_the_model(trt, zoo):
    body = helper.make_function(
        "acme", "Block", ["a"], ["b"],
        [helper.make_node("Det", ["a"], ["b"], name="fine")], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Block", ["a"], ["y"], name="call", domain="acme"),
    ]
    fed, out = [zoo.value("x", [2, 3, 3])], [zoo.value("y", None)]
    path = zoo.save(nodes, fed, out, domains=("acme",), functions=[body])
    assert [f.node for f in compile_check(zoo, path).findings] == ["call"]


def test_an_input_that_fails_is_named_and_its_readers_are_innocent(trt, zoo):
    path = zoo.one("Identity", ["x"], shape=(2, 3), kind=TensorProto.UINT16)
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNSUPPORTED
    (finding,) = report.findings
    assert finding.node == "" and "input x: Failed to convert" in finding.reason


def test_a_model_that_the_parser_cannot_read_blames_no_node(trt, zoo):
    path = zoo.cnn()
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (zoo.root / "w.bin").unlink()
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNSUPPORTED
    assert [(f.node, f.reason[:13]) for f in report.findings] == [("", "INVALID_VALUE")]


def test_sizes_that_depend_on_values_are_supported_with_a_warning(trt, zoo):
    path = zoo.one("NonZero", ["x"], shape=(2, 3), kind=TensorProto.FLOAT, out=[2, None])
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, path)
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.SUPPORTED
    (finding,) = report.findings
    assert finding.node == "n" and finding.severity == "warning"
    assert finding.placement is Placement.TARGET and "not static" in finding.reason
    assert not any("survey" in n for n in report.notes)


def test_errors_that_the_parser_got_over_do_not_explain_the_builder(trt, zoo):
    trt.init_libnvinfer_plugins = lambda logger, _: logger.log(trt.ILogger.Severity.ERROR, "old")
    trt.fail_build = "the real reason"
    report = compile_check(zoo, zoo.cnn())
    assert [f.reason for f in report.findings] == ["the real reason"]
    assert any("standard plugins" in n for n in report.notes)


def test_a_builder_that_gives_nothing_is_told_by_the_logger(trt, zoo):
    trt.fail_build = (
        "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any"
        " implementation for node {ForeignNode[first...sum]}.)"
    )
    report = compile_check(zoo, zoo.cnn())
    assert report.verdict is Verdict.UNSUPPORTED and report.depth is Depth.MAP
    assert {f.node for f in report.findings} == {"first", "sum"}
    assert all("Could not find any implementation" in f.reason for f in report.findings)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)", MemoryError),
        ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", RuntimeError),
    ],
)
def test_a_machine_that_fails_says_nothing_about_the_model(trt, zoo, text, error):
    trt.fail_build = text
    with pytest.raises(error):
        compile_check(zoo, zoo.cnn())


def test_a_file_that_is_no_model_is_refused(trt, zoo):
    path = zoo.root / "broken.onnx"
    path.write_bytes(b"\x0a\xff\xff\xff")
    with pytest.raises(UserError, match="not an ONNX model"):
        compile_check(zoo, path)


# --- shapes ---------------------------------------------------------------------------------------


def test_a_free_batch_is_built_for_one(trt, zoo):
    report = compile_check(zoo, zoo.cnn(batch="n"))
    assert report.verdict is Verdict.SUPPORTED
    assert report.artifact.inputs[0].shape == (1, 3, 16, 16)
    assert any("batch 1" in n for n in report.notes)


def test_shapes_that_are_given_win_and_must_fit(trt, zoo):
    path = zoo.cnn(batch="n")
    report = compile_check(zoo, path, shapes={"x": (4, 3, 16, 16)})
    assert report.artifact.inputs[0].shape == (4, 3, 16, 16)
    with pytest.raises(UserError, match="axis 1 is 3 in the model, 5 was given"):
        compile_check(zoo, path, shapes={"x": (4, 5, 16, 16)})
    with pytest.raises(UserError, match="no input 'z'"):
        compile_check(zoo, path, shapes={"z": (1,)})
    with pytest.raises(UserError, match="2 sizes for 4 axes"):
        compile_check(zoo, path, shapes={"x": (1, 3)})


def test_a_batch_that_may_vary_gets_a_profile(trt, zoo):
    report = compile_check(zoo, zoo.cnn(batch="n"), options={"max_batch": 8})
    assert report.artifact.inputs[0].shape == ("?", 3, 16, 16)


def test_sizes_that_nobody_gave_are_asked_for(trt, zoo):
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="act")]
    path = zoo.save(nodes, [zoo.value("x", [1, 3, "h", "w"])], [zoo.value("y", None)])
    report = compile_check(zoo, path)
    assert report.verdict is Verdict.UNKNOWN
    assert "axes 2, 3 of input x are free" in report.findings[0].reason
    report = compile_check(zoo, path, shapes={"x": (1, 3, 8, 8)})
    assert report.verdict is Verdict.SUPPORTED


# --- options, flags, DLA --------------------------------------------------------------------------


def test_options_are_checked(trt, zoo):
    path = zoo.cnn()
    for options, text in (
        ({"speed": 1}, "no such option"),
        ({"workspace_mb": "1"}, "no int"),
        ({"optimization_level": 9}, "0 to 5"),
        ({"plugins": "/no/such/lib.so"}, "no such plugin library"),
        ({"timing_cache": "here"}, "no absolute path"),
        ({"timing_cache": "/no/such/folder/cache"}, "no absolute path"),
    ):
        with pytest.raises(UserError, match=text):
            compile_check(zoo, path, options=options)


def test_a_plugin_library_is_loaded_or_refused(trt, zoo):
    good, bad = zoo.root / "good.so", zoo.root / "bad.so"
    good.write_bytes(b"library")
    bad.write_bytes(b"no library")
    report = compile_check(zoo, zoo.cnn(), options={"plugins": str(good)})
    assert any("plugins of good.so were loaded" in n for n in report.notes)
    with pytest.raises(UserError, match="cannot load"):
        compile_check(zoo, zoo.cnn(), options={"plugins": f"{good}:{bad}"})


def test_half_precision_is_a_flag_in_10_and_the_models_business_in_11(trt, zoo):
    request = BuildRequest(
        model=zoo.job.add(zoo.cnn()), target="gpu", precision="native", options={"fp16": True}
    )
    if trt.major >= 11:
        with pytest.raises(UserError, match=r"autocast"):
            backend.seatrial_build(request=request, job=zoo.job)
    else:
        build = backend.seatrial_build(request=request, job=zoo.job)
        assert build.precision == "FP16"
        assert any("FP16" in n for n in build.notes)


def test_fp32_is_pinned_and_native_says_tf32(trt, zoo):
    ref = zoo.job.add(zoo.cnn())
    pinned = backend.seatrial_build(request=BuildRequest(model=ref, target="gpu"), job=zoo.job)
    assert pinned.precision == "FP32"
    assert not any("TF32" in n for n in pinned.notes)
    request = BuildRequest(model=ref, target="gpu", precision="native")
    native = backend.seatrial_build(request=request, job=zoo.job)
    assert native.precision == "TF32"
    assert any("2 TF32" in n for n in native.notes)
    with pytest.raises(ValueError, match="there are fp32 and native"):
        backend.seatrial_build(
            request=BuildRequest(model=ref, target="gpu", precision="bf16"), job=zoo.job
        )


def test_timings_are_kept_from_one_build_to_the_next(trt, zoo):
    path = zoo.root / "timings"
    options = {"timing_cache": str(path)}
    first = compile_check(zoo, zoo.cnn(), options=options)
    assert path.is_file() and not any("timings" in n for n in first.notes)
    second = compile_check(zoo, zoo.cnn(), options=options)
    assert any("timings of tactics were taken from timings" in n for n in second.notes)
    path.write_bytes(b"of another machine")
    third = compile_check(zoo, zoo.cnn(), options=options)
    assert third.verdict is Verdict.SUPPORTED
    assert any("is not used" in n for n in third.notes)
    assert path.read_bytes().startswith(b"timings of")


def test_what_a_dla_leaves_to_the_gpu_is_a_fallback(trt, zoo):
    report = compile_check(zoo, zoo.cnn(), target="dla0")
    assert report.verdict is Verdict.UNKNOWN and "no DLA cores" in report.notes[0]
    trt.dla_cores = 2
    report = compile_check(zoo, zoo.cnn(), target="dla1")
    assert report.verdict is Verdict.PARTIAL
    placed = {p.node: (p.on, p.placement) for p in report.placements}
    assert placed["first"] == ("DLA 1", Placement.TARGET)
    assert placed["flat"] == placed["head"] == ("GPU", Placement.FALLBACK)
    # These could run on a DLA, but the engine has them on the GPU.
    assert placed["sum"] == placed["mean"] == ("GPU", Placement.FALLBACK)
    assert {f.node for f in report.findings} == {"sum", "mean", "flat", "head"}
    assert any("a DLA computes in FP16 or INT8" in n for n in report.notes)


def test_an_engine_that_shows_nothing_on_the_dla_proves_nothing(trt, zoo):
    trt.dla_cores = 1
    report = compile_check(zoo, zoo.one("Relu", ["x"], out=[1, 3, 8, 8]), target="dla0")
    assert report.verdict is Verdict.PARTIAL
    assert [p.placement for p in report.placements] == [Placement.UNKNOWN]
    (finding,) = report.findings
    assert "names no layer on the DLA" in finding.reason and finding.severity == "warning"


# --- INT8 -----------------------------------------------------------------------------------------


def test_int8_is_read_from_pairs_and_what_stays_float_is_named(trt, zoo):
    path = zoo.qdq()
    report = compile_check(zoo, path, precision="int8")
    assert report.verdict is Verdict.SUPPORTED
    assert [(f.node, f.severity) for f in report.findings] == [("head", "warning")]
    assert any("1 of 2 Conv, Gemm and MatMul nodes run in INT8" in n for n in report.notes)
    request = Int8Request(model=zoo.job.add(path), target="gpu", form="qdq")
    build = backend.seatrial_build_int8(request=request, job=zoo.job)
    assert build.int8_nodes == ("conv", "act")
    assert "head" in build.float_nodes and not set(build.int8_nodes) & set(build.float_nodes)
    assert trt.__version__ in build.method


def test_int8_without_pairs_or_by_own_calibration_is_refused(trt, zoo):
    ref = zoo.job.add(zoo.cnn())
    for form, text in (("float", "no calibrator"), ("qdq", "no Q/DQ pairs")):
        with pytest.raises(ValueError, match=text):
            backend.seatrial_build_int8(
                request=Int8Request(model=ref, target="gpu", form=form), job=zoo.job
            )


@pytest.mark.parametrize(
    ("made", "node", "advice"),
    [
        ({"zero": 3}, "q", "zero points 0"),
        ({"zero": 128, "kind": np.uint8}, "q", ""),
        ({"bias": True}, "b_dq", "leave the bias in float"),
    ],
)
def test_foreign_dialects_are_refused_with_advice(trt, zoo, made, node, advice):
    report = compile_check(zoo, zoo.qdq(**made), precision="int8")
    assert report.verdict is Verdict.UNSUPPORTED
    found = {f.node: f for f in report.findings}
    assert node in found and advice in found[node].advice
