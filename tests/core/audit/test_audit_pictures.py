"""Thumbnails show what the network is fed; histograms count what is clipped."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from seatrial.audit import pictures
from seatrial.calibration import table as tables
from seatrial.calibration.histogram import Dyadic
from seatrial.calibration.types import RangeTable, TensorRange
from seatrial.data.contract import InputContract
from seatrial.results import Ref, TensorIO
from seatrial.samples import StoreWriter
from seatrial.testing import LocalJob

STORE, TABLE = Ref(sha256="a" * 64, entry=""), Ref(sha256="b" * 64, entry="")
CONTRACT = InputContract(
    size=(48, 64), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), color="BGR",
    layout="NCHW", dtype="float32",
)  # fmt: skip


class Job(LocalJob):
    """A job whose references are folders of the test."""

    def __init__(self, root, where):
        super().__init__(root)
        self.where = where

    def path(self, ref):
        return self.where[ref.sha256]


def fed(pixels):
    """RGB pixels as the contract feeds them."""
    blue_first = pixels[:, :, ::-1].astype(float) / 255
    return ((blue_first - CONTRACT.mean) / CONTRACT.std).transpose(2, 0, 1).astype(np.float32)


@pytest.fixture
def world(tmp_path):
    """A store of two pictures and a table of one tensor."""
    draw = np.random.default_rng(0)
    left_red = np.zeros((48, 64, 3), np.uint8)
    left_red[:, :32, 0] = 255
    noise = draw.integers(0, 256, (48, 64, 3), np.uint8)
    store = tmp_path / "store"
    store.mkdir()
    writer = StoreWriter(store, 2)
    for pixels in (left_red, noise):
        writer.add({"input": fed(pixels)})
    writer.close([{"id": "red.png", "sha256": "0"}, {"id": "noise.png", "sha256": "1"}])
    values = draw.normal(0, 1, 200_000).astype(np.float32)
    counts = Dyadic()
    counts.add(values)
    seen = TensorRange(
        lo=float(values.min()), hi=float(values.max()), count=2, histogram=counts.packed()
    )
    folder = tmp_path / "table"
    folder.mkdir()
    tables.save(RangeTable(method="minmax", count=2, tensors={"act": seen}), folder)
    job = Job(tmp_path / "job", {STORE.sha256: store, TABLE.sha256: folder / tables.FILE})
    return job, values


def ask(**more):
    return pictures.PicturesRequest(
        **{
            "stores": {"calibration": STORE},
            "samples": {"calibration": ("red.png", "noise.png", "gone.png")},
            "input": TensorIO(name="input", dtype="float32", shape=(1, 3, 48, 64)),
            "contract": CONTRACT,
        }
        | more
    )


def opened(one):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(one.picture))).convert("RGB"))


def test_a_thumbnail_is_the_picture_in_its_own_colours(world):
    job, _ = world
    red, noise = pictures.pictures(ask(), job).thumbnails
    assert (red.id, noise.id) == ("red.png", "noise.png")
    seen = opened(red)
    assert seen.shape == (48, 64, 3)
    assert seen[24, 8].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert seen[24, 56].tolist() == pytest.approx([0, 0, 0], abs=12)
    assert all(len(one.picture) <= pictures.MOST_TEXT for one in (red, noise))


@pytest.mark.parametrize("side", [8, 32, 500])
def test_thumbnails_are_small_whatever_the_picture(side):
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    kind, text = pictures.small(pixels)
    assert kind in ("png", "jpeg") and 0 < len(text) <= pictures.MOST_TEXT
    assert max(Image.open(io.BytesIO(base64.b64decode(text))).size) == min(side, pictures.SIDE)


def test_what_is_no_picture_has_no_thumbnail(world):
    job, _ = world
    assert pictures.pictures(ask(input=TensorIO(name="x", dtype="", shape=())), job) == (
        pictures.Pictures()
    )


@pytest.mark.parametrize(("method", "symmetric"), [("minmax", False), ("percentile-99.9", True)])
def test_a_histogram_counts_all_values_and_those_outside(world, method, symmetric):
    job, values = world
    asked = ask(table=TABLE, method=method, symmetric=symmetric, tensors=("act", "unknown"))
    (found,) = pictures.pictures(asked, job).histograms
    assert sum(found.counts) == pytest.approx(1, abs=1e-4)
    expected, _ = np.histogram(values, pictures.BINS, (found.lo, found.hi))
    assert found.counts == pytest.approx(expected / len(values), abs=2e-3)
    above = float(np.mean(values > found.range_hi))
    assert found.above == pytest.approx(above, abs=2e-4)
    if symmetric:
        assert found.range_lo == -found.range_hi and 0 < found.above < 0.01
    else:
        assert found.above == found.below == 0
