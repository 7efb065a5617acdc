"""What a model's outputs look like: the ``[task]`` table that ``init`` proposes.

Only what the graph shows is written; everything else is a comment. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.codec import record
from seatrial.data.states import guessed
from seatrial.intake import ModelFacts
from seatrial.results import TensorIO

#: Sides of an output from which on it looks like a map of classes.
_SIDE = 16


@record
class TaskGuess:
    """A task that the outputs point to, why, and its lines of the table."""

    kind: str
    why: str
    lines: tuple[str, ...]


def guess(facts: ModelFacts) -> TaskGuess | None:
    """The task of a model that is no plain classifier; ``None`` when nothing is evident."""
    return _sequence(facts) or _detector(facts) or _segments(facts.outputs)


def _text(tensor: TensorIO) -> str:
    return f"{tensor.name} ({'x'.join(str(d) for d in tensor.shape) or 'number'})"


def _sequence(facts: ModelFacts) -> TaskGuess | None:
    pairs = guessed(facts.inputs, facts.outputs)
    if not pairs:
        return None
    said = ", ".join(f"{output} feeds {name}" for output, name in pairs.items())
    state = ", ".join(f'"{output}" = "{name}"' for output, name in pairs.items())
    lines = [
        'kind = "sequence"  # a sample is many steps: arrays with a first axis of steps',
        'metric = "accuracy"  # of the steps; or f1, auc, mae, rmse',
        f"state = {{ {state} }}",
    ]
    others = [o.name for o in facts.outputs if o.name not in pairs]
    if others:
        lines.append(f'output = "{others[0]}"')
    return TaskGuess(kind="sequence", why=f"by names and shapes {said}", lines=tuple(lines))


def _detector(facts: ModelFacts) -> TaskGuess | None:
    """Boxes and scores of as many rows, or one table of both."""
    suppresses = "NonMaxSuppression" in facts.op_types
    nms = (
        'nms = "graph"  # the model suppresses by itself'
        if suppresses
        else 'nms = "auto"  # host: here, graph: the model did'
    )
    common = (
        'box_format = "xyxy"  # or xywh (corner and size), cxcywh (centre and size)',
        "normalised = false  # true: shares of the fed picture's sides, false: its pixels",
        "background = -1  # column of the class scores that means nothing, if there is one",
        "score_threshold = 0.01",
        "iou_threshold = 0.5",
        nms,
    )
    floats = [o for o in facts.outputs if o.dtype.startswith("float")]
    for boxes in floats:
        rows = boxes.shape[-2:-1]
        if len(boxes.shape) < 2 or boxes.shape[-1] != 4:
            continue
        scores = next((o for o in floats if o is not boxes and rows[0] in o.shape), None)
        if scores is not None:
            why = f"{_text(boxes)} and {_text(scores)} look like boxes and their scores"
            named = (f'boxes = "{boxes.name}"', f'scores = "{scores.name}"')
            return TaskGuess(kind="detect", why=why, lines=('kind = "detect"', *named, *common))
    head = _head(floats) if len(facts.outputs) == 1 else ""
    if head:
        why = f"{_text(floats[0])} looks like boxes, scores and classes in one table"
        lines = ('kind = "detect"', f'head = "{head}"', *common)
        return TaskGuess(kind="detect", why=why, lines=lines)
    return None


def _head(floats: Sequence[TensorIO]) -> str:
    """The form of a single output that holds a detector's answers; ``""``: it does not look so."""
    shape = floats[0].shape if floats else ()
    if len(shape) not in (3, 4) or not all(d == 1 for d in shape[1:-2]):
        return ""
    rows, columns = shape[-2:]
    if columns in (6, 7) and (isinstance(rows, str) or rows > 7):
        return "detections" if columns == 6 else "ssd"
    if isinstance(rows, int) and isinstance(columns, int) and 5 < rows < 300 and columns > 1000:
        return "yolo8"
    if isinstance(rows, int) and isinstance(columns, int) and 6 < columns < 300 and rows > 1000:
        return "yolo5"
    return ""


def _segments(outputs: Sequence[TensorIO]) -> TaskGuess | None:
    """Class scores, or indices, with the two sides of a picture."""
    for output in outputs:
        sides = output.shape[-2:]
        if len(output.shape) != 4 or not all(isinstance(d, int) and d >= _SIDE for d in sides):
            continue
        channels = output.shape[1] if output.dtype.startswith("float") else 1
        if isinstance(channels, int) and channels not in (1, 3):
            lines = (
                'kind = "segment"',
                f'output = "{output.name}"',
                "ignore = 255  # label of pixels that do not count",
            )
            why = f"{_text(output)} looks like class scores of every pixel"
            return TaskGuess(kind="segment", why=why, lines=lines)
    return None
