"""From a detector's outputs to boxes: the common forms of heads, thresholds, suppression.

Everything here is in the coordinates of the picture as fed; the inverse map comes after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError

from .boxes import FORMATS, corners, suppress

#: Forms of one tensor that holds everything: columns per row, or rows per column.
HEADS = {
    "detections": "(n, 6): box, score, class",
    "ssd": "(n, 7): image, class, score, box",
    "yolo5": "(n, 5 + classes): box, objectness, class scores",
    "yolo8": "(4 + classes, n): box, class scores",
}
ACTIVATIONS = ("none", "sigmoid", "softmax")
NMS = ("auto", "host", "graph")


@dataclasses.dataclass(frozen=True)
class Found:
    """Detections of one sample, best first.

    Attributes:
        boxes: corners, shape (n, 4).
        scores: shape (n,).
        classes: shape (n,), whole numbers.
    """

    boxes: Any
    scores: Any
    classes: Any

    def take(self, which: Any) -> Found:
        """Some of them, by positions or mask."""
        return Found(self.boxes[which], self.scores[which], self.classes[which])

    def __len__(self) -> int:
        return len(self.scores)


@dataclasses.dataclass(frozen=True)
class Decoder:
    """How outputs become boxes: the detector's part of ``[task]``.

    Attributes:
        boxes: output of boxes; empty: the one whose last axis is 4.
        scores: output of scores, (n,) or (n, classes); empty: found by its shape.
        labels: output of class indices beside scores of shape (n,); empty: found likewise.
        head: one of :data:`HEADS` when one output holds everything; ``""``: told by the shapes.
        box_format: one of ``xyxy``, ``xywh``, ``cxcywh``.
        normalised: boxes are shares of the fed picture's width and height, not pixels.
        activation: applied to raw scores.
        background: column of the class scores that means "nothing"; -1: none. Classes are
            numbered without it.
        nms: ``host`` suppresses here, ``graph``: the model did; ``auto``: here unless each box
            has one score only.
        score_threshold: lower scores are dropped.
        iou_threshold: of suppression.
        class_aware: only boxes of one class suppress one another.
        multi_label: a box may count for several classes, else for its best one.
        candidates: the best so many boxes enter suppression.
        max_detections: the best so many of a picture are kept.
    """

    boxes: str = ""
    scores: str = ""
    labels: str = ""
    head: str = ""
    box_format: str = "xyxy"
    normalised: bool = False
    activation: str = "none"
    background: int = -1
    nms: str = "auto"
    score_threshold: float = 0.01
    iou_threshold: float = 0.5
    class_aware: bool = True
    multi_label: bool = True
    candidates: int = 3000
    max_detections: int = 100

    def __post_init__(self) -> None:
        for key, known in (
            ("box_format", FORMATS),
            ("activation", ACTIVATIONS),
            ("nms", NMS),
            ("head", ("", *HEADS)),
        ):
            if getattr(self, key) not in known:
                text = (
                    f"{getattr(self, key)!r} is none of {', '.join(k or '(empty)' for k in known)}"
                )
                raise UserError("task", text, place=f"[task] {key}")
        for key in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError("task", "thresholds go from 0 to 1", place=f"[task] {key}")
        for key in ("candidates", "max_detections"):
            if getattr(self, key) < 1:
                raise UserError("task", "at least one box must count", place=f"[task] {key}")

    def __call__(self, outputs: Mapping[str, Any], fed: tuple[int, ...]) -> Found:
        """The detections of one sample, in pixels of the picture as fed.

        Args:
            outputs: without batch axis.
            fed: (height, width) of the picture as fed; empty: unknown.

        Raises:
            UserError: the outputs are of no form that is known, or a size is needed.
        """
        import numpy as np

        boxes, scores, labels = self.raw(outputs)
        boxes = corners(boxes, self.box_format)
        if self.normalised:
            if len(fed) != 2:
                text = "boxes are shares of a picture whose size is not known"
                raise UserError("task", text, place="[task] normalised")
            boxes = boxes * np.array([fed[1], fed[0], fed[1], fed[0]], float)
        found = self._pairs(boxes, scores, labels)
        sane = np.isfinite(found.scores) & np.isfinite(found.boxes).all(axis=1)
        found = found.take(sane & (found.scores >= self.score_threshold))
        found = found.take(np.argsort(-found.scores, kind="stable")[: self.candidates])
        if self._host(scores, labels):
            kept = suppress(
                found.boxes, found.scores, found.classes, self.iou_threshold, aware=self.class_aware
            )
            found = found.take(kept)
        return found.take(slice(self.max_detections))

    def suppresses(self, outputs: Mapping[str, Any]) -> bool:
        """Whether suppression is done here for outputs of this form."""
        _, scores, labels = self.raw(outputs)
        return self._host(scores, labels)

    def _host(self, scores: Any, labels: Any) -> bool:
        return self.nms == "host" or (self.nms == "auto" and labels is None and scores.ndim == 2)

    def _pairs(self, boxes: Any, scores: Any, labels: Any) -> Found:
        """One entry per box and class that may count."""
        import numpy as np

        if scores.ndim == 1:
            classes = np.zeros(len(scores), np.int64) if labels is None else labels
            return Found(boxes, scores, classes.astype(np.int64))
        scores = _activated(scores, self.activation)
        if self.background >= 0:
            scores = np.delete(scores, self.background, axis=1)
        if self.multi_label:
            rows, classes = np.nonzero(scores >= self.score_threshold)
        else:
            rows, classes = np.arange(len(scores)), scores.argmax(axis=1)
        return Found(boxes[rows], scores[rows, classes], classes)

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the outputs that boxes, scores and classes come from."""
        return self._read(outputs)[0]

    def raw(self, outputs: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Boxes (n, 4), scores (n,) or (n, classes), and class indices (n,) or ``None``."""
        return self._read(outputs)[1]

    def _read(self, outputs: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, Any, Any]]:
        import numpy as np

        arrays = {name: _rows(np.asarray(value)) for name, value in outputs.items()}
        head = self.head or _head(arrays, self.boxes)
        if head:
            name = self.boxes or next(iter(arrays))
            return (name,), _split(_named(arrays, name, "boxes"), head)
        name = self.boxes or _by(arrays, lambda a: a.ndim == 2 and a.shape[1] == 4)
        boxes = _named(arrays, name, "boxes")
        boxes = boxes.reshape(1, 4) if boxes.shape == (4,) else boxes
        n = len(boxes)
        others = {k: _first_axis(v, n) for k, v in arrays.items() if k != name}
        fitting = {k: v for k, v in others.items() if v.ndim and len(v) == n}
        label = self.labels or _by(fitting, lambda a: a.ndim == 1 and a.dtype.kind in "iu")
        rest = {k: v for k, v in fitting.items() if k != label}
        score = self.scores or _by(rest, lambda a: a.dtype.kind == "f")
        scores = _named(others, score, "scores").astype(np.float64)
        labels = _named(others, label, "labels").reshape(-1) if label else None
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(scores) != n:
            text = f"boxes of shape {boxes.shape} and scores of shape {scores.shape} do not fit"
            raise UserError("task", text, place="[task] boxes, scores")
        if scores.ndim == 2 and labels is not None:
            scores = scores.max(axis=1)
        return tuple(filter(None, (name, score, label))), (boxes, scores, labels)


def _rows(array: Any) -> Any:
    """Leading axes of length 1 dropped, down to two axes; a middle one of three as well."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[1] == 1:
        array = array[:, 0]
    return array


def _first_axis(array: Any, n: int) -> Any:
    """An array whose last axis counts boxes, with that axis first; others as they are."""
    if array.ndim == 2 and array.shape[1] == n != array.shape[0]:
        return array[0] if array.shape[0] == 1 else array.T
    return array


def _by(arrays: Mapping[str, Any], fits: Any) -> str:
    return next((name for name, value in arrays.items() if value.ndim and fits(value)), "")


def _named(arrays: Mapping[str, Any], name: str, key: str) -> Any:
    if name not in arrays:
        have = ", ".join(f"{k} {'x'.join(map(str, v.shape))}" for k, v in arrays.items())
        reason = f"no {key} {name!r} among the outputs {have}"
        raise UserError("task", reason, place=f"[task] {key}", advice=f"{key} = OUTPUT, or head")
    return arrays[name]


def _head(arrays: Mapping[str, Any], named: str) -> str:
    """The head of a single output of two axes, where its shape tells."""
    if len(arrays) != 1 and not named:
        return ""
    array = arrays.get(named) if named else next(iter(arrays.values()))
    if len(arrays) == 1 and array is not None and array.ndim == 2:
        return {6: "detections", 7: "ssd"}.get(array.shape[1], "")
    return ""


def _split(array: Any, head: str) -> tuple[Any, Any, Any]:
    """One tensor into boxes, scores and class indices."""
    if head == "yolo8":
        array = array.T
    least = {"detections": 6, "ssd": 7, "yolo5": 6, "yolo8": 5}[head]
    if array.ndim != 2 or array.shape[1] < least:
        text = f"an output of shape {array.shape} is not {HEADS[head]}"
        raise UserError("task", text, place="[task] head")
    array = array.astype(float)
    if head == "detections":
        return array[:, :4], array[:, 4], array[:, 5]
    if head == "ssd":
        array = array[array[:, 0] >= 0]  # a row of image -1 ends the list
        return array[:, 3:7], array[:, 2], array[:, 1]
    if head == "yolo5":
        return array[:, :4], array[:, 4:5] * array[:, 5:], None
    return array[:, :4], array[:, 4:], None


def _activated(scores: Any, kind: str) -> Any:
    import numpy as np

    if kind == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
    if kind == "softmax":
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)
    return scores
