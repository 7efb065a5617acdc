from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import seatrial_onnxruntime as backend
from seatrial.errors import UserError
from seatrial.results import (
    BuildRequest,
    Int8Request,
    LayoutRequest,
    LoadRequest,
    QuantizeRequest,
)

n = helper.make_node
F = TensorProto.FLOAT


def quantised(desk, model, images, name="x", **fields):
    job = desk.job()
    request = QuantizeRequest(
        model=job.add(desk.save(model)), target=fields.pop("target", "cpu"),
        calibration=desk.store(job, name, images), **fields,
    )  # fmt: skip
    result = backend.seatrial_quantize(request, job)
    return result, job.out / result.artifact.entry


def opened(desk, path, **fields):
    job = desk.job()
    request = LoadRequest(artifact=job.add(path), format="onnx", target="cpu", **fields)
    return backend.seatrial_load(request, job)


@pytest.mark.parametrize("precision", ["fp32", "native"])
def test_build_gives_the_model_and_its_precision(desk, make_convnet, images, precision):
    job = desk.job()
    path = desk.save(make_convnet())
    request = BuildRequest(model=job.add(path), target="cpu", precision=precision)
    built = backend.seatrial_build(request, job)
    assert built.precision == "FP32"
    session = opened(desk, job.out / built.artifact.entry, precision=precision)
    want = onnxruntime.InferenceSession(path).run(None, {"x": images[:2]})[0]
    assert np.allclose(session.run({"x": images[:2]})["y"], want, atol=1e-5)
    session.close()
    session.close()


def test_build_refuses_in_one_line(desk, make_model):
    job = desk.job()
    model = make_model([n("Nope", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])])
    with pytest.raises(RuntimeError, match="No Op registered for Nope"):
        backend.seatrial_build(BuildRequest(model=job.add(desk.save(model)), target="cpu"), job)
    with pytest.raises(RuntimeError, match=r"carries no CUDAExecutionProvider.*onnxruntime-gpu"):
        backend.seatrial_build(BuildRequest(model=job.add(desk.save(model)), target="cuda"), job)


def test_quantised_model_has_the_dialect_it_promises(desk, make_convnet, images):
    result, path = quantised(desk, make_convnet(), images)
    made = onnx.load(path)
    constants = {t.name: t for t in made.graph.initializer}
    makers = {o: node for node in made.graph.node for o in node.output}
    convs = [node for node in made.graph.node if node.op_type == "Conv"]
    assert len(convs) == 3
    for node in convs:
        data, weight = (makers[node.input[k]] for k in (0, 1))
        assert constants[data.input[2]].data_type == TensorProto.UINT8
        assert constants[weight.input[0]].data_type == TensorProto.INT8
        assert len(constants[weight.input[1]].dims) == 1, "one scale per channel"
        assert not any(constants[weight.input[2]].raw_data), "weights are symmetric"
    bn = next(node for node in made.graph.node if node.op_type == "BatchNormalization")
    assert makers.get(bn.input[1]) is None, "the scale of a BatchNormalization stays float"
    assert "MinMax over 12 samples" in result.method
    assert "bn" in result.float_nodes


