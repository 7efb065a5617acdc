"""Classification: one class per sample, scored 1 when it is among the first ``top``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError

from .vectors import best, scores_name, vector


class Classify:
    """Top-k accuracy from logits or probabilities of shape (C,), (1, C) or (C, 1, 1).

    Args:
        output: name of the output with the class scores; empty: the first float vector.
        label_offset: added to a label to get its class index (1: background comes first).
        top: how many of the best classes may hold the label.
    """

    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(self, output: str = "", label_offset: int = 0, top: int = 1) -> None:
        if top < 1:
            raise UserError("task", f"top = {top}: at least one class must count", place="top")
        self.name = f"top-{top} accuracy"
        self.output = output
        self.label_offset = label_offset
        self.top = top

    def vector(self, outputs: Mapping[str, Any]) -> Any:
        """The class scores of one sample, shape (classes,).

        Raises:
            UserError: the named output is missing or no vector, or none was found.
        """
        if not self.output:
            self.output = scores_name(outputs) or ""
        scores = vector(outputs[self.output]) if self.output in outputs else None
        if scores is None:
            raise UserError(
                "task",
                f"no class scores in the outputs {', '.join(outputs)}",
                place=self.output,
                advice="name a vector of at least two scores with [task] output",
            )
        return scores

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """The output with the class scores."""
        self.vector(outputs)
        return (self.output,)

    def predict(self, outputs: Mapping[str, Any]) -> int:
        """Index of the best class, or -1 when a score is not finite."""
        return best(self.vector(outputs))

    def target(self, label: Any) -> int:
        """Class index of a label: an integer, or a text or float that is one.

        Raises:
            UserError: the label is missing or no class index.
        """
        value = label[0] if isinstance(label, list) and len(label) == 1 else label
        try:
            number = int(value)
            whole = float(value) == number
        except (TypeError, ValueError):
            whole, number = False, 0
        if not whole or isinstance(value, bool):
            raise UserError(
                "labels",
                f"{label!r} is no class index" if label is not None else "a sample has no label",
                advice="class indices are needed, or --task none",
            )
        return number + self.label_offset

    def rank(self, outputs: Mapping[str, Any], label: Any, shift: int = 0) -> int:
        """How many classes score higher than the label's (0: the best); -1: cannot be said.

        Of equal scores the lower index comes first, as ``argmax`` has it. It cannot be said when
        a score is not finite or the label lies outside the classes.
        """
        scores, index = self.vector(outputs), self.target(label) + shift
        if best(scores) < 0 or not 0 <= index < len(scores):
            return -1
        own = scores[index]
        return int((scores > own).sum() + (scores[:index] == own).sum())

    def score(self, outputs: Mapping[str, Any], label: Any) -> float:
        """1.0 when the label is among the first ``top`` classes, else 0.0."""
        return 1.0 if 0 <= self.rank(outputs, label) < self.top else 0.0
