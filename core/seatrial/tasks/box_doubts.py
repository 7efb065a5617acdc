"""What shows that a detector's boxes and the annotations do not mean the same thing.

The metric of a float model whose boxes are read in the wrong way is low, which looks like a bad
model. These checks read the same outputs in the other usual ways; when one of them finds far more
of the annotated objects, picture by picture, that is a mistake with a name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from seatrial.data.contract import Geometry
from seatrial.data.structured import Boxes

from .base import FAIL, NOTE, UNPROVEN, Case, Doubt, Sample
from .boxes import FORMATS, overlaps
from .detections import Decoder, Found

if TYPE_CHECKING:
    from .detect import Detect

#: Pictures that are looked at, evenly spaced over the test set.
PICTURES = 200
#: Boxes of a picture that enter suppression, and that are left; enough to count objects found.
CANDIDATES, KEPT = 150, 30
#: Another reading is right when it finds at least this many points more of the objects ...
POINTS = 10.0
#: ... and that is beyond chance by so many standard deviations, objects won against lost.
SIGMAS = 4.0
#: A detector that finds no more objects than with another picture's annotations knows nothing.
CHANCE_SIGMAS, CHANCE_OBJECTS = 2.0, 30
#: Classes are shifted if the shift explains this share of the boxes that fit whatever their class.
MOST_OF = 0.8
#: Annotations may reach over the edge of a picture by this share of its side.
EDGE = 0.02

Reading = Callable[[Case], Found]


@dataclasses.dataclass
class _Seen:
    """A picture that is looked at."""

    case: Case
    wanted: Boxes

    @property
    def sample(self) -> Sample:
        return self.case[2]


def doubts(task: Detect, cases: Iterable[Case]) -> Iterator[Doubt]:
    """Annotations that cannot be this picture's, boxes read in the wrong way, chance."""
    seen, total = [], 0
    for case in cases:
        wanted = task.wanted(case[1])
        keep = ~wanted.crowd
        total += int(keep.sum())
        boxes = Boxes(wanted.boxes[keep], wanted.classes[keep], wanted.crowd[keep], wanted.size)
        seen.append(_Seen(case, boxes))
    if total == 0:
        yield Doubt(gate=UNPROVEN, code="detect.no-objects", text="no object is annotated")
        return
    yield from _geometry(seen)
    step = max(1, len(seen) // PICTURES)
    some = [s for s in seen[::step] if len(s.wanted.boxes)]
    objects = sum(len(s.wanted.boxes) for s in some)
    own = _found(some, _reading(task, task.decoder))
    yield from _readings(task, some, own, objects)
    yield from _classes(some, task, own, objects)
    yield from _chance(some, task, own, objects)


def _geometry(seen: Sequence[_Seen]) -> Iterator[Doubt]:
    """Annotations made on pictures of another size, or that lie outside their picture."""
    resized = []
    outside, objects = 0, 0
    for one in seen:
        size = _size(one.sample)
        if one.wanted.size and size and tuple(one.wanted.size) != tuple(size):
            resized.append(one)
        if size and len(one.wanted.boxes):
            h, w = size
            boxes = one.wanted.boxes
            room_x, room_y = EDGE * w + 1, EDGE * h + 1
            beyond = (boxes[:, 0] < -room_x) | (boxes[:, 1] < -room_y)
            beyond |= (boxes[:, 2] > w + room_x) | (boxes[:, 3] > h + room_y)
            outside += int(beyond.sum())
            objects += len(boxes)
    if resized:
        first = resized[0]
        have, want = ("x".join(map(str, s)) for s in (_size(first.sample), first.wanted.size))
        text = (
            f"{len(resized)} of {len(seen)} pictures are not those that were annotated: "
            f"{first.sample.id} has {have} pixels, its annotations were made on {want} "
            "(height x width): boxes are in other coordinates"
        )
        yield Doubt(gate=FAIL, code="detect.other-size", text=text)
    elif outside:
        text = f"{outside} of {objects} annotated boxes lie outside their picture"
        gate = FAIL if 100 * outside >= objects else NOTE
        yield Doubt(gate=gate, code="detect.outside", text=text)


def _size(sample: Sample) -> tuple[int, ...]:
    """(height, width) that annotations should be in: the original's, else what was fed."""
    return tuple(sample.map.size) if sample.map else sample.shape


def _reading(task: Detect, decoder: Decoder, place: Geometry | None = None) -> Reading:
    """Detections read with other settings, or with another inverse map."""
    quick = dataclasses.replace(
        decoder, candidates=min(CANDIDATES, decoder.candidates), max_detections=KEPT
    )

    def read(case: Case) -> Found:
        import numpy as np

        outputs, _, sample = case
        found = quick(outputs, sample.fed)
        where = place or sample.map
        if where is None:
            return found
        boxes = [where.box_to_original(box, clip=False) for box in found.boxes.tolist()]
        return dataclasses.replace(found, boxes=np.asarray(boxes, float).reshape(-1, 4))

    return read


def _found(some: Sequence[_Seen], read: Reading, **how: Any) -> list[int]:
    """Objects found per picture, at an overlap of 0.5."""
    return [hits(read(s.case), s.wanted, **how) for s in some]


def hits(found: Found, wanted: Boxes, *, shift: int = 0, any_class: bool = False) -> int:
    """Annotated objects that a detection of their class overlaps by half, one to one."""
    import numpy as np

    if not len(found) or not len(wanted.boxes):
        return 0
    close = overlaps(found.boxes, wanted.boxes)
    if not any_class:
        close = np.where(found.classes[:, None] == wanted.classes[None, :] + shift, close, 0.0)
    count = 0
    for row in range(len(found)):  # best score first
        best = int(close[row].argmax())
        if close[row, best] >= 0.5:
            close[:, best] = 0.0
            count += 1
    return count


def better(own: Sequence[int], other: Sequence[int], objects: int) -> bool:
    """Whether another reading finds so much more that the settings are wrong."""
    won = sum(max(b - a, 0) for a, b in zip(own, other, strict=True))
    lost = sum(max(a - b, 0) for a, b in zip(own, other, strict=True))
    enough = 100.0 * (won - lost) >= POINTS * objects
    return enough and won - lost >= SIGMAS * math.sqrt(won + lost)


def _readings(
    task: Detect, some: Sequence[_Seen], own: Sequence[int], objects: int
) -> Iterator[Doubt]:
    """Other formats of boxes, and other maps where the annotations tell the original's size."""
    best: tuple[int, str, str] = (0, "", "")
    for code, setting, read in _others(task, some):
        other = _found(some, read)
        if better(own, other, objects) and sum(other) > best[0]:
            best = (sum(other), code, setting)
    if best[0]:
        text = (
            f"boxes do not fit the annotations: {100 * sum(own) / objects:.0f} % of {objects} "
            f"objects are found as configured, {100 * best[0] / objects:.0f} % {best[2]}"
        )
        yield Doubt(gate=FAIL, code=best[1], text=text)


def _others(task: Detect, some: Sequence[_Seen]) -> Iterator[tuple[str, str, Reading]]:
    decoder = task.decoder
    for form in FORMATS:
        for normalised in (False, True):
            if (form, normalised) == (decoder.box_format, decoder.normalised):
                continue
            if normalised and not some[0].sample.fed:
                continue
            said = f'with box_format = "{form}", normalised = {str(normalised).lower()}'
            other = dataclasses.replace(decoder, box_format=form, normalised=normalised)
            yield "detect.box-format", said, _reading(task, other)
    for name in ("letterbox", "letterbox, top left", "stretch", "crop"):
        yield "detect.map", f"as if the pictures were fed by {name}", _mapped(task, name)


def _mapped(task: Detect, name: str) -> Reading:
    """Detections brought back from a picture that was resized as ``name`` says."""

    def read(case: Case) -> Found:
        sample = case[2]
        size = _annotated(case) or (tuple(sample.map.size) if sample.map else ())
        if not (size and sample.fed):
            return _reading(task, task.decoder)(case)
        return _reading(task, task.decoder, resized(size, sample.fed, name))(case)

    return read


def _annotated(case: Case) -> tuple[int, ...]:
    return tuple(case[1].get("size") or ())


def resized(size: tuple[int, ...], fed: tuple[int, ...], name: str) -> Geometry:
    """Where the pixels of a picture of some size go when it is resized in one of the usual ways."""
    y, x = (f / s for f, s in zip(fed, size, strict=True))
    if name == "stretch":
        return Geometry(size=size, fed=fed, scale=(y, x))
    ratio = max(y, x) if name == "crop" else min(y, x)
    rest = (fed[0] - size[0] * ratio, fed[1] - size[1] * ratio)
    offset = (0.0, 0.0) if name.endswith("top left") else (rest[0] / 2, rest[1] / 2)
    return Geometry(size=size, fed=fed, scale=(ratio, ratio), offset=offset)


def _classes(
    some: Sequence[_Seen], task: Detect, own: Sequence[int], objects: int
) -> Iterator[Doubt]:
    """Boxes that fit while their classes do not."""
    read = _reading(task, task.decoder)
    whatever = _found(some, read, any_class=True)
    shares = [100 * sum(found) / objects for found in (own, whatever)]
    for shift in (-1, 1):
        other = _found(some, read, shift=shift)
        if better(own, other, objects) and sum(other) >= MOST_OF * sum(whatever):
            text = (
                f"classes are off by one: {shares[0]:.0f} % of {objects} objects are found as "
                f"given, {100 * sum(other) / objects:.0f} % with label_offset = {shift:+d} more"
            )
            yield Doubt(gate=FAIL, code="detect.classes-shifted", text=text)
            return
    if better(own, whatever, objects) and 2 * sum(own) < sum(whatever):
        text = (
            f"boxes fit the annotations and their classes do not: {shares[0]:.0f} % of {objects} "
            f"objects are found, {shares[1]:.0f} % whatever the class"
        )
        yield Doubt(gate=FAIL, code="detect.classes", text=text)


def _chance(
    some: Sequence[_Seen], task: Detect, own: Sequence[int], objects: int
) -> Iterator[Doubt]:
    """Whether the boxes fit their own picture's annotations better than the next one's."""
    read = _reading(task, task.decoder)
    others = [*some[1:], *some[:1]]
    wrong = [hits(read(s.case), o.wanted) for s, o in zip(some, others, strict=True)]
    won, lost = sum(own), sum(wrong)
    if won - lost > CHANCE_SIGMAS * math.sqrt(won + lost):
        return
    text = (
        f"the float model finds {won} of {objects} objects, and {lost} with the annotations of "
        "another picture: annotations, preprocessing or the form of the boxes do not fit the model"
    )
    gate = FAIL if objects >= CHANCE_OBJECTS else UNPROVEN
    yield Doubt(gate=gate, code="detect.chance", text=text)
