"""Unequal suppression: between the models of the ladder, and between a model and ``[task]``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from seatrial.ladder import records as lr
from seatrial.ladder.suppression_child import Suppression, SuppressionRequest, Suppressions
from seatrial.tasks.base import FAIL, NOTE, Doubt

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

OPERATOR = "NonMaxSuppression"


def checked(trial: Trial, found: Evidence, judged: lr.JudgeResult) -> lr.JudgeResult:
    """The judgement, with what the settings in the graphs say of its comparisons."""
    if found.task.name != "detect" or not trial.model.facts.op_types.get(OPERATOR):
        return judged
    sources = {
        f"qdq:{p.chosen.ref.sha256[:16]}": p.chosen.ref
        for p in found.portables.values()
        if p.chosen is not None and p.chosen.ref is not None
    }
    request = SuppressionRequest(models=(trial.model.ref, *sources.values()))
    outcome = trial.runner.task(
        "seatrial.ladder.suppression_child:read",
        request,
        refs=request.models,
        limits=trial.limits(),
    )
    result: Suppressions | None = outcome.result
    if result is None:
        return judged
    own = result.models[0]
    told = {
        source: text
        for source, nodes in zip(sources, result.models[1:], strict=True)
        if (text := unequal(own, nodes))
    }
    comparisons = [
        dataclasses.replace(
            c,
            doubts=(
                Doubt(gate=FAIL, code="detect.suppression", text=told[c.source or ""]),
                *c.doubts,
            ),
        )
        if c.source in told and c.against == lr.ONNX_FP32
        else c
        for c in judged.comparisons
    ]
    notes = [Doubt(gate=NOTE, code="detect.task", text=t) for t in against_task(own, found)]
    return dataclasses.replace(
        judged, comparisons=tuple(comparisons), doubts=(*judged.doubts, *notes)
    )


def unequal(own: tuple[Suppression, ...], other: tuple[Suppression, ...]) -> str:
    """Where two models suppress differently, in one sentence; ``""``: nowhere."""
    if len(own) != len(other):
        return f"it has {len(other)} {OPERATOR} nodes, the float model has {len(own)}"
    for a, b in zip(own, other, strict=True):
        for title, first, second in (
            ("iou_threshold", a.iou, b.iou),
            ("score_threshold", a.score, b.score),
            ("max_output_boxes_per_class", a.most, b.most),
        ):
            if first != second:
                return (
                    f"suppression differs: {title} of {a.node!r} is {_text(first)} in the float "
                    f"model and {_text(second)} here"
                )
    return ""


def _text(value: float | None) -> str:
    return "not set" if value is None else f"{value:g}"


def against_task(own: tuple[Suppression, ...], found: Evidence) -> list[str]:
    """Where ``[task]`` cuts what the graph was set to keep."""
    score = float(found.task.options.get("score_threshold", 0.01))
    most = int(found.task.options.get("max_detections", 100))
    told = []
    for node in own:
        if node.score is not None and score > node.score + 1e-6:
            told.append(
                f"[task] score_threshold = {score:g} drops boxes that the model keeps (its own "
                f"suppression begins at {node.score:g}): the metric is that of the stricter one"
            )
        if found.task.options.get("nms") == "host":
            told.append(
                f"boxes are suppressed twice: by {node.node!r} at {_text(node.iou)} and on the "
                f"host at {float(found.task.options.get('iou_threshold', 0.5)):g}"
            )
        if node.most and node.most < most:
            told.append(f"{node.node!r} keeps {node.most:g} boxes per class, fewer than {most}")
    return told
