"""Metrics of whole sets, further outputs and the tasks' own findings, through judge and gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seatrial.codec import decode, encode
from seatrial.data.structured import pack_mask
from seatrial.ladder import records as lr
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec
from seatrial.verdict import pooled

pytest.importorskip("pycocotools", reason="the extra `detect` is not installed")

N = 60


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resamples cost most of the time here, and gates do not hang on their number."""
    monkeypatch.setattr(pooled, "RESAMPLES", 400)
    monkeypatch.setattr(pooled, "LEAST_RESAMPLES", 400)


DETECT = TaskSpec(name="detect", options={"score_threshold": 0.05})


def scenes(seed: int = 0, n: int = N) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """Boxes (n, 12, 4) and scores (n, 12, 3) of a good detector, and the annotations."""
    rng = np.random.default_rng(seed)
    boxes, scores, labels = [], [], []
    for _ in range(n):
        count = int(rng.integers(1, 5))
        first = np.stack([np.arange(12) % 4 * 30.0, np.arange(12) // 4 * 30.0], axis=1)
        box = np.concatenate([first, first + 22], axis=1) + rng.normal(0, 1, (12, 4))
        score = rng.uniform(0, 0.2, (12, 3))
        chosen = rng.choice(12, count, replace=False)
        classes = rng.integers(0, 3, count)
        score[chosen, classes] = rng.uniform(0.6, 0.95, count)
        truth = box[chosen] + rng.normal(0, 0.7, (count, 4))
        boxes.append(box)
        scores.append(score)
        labels.append({"boxes": truth.tolist(), "classes": classes.tolist()})
    return np.float32(boxes), np.float32(scores), labels


def ladder(bench: Any, fp32: dict[str, Any], int8: dict[str, Any]) -> list[lr.Rung]:
    return [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store(fp32), precision="FP32"),
        lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store(int8), source="qdq:a"),
    ]


