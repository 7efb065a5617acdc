"""The commonest pooled form: statistics that add up, and a metric of their sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Totals:
    """A pooled task whose statistics are arrays of one shape. A subclass says ``of(total)``."""

    def pool(self, statistics: Sequence[Any]) -> Any:
        """All statistics, shape (samples, ...)."""
        import numpy as np

        return np.stack([np.asarray(s, dtype=np.float64) for s in statistics])

    def metric(self, pooled: Any, weights: Any) -> float:
        """The metric of the weighted sum."""
        import numpy as np

        return self.of(np.tensordot(np.asarray(weights, np.float64), pooled, axes=1))

    def of(self, total: Any) -> float:
        """The metric of the sum of statistics; NaN where it is not defined."""
        raise NotImplementedError


def ratio(above: float, below: float) -> float:
    """A quotient; NaN when nothing was counted."""
    return float(above) / float(below) if below else float("nan")
