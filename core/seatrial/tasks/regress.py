"""Regression: numbers against numbers, mean absolute or root mean square error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.errors import UserError

from .totals import Totals, ratio

METRICS = {"mae": "mean absolute error", "rmse": "root mean square error"}


def output_name(outputs: Mapping[str, Any], name: str) -> str:
    """The float output that is read: the named one, or the first.

    Raises:
        UserError: there is none.
    """
    import numpy as np

    found = next(
        (
            n
            for n, v in outputs.items()
            if n == name or (not name and np.asarray(v).dtype.kind == "f")
        ),
        None,
    )
    if found is None:
        have = ", ".join(outputs)
        raise UserError("task", f"no output {name!r} among {have}", place="[task] output")
    return found


def numbers(outputs: Mapping[str, Any], name: str) -> Any:
    """A float output by name, or the first one; float64."""
    import numpy as np

    return np.asarray(outputs[output_name(outputs, name)]).astype(np.float64)


class OneOutput:
    """A task that reads one float output, named ``output`` or the first."""

    output: str

    def reads(self, outputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Its name."""
        return (output_name(outputs, self.output),)


class Regress(OneOutput, Totals):
    """Errors of one output, over all its numbers.

    Args:
        metric: ``mae`` or ``rmse``.
        output: its name; empty: the first float output.
        unit: of the labels and so of the error, for the report.
        factor: what an output is multiplied by to be in the labels' unit.
    """

    higher_is_better = False

    def __init__(
        self, metric: str = "mae", output: str = "", unit: str = "", factor: float = 1.0
    ) -> None:
        if metric not in METRICS:
            reason = f"{metric!r} is none of {', '.join(METRICS)}"
            raise UserError("task", reason, place="[task] metric")
        self.kind, self.name = metric, METRICS[metric]
        self.output, self.unit, self.factor = output, unit, factor

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> tuple[float, float]:
        """(sum of errors or of their squares, how many)."""
        import numpy as np

        values = numbers(outputs, self.output).ravel() * self.factor
        try:
            wanted = np.asarray(label, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise UserError("labels", f"{str(label)[:60]!r} is no number") from None
        if values.shape != wanted.shape:
            reason = f"a label holds {wanted.size} numbers and the output {values.size}"
            raise UserError("labels", reason, advice="[task] output names the output")
        apart = np.abs(values - wanted)
        return float((apart**2 if self.kind == "rmse" else apart).sum()), float(apart.size)

    def blind(self, labels: Sequence[Any]) -> tuple[float, str]:
        """The median of all labels at each place (of squared errors their mean)."""
        import numpy as np

        rows = [np.asarray(one, np.float64).ravel() for one in labels]
        same = len({row.size for row in rows}) == 1
        table = np.stack(rows) if same else np.concatenate(rows)[:, None]
        if self.kind == "rmse":
            return float(np.sqrt(np.square(table - table.mean(0)).mean())), "the mean of all labels"
        return float(np.abs(table - np.median(table, axis=0)).mean()), "the median of all labels"

    def of(self, total: Any) -> float:
        """The mean, or its root."""
        mean = ratio(total[0], total[1])
        return math.sqrt(mean) if self.kind == "rmse" else mean
