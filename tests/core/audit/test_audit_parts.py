"""Training data, metadata columns, samples read twice, layouts: one small set each."""

import numpy as np
import pytest
from audit_sets import fed, scenes

from seatrial.audit import similar
from seatrial.audit.look import look


@pytest.fixture(scope="module")
def pictures():
    return scenes(40, 1), scenes(40, 2)


def rows(found):
    return {f.code: f for f in found.findings}


def test_training_pictures_in_the_calibration_set_are_named(pictures, review):
    mine, train = (fed(p) for p in pictures)
    found = review(np.concatenate([mine[:30], train[:6]]), train=train)
    overlap = rows(found)["overlap-train"]
    assert overlap.count == 6
    assert set(overlap.samples) == {f"c{i:04}" for i in range(30, 36)}


@pytest.mark.parametrize("night", [0, 20])
def test_a_value_of_a_metadata_column_that_calibration_lacks_is_named(night, pictures, review):
    mine, test = (fed(p) for p in pictures)
    hours = [{"time": "night" if i < night else "day"} for i in range(40)]
    others = [{"time": "night" if i % 2 else "day"} for i in range(40)]
    found = rows(review(mine, test, metas=(hours, others)))
    assert ("uncovered-meta" in found) == (night == 0)
    if not night:
        assert found["uncovered-meta"].level == "error"
        assert "time = night" in found["uncovered-meta"].text


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda x: x[..., ::-1], "mirrored"),
        (lambda x: x * 0.8 + 0.1, "brightness"),
        (lambda x: np.roll(x, 5, axis=-1), "crop, shift or turn"),
    ],
)
def test_samples_that_differ_when_read_again_are_augmented(change, word, pictures, review):
    mine = fed(pictures[0])
    found = rows(review(mine, again=np.float32(change(mine))))
    assert found["not-repeatable"].level == "error"
    assert word in found["not-repeatable"].text


def test_samples_that_stay_the_same_are_not(pictures, review):
    mine = fed(pictures[0])
    assert "not-repeatable" not in rows(review(mine, again=mine))


def test_a_shape_with_its_axes_in_another_order_is_a_layout(pictures, review):
    mine, test = (fed(p) for p in pictures)
    found = rows(review(np.ascontiguousarray(mine.transpose(0, 2, 3, 1)), test))
    assert found["layout"].level == "error"
    assert "48 x 48 x 3" in found["layout"].text


class _Held:
    """Samples in memory, as a store shows them."""

    names = ("x",)
    made = ()
    state = ()

    def __init__(self, values):
        self.values, self.count = values, len(values)
        self.ids = tuple(str(i) for i in range(self.count))
        self.hashes = tuple(str(hash(v.tobytes())) for v in values)
        self.index = {"samples": [{} for _ in values]}

    def one(self, name, i):
        return self.values[i]

    def forget(self):
        """Nothing is mapped."""


def seen(values, role, folder):
    return look(_Held(np.float32(values)), role, folder, lambda done: None)


def test_one_background_for_all_makes_no_duplicates_and_hides_none(pictures, tmp_path):
    """A fixed camera: most of each picture is the same in all of them."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    inside = (x * x + y * y < 0.6)[..., None]
    belt = scenes(1, 9, night=0)[0]
    one, two = (fed(np.where(inside, p, belt)) for p in pictures)
    assert not similar.near(seen(one, "calibration", tmp_path), seen(two, "test", tmp_path))
    two[7] = one[5] * 0.9
    pairs = similar.near(seen(one, "calibration", tmp_path), seen(two, "test", tmp_path))
    assert [(p.first, p.second) for p in pairs] == [(5, 7)]
