"""Detection: boxes of every picture against its annotations, mean average precision over all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatrial.data.structured import Boxes, boxes_of
from seatrial.errors import UserError

from .base import Case, ClassValue, Doubt, Pair, Sample
from .detections import Decoder, Found
from .precision import Matcher, Matches, Pool, thresholds

#: What ``metric`` may be: its name, and the overlaps that it is the mean over.
METRICS = {
    "map": ("mAP@[.50:.95]", (0.5, 0.95)),
    "map50": ("mAP@.50", (0.5, 0.5)),
    "map75": ("mAP@.75", (0.75, 0.75)),
}


class Detect:
    """Mean average precision as COCO defines it (all areas, 100 detections per picture).

    Args:
        metric: one of :data:`METRICS`.
        label_offset: added to the class of an annotation to get the model's.
        options: see :class:`seatrial.tasks.detections.Decoder`.
    """

    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(self, metric: str = "map", label_offset: int = 0, **options: Any) -> None:
        if metric not in METRICS:
            known = ", ".join(METRICS)
            raise UserError("task", f"{metric!r} is none of {known}", place="[task] metric")
        self.name, overlap = METRICS[metric]
        # All thresholds are kept: mAP50 is told beside mAP.
        self.overlap = thresholds()
        self._chosen = (self.overlap >= overlap[0] - 1e-9) & (self.overlap <= overlap[1] + 1e-9)
        known_keys = {f.name for f in dataclasses.fields(Decoder)}
        strange = [key for key in options if key not in known_keys]
        if strange:
            reason = f"detect has no setting {strange[0]!r}"
            raise UserError("task", reason, place="[task]", advice=", ".join(sorted(known_keys)))
        self.decoder = Decoder(**options)
        self.label_offset = label_offset
        self._matcher: Matcher | None = None

    def sets(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Outputs that list what is left after suppression: rows have no fixed meaning."""
        return () if self.decoder.suppresses(outputs) else tuple(outputs)

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Outputs of boxes, scores and classes."""
        return self.decoder.reads(outputs)

    def found(self, outputs: Mapping[str, Any], sample: Sample) -> Found:
        """Detections in pixels of the original picture, as far as they lie in it."""
        import numpy as np

        found, geometry = self.decoder(outputs, sample.fed), sample.map
        if geometry is None:
            return found
        boxes = [geometry.box_to_original(box) for box in found.boxes.tolist()]
        return Found(np.asarray(boxes, float).reshape(-1, 4), found.scores, found.classes)

    def wanted(self, label: Any) -> Boxes:
        """The annotations of one picture, their classes as the model numbers them."""
        wanted = boxes_of(label)
        return dataclasses.replace(wanted, classes=wanted.classes + self.label_offset)

    def statistics(self, outputs: Mapping[str, Any], label: Any, sample: Sample) -> Matches:
        """The matches of one picture."""
        if self._matcher is None:
            self._matcher = Matcher(self.overlap)
        wanted, found = self.wanted(label), self.found(outputs, sample)
        return self._matcher(found, wanted.boxes, wanted.classes, wanted.crowd)

    def pool(self, statistics: Sequence[Matches]) -> Pool:
        """All matches, sorted by score once."""
        return Pool(statistics)

    def metric(self, pooled: Pool, weights: Any) -> float:
        """Mean over the annotated classes and the chosen overlaps; NaN without annotations."""
        import numpy as np

        if not pooled.classes:
            return float("nan")
        averages = pooled.averages(np.asarray(weights, float))[:, self._chosen]
        some = averages[~np.isnan(averages).any(axis=1)]
        return float(some.mean()) if len(some) else float("nan")

    def also(self, pooled: Pool, weights: Any) -> dict[str, float]:
        """The other usual figures."""
        import numpy as np

        if not pooled.classes:
            return {}
        averages = pooled.averages(np.asarray(weights, float))
        found = {}
        for title, (low, high) in METRICS.values():
            chosen = (self.overlap >= low - 1e-9) & (self.overlap <= high + 1e-9)
            if title != self.name:
                found[title] = float(np.nanmean(averages[:, chosen]))
        return found

    def by_class(self, pooled: Pool, weights: Any = None) -> list[ClassValue]:
        """Average precision class by class, the mean over all overlaps."""
        return pooled.values(weights)

    def doubts(self, cases: Iterable[Case]) -> Iterable[Doubt]:
        """See :mod:`seatrial.tasks.box_doubts`."""
        from .box_doubts import doubts

        return doubts(self, cases)

    def apart(self, pairs: Iterable[Pair]) -> Iterable[Doubt]:
        """See :mod:`seatrial.tasks.box_steps`."""
        from .box_steps import apart

        return apart(self, pairs)
