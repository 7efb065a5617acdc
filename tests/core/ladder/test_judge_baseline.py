"""Baselines and metrics that are not what they seem; most were lies of somebody else's first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seatrial.ladder import records as lr
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec

Make = Callable[..., tuple[np.ndarray, np.ndarray]]

METRICS = '''
class Right:
    name, unit, scale, bounds, higher_is_better = "right", "points", 100.0, (0.0, 1.0), True

    def score(self, outputs, label):
        return float(outputs["y"].argmax() == label)


class Inverted(Right):
    higher_is_better = False


class Cached(Right):
    """Keeps what it said of a sample, as one does to save time."""
    kept = {}

    def score(self, outputs, label, sample):
        return self.kept.setdefault(sample.id, super().score(outputs, label))


class Picky(Right):
    """Wants each sample's own outputs; that others are refused is no lie."""
    first = {}

    def score(self, outputs, label, sample):
        if self.first.setdefault(sample.id, int(outputs["y"].argmax())) != outputs["y"].argmax():
            raise ValueError("outputs of another sample")
        return super().score(outputs, label)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "seatrial_own_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "seatrial_own_metrics", raising=False)
    return lambda name: TaskSpec(name=f"seatrial_own_metrics:{name}")


def _rungs(bench: Any, values: Any, after: Any | None = None, **known: Any) -> list[lr.Rung]:
    first = lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values}), **known)
    if after is None:
        return [first]
    return [first, lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store({"y": after}), source="qdq:1")]


def _base(rows: Any, result: Any, **limits: float) -> Any:
    return rows(result, SLA(**limits))["onnx-fp32", None]


@pytest.mark.parametrize(
    ("metric", "code"),
    [
        ("Right", "ladder.baseline"),
        ("Inverted", "baseline.blind"),
        ("Cached", "baseline.blind"),
        ("Picky", "ladder.baseline"),
    ],
)
def test_a_metric_of_ones_own_must_tell_answers_of_other_samples_apart(
    bench: Any, logits: Make, rows: Any, own: Any, metric: str, code: str
) -> None:
    values, labels = logits(300)
    test = bench.test_set(labels.tolist(), 300)
    found = _base(rows, bench.judge(test, _rungs(bench, values, values), own(metric)), max_drop=2)
    assert found.code == code
    if code == "baseline.blind":
        assert found.row["gate"] == "not proven"
        assert "another sample's" in found.row["reason"]
        assert "higher_is_better" in found.row["reason"]


@pytest.mark.parametrize(("flipped", "code"), [(1, "ladder.baseline"), (12, "baseline.unsteady")])
def test_a_model_that_does_not_repeat_itself_proves_nothing(
    bench: Any, logits: Make, rows: Any, flipped: int, code: str
) -> None:
    values, labels = logits(300)
    again = values[:64].copy()
    again[:flipped] = np.roll(again[:flipped], 1, axis=1)
    noise = lr.NoiseRun(
        what="1 thread", outputs=bench.store({"y": again}), indices=tuple(range(64))
    )
    test = bench.test_set(labels.tolist(), 300)
    found = _base(rows, bench.judge(test, _rungs(bench, values, values, noise=(noise,))))
    assert found.code == code
    if flipped > 1:
        assert "gives 12 of 64 samples another class" in found.row["reason"]


@pytest.mark.parametrize(
    ("n", "class_drop", "code"),
    [
        (600, 2.0, "baseline.untested-class"),
        (600, 100.0, "ladder.baseline"),  # nothing is promised of single classes
        (250, 2.0, "ladder.baseline"),  # small enough for a class to be missing by chance
    ],
)
def test_a_class_that_nobody_tested_is_not_promised(
    bench: Any, logits: Make, rows: Any, n: int, class_drop: float, code: str
) -> None:
    values, labels = logits(2 * n)
    kept = np.flatnonzero(labels != 7)[:n]
    test = bench.test_set(labels[kept].tolist(), n)
    rungs = _rungs(bench, values[kept], values[kept])
    found = _base(rows, bench.judge(test, rungs, class_drop=class_drop))
    assert found.code == code
    if code != "ladder.baseline":
        assert found.row["gate"] == "not proven" and "of class 7" in found.row["reason"]


def test_a_slot_that_no_class_uses_is_no_hole(bench: Any, logits: Make, rows: Any) -> None:
    """A background class is in the outputs, and neither in the labels nor ever answered."""
    values, labels = logits(600, classes=9)
    values = np.concatenate([values, np.full((600, 1), -9, np.float32)], axis=1)
    test = bench.test_set(labels.tolist(), 600)
    assert _base(rows, bench.judge(test, _rungs(bench, values, values))).code == "ladder.baseline"


def test_two_classes_the_wrong_way_round_are_named(bench: Any, logits: Make, rows: Any) -> None:
    values, labels = logits(500)
    swap = np.arange(10)
    swap[[3, 5]] = 5, 3
    test = bench.test_set(swap[labels].tolist(), 500)
    found = _base(rows, bench.judge(test, _rungs(bench, values, values)))
    assert (found.row["gate"], found.code) == ("not proven", "baseline.labels-swapped")
    assert "labels 3 and 5" in found.row["reason"]


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_classes_that_are_confused_are_not_swapped(
    bench: Any, logits: Make, rows: Any, share: float
) -> None:
    """Cats and dogs: half of each called the other is a poor model, not a mix-up of labels."""
    values, labels = logits(1000, right=1.0)
    rng = np.random.default_rng(3)
    for a, b in ((3, 5), (5, 3)):
        wrong = np.flatnonzero((labels == a) & (rng.random(1000) < share))
        values[wrong, b] = values[wrong, a] + 1
    test = bench.test_set(labels.tolist(), 1000)
    assert _base(rows, bench.judge(test, _rungs(bench, values, values))).code == "ladder.baseline"


def test_a_rung_without_a_reference_still_has_its_interval(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits(500)
    rung = lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store({"y": values}), source="qdq:1")
    found = rows(bench.judge(bench.test_set(labels.tolist(), 500), [rung]))[
        "onnx-int8", "onnx-fp32"
    ]
    low, high = found.value_ci95
    assert low < found.row["value"] < high
