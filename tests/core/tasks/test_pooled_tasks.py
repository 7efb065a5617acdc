"""Metrics of a whole test set against what they are by definition, for any weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.data.structured import mask_of, pack_mask
from seatrial.errors import UserError
from seatrial.tasks.base import Sample, TaskSpec, load, measure, pool
from seatrial.tasks.binary import Binary
from seatrial.tasks.box_doubts import resized
from seatrial.tasks.embed import Embed
from seatrial.tasks.regress import Regress
from seatrial.tasks.segment import Segment
from seatrial.tasks.sequence import Sequence
from seatrial.tasks.transcribe import Transcribe


def value(task: Any, outputs: list[Any], labels: list[Any], weights: Any = None) -> float:
    """The metric of samples without pictures."""
    pairs = zip(outputs, labels, strict=True)
    pooled = pool(task, [measure(task, {"y": o}, label, Sample()) for o, label in pairs])
    return float(task.metric(pooled, np.ones(len(labels)) if weights is None else weights))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_f1_and_auc_of_weighted_samples(seed: int) -> None:
    from sklearn.metrics import f1_score, roc_auc_score

    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 12))
    outputs = [rng.random(k).round(1) for k in rng.integers(1, 5, n)]
    labels = [rng.integers(0, 2, len(o)).tolist() for o in outputs]
    weights = np.bincount(rng.integers(0, n, n), minlength=n)
    drawn = np.repeat(np.arange(n), weights)
    true = np.concatenate([labels[i] for i in drawn])
    scores = np.concatenate([outputs[i] for i in drawn])
    auc = value(Binary(metric="auc"), outputs, labels, weights)
    if 0 < true.sum() < len(true):
        assert auc == pytest.approx(roc_auc_score(true, scores))
    else:
        assert np.isnan(auc)
    f1 = value(Binary(), outputs, labels, weights)
    said = scores >= 0.5
    if (said | (true > 0)).any():
        assert f1 == pytest.approx(f1_score(true, said))
    else:
        assert np.isnan(f1)


def test_a_column_of_yes_among_class_scores() -> None:
    assert value(Binary(), [np.array([0.2, 0.8]), np.array([0.9, 0.1])], [1, 0]) == 1.0
    assert value(Binary(positive=0), [np.array([0.2, 0.8]), np.array([0.9, 0.1])], [0, 1]) == 1.0
    for label in (2, "yes", [0, 1, 1]):
        with pytest.raises(UserError, match="labels"):
            value(Binary(), [np.array([0.2, 0.8])], [label])


def test_errors_of_regression() -> None:
    outputs = [np.array([1.0, 2.0]), np.array([3.0, 5.0])]
    labels = [[1.0, 4.0], [3.0, 1.0]]
    assert value(Regress(), outputs, labels) == pytest.approx(6 / 4)
    assert value(Regress(metric="rmse"), outputs, labels) == pytest.approx(np.sqrt(20 / 4))
    assert value(Regress(), outputs, labels, np.array([0, 2])) == pytest.approx(2.0)
    assert value(Regress(factor=0.5), outputs, labels) == pytest.approx((0.5 + 3 + 1.5 + 1.5) / 4)
    assert not Regress().higher_is_better and Regress(unit="mm").unit == "mm"
    with pytest.raises(UserError, match="a label holds 3 numbers"):
        value(Regress(), [np.zeros(2)], [[1, 2, 3]])


def test_recall_of_the_nearest_others() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 16))
    labels = np.repeat(np.arange(5), 6)
    outputs = list(centres[labels] + rng.normal(0, 0.1, (30, 16)))
    assert value(Embed(), outputs, labels.tolist()) == 1.0
    assert value(Embed(), outputs, [f"p{k}" for k in labels]) == 1.0
    noise = list(rng.normal(size=(30, 16)))
    one, five = (value(Embed(k=k), noise, labels.tolist()) for k in (1, 5))
    assert one < five < 1.0
    lone = [*labels.tolist()[:-1], 99]  # nobody else is 99: it is not asked
    assert value(Embed(), [*outputs[:-1], -outputs[-1]], lone) == 1.0
    assert np.isnan(value(Embed(), outputs, list(range(30))))


def test_words_and_characters() -> None:
    pytest.importorskip("jiwer", reason="the extra `speech` is not installed")
    alphabet = " abc"
    frames = {"a": 2, "b": 3, "c": 4, " ": 1, "-": 0}

    def spoken(text: str) -> Any:
        return np.eye(5)[[frames[c] for c in text]]

    task = Transcribe(alphabet=alphabet)
    assert task.text({"y": spoken("aa-ab-  c")}) == "aab c"
    assert task.text({"y": spoken("aa-ab-  c")[None]}) == "aab c"
    outputs = [spoken("a- b"), spoken("ab ab c")]
    assert value(task, outputs, ["a b", "ab c c"]) == pytest.approx(1 / 5)
    assert value(Transcribe(alphabet=alphabet, metric="cer"), outputs, ["a b", "ab ac c"]) == (
        pytest.approx(1 / 10)
    )
    last = Transcribe(alphabet=alphabet, blank=-1)
    assert last.text({"y": np.eye(5)[[1, 1, 4, 1, 0, 3]]}) == "aa c"
    assert not task.higher_is_better and task.unit == "points"
    with pytest.raises(UserError, match="alphabet"):
        load(TaskSpec(name="transcribe"))
    with pytest.raises(UserError, match="6 characters"):
        Transcribe(alphabet="abcdef").text({"y": spoken("a")})


def test_steps_of_sequences() -> None:
    rng = np.random.default_rng(0)
    outputs = [rng.random((6, 1, 1)), rng.random((3, 1, 1))]
    labels = [rng.integers(0, 2, 6).tolist(), [0, 1, 1]]
    flat = np.concatenate([o.ravel() for o in outputs]), np.concatenate(labels)
    whole = value(Binary(metric="auc"), [flat[0]], [flat[1].tolist()])
    assert value(Sequence(metric="auc"), outputs, labels) == pytest.approx(whole)
    late = value(Sequence(metric="f1", warmup=2), outputs, labels)
    assert late == value(Binary(), [o.ravel()[2:] for o in outputs], [v[2:] for v in labels])
    logits = [np.eye(3)[[0, 1, 2]] + 0.1, np.eye(3)[[2, 2, 1]]]
    assert value(Sequence(), logits, [[0, 1, 2], [2, 0, 0]]) == pytest.approx(4 / 6)
    assert value(Sequence(metric="mae"), [np.ones((2, 1))], [[1.0, 3.0]]) == 1.0
    with pytest.raises(UserError, match="2 labels for 3 steps"):
        value(Sequence(metric="f1"), [np.zeros((3, 1))], [[0, 1]])


def scene(size: tuple[int, int] = (60, 90)) -> Any:
    """A mask with three classes in blocks of several pixels."""
    mask = np.zeros(size, np.uint8)
    mask[10:40, 20:60] = 1
    mask[30:55, 5:30] = 2
    return mask


@pytest.mark.parametrize("name", ["stretch", "letterbox", "letterbox, top left", "crop"])
def test_masks_come_back_through_every_resize_mode(name: str) -> None:
    mask = scene()
    geometry = resized(mask.shape, (120, 120), name)
    at = (np.arange(120) + 0.5, np.arange(120) + 0.5)
    y = np.floor((at[0] - geometry.offset[0]) / geometry.scale[0]).astype(int)
    x = np.floor((at[1] - geometry.offset[1]) / geometry.scale[1]).astype(int)
    fed = np.pad(mask, 1, constant_values=0)[np.ix_(np.clip(y, -1, 60) + 1, np.clip(x, -1, 90) + 1)]
    logits = np.eye(3)[fed].transpose(2, 0, 1)
    sample = Sample(geometry={"x": geometry})
    task = Segment()
    found = task.statistics({"y": logits}, pack_mask(mask), sample)
    seen = found[1].sum() / mask.size
    assert (seen < 0.7) if name == "crop" else (seen == 1.0)
    assert task.of(found) > 0.97
    index = Segment(classes=3).statistics({"y": fed.astype(np.int64)}, pack_mask(mask), sample)
    assert task.of(index) > 0.97
    halved = task.statistics({"y": logits[:, ::2, ::2]}, pack_mask(mask), sample)
    assert 0.85 < task.of(halved) <= task.of(found)
    wrong = Sample(geometry={"x": resized(mask.shape, (120, 120), "stretch")})
    if name != "stretch":
        assert task.of(task.statistics({"y": logits}, pack_mask(mask), wrong)) < 0.9


def test_the_mean_over_classes_is_that_of_all_pixels_together() -> None:
    from sklearn.metrics import jaccard_score

    rng = np.random.default_rng(1)
    masks = [rng.integers(0, 4, (8, 9)) for _ in range(5)]
    logits = [rng.random((4, 8, 9)) + 1.5 * np.eye(4)[m].transpose(2, 0, 1) for m in masks]
    masks[0][:2] = 255
    task = Segment()
    pairs = zip(logits, masks, strict=True)
    stats = [task.statistics({"y": o}, pack_mask(m), Sample()) for o, m in pairs]
    pooled = pool(task, stats)
    weights = np.array([2, 0, 1, 1, 1])
    drawn = np.repeat(np.arange(5), weights)
    true = np.concatenate([masks[i].ravel() for i in drawn])
    said = np.concatenate([logits[i].argmax(0).ravel() for i in drawn])
    kept = true != 255
    wanted = jaccard_score(true[kept], said[kept], average="macro")
    assert task.metric(pooled, weights) == pytest.approx(wanted)
    by_class = {v.index: v for v in task.by_class(pooled)}
    assert len(by_class) == 4 and by_class[0].n == 5
    assert task.also(pooled, np.ones(5))["pixel accuracy"] > 0.5


def test_masks_that_do_not_fit_are_refused() -> None:
    task, mask = Segment(), pack_mask(scene())
    with pytest.raises(UserError, match="60x90 pixels and the picture 50x90"):
        other = Sample(geometry={"x": resized((50, 90), (8, 8), "stretch")})
        task.statistics({"y": np.zeros((3, 8, 8))}, mask, other)
    with pytest.raises(UserError, match="resized nobody says how"):
        task.statistics({"y": np.zeros((3, 8, 8))}, mask, Sample(shape=(8, 8)))
    with pytest.raises(UserError, match="holds class 2, the model has 2"):
        task.statistics({"y": np.zeros((2, 60, 90))}, mask, Sample())
    with pytest.raises(UserError, match="is no mask"):
        mask_of(7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["uint8", "int16", "int64", "bool"]))
def test_a_packed_mask_is_the_mask(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(0, 20, 2))
    mask = rng.integers(-5 if dtype in ("int16", "int64") else 0, 200, shape).astype(dtype)
    found = mask_of(pack_mask(mask))
    assert found.shape == shape and (found == mask).all()


def test_the_best_answer_that_does_not_look() -> None:
    """What a task says of it is what that answer scores, and no other constant scores more."""
    rng = np.random.default_rng(3)
    truth = [[int(v)] for v in rng.random(50) < 0.3]
    numbers = rng.normal(2, 3, (50, 2)).tolist()
    for task, answer in ((Binary("f1"), [1.0]), (Binary("auc"), [0.5])):
        told = task.blind(truth)[0]
        assert told == pytest.approx(value(task, [np.array(answer)] * 50, truth))
    for metric, middle in (("mae", np.median(numbers, 0)), ("rmse", np.mean(numbers, 0))):
        regress = Regress(metric)
        told = regress.blind(numbers)[0]
        assert told == pytest.approx(value(regress, [middle] * 50, numbers))
        assert told < value(regress, [middle + 1.0] * 50, numbers)
    steps = rng.integers(0, 3, (20, 6)).tolist()
    told = Sequence("accuracy", warmup=1).blind(steps)
    flat = np.array(steps)[:, 1:].ravel()
    common = int(np.bincount(flat).argmax())
    assert told == (float((flat == common).mean()), f"always class {common}")
    assert Sequence("auc").blind([[0, 1], [1]]) == (0.5, "the same for all")
