"""What the judge reads: labels and outputs, refused where they do not fit the test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.errors import UserError
from seatrial.samples import Samples
from seatrial.tasks.base import Task

from .records import ONNX_FP32, Rung
from .units import Units


def labels_of(test: Units, task: Task) -> Sequence[Any] | None:
    """The labels, or ``None`` when there are none or the task takes none.

    Raises:
        UserError: some samples have a label and some have none.
    """
    labels = test.labels
    if labels is None or not getattr(task, "scored", True):
        return None
    lacking = [i for i, label in enumerate(labels) if label is None]
    if len(labels) != test.count or 0 < len(lacking) < len(labels):
        missing = len(lacking) or abs(test.count - len(labels))
        raise UserError(
            "test set",
            f"{missing} of {test.count} samples have no label",
            place=test.ids[lacking[0]] if lacking else "",
            advice="label all of them, or leave them out",
        )
    return None if lacking else labels


def outputs_of(rung: Rung, path: Any, test: Units) -> Units:
    """The outputs of a rung.

    Raises:
        UserError: it has not one output per test sample.
    """
    outputs = Samples(path)
    where = f"{rung.rung} {rung.target or ''}".strip()
    count, ids = test.samples.count, test.samples.ids
    if outputs.count != count:
        raise UserError(
            "test set",
            f"{where} gave outputs for {outputs.count} of {count} samples",
            advice="rungs are judged on the same samples or not at all",
        )
    if set(outputs.ids) == set(ids) and outputs.ids != ids:
        raise UserError("test set", f"{where} gave its outputs in another order than the samples")
    if not outputs.names:
        raise UserError("test set", f"{where} gave no outputs")
    return Units(outputs, test.spans)


def names_of(rungs: Sequence[Rung], stores: Sequence[Units]) -> tuple[str, ...]:
    """The output names that a task sees: those of the float ONNX model, else of the first rung.

    Raises:
        UserError: there are no rungs.
    """
    if not rungs:
        raise UserError("ladder", "there are no outputs to judge")
    at = next((i for i, rung in enumerate(rungs) if rung.rung == ONNX_FP32), 0)
    return stores[at].names
