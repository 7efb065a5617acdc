from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seatrial.errors import UserError
from seatrial.tasks.base import Task, TaskSpec, load
from seatrial.tasks.classify import Classify
from seatrial.tasks.unlabelled import Unlabelled
from seatrial.tasks.vectors import best, scores_name, vector


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1, 1), (1, 1, 5)])
def test_class_scores_of_any_trailing_shape(shape: tuple[int, ...]) -> None:
    scores = np.array([0.1, 0.2, 0.9, 0.3, 0.0], np.float32).reshape(shape)
    assert Classify().predict({"y": scores}) == 2
    assert Classify().score({"y": scores}, 2) == 1.0
    assert Classify().score({"y": scores}, 3) == 0.0


def test_the_first_float_vector_holds_the_scores() -> None:
    outputs: dict[str, Any] = {
        "count": np.array([3], np.int64),
        "index": np.arange(4),
        "boxes": np.zeros((8, 4), np.float32),
        "quantised": np.array([1, 2, 3], np.int8),
        "scores": np.array([0.1, 0.9], np.float16),
    }
    assert scores_name(outputs) == "scores"
    del outputs["scores"]
    assert scores_name(outputs) == "quantised"
    del outputs["quantised"]
    assert scores_name(outputs) is None
    with pytest.raises(UserError, match="no class scores"):
        Classify().predict(outputs)
    with pytest.raises(UserError, match="no class scores"):
        Classify(output="boxes").predict(outputs)


def test_a_single_number_is_no_vector() -> None:
    assert vector(np.zeros((1, 1), np.float32)) is None
    assert vector(np.float32(3)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_no_answer(bad: float) -> None:
    scores = np.array([0.1, bad, 0.3], np.float32)
    assert best(scores) == -1
    for label in range(3):
        assert Classify(top=3).score({"y": scores}, label) == 0.0


def test_top_k_and_ties_as_argmax_has_them() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.0, 0.0, 0.0], np.float32)
    assert [Classify().rank({"y": scores}, i) for i in range(4)] == [1, 0, 2, 3]
    assert Classify(top=5).score({"y": scores}, 3) == 1.0
    assert Classify(top=3).score({"y": scores}, 3) == 0.0
    assert Classify(top=2).name == "top-2 accuracy"


def test_the_offset_moves_labels_and_labels_outside_are_wrong() -> None:
    scores = np.array([0.0, 0.0, 1.0], np.float32)
    assert Classify(label_offset=1).score({"y": scores}, 1) == 1.0
    assert Classify().score({"y": scores}, 3) == 0.0
    assert Classify().score({"y": scores}, -1) == 0.0


@pytest.mark.parametrize("label", [2, 2.0, "2", [2]])
def test_labels_that_are_class_indices(label: Any) -> None:
    assert Classify().target(label) == 2


@pytest.mark.parametrize("label", [None, "cat", 2.5, True, [1, 2], {}])
def test_labels_that_are_none(label: Any) -> None:
    with pytest.raises(UserError):
        Classify().target(label)


def test_without_labels_there_is_a_class_but_no_score() -> None:
    task = Unlabelled()
    assert task.predict({"y": np.array([0.0, 1.0], np.float32)}) == 1
    assert task.predict({"y": np.zeros((3, 3), np.float32)}) is None
    with pytest.raises(TypeError):
        task.score({}, 0)


def test_tasks_by_name() -> None:
    loaded = load(TaskSpec(name="classify", options={"label_offset": 1, "output": "y"}))
    assert isinstance(loaded, Task)
    assert isinstance(loaded, Classify)
    assert loaded.label_offset == 1
    assert not TaskSpec(name="none").own
    assert TaskSpec(name="mine:Task").own


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(name="detective"),
        TaskSpec(name="no_such_module_here:Task"),
        TaskSpec(name="json:NoSuchClass"),
        TaskSpec(name="classify", options={"colour": 1}),
        TaskSpec(name="classify", options={"top": 0}),
    ],
)
def test_tasks_that_cannot_be_used(spec: TaskSpec) -> None:
    with pytest.raises(UserError, match="task"):
        load(spec)
