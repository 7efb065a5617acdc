"""Detection: the library's own figures, every form of head and of resizing, and what is named."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.errors import UserError
from seatrial.tasks.base import Sample, TaskSpec, apart, doubts, load, measure, pool
from seatrial.tasks.box_doubts import resized
from seatrial.tasks.boxes import corners, overlaps, suppress
from seatrial.tasks.detect import Detect

pytest.importorskip("pycocotools", reason="the extra `detect` is not installed")

Label = dict[str, Any]


def scene(rng: Any, size: tuple[int, int] = (100, 160), most: int = 5) -> Label:
    """Some boxes of three classes that do not touch one another much."""
    h, w = size
    n = int(rng.integers(1, most + 1))
    sides = rng.uniform(12, 40, (n, 2))
    first = rng.random((n, 2)) * (np.array([w, h]) - sides)
    boxes = np.concatenate([first, first + sides], axis=1)
    classes = rng.integers(0, 3, n).tolist()
    return {"boxes": boxes.tolist(), "classes": classes, "size": list(size)}


def seen(rng: Any, label: Label, jitter: float = 2.0, strays: int = 3) -> dict[str, Any]:
    """What a detector with suppression in its graph gives for a scene."""
    boxes = np.asarray(label["boxes"])
    stray = rng.uniform(0, 60, (strays, 2))
    found = np.concatenate(
        [boxes + rng.normal(0, jitter, boxes.shape), np.concatenate([stray, stray + 20], axis=1)]
    )
    scores = np.concatenate([rng.uniform(0.5, 1, len(boxes)), rng.uniform(0.01, 0.4, strays)])
    classes = np.concatenate([label["classes"], rng.integers(0, 3, strays)])
    return {"boxes": found.astype(np.float32), "scores": scores, "labels": classes.astype(int)}


def library(scenes: list[Label], found: list[dict[str, Any]]) -> Any:
    """The evaluation code's own summary."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows: list[dict[str, Any]] = []
    dets = []
    for i, (label, out) in enumerate(zip(scenes, found, strict=True)):
        crowd = label.get("crowd", [0] * len(label["boxes"]))
        for (x0, y0, x1, y1), c, k in zip(label["boxes"], label["classes"], crowd, strict=True):
            box, area = [x0, y0, x1 - x0, y1 - y0], (x1 - x0) * (y1 - y0)
            row = {"id": len(rows) + 1, "image_id": i, "category_id": c, "iscrowd": k}
            rows.append(row | {"bbox": box, "area": area})
        for box, s, c in zip(out["boxes"], out["scores"], out["labels"], strict=True):
            x0, y0, x1, y1 = (float(v) for v in box)
            one = {"image_id": i, "category_id": int(c), "score": float(s)}
            dets.append(one | {"bbox": [x0, y0, x1 - x0, y1 - y0]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        images = [{"id": i} for i in range(len(scenes))]
        kinds = [{"id": c} for c in range(3)]
        truth.dataset = {"images": images, "annotations": rows, "categories": kinds}
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(dets), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@pytest.mark.parametrize("seed", range(3))
def test_the_metric_is_the_librarys_for_any_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = Detect(nms="graph", score_threshold=0.0)
    scenes = [scene(rng) for _ in range(25)]
    for label in scenes:
        label["crowd"] = (rng.random(len(label["boxes"])) < 0.1).astype(int).tolist()
    found = [seen(rng, label, jitter=5) for label in scenes]
    for out in found:  # ties, and classes that are wrong
        out["scores"] = out["scores"].round(1)
        out["labels"] = np.where(rng.random(len(out["labels"])) < 0.8, out["labels"], 0)
    pooled = pool(task, [measure(task, o, s, Sample()) for o, s in zip(found, scenes, strict=True)])
    stats = library(scenes, found)
    assert task.metric(pooled, np.ones(25)) == pytest.approx(stats[0], abs=1e-12)
    also = task.also(pooled, np.ones(25))
    assert also["mAP@.50"] == pytest.approx(stats[1], abs=1e-12)
    assert also["mAP@.75"] == pytest.approx(stats[2], abs=1e-12)


def test_resampled_pictures_are_a_matter_of_weights() -> None:
    rng = np.random.default_rng(3)
    task = Detect(nms="graph", score_threshold=0.0)
    scenes = [scene(rng) for _ in range(25)]
    found = [seen(rng, label, jitter=5) for label in scenes]
    pooled = pool(task, [measure(task, o, s, Sample()) for o, s in zip(found, scenes, strict=True)])
    for _ in range(3):
        weights = np.bincount(rng.integers(0, 25, 25), minlength=25)
        drawn = np.repeat(np.arange(25), weights)
        stats = library([scenes[i] for i in drawn], [found[i] for i in drawn])
        assert task.metric(pooled, weights) == pytest.approx(stats[0], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.booleans())
def test_suppression_keeps_the_best_and_drops_only_what_they_cover(
    seed: int, threshold: float, aware: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 12))
    first = rng.integers(0, 20, (n, 2)).astype(float)
    boxes = np.concatenate([first, first + rng.integers(0, 15, (n, 2))], axis=1)
    scores, classes = rng.random(n).round(1), rng.integers(0, 2, n)
    kept = suppress(boxes, scores, classes, threshold, aware=aware).tolist()
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    rivals = classes[:, None] == classes[None, :] if aware else np.ones((n, n), bool)
    close = (overlaps(boxes, boxes) > threshold) & rivals
    assert not any(close[a, b] for a in kept for b in kept if a != b)
    for i in set(range(n)) - set(kept):
        assert any(close[i, k] and scores[k] >= scores[i] for k in kept)


def heads(
    boxes: Any, classes: Any, scores: Any
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The same detections in every form that is read: outputs and settings."""
    n = len(boxes)
    dense = np.zeros((n, 3))
    dense[np.arange(n), classes] = scores
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    centred = np.concatenate([middle, size], axis=1)
    share = boxes / np.array([160, 100, 160, 100])
    column = scores[:, None]
    return {
        "lists": ({"b": boxes, "s": scores, "l": classes}, {}),
        "raw": ({"boxes": boxes[None], "scores": dense[None]}, {}),
        "transposed": ({"boxes": boxes, "scores": dense.T}, {"scores": "scores"}),
        "background": (
            {"boxes": share, "scores": np.concatenate([1 - column, dense], axis=1)},
            {"normalised": True, "background": 0},
        ),
        "logits": (
            {
                "boxes": boxes,
                "scores": np.log(np.maximum(dense, 1e-9) / np.maximum(1 - dense, 1e-9)),
            },
            {"activation": "sigmoid"},
        ),
        "detections": ({"o": np.concatenate([boxes, column, classes[:, None]], axis=1)}, {}),
        "ssd": (
            {"o": np.concatenate([0 * column, classes[:, None], column, share], axis=1)},
            {"normalised": True},
        ),
        "yolo5": (
            {"o": np.concatenate([centred, 0 * column + 1, dense], axis=1)},
            {"head": "yolo5", "box_format": "cxcywh"},
        ),
        "yolo8": (
            {"o": np.concatenate([centred, dense], axis=1).T},
            {"head": "yolo8", "box_format": "cxcywh"},
        ),
    }


def test_every_head_gives_the_same_boxes() -> None:
    boxes = np.array([[10, 10, 40, 50], [60, 20, 100, 60], [110, 5, 150, 90], [0, 70, 30, 99.0]])
    classes, scores = np.array([2, 0, 1, 1]), np.array([0.9, 0.8, 0.3, 0.2])
    label = {"boxes": boxes.tolist(), "classes": classes.tolist()}
    for name, (outputs, options) in heads(boxes, classes, scores).items():
        task = Detect(**options)
        found = task.found(outputs, Sample(shape=(100, 160)))
        assert found.classes.tolist() == classes.tolist(), name
        np.testing.assert_allclose(found.boxes, boxes, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found.scores, scores, atol=1e-6, err_msg=name)
        pooled = pool(task, [measure(task, outputs, label, Sample(shape=(100, 160)))])
        assert task.metric(pooled, np.ones(1)) == pytest.approx(1.0), name


def test_duplicates_are_suppressed_per_class_or_over_all() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11.0]])
    scores = np.array([[0.9, 0], [0, 0.8], [0.7, 0]])
    outputs = {"boxes": boxes, "scores": scores}
    assert len(Detect().found(outputs, Sample())) == 2
    assert len(Detect(class_aware=False).found(outputs, Sample())) == 1
    assert len(Detect(iou_threshold=0.9).found(outputs, Sample())) == 3
    assert len(Detect(max_detections=1).found(outputs, Sample())) == 1
    assert len(Detect(score_threshold=0.85).found(outputs, Sample())) == 1


@pytest.mark.parametrize("name", ["stretch", "letterbox", "letterbox, top left", "crop"])
def test_the_inverse_map_of_every_resize_mode(name: str) -> None:
    rng = np.random.default_rng(1)
    label = scene(rng)
    geometry = resized((100, 160), (64, 64), name)
    fed = np.array(
        [[*geometry.to_fed(x0, y0), *geometry.to_fed(x1, y1)] for x0, y0, x1, y1 in label["boxes"]]
    )
    task = Detect(nms="graph")
    out = {"b": fed, "s": np.full(len(fed), 0.9), "l": np.array(label["classes"])}
    sample = Sample(geometry={"x": geometry})
    found = task.found(out, sample)
    inside = [b for b in label["boxes"] if b[0] >= 30 and b[2] <= 130] if name == "crop" else None
    if inside is None:
        wanted = {tuple(np.round(b, 4)) for b in label["boxes"]}
        assert {tuple(np.round(b, 4)) for b in found.boxes} == wanted
    else:
        close = overlaps(np.asarray(inside).reshape(-1, 4), found.boxes)
        assert (close.max(axis=1, initial=0) > 0.999).all()


def cases(seed: int, change: Any = None, n: int = 60) -> list[Any]:
    """A sound float baseline on letterboxed pictures, or one with a mistake."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        label = scene(rng)
        geometry = resized((100, 160), (64, 64), "letterbox")
        out = seen(rng, label)
        pairs = [(geometry.to_fed(*b[:2]), geometry.to_fed(*b[2:])) for b in out["boxes"]]
        out["boxes"] = np.array([[*a, *b] for a, b in pairs])
        case = (out, label, Sample(id=str(i), geometry={"x": geometry}))
        made.append(change(*case) if change else case)
    return made


def centred(out: Any, label: Any, sample: Any) -> Any:
    first, size = out["boxes"][:, :2], out["boxes"][:, 2:] - out["boxes"][:, :2]
    return {**out, "boxes": np.concatenate([first + size / 2, size], axis=1)}, label, sample


def shares(out: Any, label: Any, sample: Any) -> Any:
    return {**out, "boxes": out["boxes"] / 64}, label, sample


def shifted(out: Any, label: Any, sample: Any) -> Any:
    return out, {**label, "classes": [c + 1 for c in label["classes"]]}, sample


def mixed(out: Any, label: Any, sample: Any) -> Any:
    return {**out, "labels": (out["labels"] * 2 + 1) % 5}, label, sample


def no_map(out: Any, label: Any, sample: Any) -> Any:
    return out, label, Sample(id=sample.id, shape=(64, 64))


def no_map_no_size(out: Any, label: Any, sample: Any) -> Any:
    return out, {k: label[k] for k in ("boxes", "classes")}, Sample(id=sample.id, shape=(64, 64))


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (None, []),
        (centred, ["detect.box-format"]),
        (shares, ["detect.box-format"]),
        (shifted, ["detect.classes-shifted"]),
        (mixed, ["detect.classes"]),
        (no_map, ["detect.other-size", "detect.map"]),
        (no_map_no_size, ["detect.outside"]),
    ],
)
def test_what_the_baseline_gives_away(change: Any, codes: list[str]) -> None:
    for seed in range(3):
        made = cases(seed, change)
        found = [d for d in doubts(Detect(nms="graph"), made) if d.gate != "note"]
        assert [c for c in codes if c not in [d.code for d in found]] == []
        assert bool(codes) or found == []


