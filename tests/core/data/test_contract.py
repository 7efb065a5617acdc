"""Contracts against models, and the way back from the fed picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seatrial.codec import decode, encode
from seatrial.data import Geometry, InputContract, complete, guess_layout
from seatrial.data.contract import check
from seatrial.data.pictures import Normaliser, fit
from seatrial.errors import UserError
from seatrial.results import TensorIO


def model(*shape, dtype="float32"):
    return TensorIO(name="in", dtype=dtype, shape=shape)


def test_the_model_fills_what_is_left_out():
    c = complete(InputContract(), model("N", 3, 20, 30))
    assert (c.size, c.layout, c.dtype, c.resize) == ((20, 30), "NCHW", "float32", "none")
    c = complete(InputContract(color="GRAY", resize_to=32), model(1, 20, 30, 1, dtype="uint8"))
    assert (c.size, c.layout, c.dtype, c.resize) == ((20, 30), "NHWC", "uint8", "crop")
    c = complete(InputContract(size=(8, 9)), model("?", 3, "h", "w"))
    assert c.size == (8, 9)
    c = complete(InputContract(size=(8, 9), layout="NHWC"), model("..."))
    assert c.layout == "NHWC"
    assert decode(InputContract, encode(c)) == c


@pytest.mark.parametrize(
    ("contract", "shape", "said"),
    [
        (InputContract(size=(10, 10)), ("N", 3, 20, 30), r"Nx3x10x10.*model takes Nx3x20x30"),
        (InputContract(layout="NHWC"), ("N", 3, 20, 30), r"model takes Nx3x20x30"),
        (InputContract(color="GRAY"), ("N", 3, 20, 30), r"layout: cannot be told from .*Nx3x20x30"),
        (InputContract(color="GRAY", layout="NCHW"), ("N", 3, 2, 3), r"Nx1x2x3.*takes Nx3x2x3"),
        (InputContract(layout="HW"), ("N", 3, 2, 3), r"has 2 axes"),
        (InputContract(), ("N", 3, "h", "w"), r"leaves it free"),
        (InputContract(), ("N", 3, 8, 3), r"cannot be told"),
        (InputContract(), ("N", 10), r'use mode = "tensor"'),
        (InputContract(dtype="uint8"), ("N", 3, 2, 3), r"is uint8, but the model takes float32"),
        (InputContract(mode="picture"), ("N", 3, 2, 3), r"'picture' is none of image, tensor"),
        (InputContract(std=(1.0, 0.0, 1.0)), ("N", 3, 2, 3), r"std: 0 cannot"),
        (InputContract(scale=0.0), ("N", 3, 2, 3), r"same"),
        (InputContract(mean=(1.0, 2.0)), ("N", 3, 2, 3), r"1 number or 3"),
        (InputContract(pad_value=(256.0,)), ("N", 3, 2, 3), r"0 to 255"),
        (InputContract(size=(3,)), ("N", 3, 2, 3), r"\[height, width\]"),
        (InputContract(reshape=(3,)), ("N", 3, 2, 3), r"only for mode"),
        (InputContract(mode="tensor", layout="NCHW"), ("N", 3), r"'NCHW' is none"),
    ],
)
def test_contradictions_are_refused_by_name(contract, shape, said):
    with pytest.raises(UserError, match=said) as caught:
        complete(contract, model(*shape))
    assert '[input."in"]' in str(caught.value)


def test_layout_of_three_axes():
    assert guess_layout(model(3, 20, 30)) == "CHW"
    assert guess_layout(model(20, 30, 1)) == "HWC"


side = st.integers(20, 90)


@given(
    w=side,
    h=side,
    th=st.integers(8, 64),
    tw=st.integers(8, 64),
    resize=st.sampled_from(["stretch", "crop", "letterbox"]),
    pad_side=st.sampled_from(["center", "topleft"]),
)
def test_points_find_their_way_back(w, h, th, tw, resize, pad_side):
    """A grey ramp is its own ruler: what lies at a fed pixel came from where geometry says."""
    ramp = np.broadcast_to(np.arange(w, dtype=np.uint8)[None, :] * 2, (h, w))
    contract = complete(
        InputContract(size=(th, tw), resize=resize, color="GRAY", pad_side=pad_side),
        model("N", 1, th, tw),
    )
    pixels, geometry = fit(Image.fromarray(np.ascontiguousarray(ramp)), contract, "ramp")
    assert pixels.shape == (th, tw, 1) and geometry.size == (h, w) and geometry.fed == (th, tw)
    top, left, bottom, right = geometry.window
    assert 0 <= top < bottom <= th and 0 <= left < right <= tw
    if resize == "letterbox":
        outside = np.ones((th, tw), bool)
        outside[top:bottom, left:right] = False
        assert (pixels[:, :, 0][outside] == 114).all()
    else:
        assert (top, left, bottom, right) == (0, 0, th, tw)
    step = 1 / geometry.scale[1]
    for column in range(left + 2, right - 2):
        x, _ = geometry.to_original(column + 0.5, 0)
        if 2 * step < x < w - 2 * step:
            assert abs(float(pixels[(top + bottom) // 2, column, 0]) / 2 - (x - 0.5)) < 1 + step / 4
    x, y = geometry.to_fed(*geometry.to_original(3.0, 4.0))
    assert (x, y) == pytest.approx((3.0, 4.0))


def test_boxes_come_back_clipped():
    geometry = Geometry(size=(100, 200), fed=(64, 64), scale=(0.32, 0.32), offset=(16.0, 0.0))
    assert geometry.window == (16, 0, 48, 64)
    assert geometry.visible == (0.0, 0.0, 200.0, 100.0)
    assert geometry.box_to_original((0, 0, 32, 32)) == pytest.approx((0, 0, 100, 50))
    assert geometry.box_to_original((0, 0, 32, 32), clip=False)[1] == pytest.approx(-50)


@given(
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5, 2.0]),
    mean=st.lists(st.floats(-200, 200), min_size=3, max_size=3),
    std=st.lists(st.floats(0.1, 90), min_size=3, max_size=3),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_the_formula_is_the_documented_one(scale, mean, std, layout, dtype):
    shape = ("N", 3, 4, 5) if layout == "NCHW" else ("N", 4, 5, 3)
    contract = InputContract(scale=scale, mean=tuple(mean), std=tuple(std), layout=layout)
    contract = complete(contract, model(*shape, dtype=dtype))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    wanted = ((pixels.astype(np.float64) * scale - np.array(mean)) / np.array(std)).astype(dtype)
    wanted = wanted.transpose(2, 0, 1) if layout == "NCHW" else wanted
    assert np.array_equal(Normaliser(contract, "in")(pixels), wanted)


def test_integer_inputs_take_what_they_can_hold():
    contract = complete(InputContract(), model("N", 3, 4, 5, dtype="uint8"))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert np.array_equal(Normaliser(contract, "in")(pixels), pixels.transpose(2, 0, 1))
    contract = complete(InputContract(mean=(128.0,)), model("N", 3, 4, 5, dtype="int8"))
    assert Normaliser(contract, "in")(pixels).min() >= -128
    for bad in (InputContract(), InputContract(mean=(200.0,))):
        with pytest.raises(UserError, match="more than int8 holds"):
            Normaliser(complete(bad, model("N", 3, 4, 5, dtype="int8")), "in")


def test_gray_inputs_without_channel_axis():
    contract = complete(InputContract(color="GRAY", layout="NHW"), model("N", 4, 5))
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5, 1)
    assert np.array_equal(Normaliser(contract, "in")(pixels), pixels[:, :, 0].astype(np.float32))


def test_a_record_stays_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        InputContract().scale = 2.0
    check(InputContract(), "in")
