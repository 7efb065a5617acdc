"""The model with switches: nothing on is the float model, everything on is the Q/DQ model."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from seatrial.diagnosis import match, pairs
from seatrial.diagnosis.child import diagnose
from seatrial.diagnosis.switched import Switched
from seatrial.diagnosis.types import DiagnoseRequest
from seatrial.errors import UserError
from seatrial.quantize.prepare import prepare
from seatrial.reference import open_model
from seatrial.samples import Samples

plants = sys.modules["seatrial_diagnosis_plants"]


def sound(root, net):
    return plants.plant(root, net, "wrong scale", 3, harmless=True)


@pytest.mark.parametrize("net", sorted(plants.NETS))
def test_switches_lead_from_the_float_model_to_the_quantised_one(tmp_path, net):
    made = sound(tmp_path, net)
    path = made.job.path(made.candidate)
    graph, model = prepare(path).graph, prepare(made.job.path(made.model)).graph
    found = pairs.find(graph)
    assert match.originals(found, graph, model) == 0
    switched = Switched(graph, found)
    feeds = Samples(made.job.path(made.samples)).feeds([0])
    expected = open_model(made.job.path(made.model)).run(feeds)["y"]
    literal = open_model(path, optimize="none").run(feeds)["y"]
    off = switched.run(feeds, ())["y"]
    on = switched.run(feeds, found.names())["y"]
    assert np.abs(off - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.abs(literal - expected).max() > 10 * np.abs(off - expected).max()
    assert np.abs(on - literal).max() < 0.2 * np.abs(literal - expected).max()


def conditional_net(seed):
    """The convolutions, with a body that captures a tensor, a weight and a factor of the graph."""
    net = plants.conv_net(seed)
    graph = net.model.graph
    constants = {"half": np.float32(0.5), "yes": np.bool_(True)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    )
    bodies = {
        "then_branch": [
            helper.make_node("Mul", ["c1", "half"], ["halved"]),
            helper.make_node("Relu", ["halved"], ["then"]),
        ],
        "else_branch": [helper.make_node("Conv", ["r0", "w1"], ["else"], pads=[1] * 4)],
    }
    branches = {
        name: helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])])
        for name, nodes in bodies.items()
    }
    (place,) = [k for k, n in enumerate(graph.node) if n.name == "relu1"]
    graph.node[place].CopyFrom(helper.make_node("If", ["yes"], ["r1"], "either", **branches))
    del graph.value_info[:]
    return net


def test_what_bodies_capture_is_there_in_every_session(tmp_path, monkeypatch):
    monkeypatch.setitem(plants.NETS, "if", conditional_net)
    made = sound(tmp_path, "if")
    request = DiagnoseRequest(
        candidate=made.candidate, samples=made.samples, model=made.model, evaluations=24
    )
    result = diagnose(request, made.job)
    assert result.loss < 0.1 and result.weights is not None
    assert {"conv0", "conv2", "conv3"} <= {layer.node for layer in result.layers}
    assert all(layer.sqnr_db is None or layer.sqnr_db > 15 for layer in result.layers)


def without_relu(made):
    """The form in which some quantizers write a ReLU: the range that begins at 0 does its work."""
    path = made.job.path(made.candidate)
    model = onnx.load(path)
    kept = []
    for node in model.graph.node:
        if node.op_type == "Relu":
            (writer,) = [n for n in model.graph.node if node.input[0] in n.output]
            writer.output[0] = node.output[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, path)


def test_activations_that_a_quantizer_dropped_are_put_back(tmp_path):
    made = sound(tmp_path, "conv")
    request = DiagnoseRequest(
        candidate=made.candidate, samples=made.samples, model=made.model, evaluations=24
    )
    before = diagnose(request, made.job)
    without_relu(made)
    after = diagnose(request, made.job)
    assert after.notes == () and after.weights is not None
    assert after.loss == pytest.approx(before.loss, rel=0.05)
    assert after.activations == pytest.approx(before.activations, rel=0.05)


def test_names_that_a_quantizer_changed_do_not_matter(tmp_path):
    made = sound(tmp_path, "depthwise")
    request = DiagnoseRequest(
        candidate=made.candidate, samples=made.samples, model=made.model, evaluations=24
    )
    before = diagnose(request, made.job)
    path = made.job.path(made.candidate)
    model = onnx.load(path)
    outputs = {o.name for o in model.graph.output} | {i.name for i in model.graph.input}
    names = {t.name for t in model.graph.initializer} | outputs
    for k, node in enumerate(model.graph.node):
        node.name = f"vendor_{k}"
        for part in (node.input, node.output):
            for slot, name in enumerate(part):
                part[slot] = name if name in names else f"v/{name}"
    del model.graph.value_info[:]
    onnx.save(model, path)
    after = diagnose(request, made.job)
    assert after.weights == pytest.approx(before.weights, rel=1e-3)


def test_without_a_float_model_activations_are_blamed_all_the_same(tmp_path):
    made = plants.plant(tmp_path, "conv", "clipped range", 5)
    result = diagnose(
        DiagnoseRequest(candidate=made.candidate, samples=made.samples, evaluations=32), made.job
    )
    assert result.weights is None
    assert any("no float model" in note for note in result.notes)
    if made.where == "activation":
        assert result.culprits[0].cause.code == "clipped"


def test_weights_that_were_rewritten_are_no_damage(tmp_path):
    """Equalised channels: every weight differs, the function does not."""
    made = sound(tmp_path, "conv")
    original = made.job.path(made.model)
    model = onnx.load(original)
    constants = {t.name: t for t in model.graph.initializer}
    factors = np.linspace(0.2, 5, 16).astype(np.float32)
    for name, shape in (("w0", (-1, 1, 1, 1)), ("b0", (-1,))):
        value = numpy_helper.to_array(constants[name]) * factors.reshape(shape)
        constants[name].CopyFrom(numpy_helper.from_array(value, name))
    value = numpy_helper.to_array(constants["w1"]) / factors.reshape(1, -1, 1, 1)
    constants["w1"].CopyFrom(numpy_helper.from_array(value, "w1"))
    other = tmp_path / "equalised.onnx"
    onnx.save(model, other)
    request = DiagnoseRequest(
        candidate=made.candidate,
        samples=made.samples,
        model=made.job.add(other),
        evaluations=24,
    )
    result = diagnose(request, made.job)
    assert any("rewritten" in note for note in result.notes)
    assert not {c.cause.code for c in result.culprits} & {"wrong-scale", "rewritten"}


def test_a_model_without_pairs_is_refused(tmp_path):
    made = sound(tmp_path, "conv")
    with pytest.raises(UserError, match="no Q/DQ pairs"):
        diagnose(DiagnoseRequest(candidate=made.model, samples=made.samples), made.job)


def test_layers_say_what_is_new_and_what_is_inherited(tmp_path):
    made = sound(tmp_path, "conv")
    result = diagnose(
        DiagnoseRequest(
            candidate=made.candidate, samples=made.samples, model=made.model, evaluations=16
        ),
        made.job,
    )
    layers = {layer.node: layer for layer in result.layers}
    assert {"conv0", "conv1", "conv2", "conv3", "classifier"} <= set(layers)
    first, last = layers["conv0"], layers["classifier"]
    assert first.inherited == pytest.approx(0.0, abs=0.05)
    assert last.inherited is not None and last.inherited > 0.3
    assert last.new_db > last.sqnr_db


def test_a_pair_that_restores_with_another_scale_is_named(tmp_path):
    made = sound(tmp_path, "conv")
    path = made.job.path(made.candidate)
    model = onnx.load(path)
    (quantise,) = [n for n in model.graph.node if n.input[0] == "r1" and n.op_type[0] == "Q"]
    (restore,) = [n for n in model.graph.node if n.input[0] == quantise.output[0]]
    scale = next(t for t in model.graph.initializer if t.name == quantise.input[1])
    doubled = numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(2), "doubled")
    model.graph.initializer.append(doubled)
    restore.input[1] = "doubled"
    onnx.save(model, path)
    result = diagnose(
        DiagnoseRequest(
            candidate=made.candidate, samples=made.samples, model=made.model, evaluations=32
        ),
        made.job,
    )
    worst = result.culprits[0]
    assert worst.node == "conv1" and worst.cause.code == "wrong-scale"
    assert worst.cause.facts["factor"] == pytest.approx(2.0)


def test_a_bias_that_was_corrected_is_no_part_of_the_damage(tmp_path):
    """Corrected after quantisation: with everything off the float model must still come out."""
    made = sound(tmp_path, "depthwise")
    path = made.job.path(made.candidate)
    model = onnx.load(path)
    (node,) = [n for n in model.graph.node if n.name == "dw2"]  # the float model has no bias here
    extra = numpy_helper.from_array(np.full(24, 0.05, np.float32), "corrected")
    model.graph.initializer.append(extra)
    node.input.append("corrected")
    onnx.save(model, path)
    graph, plain = prepare(path).graph, prepare(made.job.path(made.model)).graph
    found = pairs.find(graph)
    assert match.originals(found, graph, plain) == 0
    assert [p.kept for p in found.weights["c:dw2"].slots.values()] == [True]
    feeds = Samples(made.job.path(made.samples)).feeds([0])
    expected = open_model(made.job.path(made.model)).run(feeds)["y"]
    off = Switched(graph, found).run(feeds, ())["y"]
    assert np.abs(off - expected).max() <= 1e-4 * np.abs(expected).max()
    request = DiagnoseRequest(
        candidate=made.candidate, samples=made.samples, model=made.model, evaluations=16
    )
    (note,) = diagnose(request, made.job).notes
    assert "biases of 1 nodes were corrected" in note
