"""A planted break is found: the rung, the layer by its ONNX name, and the cause if one is shown."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CHANNELS, CLASSES, SIDE, SAMPLES = 16, 8, 12, 300
#: Its weights all point one way, so that sums of two products pass 16 bits.
HEAVY = "heavy"


def _ran(start, folder, words, *, extra=True):
    process = start(folder, [*words, "-o", "out", "-q"], extra=extra)
    _, err = process.communicate(timeout=380)
    report = json.loads((folder / "out" / "report.json").read_text())
    return report, {t["target"]: t for t in report["targets"]}, err


@pytest.fixture
def bad(start, shelf, tmp_path, valid):
    """``bad(target)``: the row of a target of the backend that lies, after a quick run."""

    def run(target):
        words = ["run", f"{shelf}/digits.onnx", "--calibration", f"{shelf}/calibration.npz"]
        words += ["--test", f"{shelf}/test.npz[0:256]", "--quick", "--all-int8", "--max-drop", "4"]
        report, targets, err = _ran(start, tmp_path, [*words, "-b", f"fibs:{target}"])
        valid(report)
        assert report["verdict"] != "SHIP", err
        row = targets[f"fibs:{target}"]
        said = [x["text"] for x in row["reasons"] if x["code"] == "ladder.first-break"]
        assert len(said) == 1 and said[0] in (tmp_path / "out" / "report.md").read_text()
        return row["first_break"], said[0]

    return run


@pytest.mark.long
def test_a_bent_layer_is_found_on_the_float_rung(bad):
    found, said = bad("bends")
    assert found["rung"] == "device-float" and found["against"] == "onnx-fp32"
    assert found["layer"] == "pointwise" and found["tensor"] == "p0"
    assert "first broken layer: pointwise (tensor p0)" in said
    # It ran together with its neighbour, and is bent with graph optimisation off as well.
    assert (found["cause"], found["confirmed"]) == ("unknown", False)
    assert "ran fused with residual" in said and "fusing is not why" in said


@pytest.mark.long
def test_a_fusion_that_changes_numbers_is_confirmed_by_leaving_it_out(bad):
    found, said = bad("fuses")
    assert (found["rung"], found["layer"]) == ("device-float", "pointwise")
    assert (found["cause"], found["confirmed"]) == ("fused", True)
    assert "confirmed cause: fused" in said and "with graph optimisation off" in said


@pytest.mark.long
def test_a_node_that_is_computed_elsewhere_and_differently_fell_back(bad):
    found, said = bad("falls")
    assert (found["rung"], found["layer"]) == ("device-float", "pointwise")
    assert (found["cause"], found["confirmed"]) == ("fallback", False)
    assert "likely cause: fallback" in said and "it fell back to the host" in said


@pytest.mark.long
def test_rounding_that_adds_up_is_told_from_a_broken_layer(start, tmp_path, valid):
    _net(tmp_path / "net.onnx")
    _data(tmp_path, level=True)
    words = ["run", "net.onnx", "--test", "test.npz", "-b", "fibs:floors", "-b", "fibs:honest"]
    report, targets, err = _ran(start, tmp_path, words)
    valid(report)
    found = targets["fibs:floors"]["first_break"]
    assert (found["rung"], found["against"]) == ("device-int8", "onnx-int8"), err
    assert (found["cause"], found["confirmed"], found["layers"]) == ("rounding", False, [])
    assert found["tested"] == 3 and "each by itself, is off by more than a step" in found["text"]
    assert targets["fibs:floors"]["answers"]["accurate"] == "DO NOT SHIP"
    assert targets["fibs:honest"]["first_break"] is None


#: What is added and taken away again: float32 has steps of 1/16 there.
FAR = 1e6


def _coloured(folder, far):
    """A net of pictures with three channels, its labels, and two additions that cancel."""
    import onnxruntime as ort

    _far(folder / "net.onnx", far)
    x = np.random.default_rng(2).normal(size=(300, 3, SIDE, SIDE)).astype(np.float32)
    session = ort.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    labels = session.run(None, {"image": x})[0].argmax(1)
    np.savez(folder / "test.npz", image=x, labels=labels)
    np.savez(folder / "calibration.npz", image=x[:80] * np.float32(0.9))
    return ["run", "net.onnx", "--calibration", "calibration.npz", "--test", "test.npz", "--quick"]


def _far(path, far):
    """Far away they cost 20 bits as they stand, and nothing when they are fused."""
    rng = np.random.default_rng(0)
    values = {
        "w1": 0.3 * rng.normal(size=(16, 3, 3, 3)),
        "w2": 0.3 * rng.normal(size=(8, 16, 1, 1)),
        "wf": rng.normal(size=(8, 6)),
        "far": np.array(far),
        "back": np.array(-far),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c"], "stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["r", "far"], ["up"], "away"),
        helper.make_node("Add", ["up", "back"], ["down"], "home"),
        helper.make_node("Conv", ["down", "w2"], ["m"], "mix"),
        helper.make_node("Relu", ["m"], ["e"], "relu_2"),
        helper.make_node("GlobalAveragePool", ["e"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "wf"], ["logits"], "scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.long
def test_a_runtime_that_fuses_additions_that_cancel_is_not_the_model(start, tmp_path, valid):
    pytest.importorskip("openvino")
    words = _coloured(tmp_path, FAR)
    words += ["--all-int8", "-b", "openvino:CPU", "-b", "onnxruntime:cpu"]
    report, targets, err = _ran(start, tmp_path, words, extra=False)
    valid(report)
    found = targets["openvino:CPU"]["first_break"]
    assert (found["rung"], found["against"]) == ("device-float", "onnx-fp32"), err
    assert (found["cause"], found["confirmed"]) == ("fused", True), found
    assert (found["layer"], found["tensor"]) == ("away", "up")
    assert targets["onnxruntime:cpu"]["first_break"] is None


@pytest.mark.long
def test_a_bent_layer_is_found_on_the_int8_rung(bad):
    found, _ = bad("bends8")
    assert found["rung"] == "device-int8" and found["against"] == "onnx-int8"
    assert found["layer"] == "pointwise" and found["layers"] == ["pointwise"]
    assert found["cause"] == "unknown" and "7 bits do not mend it" in found["text"]
    assert found["tested"] >= 3


@pytest.mark.long
def test_a_float_that_runs_in_bf16_is_told_by_its_kernels(start, shelf, tmp_path):
    pytest.importorskip("openvino")
    (tmp_path / "seatrial.toml").write_text(
        '[target."openvino:CPU"]\noptions = {inference_precision = "bf16"}\n'
    )
    words = ["run", f"{shelf}/digits.onnx", "--calibration", f"{shelf}/calibration.npz"]
    words += ["--test", f"{shelf}/test.npz[0:256]", "--quick", "-b", "openvino:CPU"]
    _, targets, err = _ran(start, tmp_path, words, extra=False)
    found = targets["openvino:CPU"]["first_break"]
    assert (found["rung"], found["against"]) == ("device-float", "onnx-fp32"), err
    assert (found["cause"], found["confirmed"]) == ("reduced-precision", True)
    assert "BF16" in found["text"]


@pytest.mark.long
def test_a_planted_lower_precision_is_confirmed(bad):
    found, _ = bad("halves")
    told = found["rung"], found["cause"], found["confirmed"]
    assert told == ("device-float", "reduced-precision", True)


@pytest.mark.long
def test_a_planted_mix_up_of_axes_is_confirmed(start, tmp_path, valid):
    """With colours: the pictures of one channel are the same in every layout."""
    words = [*_coloured(tmp_path, 0.5), "--all-int8", "-b", "fibs:turns", "-b", "fibs:honest"]
    report, targets, err = _ran(start, tmp_path, words)
    valid(report)
    assert targets["fibs:turns"]["verdict"] != "SHIP", err
    found = targets["fibs:turns"]["first_break"]
    told = found["rung"], found["cause"], found["confirmed"]
    assert told == ("device-float", "layout", True)
    assert "NHWC memory read as NCHW" in found["text"]
    assert targets["fibs:honest"]["first_break"] is None


def _net(path):
    """Three layers in Q/DQ; the weights of the second are large and of one sign."""
    rng = np.random.default_rng(1)
    nodes, values = [], {}

    def constant(name, value):
        values[name] = np.asarray(value)
        return name

    def pair(source, result, scale):
        names = [constant(f"{result}_s", np.float32(scale)), constant(f"{result}_z", np.uint8(0))]
        nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{result}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{result}_q", *names], [result]))

    def conv(name, source, result, stored, scale, **more):
        names = [constant(f"{name}_w", stored.astype(np.int8))]
        names += [constant(f"{name}_s", np.full(len(stored), scale, np.float32))]
        names += [constant(f"{name}_z", np.zeros(len(stored), np.int8))]
        nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_d"], axis=0))
        nodes.append(helper.make_node("Conv", [source, f"{name}_d"], [result], name, **more))

    light = rng.integers(-40, 41, (CHANNELS, 3, 3, 3))
    pair("image", "x0", 1 / 255)
    conv("light", "x0", "y0", light, 0.01, pads=[1] * 4)
    nodes.append(helper.make_node("Relu", ["y0"], ["r0"], "relu"))
    pair("r0", "x1", 0.004)
    heavy = rng.integers(60, 128, (CHANNELS, CHANNELS, 1, 1))
    heavy[::2] = rng.integers(-40, 41, heavy[::2].shape)
    conv(HEAVY, "x1", "y1", heavy, 0.01)
    pair("y1", "x2", 0.02)
    conv("scores", "x2", "out", rng.integers(-40, 41, (CLASSES, CHANNELS, SIDE, SIDE)), 0.001)
    nodes.append(helper.make_node("Flatten", ["out"], ["logits"], "flatten"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def _data(folder, *, level=False):
    """Pictures, and the literal reference's own answers as labels."""
    import onnxruntime as ort

    x = np.random.default_rng(0).uniform(0, 1, (SAMPLES, 3, 3, 3)).astype(np.float32)
    x = np.kron(x, np.ones((1, 1, SIDE // 3, SIDE // 3), np.float32))
    x[:, :, :, 1:] = (x[:, :, :, 1:] + x[:, :, :, :-1]) / 2
    x = np.float32(0.4) + np.float32(0.2) * x if level else x
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = folder / "net.onnx"
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    y = np.concatenate([session.run(None, {"image": x[i : i + 1]})[0] for i in range(SAMPLES)])
    if level:
        # All classes as likely, and pale pictures: steps of rounding move answers.
        model = onnx.load(path)
        model.graph.node[-1].output[0] = "raw"
        model.graph.node.append(helper.make_node("Sub", ["raw", "mean"], ["logits"], "level"))
        mean = y.mean(0, keepdims=True)
        model.graph.initializer.append(numpy_helper.from_array(mean, "mean"))
        onnx.save(model, path)
        y -= mean
    np.savez(folder / "test.npz", image=x, labels=y.argmax(1))


@pytest.mark.long
def test_saturation_is_confirmed_layer_by_layer_on_a_lesser_cpu(start, tmp_path, valid):
    pytest.importorskip("openvino")
    _net(tmp_path / "net.onnx")
    _data(tmp_path, level=True)
    words = ["run", "net.onnx", "--test", "test.npz", "-b", "openvino:CPU", "-b"]
    report, targets, err = _ran(start, tmp_path, [*words, "openvino:CPU/avx2"], extra=False)
    valid(report)
    here, lesser = targets["openvino:CPU"], targets["openvino:CPU/avx2"]
    if "avx512_vnni" not in str(here["availability"]).lower():
        pytest.skip("this CPU saturates by itself")
    assert here["first_break"] is None
    found = lesser["first_break"]
    assert (found["rung"], found["against"]) == ("device-int8", "onnx-int8"), err
    assert (found["cause"], found["confirmed"]) == ("saturation", True), found
    assert found["layers"] == [HEAVY] and found["tensor"] == "x2" and found["tested"] == 3
    assert lesser["answers"]["accurate"] == "DO NOT SHIP"
    bound = next(x["text"] for x in here["reasons"] if x["code"] == "target.machine-class")
    assert "does not hold for" in bound and "openvino:CPU/avx2: DO NOT SHIP" in bound