def test_a_map_of_another_resize_mode_is_named() -> None:
    def as_stretch(out: Any, label: Any, sample: Any) -> Any:
        geometry = resized((100, 160), (64, 64), "stretch")
        return out, label, Sample(id=sample.id, geometry={"x": geometry})

    found = doubts(Detect(nms="graph"), cases(0, as_stretch))
    assert [d.code for d in found] == ["detect.map"]
    assert "fed by letterbox" in found[0].text


def test_another_pictures_annotations_are_chance() -> None:
    made = cases(4)
    labels = [made[(i + 7) % len(made)][1] for i in range(len(made))]
    wrong = [(out, label, sample) for (out, _, sample), label in zip(made, labels, strict=True)]
    assert [d.code for d in doubts(Detect(nms="graph"), wrong)] == ["detect.chance"]
    empty = [(out, {"boxes": [], "classes": []}, s) for out, _, s in made]
    assert [d.code for d in doubts(Detect(nms="graph"), empty)] == ["detect.no-objects"]


def cut_scores(out: Any) -> Any:
    kept = out["scores"] > 0.3
    return {k: v[kept] for k, v in out.items()}


def lose_boxes(out: Any) -> Any:
    return {**out, "boxes": out["boxes"] * 0 + np.array([0, 0, 9, 9])}


