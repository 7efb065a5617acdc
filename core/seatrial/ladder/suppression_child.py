"""What a graph's own suppression is set to, read from the file. Core task."""

from __future__ import annotations

from typing import Any

from seatrial.codec import record
from seatrial.hookspecs import Job
from seatrial.results import Ref

#: Inputs of the operator after boxes and scores, and what they are when left out.
_SETTINGS = (("max_output_boxes_per_class", 0.0), ("iou_threshold", 0.0), ("score_threshold", None))


@record
class SuppressionRequest:
    """Ask for the suppression in some models."""

    models: tuple[Ref, ...]


@record
class Suppression:
    """One NonMaxSuppression node; ``None``: not set, or computed while the model runs."""

    node: str
    most: float | None
    iou: float | None
    score: float | None


@record
class Suppressions:
    """Per model, its nodes in graph order."""

    models: tuple[tuple[Suppression, ...], ...]


def read(request: SuppressionRequest, job: Job) -> Suppressions:
    """The settings of every NonMaxSuppression of some models' main graphs."""
    return Suppressions(models=tuple(_nodes(job.path(ref)) for ref in request.models))


def _nodes(path: Any) -> tuple[Suppression, ...]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    known = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    known[node.output[0]] = attribute.t
    found = []
    for k, node in enumerate(n for n in graph.node if n.op_type == "NonMaxSuppression"):
        values = [_value(node, 2 + j, known, rest) for j, (_, rest) in enumerate(_SETTINGS)]
        name = node.name or f"NonMaxSuppression {k}"
        found.append(Suppression(node=name, most=values[0], iou=values[1], score=values[2]))
    return tuple(found)


def _value(node: Any, position: int, known: Any, absent: float | None) -> float | None:
    from onnx import numpy_helper

    if position >= len(node.input) or not node.input[position]:
        return absent
    tensor = known.get(node.input[position])
    if tensor is None:
        return None
    array = numpy_helper.to_array(tensor)
    return float(array.reshape(-1)[0]) if array.size == 1 else None
