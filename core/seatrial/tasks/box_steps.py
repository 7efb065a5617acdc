"""Two rungs of a detector that suppresses by itself, compared as what they are: lists of boxes.

Number by number such outputs tell nothing: one box more moves all rows. What a list shows is
which objects it names, and the marks of the suppression that made it: the lowest score that is
kept, and the largest overlap of two boxes of one class that both are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .base import FAIL, UNPROVEN, Doubt, Pair
from .boxes import overlaps
from .detections import Found

if TYPE_CHECKING:
    from .detect import Detect

#: Boxes of the reference that are looked for in the candidate: those of at least this score.
SURE = 0.3
#: Fewer of them tell nothing.
LEAST = 20
#: A branch is wrong when fewer than this share of boxes, or of their classes, are still there.
HALF = 0.5
#: Scores of the same boxes rise and fall together, or the branch of scores is wrong.
LEAST_CORRELATION = 0.2
#: A threshold differs when at least so many detections (and this share of all) lie where the
#: other rung has none at all.
LEAST_BEYOND, SHARE_BEYOND = 10, 0.05


@dataclasses.dataclass
class _Marks:
    """What suppression left over a test set."""

    scores: list[Any] = dataclasses.field(default_factory=list)
    pairs: list[Any] = dataclasses.field(default_factory=list)

    def add(self, found: Found) -> None:
        import numpy as np

        self.scores.append(found.scores)
        close = overlaps(found.boxes, found.boxes)
        same = found.classes[:, None] == found.classes[None, :]
        self.pairs.append(close[np.triu(same, k=1)])


@dataclasses.dataclass
class _Same:
    """Sure boxes of the reference, and what became of them."""

    boxes: int = 0
    there: int = 0
    classes: int = 0
    scores: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def add(self, reference: Found, candidate: Found) -> None:
        sure = reference.take(reference.scores >= SURE)
        self.boxes += len(sure)
        if not len(sure) or not len(candidate):
            return
        close = overlaps(sure.boxes, candidate.boxes)
        for k, row in enumerate(close):
            # Of boxes in one place the one of the same class is the partner, if there is one.
            right = row + 1e-3 * (candidate.classes == sure.classes[k])
            best = int(right.argmax())
            if row[best] < 0.5:
                continue
            self.there += 1
            self.classes += int(candidate.classes[best] == sure.classes[k])
            self.scores.append((float(sure.scores[k]), float(candidate.scores[best])))


def apart(task: Detect, pairs: Iterable[Pair]) -> Iterator[Doubt]:
    """Branches that are lost, and thresholds that differ."""
    whole = dataclasses.replace(task.decoder, score_threshold=0.0, max_detections=10**6)
    first, second, same = _Marks(), _Marks(), _Same()
    for reference, candidate, sample in pairs:
        if task.decoder.suppresses(reference):
            return  # the same code suppresses for every rung
        a, b = (whole(outputs, sample.fed) for outputs in (reference, candidate))
        # Rows that only fill a list up have no score.
        a, b = a.take(a.scores > 0), b.take(b.scores > 0)
        first.add(a)
        second.add(b)
        same.add(a, b)
    yield from _branches(same)
    yield from _thresholds(first, second)


def _branches(same: _Same) -> Iterator[Doubt]:
    """Boxes, classes and scores, each by itself."""
    import numpy as np

    if same.boxes < LEAST:
        return
    if same.there < HALF * same.boxes:
        text = (
            f"boxes are lost: {same.there} of the {same.boxes} that the reference is sure of are "
            "where they were"
        )
        yield Doubt(gate=FAIL, code="detect.boxes-lost", text=text)
        return
    if same.classes < HALF * same.there:
        text = f"classes are lost: {same.classes} of {same.there} boxes keep theirs"
        yield Doubt(gate=FAIL, code="detect.classes-lost", text=text)
    before, after = np.array(same.scores).T
    if before.std() > 0.02 and after.std() > 0:
        likeness = float(np.corrcoef(before, after)[0, 1])
        if likeness < LEAST_CORRELATION:
            text = f"scores are lost: those of {same.there} boxes correlate by {likeness:.2f}"
            yield Doubt(gate=FAIL, code="detect.scores-lost", text=text)


def _thresholds(first: _Marks, second: _Marks) -> Iterator[Doubt]:
    """Marks of suppression that differ between the two."""
    import numpy as np

    scores = [np.concatenate(m.scores) for m in (first, second)]
    for k, who in ((0, "it"), (1, "the reference")):
        if not len(scores[0]) or not len(scores[1]):
            return
        least = scores[1 - k].min()
        beyond = int((scores[k] < least).sum())
        if beyond >= max(LEAST_BEYOND, SHARE_BEYOND * len(scores[k])):
            text = (
                f"{who} keeps nothing below a score of {least:.3f}, where the other keeps {beyond} "
                f"of {len(scores[k]):,} boxes: another score threshold, or scores that saturate"
            )
            yield Doubt(gate=UNPROVEN, code="detect.score-threshold", text=text)
    close = [np.concatenate(m.pairs) for m in (first, second)]
    for k, who in ((0, "it"), (1, "the reference")):
        most = close[1 - k].max(initial=0.0)
        beyond = int((close[k] > most + 0.01).sum())
        boxes = len(scores[k])
        if beyond >= max(LEAST_BEYOND, 0.01 * boxes):
            text = (
                f"{who} keeps no two boxes of a class that overlap by more than {most:.2f}, the "
                f"other keeps {beyond} such pairs: another IoU threshold of suppression"
            )
            yield Doubt(gate=UNPROVEN, code="detect.iou-threshold", text=text)
