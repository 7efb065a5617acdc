"""Mean average precision: matches by pycocotools, averaged over samples that count with weights.

The library matches boxes with annotations (crowds, order, ties as COCO has them); what it found
per picture is kept, so that a resampled test set is a matter of weights. With all weights 1 the
result is that of the library's own accumulation (tested).

Source of the 101-point average: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context"
(2014), and the evaluation code published with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from seatrial.errors import UserError

from .base import ClassValue
from .detections import Found

#: Most detections of one class in one picture.
MOST = 100


@dataclasses.dataclass(frozen=True)
class Matches:
    """One picture's detections against its annotations.

    Attributes:
        scores: shape (n,).
        classes: shape (n,).
        hits: matched an annotation, shape (thresholds, n).
        ignored: matched a crowd, counts for nothing, likewise.
        wanted: class of each annotation that counts, shape (annotations,).
    """

    scores: Any
    classes: Any
    hits: Any
    ignored: Any
    wanted: Any


def thresholds(low: float = 0.5, high: float = 0.95) -> Any:
    """Overlaps at which a detection counts as right: ``low`` to ``high`` in steps of 0.05."""
    import numpy as np

    return np.linspace(low, high, round((high - low) / 0.05) + 1)


class Matcher:
    """Matches pictures one by one.

    Args:
        overlap: thresholds, shape (t,).

    Raises:
        UserError: pycocotools is not installed.
    """

    def __init__(self, overlap: Any) -> None:
        try:
            from pycocotools.cocoeval import COCOeval
        except ImportError:
            raise UserError(
                "task", "detection needs pycocotools", advice="pip install 'seatrial[detect]'"
            ) from None
        self._eval: Any = COCOeval(iouType="bbox")
        self._eval.params.iouThrs = overlap
        self._eval.params.maxDets = [MOST]
        self._everything = [0.0, 1e10]

    def __call__(self, found: Found, boxes: Any, classes: Any, crowd: Any) -> Matches:
        """Match one picture.

        Args:
            found: detections, in the annotations' coordinates.
            boxes: annotated corners, shape (m, 4).
            classes: shape (m,).
            crowd: flags, shape (m,): regions that count for nothing.
        """
        import numpy as np

        parts = []
        for c in np.union1d(found.classes, classes).tolist():
            parts.append(self._match(int(c), found, boxes[classes == c], crowd[classes == c]))
        count = len(self._eval.params.iouThrs)
        return Matches(
            scores=_joined([p[0] for p in parts], (0,)),
            classes=_joined([p[1] for p in parts], (0,)),
            hits=_joined([p[2] for p in parts], (count, 0)).astype(bool),
            ignored=_joined([p[3] for p in parts], (count, 0)).astype(bool),
            wanted=classes[~crowd],
        )

    def _match(self, c: int, found: Found, boxes: Any, crowd: Any) -> tuple[Any, Any, Any, Any]:
        import numpy as np

        own = found.take(found.classes == c)
        ev = self._eval
        # Ids begin at 1: the library takes a match with id 0 for none.
        ev._gts = {
            (0, c): [
                _annotation(k + 1, b, f) for k, (b, f) in enumerate(zip(boxes, crowd, strict=True))
            ]
        }
        ev._dts = {
            (0, c): [
                _annotation(k + 1, b, False) | {"score": float(s)}
                for k, (b, s) in enumerate(zip(own.boxes, own.scores, strict=True))
            ]
        }
        ev.params.catIds, ev.params.imgIds = [c], [0]
        ev.ious = {(0, c): ev.computeIoU(0, c)}
        result = ev.evaluateImg(0, c, self._everything, MOST)
        if result is None:
            empty = np.zeros((len(ev.params.iouThrs), 0), bool)
            return np.zeros(0), np.zeros(0, np.int64), empty, empty
        scores = np.asarray(result["dtScores"], float)
        hits = (np.asarray(result["dtMatches"]) > 0) & ~np.asarray(result["dtIgnore"], bool)
        return scores, np.full(len(scores), c), hits, np.asarray(result["dtIgnore"], bool)


def _annotation(number: int, box: Any, crowd: bool) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return {
        "id": number,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": max(x1 - x0, 0.0) * max(y1 - y0, 0.0),
        "iscrowd": int(crowd),
        "ignore": int(crowd),
    }


def _joined(parts: Sequence[Any], empty: tuple[int, ...]) -> Any:
    import numpy as np

    return np.concatenate(parts, axis=-1) if parts else np.zeros(empty)


@dataclasses.dataclass(frozen=True)
class _Class:
    """One class over all pictures, its detections in falling order of score."""

    index: int
    picture: Any
    hits: Any
    misses: Any
    wanted: Any


class Pool:
    """All pictures' matches, sorted once.

    Attributes:
        classes: those that are annotated.
        cost: numbers that one evaluation touches.
    """

    def __init__(self, matches: Sequence[Matches]) -> None:
        import numpy as np

        picture = np.repeat(np.arange(len(matches)), [len(m.scores) for m in matches])
        scores = _joined([m.scores for m in matches], (0,))
        classes = _joined([m.classes for m in matches], (0,))
        hits = np.concatenate([m.hits for m in matches], axis=1)
        ignored = np.concatenate([m.ignored for m in matches], axis=1)
        self.classes: list[_Class] = []
        for c in sorted({int(v) for m in matches for v in m.wanted}):
            own = np.flatnonzero(classes == c)
            own = own[np.argsort(-scores[own], kind="stable")]
            # Nothing changes after the last hit: recall stands still, precision only falls.
            some = np.flatnonzero(hits[:, own].any(axis=0))
            own = own[: some[-1] + 1 if len(some) else 0]
            self.classes.append(
                _Class(
                    index=c,
                    picture=picture[own],
                    hits=hits[:, own],
                    misses=~hits[:, own] & ~ignored[:, own],
                    wanted=np.array([(m.wanted == c).sum() for m in matches], float),
                )
            )
        self.cost = sum(c.hits.size for c in self.classes)

    def averages(self, weights: Any) -> Any:
        """Average precision, shape (classes, thresholds); NaN without a counted annotation."""
        import numpy as np

        return np.array([_average(c, weights) for c in self.classes])

    def values(self, weights: Any = None) -> list[ClassValue]:
        """Per class: how many annotations, and the mean over thresholds."""
        import numpy as np

        count = len(self.classes[0].wanted) if self.classes else 0
        weights = np.ones(count) if weights is None else np.asarray(weights, float)
        rows = self.averages(weights) if self.classes else []
        return [
            ClassValue(index=c.index, n=int(c.wanted.sum()), value=float(np.mean(row)))
            for c, row in zip(self.classes, rows, strict=True)
        ]


#: Recalls at which precision is read, as the evaluation code makes them.
_RECALLS = 101


def _average(of: _Class, weights: Any) -> Any:
    """Area under the precision envelope at 101 recalls, one number per threshold."""
    import numpy as np

    total = float(weights @ of.wanted)
    if total == 0:
        return np.full(len(of.hits), np.nan)
    counted = weights[of.picture]
    used = counted > 0
    counted = counted[used]
    if not len(counted):
        return np.zeros(len(of.hits))
    right = np.cumsum(of.hits[:, used] * counted, axis=1)
    wrong = np.cumsum(of.misses[:, used] * counted, axis=1)
    precision = right / (right + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    grid = np.linspace(0.0, 1.0, _RECALLS)
    reached = np.searchsorted(grid, right / total, side="right")
    return (envelope * np.diff(reached, prepend=0, axis=1)).sum(axis=1) / _RECALLS
