"""Layers side by side, weights in 7 bits, inner tensors, mix-ups: on models with known answers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.errors import UserError
from seatrial.ladder import breaks as b
from seatrial.ladder import breaks_child, isolate_child
from seatrial.ladder.narrow import narrow_weights
from seatrial.quantize.graph import Graph
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

CHANNELS, SIZE = 4, 6
LAYERS = ("first", "depth", "last")


def quantised(path, *, casts=False):
    """Conv - Relu - depthwise Conv - Conv, everything in Q/DQ with int32 biases."""
    rng = np.random.default_rng(3)
    nodes, values = [], {}

    def constant(name, value):
        values[name] = np.asarray(value)
        return name

    def pair(source, result, scale):
        zero = constant(f"{result}_zero", np.uint8(0 if source != "image" else 128))
        step = constant(f"{result}_scale", np.float32(scale))
        nodes.append(helper.make_node("QuantizeLinear", [source, step, zero], [f"{result}_q"]))
        stored = f"{result}_q"
        if casts:
            to = TensorProto.UINT8
            nodes.append(helper.make_node("Cast", [stored], [f"{result}_c"], to=to))
            stored = f"{result}_c"
        nodes.append(helper.make_node("DequantizeLinear", [stored, step, zero], [result]))
        return step

    def weights(name, shape, unit):
        scale = rng.uniform(0.005, 0.02, shape[0]).astype(np.float32)
        stored = rng.integers(-127, 128, shape).astype(np.int8)
        zero = constant(f"{name}_zero", np.zeros(shape[0], np.int8))
        inputs = [constant(f"{name}_q", stored), constant(f"{name}_scale", scale), zero]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
        bias = [
            constant(f"{name}_bias_q", rng.integers(-900, 900, shape[0]).astype(np.int32)),
            constant(f"{name}_bias_scale", (scale * values[unit]).astype(np.float32)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", bias, [f"{name}_bias"], axis=0))
        return [name, f"{name}_bias"]

    unit = pair("image", "x0", 0.02)
    inputs = ["x0", *weights("w0", (CHANNELS, 3, 3, 3), unit)]
    nodes.append(helper.make_node("Conv", inputs, ["y0"], "first", pads=[1] * 4))
    nodes.append(helper.make_node("Relu", ["y0"], ["r0"], "relu"))
    unit = pair("r0", "x1", 0.05)
    inputs = ["x1", *weights("w1", (CHANNELS, 1, 3, 3), unit)]
    nodes.append(helper.make_node("Conv", inputs, ["y1"], "depth", pads=[1] * 4, group=CHANNELS))
    unit = pair("y1", "x2", 0.2)
    inputs = ["x2", *weights("w2", (5, CHANNELS, SIZE, SIZE), unit)]
    nodes.append(helper.make_node("Conv", inputs, ["scores"], "last"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 5, 1, 1])],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    path.mkdir(exist_ok=True)
    onnx.save(model, path / "model.onnx")
    return model


@pytest.fixture
def job(tmp_path):
    return LocalJob(tmp_path)


@pytest.fixture
def images(store, job):
    rng = np.random.default_rng(0)
    return job.add(store({"image": rng.normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)}))


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model, feeds):
    made = session(model)
    return dict(zip([o.name for o in made.get_outputs()], made.run(None, feeds), strict=True))


def isolated(tmp_path, job, images, **known):
    quantised(tmp_path / "m", **known)
    ref = job.add(tmp_path / "m", "model.onnx")
    return isolate_child.isolate(b.IsolateRequest(model=ref, samples=images, indices=(0, 2)), job)


def opened(job, artifact):
    """A model or a store that a task wrote into a folder of its own."""
    folder = job.out / artifact.files[0].partition("/")[0]
    if artifact.format == "onnx":
        return onnx.load(folder / "model.onnx")
    return Samples(folder)


@pytest.mark.parametrize("casts", [False, True])
def test_layers_side_by_side_are_those_of_the_model(tmp_path, job, images, casts):
    side = isolated(tmp_path, job, images, casts=casts)
    assert [x.node for x in side.layers] == list(LAYERS)
    assert [x.tensor for x in side.layers] == ["x1", "x2", "scores"]
    assert [round(x.step, 4) for x in side.layers] == [0.05, 0.2, 0.0]
    assert all(x.narrowed for x in side.layers) and side.notes == ()
    model = onnx.load(tmp_path / "m" / "model.onnx")
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in ("x1", "x2"))
    whole = run(model, {"image": Samples(job.path(images)).feeds([2])["image"]})
    beside = opened(job, side.expected_wide)
    for layer in side.layers:
        assert np.array_equal(beside.one(layer.output, 1), whole[layer.tensor][0])
    given = opened(job, side.inputs).feeds([1])
    again = run(opened(job, side.wide), given)
    for layer in side.layers:
        assert np.array_equal(again[layer.output], beside.feeds([1])[layer.output])


def test_seven_bits_are_half_the_integers_and_nearly_the_same_function(tmp_path, job, images):
    model = quantised(tmp_path / "m")
    graph = Graph.read(tmp_path / "m" / "model.onnx")
    assert narrow_weights(graph) == set(LAYERS)
    stored = [
        numpy_helper.to_array(t)
        for t in graph.model.graph.initializer
        if t.data_type == TensorProto.INT8 and t.name.endswith("7_bits")
    ]
    assert len(stored) == 3 and max(int(abs(w.astype(int)).max()) for w in stored) <= 64
    feeds = Samples(job.path(images)).feeds([0])
    one, other = run(model, feeds)["scores"], run(graph.model, feeds)["scores"]
    assert not np.array_equal(one, other)
    assert 10 * np.log10((one**2).sum() / ((one - other) ** 2).sum()) > 25


def _bent(model, node, factor):
    """The model with the weights of one node larger."""
    known = {t.name: t for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node}
    (found,) = [n for n in model.graph.node if n.name == node]
    tensor = known[makers[found.input[1]].input[1]]
    value = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def _on_device(store, job, side, name, change):
    """What a device gives for the layers side by side, as a store."""
    model = change(opened(job, getattr(side, name)))
    inputs = opened(job, side.inputs)
    given = [run(model, inputs.feeds([i])) for i in range(inputs.count)]
    return job.add(store({k: np.concatenate([g[k] for g in given]) for k in given[0]}))


@pytest.mark.parametrize(
    ("wide", "narrow", "saturates"), [(1.2, 1.2, False), (1.2, 1.0, True), (1.0, 1.0, False)]
)
def test_a_layer_is_blamed_alone_and_saturation_needs_seven_bits_to_mend_it(
    tmp_path, store, job, images, wide, narrow, saturates
):
    side = isolated(tmp_path, job, images)
    got = {
        "wide": _on_device(store, job, side, "wide", lambda m: _bent(m, "depth", wide)),
        "narrow": _on_device(store, job, side, "narrow", lambda m: _bent(m, "depth", narrow)),
    }
    folders = {n: job.out / f"expected-{n}" for n in got}
    request = b.CompareLayersRequest(
        layers=side.layers,
        expected_wide=job.add(folders["wide"]),
        got_wide=got["wide"],
        expected_narrow=job.add(folders["narrow"]),
        got_narrow=got["narrow"],
    )
    facts = {x.node: x for x in breaks_child.compare_layers(request, job).layers}
    assert {n for n, x in facts.items() if x.broken} == ({"depth"} if wide != 1.0 else set())
    assert facts["depth"].saturates is saturates
    assert facts["first"].moved == facts["last"].moved == 0.0


def test_one_step_is_rounding_and_two_are_not():
    def facts(moved, narrow=-1.0):
        return b.LayerFacts(
            node="n", op_type="Conv", tensor="t", moved=moved, largest=9.0, moved_narrow=narrow
        )

    assert not facts(b.MOVED).broken and facts(2 * b.MOVED).broken
    assert not facts(0.5).saturates and not facts(0.5, 0.4).saturates
    assert facts(0.5, 0.0).saturates and not facts(0.0, 0.0).saturates


def test_a_model_without_quantised_layers_is_refused(tmp_path, job, images):
    folder = tmp_path / "float"
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["y"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, folder / "model.onnx")
    request = b.IsolateRequest(model=job.add(folder, "model.onnx"), samples=images, indices=(0,))
    with pytest.raises(UserError, match="no quantised layer"):
        isolate_child.isolate(request, job)


def test_taps_are_what_nodes_compute(tmp_path, job):
    quantised(tmp_path / "m")
    ref = job.add(tmp_path / "m", "model.onnx")
    found = breaks_child.taps(b.TapRequest(model=ref), job).taps
    assert [(t.tensor, t.node) for t in found] == [("x1", "relu"), ("x2", "depth")]


def _tap(sqnr, name="t"):
    return b.TapFacts(
        tensor=name, node=f"n{name}", op_type="Conv", sqnr_db=sqnr, identical=sqnr is None
    )


def test_the_first_that_moved_and_the_steepest_fall():
    taps = [_tap(None, "a"), _tap(130.0, "b"), _tap(25.0, "c"), _tap(20.0, "d")]
    assert b.first_moved(taps, 80.0).tensor == "c"
    assert b.first_moved(taps[:2], 80.0) is None
    assert b.steepest(taps[1:], 10.0).tensor == "c"
    assert b.steepest([_tap(40.0, "a"), _tap(35.0, "b"), _tap(30.0, "c")], 10.0) is None


@pytest.mark.parametrize("axes", [(0, 2, 3, 1), (0, 3, 1, 2), None])
def test_a_layout_taken_for_another_is_told_from_anything_else(tmp_path, store, job, images, axes):
    model = quantised(tmp_path / "m")
    ref = job.add(tmp_path / "m", "model.onnx")
    source = Samples(job.path(images))
    got = []
    for i in range(3):
        x = source.feeds([i])["image"]
        fed = np.roll(x, 1, 2) if axes is None else x.transpose(axes).reshape(x.shape)
        got.append(run(model, {"image": np.ascontiguousarray(fed)})["scores"][0])
    answers = job.add(store({"scores": got}))
    request = b.MisreadRequest(model=ref, samples=images, got=answers, optimize="none")
    found = breaks_child.misread(request, job)
    if axes is None:
        assert found == b.Misread()
    else:
        assert breaks_child.MISREADINGS[found.what] == axes and found.sqnr_db > 60
