"""Boxes as arrays: formats, overlap, and suppression of all but the best of overlapping boxes."""

from __future__ import annotations

from typing import Any

#: How four numbers name a box: two corners, corner and size, centre and size.
FORMATS = ("xyxy", "xywh", "cxcywh")


def corners(boxes: Any, form: str) -> Any:
    """Boxes of any of :data:`FORMATS` as (x0, y0, x1, y1), shape (n, 4), float64."""
    import numpy as np

    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if form == "xyxy":
        return boxes
    first, size = boxes[:, :2], boxes[:, 2:]
    if form == "cxcywh":
        first = first - size / 2
    return np.concatenate([first, first + size], axis=1)


def overlaps(first: Any, second: Any) -> Any:
    """Intersection over union of every pair of boxes, shape (n, m); 0 for boxes without area."""
    import numpy as np

    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def areas(boxes: Any) -> Any:
    """Areas, shape (n,); 0 where a corner is on the wrong side."""
    import numpy as np

    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1)


def suppress(boxes: Any, scores: Any, classes: Any, threshold: float, *, aware: bool) -> Any:
    """Greedy non-maximum suppression.

    Args:
        boxes: corners, shape (n, 4).
        scores: shape (n,).
        classes: shape (n,).
        threshold: a box is dropped when it overlaps a kept, better one by more than this.
        aware: only boxes of one class suppress one another.

    Returns:
        Positions of the kept boxes, best first; of equal scores the earlier one comes first.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        close = overlaps(boxes[best : best + 1], boxes[rest])[0] > threshold
        if aware:
            close &= classes[rest] == classes[best]
        order = rest[~close]
    return np.asarray(kept, dtype=np.int64)
