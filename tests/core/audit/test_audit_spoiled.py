"""Sets spoiled on purpose are named for what they are; good ones are left alone.

Each spoil is seeded and made from generated scenes here; real pictures come in where they are.
"""

import numpy as np
import pytest
from audit_sets import fed, real, scenes

COUNT = 160


def levels(found):
    return {f.code: f.level for f in found.findings}


@pytest.fixture(scope="module")
def good():
    return scenes(COUNT, 1), scenes(COUNT, 2)


def _crop(picture, draw):
    from PIL import Image

    side = picture.shape[0]
    size = int(side * draw.uniform(0.75, 0.92))
    x, y = draw.integers(0, side - size + 1, 2)
    image = Image.fromarray(picture).crop((x, y, x + size, y + size)).resize((side, side))
    return np.asarray(image)


def _copies(pictures, change):
    half = pictures[: COUNT // 2]
    return np.concatenate([half, np.stack([change(p) for p in half])])


def _pad(picture, draw):
    side = picture.shape[0]
    wide = np.pad(picture, ((6, 6), (6, 6), (0, 0)))
    x, y = draw.integers(0, 13, 2)
    return wide[y : y + side, x : x + side]


def spoil(name, calibration, test):
    """The spoiled calibration set as fed, and the code or codes that name it."""
    draw = np.random.default_rng(7)
    c, mean = fed(calibration), np.array([0.485, 0.456, 0.406], np.float32)
    made = {
        "too few": lambda: (c[:20], {"too-few"}),
        "repeats": lambda: (np.repeat(c[:40], 4, axis=0), {"duplicate"}),
        "in the test set": lambda: (np.concatenate([c[:-20], fed(test)[:20]]), {"overlap-test"}),
        "test mirrored": lambda: (
            np.concatenate([c[:-20], fed(test)[:20, :, :, ::-1]]), {"near-test"}),
        "test brighter": lambda: (
            np.concatenate([c[:-20], fed(np.clip(test[:20] * 0.8 + 20, 0, 255))]),
            {"near-test"}),
        "mirrored copies": lambda: (
            fed(_copies(calibration, lambda p: p[:, ::-1])), {"augmented-copies"}),
        "cropped copies": lambda: (
            fed(_copies(calibration, lambda p: _crop(p, draw))),
            {"augmented-copies", "near-duplicate"}),
        "padded": lambda: (fed(np.stack([_pad(p, draw) for p in calibration])), {"padding"}),
        "0 to 1": lambda: ((c + 1) / 2, {"scale"}),
        "0 to 255": lambda: ((c + 1) * np.float32(127.5), {"scale"}),
        "narrow": lambda: (c * np.float32(0.3), {"scale"}),
        "wrong mean": lambda: (
            ((c + 1) / 2 - mean[:, None, None]) / np.float32(0.5), {"scale"}),
        "normalised twice": lambda: (c * 2 - 1, {"double-normalised"}),
        "BGR": lambda: (c[:, ::-1].copy(), {"preprocessing"}),
        "NHWC as NCHW": lambda: (
            c.transpose(0, 2, 3, 1).copy().reshape(c.shape), {"interleaved"}),
        "upside down": lambda: (c[:, :, ::-1].copy(), {"preprocessing"}),
        "no nights": lambda: (fed(scenes(COUNT, 1, night=0.0)), {"uncovered"}),
        "blurred": lambda: (fed(_blurred(calibration)), {"quality"}),
        "noisy": lambda: (
            fed(np.clip(calibration + draw.normal(0, 40, calibration.shape), 0, 255)),
            {"quality"}),
        "a sequence": lambda: (fed(_sequence(calibration, draw)), {"sequence", "near-duplicate"}),
        "one wild sample": lambda: (
            np.concatenate([c[:-1], c[-1:] * np.float32(30)]), {"outlier-sample"}),
        "random numbers": lambda: (
            draw.normal(0, 1, c.shape).astype(np.float32), {"drift", "quality"}),
    }  # fmt: skip
    return made[name]()


def _blurred(pictures):
    from PIL import Image, ImageFilter

    blur = ImageFilter.GaussianBlur(2)
    return np.stack([np.asarray(Image.fromarray(p).filter(blur)) for p in pictures])


def _sequence(pictures, draw):
    """Twenty scenes, eight frames of each with a little noise."""
    frames = np.repeat(pictures[: COUNT // 8], 8, axis=0)
    return np.clip(frames + draw.normal(0, 4, frames.shape), 0, 255)


SPOILS = (
    "too few", "repeats", "in the test set", "test mirrored", "test brighter", "mirrored copies",
    "cropped copies", "padded", "0 to 1", "0 to 255", "narrow", "wrong mean", "normalised twice",
    "BGR", "NHWC as NCHW", "upside down", "no nights", "blurred", "noisy", "a sequence",
    "one wild sample", "random numbers",
)  # fmt: skip


#: Spoils that run by default; each of the others is of a kind that is among these.
QUICK = frozenset({"test mirrored", "padded", "BGR", "no nights"})


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in SPOILS]
)
def test_a_spoiled_set_is_named(name, good, review):
    values, codes = spoil(name, *good)
    found = review(np.asarray(values, np.float32), fed(good[1]))
    named = {c for c, level in levels(found).items() if level != "info"}
    assert named & codes, [(f.code, f.level, f.text) for f in found.findings]
    assert not [c for c in found.checks if c.status == "failed"]


def test_a_good_set_has_no_finding_beyond_its_number(good, review):
    found = review(fed(good[0]), fed(good[1]))
    assert set(levels(found)) <= {"too-few"}, [(f.code, f.text) for f in found.findings]
    assert not [c for c in found.checks if c.status == "failed"]


@pytest.mark.long
@pytest.mark.realdata
def test_good_photographs_have_no_yellow_finding(review):
    (mine, names), (theirs, others) = real("calib"), real("test")
    found = review(fed(mine), fed(theirs), ids=(names, others))
    assert set(levels(found).values()) <= {"info"}, [(f.code, f.text) for f in found.findings]


@pytest.mark.long
@pytest.mark.realdata
@pytest.mark.parametrize("name", ["BGR", "NHWC as NCHW", "test mirrored", "narrow", "padded"])
def test_spoiled_photographs_are_named(name, review):
    (mine, _), (theirs, _) = real("calib"), real("test")
    values, codes = spoil(name, mine[:COUNT], theirs[:COUNT])
    found = review(np.asarray(values, np.float32), fed(theirs[:COUNT]))
    named = {c for c, level in levels(found).items() if level != "info"}
    assert named & codes, [(f.code, f.level, f.text) for f in found.findings]
