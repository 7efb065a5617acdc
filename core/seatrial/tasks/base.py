"""What a task is, and how one is named.

A task is judged per sample: ``score(outputs, label)`` gives one finite number, and the metric of
a rung is their mean. That is what makes paired intervals possible, so a metric that exists only
for a whole data set must be written as its per-sample parts.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.results import Option

#: The tasks that come along: name -> where its class lies. A further task is one more line.
BUILT_IN = {
    "classify": "seatrial.tasks.classify:Classify",
    "none": "seatrial.tasks.unlabelled:Unlabelled",
}


@record
class TaskSpec:
    """Which task, and its settings: the ``[task]`` table of the configuration.

    Attributes:
        name: ``classify``, ``none``, or ``MODULE:CLASS`` for the user's own.
        options: keyword arguments of the task's class.
    """

    name: str = "none"
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether it is the user's own code, which runs in a user child only."""
        return self.name not in BUILT_IN


@runtime_checkable
class Task(Protocol):
    """A task. The user's own class needs these four and nothing else.

    A class may also have ``bounds`` (least and largest score), which allows an interval when few
    samples differ, and ``scale`` (what a mean score is multiplied by for display, 100 for shares).

    Attributes:
        name: of the metric, ``top-1 accuracy``.
        unit: of the metric and of a drop, ``points``.
        higher_is_better: whether a larger score is a better one.
    """

    name: str
    unit: str
    higher_is_better: bool

    def score(self, outputs: Mapping[str, Any], label: Any) -> float:
        """How good one sample's outputs are.

        Args:
            outputs: numpy arrays by output name, without a batch axis.
            label: what the data source gives for this sample.
        """


def load(spec: TaskSpec) -> Task:
    """The task object.

    Raises:
        UserError: no such task, it cannot be built with these options, or it lacks a part.
    """
    place = BUILT_IN.get(spec.name, spec.name)
    module, _, attribute = place.partition(":")
    if not module or not attribute:
        known = ", ".join(BUILT_IN)
        raise UserError("task", f"there is no task {spec.name!r}", advice=f"{known}, MODULE:CLASS")
    try:
        task = getattr(importlib.import_module(module), attribute)(**spec.options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            "task", f"{spec.name} cannot be used: {type(error).__name__}: {error}"
        ) from error
    lacking = [a for a in ("name", "unit", "higher_is_better", "score") if not hasattr(task, a)]
    if lacking:
        raise UserError("task", f"{spec.name} has no {lacking[0]!r}", advice="see Task")
    loaded: Task = task
    return loaded
