"""Embeddings: is the nearest other sample one of the same label?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.errors import UserError

from .regress import OneOutput, numbers

#: Most samples of a gallery: every pair is compared once.
MOST = 20_000


@dataclasses.dataclass(frozen=True)
class Vector:
    """A direction of length 1, shape (d,), and whose it is."""

    direction: Any
    label: Any


class Embed(OneOutput):
    """Recall at k by cosine: each sample asks all others of the test set.

    A sample is found when one of its ``k`` nearest others has its label; samples whose label
    nobody else has are not asked. Every sample's answer is made with the whole gallery; intervals
    resample who asks.

    Args:
        k: how many of the nearest may hold the label.
        output: name of the output; empty: the first float output.
    """

    unit = "points"
    higher_is_better = True
    scale = 100.0
    bounds = (0.0, 1.0)

    def __init__(self, k: int = 1, output: str = "") -> None:
        if k < 1:
            raise UserError("task", f"k = {k}: at least one neighbour must count", place="[task] k")
        self.name, self.k, self.output = f"recall@{k}", k, output

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> Vector:
        """The sample's direction and label.

        Raises:
            UserError: there is no label, or no float output.
        """
        import numpy as np

        if label is None or isinstance(label, (list, dict)):
            reason = f"{str(label)[:60]!r} names nobody"
            raise UserError("labels", reason, advice="a number or a name per sample")
        vector = numbers(outputs, self.output).ravel()
        length = float(np.linalg.norm(vector))
        return Vector(vector / length if length > 0 else vector, label)

    def pool(self, statistics: Sequence[Vector]) -> Any:
        """Per sample (found, asked), shape (samples, 2)."""
        import numpy as np

        if len(statistics) > MOST:
            reason = f"{len(statistics)} samples are too many to compare each with each"
            raise UserError("test set", reason, advice=f"limit = {MOST}")
        _, label = np.unique([str(s.label) for s in statistics], return_inverse=True)
        asked = np.bincount(label)[label] > 1
        directions = np.stack([s.direction for s in statistics]).astype(np.float32)
        found = np.zeros(len(statistics), bool)
        for start in range(0, len(statistics), 512):
            rows = slice(start, start + 512)
            likeness = directions[rows] @ directions.T
            likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
            k = min(self.k, likeness.shape[1] - 1)
            near = (
                np.argpartition(-likeness, k - 1, axis=1)[:, :k]
                if k > 0
                else np.zeros((len(likeness), 0), int)
            )
            found[rows] = (label[near] == label[rows, None]).any(axis=1)
        return np.stack([found & asked, asked], axis=1).astype(float)

    def metric(self, pooled: Any, weights: Any) -> float:
        """Share of those who asked; NaN when nobody did."""
        found, asked = weights @ pooled
        return float(found / asked) if asked else float("nan")
