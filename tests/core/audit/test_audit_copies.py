"""A test set whose samples are copies of one another proves less than it counts."""

import numpy as np
import pytest
from audit_sets import fed, real, scenes

from seatrial.audit.copies import ASKED, copies, stuck
from seatrial.audit.look import Look, look


class _Held:
    """A store in memory: values by input name, (samples, ...)."""

    state, made = {}, frozenset()

    def __init__(self, groups=None, **values):
        self.values, self.names = values, tuple(values)
        self.count = len(next(iter(values.values())))
        self.ids = tuple(f"t{i}" for i in range(self.count))
        self.hashes = tuple(
            "".join(str(hash(v[i].tobytes())) for v in values.values()) for i in range(self.count)
        )
        self.index = {"samples": [{"group": g} for g in groups or [""] * self.count]}

    def one(self, name, i):
        return self.values[name][i]

    def forget(self):
        """Nothing is mapped."""


def found(folder, groups=None, **values):
    store = _Held(groups, **values)
    return copies(look(store, "test", folder, lambda done: None), store)


def copied(pictures, each, draw):
    """Each picture several times: moved by a pixel, in other light."""
    made = []
    for picture in np.repeat(pictures, each, axis=0):
        moved = np.roll(picture, draw.integers(-1, 2, 2), axis=(0, 1))
        made.append(np.clip(moved * draw.uniform(0.85, 1.15) + draw.normal(0, 3), 0, 255))
    return np.stack(made)


@pytest.fixture(scope="module")
def originals():
    return scenes(60, 21)


def test_copies_that_pass_for_samples_are_named_and_keep_the_verdict_open(originals, review):
    test = fed(copied(originals[:30], 6, np.random.default_rng(3)))
    [told] = [f for f in review(fed(originals[30:]), test).findings if f.code == "copies-test"]
    assert told.level == "error" and told.count > 0.9 * len(test)
    assert "180 test samples" in told.text and "group" in told.advice
    for one, other, where, _ in told.pairs:
        assert where == "test" and one != other and int(one[1:]) // 6 == int(other[1:]) // 6


def test_copies_of_one_declared_group_are_none(originals, tmp_path):
    test = fed(copied(originals[:30], 4, np.random.default_rng(3)))
    assert found(tmp_path, x=test)
    assert found(tmp_path, [f"g{i // 4}" for i in range(len(test))], x=test) == []


def test_a_few_copies_as_every_set_has_them_are_none(originals, tmp_path):
    test = np.concatenate([originals, copied(originals[:2], 1, np.random.default_rng(4))])
    assert found(tmp_path, x=fed(test)) == []


def test_of_a_large_set_an_even_part_is_held_against_all(tmp_path, monkeypatch, originals):
    monkeypatch.setattr("seatrial.audit.copies.ASKED", 40)
    test = copied(originals[:40], 4, np.random.default_rng(5))
    [told] = found(tmp_path, x=fed(test))
    assert "of 40 test samples looked at (of 160)" in told.text and told.count > 36
    assert found(tmp_path, x=fed(originals)) == []
    assert ASKED >= 1000


def test_one_picture_with_several_questions_is_several_samples(originals, tmp_path):
    pictures = fed(np.repeat(originals[:30], 4, axis=0))
    asked = np.random.default_rng(6).normal(size=(120, 8)).astype(np.float32)
    assert found(tmp_path, x=pictures, question=asked) == []
    [told] = found(tmp_path, x=pictures, question=np.repeat(asked[:30], 4, axis=0))
    assert told.count == 120


def test_rows_of_a_table_are_not_accused_and_copies_of_long_ones_are(tmp_path):
    draw = np.random.default_rng(7)
    size = draw.lognormal(size=(400, 1))
    table = np.float32(size * [1, 20, 300, 2, 5, 8, 13, 400, 7, 9] + draw.normal(size=(400, 10)))
    assert found(tmp_path, x=table) == []
    choices = np.float32(draw.integers(0, 3, (400, 20)) == 0)
    assert found(tmp_path, x=np.repeat(choices[:40], 10, axis=0)) == []
    long = np.float32(draw.normal(size=(60, 400)))
    assert found(tmp_path, x=long) == []
    near = np.repeat(long, 4, axis=0) + draw.normal(0, 0.02, (240, 400))
    [told] = found(tmp_path, x=np.float32(near))
    assert told.count == 240


def test_a_second_input_that_never_changes_is_named():
    draw = np.random.default_rng(8)
    x = draw.normal(size=(50, 3, 8, 8)).astype(np.float32)
    same, other = np.full((50, 4), 0.5, np.float32), np.full((50, 4), 0.5, np.float32)
    other[49, 3] = 0.6
    assert stuck(_Held(x=x, meta=other)) == []
    assert stuck(_Held(x=np.repeat(x[:1], 50, axis=0))) == []
    [told] = stuck(_Held(x=x, meta=same))
    assert (told.level, told.tensors) == ("warning", ("meta",)) and "'meta'" in told.text
    declared = _Held(x=x, meta=same)
    declared.made = frozenset({"meta"})
    assert stuck(declared) == []


@pytest.mark.long
@pytest.mark.realdata
def test_photographs_of_the_field_are_not_accused(tmp_path):
    pictures, _ = real("test")
    assert found(tmp_path, x=np.ascontiguousarray(pictures[:, ::4, ::4])) == []


def test_steps_of_sequences_are_alike_by_nature(tmp_path, originals):
    pictures = fed(np.repeat(originals[:10], 8, axis=0))
    store = _Held(x=pictures)
    store.state = {"h": "h"}
    seen = look(store, "test", tmp_path, lambda done: None)
    assert isinstance(seen, Look) and copies(seen, store) == []
