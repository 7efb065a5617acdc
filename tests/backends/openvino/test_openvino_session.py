from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import seatrial_openvino as backend
from seatrial.codec import decode, encode
from seatrial.hookspecs import Session
from seatrial.results import LoadRequest, Ran


def load(zoo, path, **request):
    wanted = {"target": "CPU", "format": "onnx", **request}
    return backend.seatrial_load(LoadRequest(artifact=zoo.job.add(path), **wanted), zoo.job)


def test_session_is_one(zoo):
    session = load(zoo, zoo.cnn())
    assert isinstance(session, Session)
    session.run({"x": zoo.images(1)})
    ran = session.ran()
    assert decode(Ran, encode(ran)) == ran
    assert {layer.ms for layer in ran.layers} == {-1.0}
    session.close()
    session.close()


def test_outputs_stay_what_they_were(zoo):
    session = load(zoo, zoo.cnn())
    first = session.run({"x": zoo.images(1)})["y"]
    kept = first.copy()
    session.run({"x": zoo.images(1)})
    np.testing.assert_array_equal(first, kept)


def test_inputs_are_not_written_to(zoo):
    session = load(zoo, zoo.cnn())
    images = zoo.images(1)
    before = images.copy()
    session.run({"x": images})
    np.testing.assert_array_equal(images, before)


def _read_only(value):
    value = value.copy()
    value.flags.writeable = False
    return value


@pytest.mark.parametrize("form", [_read_only, np.asfortranarray, lambda x: x[..., ::-1]])
def test_inputs_of_any_form_are_taken_as_they_are(zoo, form):
    """What may be shared is, the rest is copied: neither may change what comes out."""
    session = load(zoo, zoo.cnn())
    given = form(zoo.images(1) + 1)
    plain = np.array(given, order="C")
    wanted = session.run({"x": plain})["y"]
    other = session.run({"x": np.zeros_like(plain)})["y"]
    assert not np.array_equal(wanted, other)
    np.testing.assert_array_equal(session.run({"x": given})["y"], wanted)


def test_an_input_that_was_let_go_is_not_read_again(zoo):
    """The runtime keeps the place of the last input: each call must bring its own."""
    session = load(zoo, zoo.cnn())
    images = zoo.images(1)
    wanted = session.run({"x": images})["y"]
    for _ in range(3):
        session.run({"x": np.full_like(images, np.nan)})
    np.testing.assert_array_equal(session.run({"x": images.copy()})["y"], wanted)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float64])
def test_element_types_are_shared_as_they_are(zoo, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Not" if dtype is np.bool_ else "Identity", ["x"], ["y"])]
    path = zoo.save(nodes, [zoo.value("x", [5], kind)], [zoo.value("y", [5], kind)])
    value = np.array([0, 1, 1, 0, 1], dtype)
    got = load(zoo, path).run({"x": value})["y"]
    np.testing.assert_array_equal(got, ~value if dtype is np.bool_ else value)


def test_names_of_many_inputs_and_outputs(zoo):
    """An output that only passes an input on, two names of one tensor, and integers."""
    nodes = [
        helper.make_node("Identity", ["b"], ["passed"], name="same"),
        helper.make_node("Sub", ["a", "b"], ["diff"], name="minus"),
        helper.make_node("Identity", ["diff"], ["again"], name="twice"),
        helper.make_node("Add", ["n", "n"], ["double"], name="plus"),
    ]
    inputs = [zoo.value("b", [2]), zoo.value("n", [2], TensorProto.INT64), zoo.value("a", [2])]
    outputs = [
        zoo.value("again", [2]),
        zoo.value("double", [2], TensorProto.INT64),
        zoo.value("passed", [2]),
        zoo.value("diff", [2]),
    ]
    path = zoo.save(nodes, inputs, outputs)
    feeds = {
        "a": np.array([5, 7], np.float32),
        "b": np.array([1, 2], np.float32),
        "n": np.array([3, 4], np.int64),
    }
    reference = onnxruntime.InferenceSession(path)
    expected = dict(
        zip((o.name for o in reference.get_outputs()), reference.run(None, feeds), strict=True)
    )
    for kind in ("onnx", "openvino-ir"):
        if kind == "onnx":
            session = load(zoo, path)
        else:
            from seatrial.results import BuildRequest

            request = BuildRequest(model=zoo.job.add(path), target="CPU")
            artifact = backend.seatrial_build(request, zoo.job).artifact
            assert [t.name for t in artifact.inputs] == ["b", "n", "a"]
            session = load(zoo, zoo.job.out / artifact.entry, format=kind)
        found = session.run(feeds)
        assert set(found) == set(expected), kind
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"{kind} {name}")
            assert found[name].dtype == value.dtype


