"""What the kit does not ask: read-backs, findings for every node, and lesser CPUs."""

from __future__ import annotations

import numpy as np
import pytest
import seatrial_tvm as backend

from seatrial import results as r
from seatrial.testing import LocalJob

pytest.importorskip("tvm", reason="TVM is not installed here")
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(3)


def save(path, nodes, *, constants=None, domains=(("", 17),), shape=None):
    """A model from ``x`` (1, 3, 16, 16) to ``y``."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    tensors = [numpy_helper.from_array(v, n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", [given], [made], tensors)
    opsets = [helper.make_opsetid(d, v) for d, v in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def convolution(path):
    weights = RNG.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    save(path, nodes, constants={"w": weights})
    return weights


def quantised(path):
    weights = RNG.integers(-127, 127, (8, 3, 3, 3)).astype(np.int8)
    zero = np.uint8(128)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"], name="wd"),
        helper.make_node("Conv", ["d", "f"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    constants = {"w": weights, "s": np.float32(0.02), "z": zero}
    save(path, nodes, constants=constants)


@pytest.fixture
def job(tmp_path):
    return LocalJob(tmp_path / "job")


def check(job, path, **more):
    request = r.CheckRequest(model=job.add(path), target=more.pop("target", "cpu"), **more)
    return backend.seatrial_compile_check(request, job)


def session(job, report, **more):
    request = r.LoadRequest(
        artifact=job.adopt(report.artifact),
        format=report.artifact.format,
        target=more.pop("target", "cpu"),
        **more,
    )
    return backend.seatrial_load(request, job)


def test_every_node_that_is_refused_has_a_finding(job, tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="good"),
        helper.make_node("Mystery", ["a"], ["b"], name="strange", domain="acme"),
        helper.make_node("Relu", ["b"], ["y"], name="homonym", domain="acme"),
    ]
    domains = (("", 17), ("acme", 1))
    save(tmp_path / "m.onnx", nodes, domains=domains, shape=[1, 3, 16, 16])
    report = check(job, tmp_path / "m.onnx")
    assert report.verdict is r.Verdict.UNSUPPORTED
    # TVM's importer looks at names only: it would have taken acme.Relu for ONNX's.
    assert [f.node for f in report.findings] == ["strange", "homonym"]


def test_every_standard_node_without_a_converter_has_a_finding(job, tmp_path):
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Det", ["x"], ["b"], name="second"),
        helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
    ]
    save(tmp_path / "m.onnx", nodes)
    report = check(job, tmp_path / "m.onnx")
    assert [f.node for f in report.findings] == ["first", "second"]
    assert all("Det" in f.reason for f in report.findings)


def test_a_converter_that_fails_names_its_node(job, tmp_path):
    block = np.array([2], np.int64)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("TopK", ["a", "k"], ["y", "i"], name="unsorted", sorted=0),
    ]
    save(tmp_path / "m.onnx", nodes, constants={"k": block})
    report = check(job, tmp_path / "m.onnx")
    assert [f.node for f in report.findings] == ["unsorted"]
    assert "sorted" in report.findings[0].reason


def test_kernels_tell_what_they_multiply_in(job, tmp_path):
    convolution(tmp_path / "m.onnx")
    report = check(job, tmp_path / "m.onnx")
    assert report.verdict is r.Verdict.SUPPORTED and report.findings == ()
    assert any("compile" in note and " s" in note for note in report.notes)
    live = session(job, report, profile=True)
    live.run({"x": RNG.normal(size=(1, 3, 16, 16)).astype(np.float32)})
    ran = live.ran()
    (conv,) = [layer for layer in ran.layers if layer.op_type == "conv2d"]
    assert conv.precision == "FP32" and conv.ms > 0
    assert ran.where is r.TargetKind.DEVICE
    assert "one thread" in ran.notes[0]
    live.close()


def test_qdq_pairs_are_said_to_be_computed_in_float(job, tmp_path):
    """The kernels are read: the day TVM fuses the pairs, this fails and the gap goes."""
    quantised(tmp_path / "m.onnx")
    report = check(job, tmp_path / "m.onnx", precision="int8")
    assert report.verdict is r.Verdict.SUPPORTED
    (finding,) = report.findings
    assert finding.severity == "warning" and "1 of 1 kernels multiply in FP32" in finding.reason
    job.add(tmp_path / "m.onnx")
    request = r.Int8Request(model=job.add(tmp_path / "m.onnx"), target="cpu", form="qdq")
    built = backend.seatrial_build_int8(request, job)
    assert built.int8_nodes == () and built.float_nodes == ("conv",)


def test_a_lesser_cpu_gets_its_own_instructions(job, tmp_path):
    weights = convolution(tmp_path / "m.onnx")
    target = "cpu/x86-64-v2"
    probed = backend.seatrial_probe(r.ProbeRequest(target=target), job)
    if not probed.usable:
        pytest.skip(probed.reason)
    assert "avx" not in probed.instruction_sets
    report = check(job, tmp_path / "m.onnx", target=target)
    live = session(job, report, target=target)
    x = RNG.normal(size=(1, 3, 16, 16)).astype(np.float32)
    y = live.run({"x": x})["y"]
    inner = sum(
        np.einsum("chw,oc->ohw", x[0, :, i : i + 14, j : j + 14], weights[:, :, i, j])
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_allclose(y[0, :, 1:-1, 1:-1], np.maximum(inner, 0), rtol=1e-4, atol=1e-5)
    ran = live.ran()
    assert ran.where is r.TargetKind.EMULATED and ran.instruction_set == "sse"
    live.close()
