"""Camera frames: the folded model gives what the original gives of the normalised picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.errors import UserError
from seatrial.layout.compare import TOLERANCE, distance
from seatrial.layout.frames import WHOLE, FramesRequest, coefficients, make, to_feed, to_frame
from seatrial.reference import open_model
from seatrial.results import Ref
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

SIDE = 9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOWHERE = Ref(sha256="a" * 64, entry="")


@pytest.fixture
def job(tmp_path: Path) -> LocalJob:
    return LocalJob(tmp_path / "job")


@pytest.fixture
def request_for(tmp_path: Path, store: Any, job: LocalJob) -> Callable[..., FramesRequest]:
    """A convolution over pictures in a layout, samples of it, and the request."""

    def build(layout: str, *, rounded: bool = True, external: bool = False) -> FramesRequest:
        rng = np.random.default_rng(3)
        weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
        shape = [1, 3, SIDE, SIDE] if layout == "NCHW" else [1, SIDE, SIDE, 3]
        nodes = [helper.make_node("Conv", ["in", "w"], ["y"], pads=[1, 1, 1, 1])]
        if layout == "NHWC":
            turn = helper.make_node("Transpose", ["x"], ["in"], perm=[0, 3, 1, 2])
        else:
            turn = helper.make_node("Identity", ["x"], ["in"])
        graph = helper.make_graph(
            [turn, *nodes],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape[1:]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weight, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / "model.onnx"
        onnx.save(
            model, path, save_as_external_data=external, location="weights.bin", size_threshold=0
        )
        frames = rng.integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.float64)
        frames += 0 if rounded else 0.4
        value = (frames / 255 - MEAN) / STD
        value = value.transpose(0, 3, 1, 2) if layout == "NCHW" else value
        return FramesRequest(
            model=job.add(path),
            input="x",
            layout=layout,
            shape=tuple(shape),
            samples=job.add(store({"x": value.astype(np.float32)})),
            count=7,
            scale=1 / 255,
            mean=MEAN,
            std=STD,
        )

    return build


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_frames_give_what_the_original_gives(
    job: LocalJob, request_for: Any, layout: str, external: bool
) -> None:
    request = request_for(layout, external=external)
    made = make(request, job)
    frames, fed = Samples(job.out / "frames"), Samples(job.out / "fed")
    assert (frames.count, fed.count, frames.shape("x")) == (7, 7, (SIDE, SIDE, 3))
    assert frames.array("x").dtype == np.uint8
    assert made.off < WHOLE
    assert min(made.nchw_ms, made.nhwc_ms) > 0
    original = open_model(job.path(request.model))
    folded = open_model(job.out / made.model.entry)
    assert folded.shapes["x"][1:] == (SIDE, SIDE, 3)
    for i in range(7):
        expected, got = original.run(fed.feeds([i]))["y"], folded.run(frames.feeds([i]))["y"]
        assert distance(expected, got)[1] <= TOLERANCE
    # What is fed again is what the samples were, to float32 rounding.
    np.testing.assert_allclose(
        fed.one("x", 5), Samples(job.path(request.samples)).one("x", 0), atol=2e-6
    )
    if external:
        assert "weights.bin" in made.model.files


def test_another_deviation_is_not_the_same(job: LocalJob, request_for: Any) -> None:
    request = request_for("NCHW")
    made = make(request, job)
    model = onnx.load(job.out / made.model.entry)
    (scale,) = [t for t in model.graph.initializer if t.name == "frame_scale"]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.01, "frame_scale"))
    folded = open_model(model.SerializeToString())
    expected = open_model(job.path(request.model)).run(Samples(job.out / "fed").feeds([0]))["y"]
    got = folded.run(Samples(job.out / "frames").feeds([0]))["y"]
    assert distance(expected, got)[1] > TOLERANCE


def test_samples_that_are_no_pictures_are_told(job: LocalJob, request_for: Any) -> None:
    assert make(request_for("NCHW", rounded=False), job).off == pytest.approx(0.4, abs=0.01)


def test_an_input_that_is_given_out_again_is_refused(job: LocalJob, request_for: Any) -> None:
    request = request_for("NCHW")
    model = onnx.load(job.path(request.model))
    model.graph.output.append(model.graph.input[0])
    onnx.save(model, job.path(request.model))
    with pytest.raises(UserError, match="gives this input out again"):
        make(request, job)


@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    st.floats(1e-3, 2),
    st.floats(-128, 128),
    st.sampled_from(["NCHW", "NHWC"]),
    st.integers(0, 2**32 - 1),
)
def test_frames_come_back_from_what_was_fed(mean, std, scale, zero_point, layout, seed) -> None:
    request = FramesRequest(
        model=NOWHERE, input="x", layout=layout, shape=(1, 3, 4, 5), samples=NOWHERE, count=1,
        zero_point=zero_point, scale=scale, mean=tuple(mean), std=tuple(std),
    )  # fmt: skip
    a, b = coefficients(request)
    frame = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    exact = ((frame.astype(np.float64) - zero_point) * scale - mean) / std
    fed = to_feed(frame, layout, a, b)
    turned = exact.transpose(2, 0, 1) if layout == "NCHW" else exact
    # Rounding of the constants and of two operations, where large terms may cancel.
    size = np.abs(255 * a).max() + np.abs(b).max()
    np.testing.assert_allclose(fed, turned, atol=4 * 2.0**-24 * size)
    again, off = to_frame(turned, layout, a, b)
    assert off < 1e-6
    np.testing.assert_array_equal(again, frame)