def test_free_dimensions(zoo):
    session = load(zoo, zoo.cnn(batch="N"), profile=True)
    for count in (1, 4):
        assert session.run({"x": zoo.images(count)})["y"].shape == (count, 10)
    assert all(layer.kernel for layer in session.ran().layers if layer.nodes)


def test_taps_give_inner_tensors(zoo):
    path = zoo.cnn()
    session = load(zoo, path, taps=("r1", "y", "s"))
    images = zoo.images(1)
    found = session.run({"x": images})
    assert set(found) == {"y", "r1", "s"}
    assert found["r1"].shape == (1, 8, 16, 16)
    assert found["r1"].min() >= 0
    plain = load(zoo, path).run({"x": images})["y"]
    np.testing.assert_allclose(found["y"], plain, atol=1e-5)


def test_a_tap_that_is_not_there_is_named(zoo):
    with pytest.raises(ValueError, match="no tensor nowhere in the model"):
        load(zoo, zoo.cnn(), taps=("r1", "nowhere"))


def test_profile_names_layers_kernels_layouts_and_times(zoo):
    session = load(zoo, zoo.cnn(), profile=True)
    for _ in range(3):
        session.run({"x": zoo.images(1)})
    layers = {n: layer for layer in session.ran().layers for n in layer.nodes}
    for node in ("first", "depth", "head"):
        assert layers[node].kernel
        assert layers[node].on == "CPU"
        assert layers[node].ms >= 0
    assert layers["first"].layout
    assert layers["first"] is layers["act"], "the activation runs inside the convolution"


def test_threads_and_streams_are_set(zoo):
    session = load(zoo, zoo.cnn(), threads=1)
    notes = session.ran().notes
    assert "threads: 1" in notes
    assert "NUM_STREAMS=1" in notes
    assert "ENABLE_CPU_PINNING=False" in notes
    assert "INFERENCE_PRECISION_HINT=f32" in notes


def test_batch_norm_folded_into_a_convolution_keeps_both_labels(zoo):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["y"], name="act"),
    ]
    ones = np.ones(4, np.float32)
    weights = [zoo.weight("w", 4, 3, 3, 3), *(zoo.constant(n, ones * 0.5) for n in "gbmv")]
    path = zoo.save(nodes, [zoo.value("x", [1, 3, 8, 8])], [zoo.value("y", None)], weights)
    session = load(zoo, path, profile=True)
    session.run({"x": np.ones((1, 3, 8, 8), np.float32)})
    (layer,) = [ly for ly in session.ran().layers if ly.op_type == "Convolution"]
    assert set(layer.nodes) == {"conv", "norm", "act"}


def test_truth_values_are_no_int8(zoo):
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["g"], name="greater"),
        helper.make_node("Not", ["g"], ["y"], name="not"),
    ]
    weights = [zoo.constant("zero", np.float32(0))]
    outputs = [zoo.value("y", [4], TensorProto.BOOL)]
    path = zoo.save(nodes, [zoo.value("x", [4])], outputs, weights)
    session = load(zoo, path, profile=True)
    found = session.run({"x": np.array([-1, 0, 1, 2], np.float32)})["y"]
    assert found.tolist() == [True, True, False, False]
    assert "INT8" not in {layer.precision for layer in session.ran().layers if layer.nodes}


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "are wanted"),
        ({"x": np.zeros((1, 3, 16, 16), np.float64)}, "is float64, the model takes float32"),
        ({"z": np.zeros((1, 3, 16, 16), np.float32)}, "are wanted"),
    ],
)
def test_wrong_feeds_are_refused(zoo, feeds, message):
    with pytest.raises(ValueError, match=message):
        load(zoo, zoo.cnn()).run(feeds)


def test_unknown_formats_are_refused(zoo):
    with pytest.raises(ValueError, match="this backend loads"):
        load(zoo, zoo.cnn(), format="hef")
    with pytest.raises(ValueError, match="there are fp32"):
        load(zoo, zoo.cnn(), precision="fp4")


def test_streams_take_as_many_calls_at_once(zoo):
    path = zoo.cnn()
    session = load(zoo, path, threads=1, streams=2)
    assert session.streams == 2
    assert "NUM_STREAMS=2" in session.ran().notes
    images = [zoo.images(1) + k for k in range(8)]
    alone = load(zoo, path, threads=1)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda x: session.run({"x": x})["y"], images))
    for image, got in zip(images, together, strict=True):
        np.testing.assert_allclose(got, alone.run({"x": image})["y"], rtol=1e-5, atol=1e-5)
    session.close()
