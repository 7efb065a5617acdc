"""Segmentation: a class per pixel, mean intersection over union of all pictures' pixels together.

Logits are brought to the size of the mask, not the other way round: the part of the output that
shows the picture (not its padding) is interpolated between its values, and the best class of each
pixel of the original is compared. Indices (an output of whole numbers) take the nearest value.
Pixels that the network never saw (a crop) and those of the ignored label count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.data.structured import mask_of
from seatrial.errors import UserError

from .base import ClassValue, Sample
from .totals import Totals


class Segment(Totals):
    """Mean IoU over the classes that occur in annotations or answers.

    Args:
        output: logits (classes, h, w), or indices (h, w); empty: the first output of that form.
        classes: how many; 0: as many as logits have (needed for outputs of indices).
        ignore: label of pixels that do not count; -1: none.
        layout: ``CHW`` or ``HWC`` of logits; empty: the classes are the first axis.
        label_offset: added to every annotated class.
    """

    name = "mIoU"
    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(
        self,
        output: str = "",
        classes: int = 0,
        ignore: int = 255,
        layout: str = "",
        label_offset: int = 0,
    ) -> None:
        if layout not in ("", "CHW", "HWC"):
            raise UserError("task", f"{layout!r} is neither CHW nor HWC", place="[task] layout")
        self.output, self.count, self.ignore = output, classes, ignore
        self.layout, self.label_offset = layout or "CHW", label_offset

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """The output with a class per pixel."""
        return (self._raw(outputs)[0],)

    def _raw(self, outputs: Mapping[str, Any]) -> tuple[str, Any]:
        """The output, and its logits (classes, h, w) or indices (h, w)."""
        import numpy as np

        for name, value in outputs.items():
            array = np.asarray(value)
            while array.ndim > 3 and array.shape[0] == 1:
                array = array[0]
            whole = array.dtype.kind in "iu" and array.dtype.name not in ("int8", "uint8")
            if array.ndim == 3 and array.shape[0] == 1 and whole:
                array = array[0]
            if name == self.output or (not self.output and array.ndim in (2, 3)):
                if array.ndim == 3 and self.layout == "HWC":
                    array = array.transpose(2, 0, 1)
                return name, array
        have = ", ".join(outputs)
        raise UserError(
            "task", f"no class per pixel among the outputs {have}", place="[task] output"
        )

    def statistics(self, outputs: Mapping[str, Any], label: Any, sample: Sample) -> Any:
        """Per class: pixels right, pixels annotated, pixels answered; shape (3, classes)."""
        import numpy as np

        raw, mask = self._raw(outputs)[1], mask_of(label).astype(np.int64)
        classes = raw.shape[0] if raw.ndim == 3 else self.count
        if not classes:
            raise UserError(
                "task",
                "an output of indices does not tell how many classes there are",
                place="[task] classes",
            )
        answer = _at(raw, mask.shape, sample)
        counts = mask != self.ignore if self.ignore >= 0 else np.ones(mask.shape, bool)
        counts &= answer >= 0
        true, said = mask[counts] + self.label_offset, answer[counts]
        if true.size and (true.min() < 0 or true.max() >= classes):
            reason = f"a mask holds class {int(true.max())}, the model has {classes}"
            raise UserError("labels", reason, place=sample.id, advice="[task] ignore, label_offset")
        said = np.clip(said, 0, classes - 1)
        confusion = np.bincount(true * classes + said, minlength=classes**2)
        confusion = confusion.reshape(classes, classes)
        return np.stack([np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)])

    def _ious(self, total: Any) -> Any:
        import numpy as np

        right, annotated, answered = total
        union = annotated + answered - right
        return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)

    def of(self, total: Any) -> float:
        """Mean over the classes that occur."""
        import numpy as np

        ious = self._ious(total)
        return float(np.nanmean(ious)) if not np.isnan(ious).all() else float("nan")

    def also(self, pooled: Any, weights: Any) -> dict[str, float]:
        """Share of pixels that are right."""
        right, annotated, _ = (weights @ pooled.reshape(len(pooled), -1)).reshape(3, -1)
        return {"pixel accuracy": float(right.sum() / annotated.sum())} if annotated.sum() else {}

    def by_class(self, pooled: Any, weights: Any = None) -> Sequence[ClassValue]:
        """IoU of each annotated class; its cases are the pictures that show it."""
        import numpy as np

        flat = pooled.reshape(len(pooled), -1)
        weights = np.ones(len(pooled)) if weights is None else np.asarray(weights, float)
        total = (weights @ flat).reshape(pooled.shape[1:])
        shown = (pooled[:, 1] > 0).sum(axis=0)
        ious = self._ious(total)
        return [
            ClassValue(index=c, n=int(shown[c]), value=float(ious[c]))
            for c in range(len(shown))
            if shown[c]
        ]


def _at(raw: Any, shape: tuple[int, ...], sample: Sample) -> Any:
    """The class of every pixel of the original, -1 where the network did not see it.

    A pixel's centre goes through the map to the picture as fed, and from there to the output's
    grid, whose cells divide the fed picture evenly.
    """
    import numpy as np

    geometry, (h, w) = sample.map, raw.shape[-2:]
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    fed: tuple[int, ...] = shape
    if geometry is not None:
        if tuple(geometry.size) != tuple(shape):
            have, want = ("x".join(map(str, s)) for s in (shape, geometry.size))
            reason = f"the mask has {have} pixels and the picture {want} (height x width)"
            raise UserError("labels", reason, place=sample.id)
        fed = geometry.fed
        rows = rows * geometry.scale[0] + geometry.offset[0]
        columns = columns * geometry.scale[1] + geometry.offset[1]
    elif sample.fed and tuple(sample.fed) != tuple(shape):
        have, want = ("x".join(map(str, s)) for s in (shape, sample.fed))
        reason = f"the mask has {have} pixels and what was fed {want}, resized nobody says how"
        advice = 'mode = "image", or masks of the same size'
        raise UserError("labels", reason, place=sample.id, advice=advice)
    seen = np.logical_and.outer((rows >= 0) & (rows < fed[0]), (columns >= 0) & (columns < fed[1]))
    y, x = rows * h / fed[0] - 0.5, columns * w / fed[1] - 0.5
    answer = _interpolated(raw, y, x)
    return np.where(seen, answer, -1)


def _interpolated(raw: Any, y: Any, x: Any) -> Any:
    """Best class at positions (rows y, columns x) of the grid: bilinear logits, nearest indices."""
    import numpy as np

    h, w = raw.shape[-2:]
    if raw.ndim == 2:
        row = np.clip(np.rint(y), 0, h - 1).astype(int)
        column = np.clip(np.rint(x), 0, w - 1).astype(int)
        return raw[np.ix_(row, column)].astype(np.int64)
    y, x = np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = np.minimum(top + 1, h - 1), np.minimum(left + 1, w - 1)
    fy, fx = (y - top)[:, None], (x - left)[None, :]
    best = np.full((len(y), len(x)), -np.inf)
    answer = np.zeros((len(y), len(x)), np.int64)
    for c, plane in enumerate(raw.astype(np.float64)):
        upper = plane[top][:, left] * (1 - fx) + plane[top][:, right] * fx
        lower = plane[down][:, left] * (1 - fx) + plane[down][:, right] * fx
        value = upper * (1 - fy) + lower * fy
        better = value > best
        best[better], answer[better] = value[better], c
    return answer
