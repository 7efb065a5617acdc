import numpy as np
import pytest
from onnx import helper

import seatrial_openvino as backend
from seatrial.codec import decode, encode
from seatrial.results import LayoutRequest, LayoutResult, LoadRequest


def transform(zoo, path, layout, inputs=("x",), **request):
    wanted = {"model": zoo.job.add(path), "target": "CPU", "layout": layout, "inputs": inputs}
    result = backend.seatrial_transform_layout(LayoutRequest(**(wanted | request)), zoo.job)
    assert decode(LayoutResult, encode(result)) == result
    return result


def run(zoo, ref, kind, feeds):
    request = LoadRequest(artifact=ref, format=kind, target="CPU")
    return backend.seatrial_load(request, zoo.job).run(feeds)


@pytest.mark.parametrize("batch", [1, "N"])
def test_nhwc_gives_the_same_outputs(zoo, batch):
    path = zoo.cnn(batch=batch)
    result = transform(zoo, path, "NHWC")
    (image,) = result.artifact.inputs
    assert image.perm == (0, 2, 3, 1)
    assert image.shape[1:] == (16, 16, 3)
    assert result.method == "reconfigured"
    assert result.transposes_added == 1
    assert result.transposes_removed == 0
    images = zoo.images(1)
    plain = run(zoo, zoo.job.add(path), "onnx", {"x": images})["y"]
    turned = np.ascontiguousarray(images.transpose(image.perm))
    other = run(zoo, zoo.job.adopt(result.artifact), "openvino-ir", {"x": turned})["y"]
    np.testing.assert_allclose(other, plain, atol=1e-5)


def test_a_channels_last_model_turned_to_nchw(zoo):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="turn", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["y"], name="conv"),
    ]
    values = [zoo.value("x", [1, 8, 8, 3])], [zoo.value("y", None)]
    path = zoo.save(nodes, *values, [zoo.weight("w", 4, 3, 3, 3)])
    result = transform(zoo, path, "NCHW")
    assert result.artifact.inputs[0].shape == (1, 3, 8, 8)
    images = zoo.rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    plain = run(zoo, zoo.job.add(path), "onnx", {"x": images})["y"]
    turned = np.ascontiguousarray(images.transpose(result.artifact.inputs[0].perm))
    other = run(zoo, zoo.job.adopt(result.artifact), "openvino-ir", {"x": turned})["y"]
    np.testing.assert_allclose(other, plain, atol=1e-5)


def test_other_inputs_stay(zoo):
    nodes = [helper.make_node("Add", ["x", "z"], ["y"], name="plus")]
    inputs = [zoo.value("x", [1, 3, 4, 4]), zoo.value("z", [1, 3, 4, 4])]
    path = zoo.save(nodes, inputs, [zoo.value("y", [1, 3, 4, 4])])
    found = {t.name: (t.perm, t.shape) for t in transform(zoo, path, "NHWC").artifact.inputs}
    assert found == {"x": ((0, 2, 3, 1), (1, 4, 4, 3)), "z": ((), (1, 3, 4, 4))}


def test_what_has_no_layout_is_refused(zoo):
    with pytest.raises(ValueError, match="there are NHWC, NCHW"):
        transform(zoo, zoo.cnn(), "CHWN")
    with pytest.raises(ValueError, match="no input 'z'; it has x"):
        transform(zoo, zoo.cnn(), "NHWC", ("z",))
    with pytest.raises(ValueError, match="has not four dimensions"):
        transform(zoo, zoo.attention(), "NHWC")
