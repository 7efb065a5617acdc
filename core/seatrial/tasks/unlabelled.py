"""No task: outputs are compared with the reference's, which proves sameness, not quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .vectors import best, scores_name, vector


class Unlabelled:
    """Agreement with the reference, for data without labels.

    Args:
        output: name of the output that agreement is taken on; empty: the first float vector.
    """

    name = "agreement"
    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)
    scored = False

    def __init__(self, output: str = "") -> None:
        self.output = output

    def predict(self, outputs: Mapping[str, Any]) -> int | None:
        """Index of the largest value, -1 when one is not finite, ``None`` without a vector."""
        name = self.output or scores_name(outputs)
        scores = vector(outputs[name]) if name and name in outputs else None
        return None if scores is None else best(scores)

    def score(self, outputs: Mapping[str, Any], label: Any) -> float:
        """There is nothing to score without labels.

        Raises:
            TypeError: always; a rung without labels has no metric.
        """
        raise TypeError("outputs without labels have no score")