def lose_classes(out: Any) -> Any:
    return {**out, "labels": out["labels"] + 1}


def lose_scores(out: Any) -> Any:
    return {**out, "scores": 0.6 + 0.01 * np.arange(len(out["scores"])) % 0.05}


def doubled(out: Any) -> Any:
    near = {"boxes": out["boxes"] + 1, "scores": out["scores"] - 0.05, "labels": out["labels"]}
    return {k: np.concatenate([v, near[k]]) for k, v in out.items()}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda out: out, ""),
        (cut_scores, "detect.score-threshold"),
        (lose_boxes, "detect.boxes-lost"),
        (lose_classes, "detect.classes-lost"),
        (lose_scores, "detect.scores-lost"),
        (doubled, "detect.iou-threshold"),
    ],
)
def test_what_two_rungs_give_away(change: Any, code: str) -> None:
    rng = np.random.default_rng(0)
    made = cases(0)
    pairs = []
    for out, _, sample in made:
        near = {**out, "boxes": out["boxes"] + rng.normal(0, 0.3, out["boxes"].shape)}
        near["scores"] = np.clip(out["scores"] + rng.normal(0, 0.01, len(out["scores"])), 0.01, 1)
        order = rng.permutation(len(out["scores"]))
        pairs.append((out, change({k: v[order] for k, v in near.items()}), sample))
    found = [d.code for d in apart(Detect(nms="graph"), pairs)]
    assert (code in found) if code else found == []


@pytest.mark.parametrize(
    "options",
    [
        {"box_format": "yxyx"},
        {"iou_threshold": 1.5},
        {"max_detections": 0},
        {"metric": "map99"},
        {"colour": 1},
        {"head": "yolo99"},
    ],
)
def test_settings_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="task"):
        load(TaskSpec(name="detect", options=options))


def test_outputs_and_labels_that_are_no_detectors() -> None:
    with pytest.raises(UserError, match="boxes"):
        Detect().found({"y": np.zeros((1, 10))}, Sample())
    with pytest.raises(UserError, match="no mapping with boxes"):
        measure(Detect(), {"o": np.zeros((2, 6))}, 3, Sample())
    with pytest.raises(UserError, match="size is not known"):
        Detect(normalised=True).found({"o": np.ones((2, 6))}, Sample())
    assert corners([[1, 2, 3, 4]], "xywh").tolist() == [[1, 2, 4, 6]]