def test_symmetric_scheme_is_all_int8_with_float_biases(desk, make_convnet, images):
    _, path = quantised(desk, make_convnet(), images, scheme="static-s8-symmetric")
    made = onnx.load(path)
    constants = {t.name: t for t in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type == "QuantizeLinear":
            zero = constants[node.input[2]]
            assert zero.data_type == TensorProto.INT8 and not any(zero.raw_data)
        if node.op_type == "DequantizeLinear":
            source = constants.get(node.input[0])
            assert source is None or source.data_type == TensorProto.INT8
    assert constants["b1"].data_type == F
    tensorrt, _ = quantised(desk, make_convnet(), images, target="tensorrt")
    assert "int8 symmetric" in tensorrt.method


def test_quantising_is_deterministic(desk, make_convnet, images):
    _, first = quantised(desk, make_convnet(), images)
    _, second = quantised(desk, make_convnet(), images)
    assert first.read_bytes() == second.read_bytes()


def test_nodes_stay_float_on_request_even_without_a_name(desk, make_convnet, images):
    result, path = quantised(desk, make_convnet(), images, keep_float=("Conv#4", "fc"))
    assert {"Conv#4", "fc"} <= set(result.float_nodes)
    made = onnx.load(path)
    node = next(node for node in made.graph.node if node.name == "Conv#4")
    assert node.input[1] == "w3"
    with pytest.raises(UserError, match="no such node"):
        quantised(desk, make_convnet(), images, keep_float=("nope",))


def test_old_opset_is_converted_for_per_channel(desk, make_convnet, images):
    result, path = quantised(desk, make_convnet(opset=11), images)
    assert max(o.version for o in onnx.load(path).opset_import if not o.domain) >= 13
    assert any("opset 11" in note for note in result.notes)


def test_what_cannot_be_quantised_is_refused(desk, make_convnet, make_model, images):
    with pytest.raises(UserError, match="static-u8-perchannel"):
        quantised(desk, make_convnet(), images, scheme="entropy")
    _, path = quantised(desk, make_convnet(), images)
    with pytest.raises(UserError, match="Q/DQ pairs already"):
        quantised(desk, onnx.load(path), images)
    neg = make_model([n("Neg", ["x"], ["y"])], [("x", F, ["N", 3])], [("y", F, ["N", 3])])
    with pytest.raises(RuntimeError, match="inserted no QuantizeLinear"):
        quantised(desk, neg, np.ones((3, 3), np.float32))


def test_int8_nodes_are_those_that_ran_in_int8_kernels(desk, make_convnet, images):
    _, path = quantised(desk, make_convnet(), images)
    job = desk.job()
    request = Int8Request(model=job.add(path), target="cpu", form="qdq")
    built = backend.seatrial_build_int8(request, job)
    assert {"conv1", "dw", "Conv#4", "fc"} <= set(built.int8_nodes)
    assert "bn" in built.float_nodes
    assert not set(built.int8_nodes) & set(built.float_nodes)

    session = opened(desk, job.out / built.artifact.entry, precision="int8", profile=True)
    for sample in images[:3]:
        session.run({"x": sample[None]})
    ran = session.ran()
    assert ran is session.ran()
    convs = [layer for layer in ran.layers if layer.op_type == "QLinearConv"]
    assert {"conv1", "dw", "Conv#4"} <= {node for layer in convs for node in layer.nodes}
    assert {layer.precision for layer in convs} == {"INT8"}
    assert all(layer.ms >= 0 and layer.on == "CPUExecutionProvider" for layer in ran.layers)
    norm = next(layer for layer in ran.layers if "bn" in layer.nodes)
    assert norm.precision == "FP32"


@pytest.mark.parametrize(
    "scheme", ["static-u8-perchannel", "static-u8-pertensor", "static-s8-symmetric"]
)
def test_what_is_said_of_the_graph_is_what_ran(desk, make_convnet, images, scheme):
    _, path = quantised(desk, make_convnet(), images, scheme=scheme)
    job = desk.job()
    built = backend.seatrial_build_int8(
        Int8Request(model=job.add(path), target="cpu", form="qdq"), job
    )
    session = opened(desk, path, precision="int8", profile=True)
    session.run({"x": images[:1]})
    layers = session.ran().layers
    convs = {"conv1", "dw", "Conv#4"}
    in_int8 = {k for layer in layers if layer.op_type == "QLinearConv" for k in layer.nodes}
    in_float = {k for layer in layers if layer.op_type == "Conv" for k in layer.nodes}
    assert in_int8 & convs == set(built.int8_nodes) & convs
    assert in_float & convs == set(built.float_nodes) & convs
    assert (in_int8 | in_float) & convs == convs
    assert not in_int8 & in_float
    others = [k for y in layers if y.op_type not in ("QLinearConv", "Conv") for k in y.nodes]
    assert not convs & set(others)


def test_initializers_listed_as_inputs_are_frozen(desk, make_convnet, images):
    model = make_convnet()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    result, path = quantised(desk, model, images)
    assert [i.name for i in result.artifact.inputs] == ["x"]
    assert any("no longer listed" in note for note in result.notes)
    _, plain = quantised(desk, make_convnet(), images)
    want = opened(desk, plain).run({"x": images})["y"]
    assert np.allclose(opened(desk, path).run({"x": images})["y"], want, atol=1e-5)


def test_float_model_never_counts_as_int8(desk, make_convnet, images):
    job = desk.job()
    request = Int8Request(model=job.add(desk.save(make_convnet())), target="cpu", form="qdq")
    built = backend.seatrial_build_int8(request, job)
    assert built.int8_nodes == ()
    assert any("no node runs in INT8" in note for note in built.notes)
    session = opened(desk, job.out / built.artifact.entry, profile=True)
    session.run({"x": images[:1]})
    layers = session.ran().layers
    assert {layer.precision for layer in layers} == {"FP32"}
    assert any(layer.layout == "NCHWc" for layer in layers)
    assert {"conv1", "Relu#1"} <= {node for layer in layers for node in layer.nodes}


def test_int8_from_a_float_model(desk, make_convnet, images):
    job = desk.job()
    request = Int8Request(
        model=job.add(desk.save(make_convnet())), target="cpu", form="float",
        calibration=desk.store(job, "x", images), keep_float=("fc",),
    )  # fmt: skip
    built = backend.seatrial_build_int8(request, job)
    assert "conv1" in built.int8_nodes and "fc" in built.float_nodes
    with pytest.raises(UserError, match="calibration"):
        backend.seatrial_build_int8(
            Int8Request(model=request.model, target="cpu", form="float"), desk_job(desk, request)
        )


def desk_job(desk, request):
    job = desk.job()
    job._paths[request.model.sha256] = desk.root / "never-read"
    return job


def test_placements_without_a_profile(desk, make_convnet):
    session = opened(desk, desk.save(make_convnet()), threads=1)
    ran = session.ran()
    assert [p.node for p in ran.placements][:2] == ["conv1", "Relu#1"]
    assert ran.layers == () and any("profile" in note for note in ran.notes)


def test_taps_give_inner_tensors_with_external_data_kept(desk, make_convnet, images):
    path = desk.save(make_convnet(), save_as_external_data=True, location="w.bin", size_threshold=0)
    got = opened(desk, path, taps=("r1", "y", "g")).run({"x": images[:2]})
    assert set(got) == {"y", "r1", "g"}
    assert got["r1"].shape == (2, 8, 16, 16) and got["r1"].min() == 0
    plain = opened(desk, path).run({"x": images[:2]})
    assert set(plain) == {"y"}
    assert np.allclose(plain["y"], got["y"], atol=1e-5)
    with pytest.raises(UserError, match="no tensor"):
        opened(desk, path, taps=("nope",))


def test_session_settings_pass_through(desk, make_convnet):
    path = desk.save(make_convnet())
    opened(desk, path, options={"session.intra_op.allow_spinning": False})
    with pytest.raises(UserError, match="not known"):
        opened(desk, path, options={"session.optimized_model_filepath": "x"})
    with pytest.raises(UserError, match="loads ONNX"):
        job = desk.job()
        request = LoadRequest(artifact=job.add(path), format="hef", target="cpu")
        backend.seatrial_load(request, job)


def test_class_probabilities_come_as_an_array(desk, make_model):
    zip_map = n("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[5, 2])
    model = make_model([zip_map], [("x", F, [None, 2])], [("x", F, [None, 2])], domains=[])
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    del model.graph.output[:]
    model.graph.output.add().name = "p"
    got = opened(desk, desk.save(model)).run({"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert got["p"].tolist() == [[2, 1], [4, 3]]


def test_ragged_sequences_are_refused_by_name():
    from seatrial_onnxruntime._load import as_array

    with pytest.raises(ValueError, match=r"output o: .*different shapes"):
        as_array("o", [np.zeros(2), np.zeros(3)])
    assert as_array("o", [np.zeros(2), np.ones(2)]).shape == (2, 2)
    assert as_array("o", np.array(["a"], dtype=object)).dtype.kind == "U"


@pytest.mark.parametrize("opset", [13, 17])
def test_nhwc_gives_the_same_numbers(desk, make_convnet, images, opset):
    job = desk.job()
    path = desk.save(make_convnet(opset))
    request = LayoutRequest(model=job.add(path), target="cpu", layout="NHWC", inputs=("x",))
    result = backend.seatrial_transform_layout(request, job)
    (io,) = result.artifact.inputs
    assert (io.name, io.perm, io.shape) == ("x", (0, 2, 3, 1), ("N", 16, 16, 3))
    assert (result.transposes_added, result.transposes_removed) == (1, 0)
    want = opened(desk, path).run({"x": images})["y"]
    feeds = {"x": np.ascontiguousarray(images.transpose(io.perm))}
    got = opened(desk, job.out / result.artifact.entry).run(feeds)["y"]
    assert np.allclose(want, got, atol=1e-5)
    assert not np.allclose(want, opened(desk, path).run({"x": images[::-1]})["y"], atol=1e-5)

    again = desk.job()
    request = LayoutRequest(
        model=again.add(job.out / result.artifact.entry), target="cpu", layout="NCHW",
        inputs=("x",),
    )  # fmt: skip
    back = backend.seatrial_transform_layout(request, again)
    assert (back.transposes_added, back.transposes_removed) == (0, 1)
    assert np.allclose(
        want, opened(desk, again.out / back.artifact.entry).run({"x": images})["y"], atol=1e-5
    )


def test_layout_keeps_external_data_metadata_and_branches(desk, make_model):
    inner = [
        helper.make_graph([n(op, ["x"], [out])], "b", [], [onnx.ValueInfoProto(name=out)])
        for op, out in (("Relu", "t"), ("Neg", "e"))
    ]
    model = make_model(
        [n("If", ["c"], ["a"], then_branch=inner[0], else_branch=inner[1]),
         n("Add", ["a", "w"], ["y"])],
        [("x", F, [1, 3, 2, 2]), ("c", TensorProto.BOOL, [])], [("y", F, None)],
        weights={"w": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)},
    )  # fmt: skip
    helper.set_model_props(model, {"labels": "a,b"})
    path = desk.save(model, save_as_external_data=True, location="w.bin", size_threshold=0)
    job = desk.job()
    request = LayoutRequest(model=job.add(path), target="cpu", layout="NHWC", inputs=("x",))
    result = backend.seatrial_transform_layout(request, job)
    assert set(result.artifact.files) == {"model.onnx", "w.bin"}
    made = onnx.load(job.out / "model.onnx")
    assert made.metadata_props[0].value == "a,b"
    x = np.random.default_rng(0).standard_normal((1, 3, 2, 2)).astype(np.float32)
    for condition in (True, False):
        c = np.array(condition)
        want = opened(desk, path).run({"x": x, "c": c})["y"]
        nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        got = opened(desk, job.out / "model.onnx").run({"x": nhwc, "c": c})["y"]
        assert np.array_equal(want, got)


def test_layout_of_what_is_no_image(desk, make_model, make_convnet):
    flat = make_model([n("Relu", ["x"], ["y"])], [("x", F, [2, 3])], [("y", F, [2, 3])])
    for model, inputs, words in (
        (flat, ("x",), "2 dimensions"),
        (make_convnet(), ("z",), "no such input"),
    ):
        job = desk.job()
        request = LayoutRequest(
            model=job.add(desk.save(model)), target="cpu", layout="NHWC", inputs=inputs
        )
        with pytest.raises(UserError, match=words):
            backend.seatrial_transform_layout(request, job)


def test_streams_share_a_session(desk, make_convnet, images):
    path = desk.save(make_convnet())
    session = opened(desk, path, threads=1, streams=2)
    assert session.streams == 2
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda k: session.run({"x": images[k : k + 1]})["y"], range(8)))
    alone = opened(desk, path, threads=1)
    for k, value in enumerate(got):
        assert np.array_equal(value, alone.run({"x": images[k : k + 1]})["y"])


def test_without_optimisation_every_node_is_a_layer_of_its_own(desk, make_convnet, images):
    model = make_convnet()
    path = desk.save(model)
    members = []
    for optimise in (True, False):
        session = opened(desk, path, optimise=optimise, profile=True)
        session.run({"x": images[:1]})
        members.append([len(layer.nodes) for layer in session.ran().layers])
    assert max(members[0]) > 1
    assert members[1] == [1] * len(model.graph.node)