def near(value: np.ndarray, size: float, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.float32(value + rng.normal(0, size, value.shape))


def test_a_sound_detector_and_its_rows(bench: Any, rows: Any) -> None:
    boxes, scores, labels = scenes()
    fp32 = {"boxes": boxes, "scores": scores}
    int8 = {"boxes": near(boxes, 0.2), "scores": near(scores, 0.01)}
    result = bench.judge(bench.test_set(labels, N), ladder(bench, fp32, int8), DETECT)
    assert decode(lr.JudgeResult, encode(result)) == result
    assert result.doubts == ()
    graded = rows(result, SLA(max_drop=8.0))
    row = graded["onnx-int8", "onnx-fp32"].row
    assert row["metric"] == "mAP@[.50:.95]" and row["unit"] == "points"
    assert row["gate"] == "pass", row["reason"]
    assert row["ci95"][0] <= row["drop"] <= row["ci95"][1] <= 8.0
    assert set(row["also"]) == {"mAP@.50", "mAP@.75"}
    assert row["value_ci95"][0] < row["value"] < row["value_ci95"][1]
    strict = rows(result, SLA(max_drop=0.1))["onnx-int8", "onnx-fp32"]
    assert strict.row["gate"] == "not proven" and "samples would be needed" in strict.row["reason"]


def test_a_class_of_boxes_that_vanished_is_red(bench: Any, rows: Any) -> None:
    boxes, scores, labels = scenes()
    lost = scores.copy()
    lost[:, :, 2] = 0.01
    rungs = ladder(bench, {"boxes": boxes, "scores": scores}, {"boxes": boxes, "scores": lost})
    graded = rows(bench.judge(bench.test_set(labels, N), rungs, DETECT), SLA(max_drop=60.0))
    found = graded["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("fail", "accuracy.class-vanished")
    assert "loses class 2 against " in found.row["reason"]
    worst = found.row["classes"][0]
    assert worst["index"] == 2 and worst["before"] > 0.5 and worst["after"] < 0.05


def test_a_forgotten_map_is_a_red_baseline(bench: Any, rows: Any) -> None:
    boxes, scores, labels = scenes()
    shrunk = {"boxes": boxes / 2, "scores": scores}
    small = [{**v, "size": [90, 120]} for v in labels]
    rungs = ladder(bench, shrunk, {"boxes": near(boxes / 2, 0.1), "scores": near(scores, 0.01)})
    graded = rows(bench.judge(bench.test_set(small, N), rungs, DETECT))
    found = graded["onnx-fp32", None]
    assert (found.row["gate"], found.code) == ("fail", "detect.chance")


def test_lists_of_boxes_may_have_any_length(bench: Any, rows: Any) -> None:
    boxes, scores, labels = scenes()
    job = TaskSpec(name="detect", options={"nms": "graph", "score_threshold": 0.05})

    def lists(cut: float, seed: int) -> dict[str, list[Any]]:
        rng = np.random.default_rng(seed)
        made: dict[str, list[Any]] = {"b": [], "s": [], "l": []}
        for box, score in zip(boxes, scores, strict=True):
            row, kind = np.nonzero(score + rng.normal(0, 0.004, score.shape) > cut)
            made["b"].append(box[row] + rng.normal(0, 0.1, (len(row), 4)).astype("f4"))
            made["s"].append(score[row, kind])
            made["l"].append(kind)
        return made

    test, sla = bench.test_set(labels, N), SLA(max_drop=8.0)
    same = rows(bench.judge(test, ladder(bench, lists(0.1, 1), lists(0.1, 2)), job), sla)
    assert same["onnx-int8", "onnx-fp32"].row["gate"] == "pass", same
    cut = rows(bench.judge(test, ladder(bench, lists(0.1, 1), lists(0.3, 2)), job), sla)
    found = cut["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("not proven", "detect.score-threshold")


def test_a_branch_that_is_lost_is_red_although_the_metric_is_fine(
    bench: Any, logits: Any, rows: Any
) -> None:
    values, labels = logits(800)
    rng = np.random.default_rng(0)
    boxes = np.float32(0.5 + 0.01 * rng.normal(size=(800, 4)))
    flat = np.float32(0.5 + 0.02 * rng.normal(size=(800, 4)))
    fp32, fine = (
        {"y": values, "boxes": boxes},
        {"y": near(values, 0.3), "boxes": near(boxes, 0.002)},
    )
    test = bench.test_set(labels.tolist(), 800)
    sound = rows(bench.judge(test, ladder(bench, fp32, fine)))["onnx-int8", "onnx-fp32"]
    assert sound.row["gate"] == "pass"
    lost = rows(bench.judge(test, ladder(bench, fp32, {**fine, "boxes": flat})))
    found = lost["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("fail", "ladder.branch")
    assert "'boxes'" in found.row["reason"]


@pytest.mark.parametrize(
    ("known", "code"), [(80.0, "ladder.baseline"), (97.0, "baseline.expected")]
)
def test_a_baseline_below_what_training_reported(
    bench: Any, logits: Any, rows: Any, known: float, code: str
) -> None:
    values, labels = logits(800)
    task = TaskSpec(name="classify", expected=known)
    rungs = ladder(bench, {"y": values}, {"y": near(values, 0.4)})
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 800), rungs, task))
    assert graded["onnx-fp32", None].code == code


def test_errors_and_word_rates_are_better_when_small(bench: Any, rows: Any) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 2))
    fp32 = {"y": np.float32(truth + rng.normal(0, 0.1, truth.shape))}
    int8 = {"y": near(fp32["y"], 0.1)}
    task = TaskSpec(name="regress", options={"unit": "mm"})
    test = bench.test_set(truth.tolist(), 200)
    row = rows(bench.judge(test, ladder(bench, fp32, int8), task))["onnx-int8", "onnx-fp32"].row
    assert row["drop"] > 0 and row["unit"] == "mm" and not row["higher_is_better"]
    assert row["gate"] == "pass" and "mm against" in row["reason"]
    worse = {"y": near(fp32["y"], 3.0)}
    row = rows(bench.judge(test, ladder(bench, fp32, worse), task))["onnx-int8", "onnx-fp32"].row
    assert row["gate"] == "fail"


def test_pictures_are_segmented_together(bench: Any, rows: Any) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (40, 6, 6)).repeat(4, axis=1).repeat(4, axis=2)
    logits = np.eye(3)[masks].transpose(0, 3, 1, 2) * 3 + rng.normal(0, 1, (40, 3, 24, 24))
    fp32 = {"y": np.float32(logits)}
    labels = [pack_mask(m) for m in masks]
    task = TaskSpec(name="segment")
    rungs = ladder(bench, fp32, {"y": near(fp32["y"], 0.1)})
    graded = rows(bench.judge(bench.test_set(labels, 40), rungs, task), SLA(max_drop=12.0))
    row = graded["onnx-int8", "onnx-fp32"].row
    assert row["metric"] == "mIoU" and row["gate"] == "pass", row["reason"]
    assert "pixel accuracy" in row["also"]


class Median:
    """A user's own metric of the pooled form: the median error."""

    name, unit, higher_is_better = "median error", "px", False

    def statistics(self, outputs: Any, label: Any, sample: Any) -> float:
        assert sample.id
        return float(abs(outputs["y"][0] - label))

    def metric(self, pooled: Any, weights: Any) -> float:
        return float(np.median(np.repeat(pooled, weights.astype(int))))


def test_a_users_own_pooled_metric(bench: Any, rows: Any) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    fp32 = {"y": np.float32(truth[:, None] + rng.normal(0, 0.5, (100, 1)))}
    rungs = ladder(bench, fp32, {"y": near(fp32["y"], 0.2)})
    task = TaskSpec(name=f"{__name__}:Median")
    graded = rows(bench.judge(bench.test_set(truth.tolist(), 100), rungs, task))
    row = graded["onnx-int8", "onnx-fp32"].row
    assert row["metric"] == "median error" and row["ci95"] is not None
