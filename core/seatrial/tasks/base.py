"""What a task is, and how one is named.

A task comes in one of two forms. *Scored*: ``score(outputs, label)`` gives one finite number per
sample and the metric is their mean. *Pooled*, for metrics that exist only for a whole data set:
``statistics(outputs, label)`` gives what one sample contributes (counts, a confusion matrix, its
matched boxes), and ``metric(pooled, weights)`` the number for all of them, each sample counted
``weights`` times. Either way outputs are read once per rung: intervals resample what was kept.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from seatrial.codec import record
from seatrial.data.contract import Geometry
from seatrial.errors import UserError
from seatrial.results import Option

#: The tasks that come along: name -> where its class lies. A further task is one more line.
BUILT_IN = {
    "classify": "seatrial.tasks.classify:Classify",
    "binary": "seatrial.tasks.binary:Binary",
    "regress": "seatrial.tasks.regress:Regress",
    "detect": "seatrial.tasks.detect:Detect",
    "segment": "seatrial.tasks.segment:Segment",
    "embed": "seatrial.tasks.embed:Embed",
    "sequence": "seatrial.tasks.sequence:Sequence",
    "transcribe": "seatrial.tasks.transcribe:Transcribe",
    "none": "seatrial.tasks.unlabelled:Unlabelled",
}

#: What a :class:`Doubt` does to the row that it is about.
FAIL, UNPROVEN, NOTE = "fail", "not proven", "note"


@record
class TaskSpec:
    """Which task, and its settings: the ``[task]`` table of the configuration.

    Attributes:
        name: ``classify``, ``none``, or ``MODULE:CLASS`` for the user's own.
        options: keyword arguments of the task's class.
        expected: the metric of the float model as it is known from training; ``None``: unknown.
    """

    name: str = "none"
    options: Mapping[str, Option] = field(default_factory=dict)
    expected: float | None = None

    @property
    def own(self) -> bool:
        """Whether it is the user's own code, which runs in a user child only."""
        return self.name not in BUILT_IN


@record
class Sample:
    """What is known of a sample besides its label.

    Attributes:
        id: a file name, or the position in the source.
        geometry: by input, where the pixels of a picture went; the inverse map of boxes and masks.
        shape: (height, width) of the first input that looks like a picture; empty: none does.
    """

    id: str = ""
    geometry: Mapping[str, Geometry] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    @property
    def map(self) -> Geometry | None:
        """The map of the first picture; ``None``: samples were fed as they are."""
        return next(iter(self.geometry.values()), None)

    @property
    def fed(self) -> tuple[int, ...]:
        """(height, width) of the picture as fed; empty: no input is one."""
        return self.map.fed if self.map else self.shape


@record
class Doubt:
    """Something that a task knows is wrong, whatever the metric says.

    Attributes:
        gate: ``fail``, ``not proven``, or ``note`` (decides nothing).
        code: stable name, ``detect.box-format``.
        text: one sentence.
    """

    gate: str
    code: str
    text: str


@record
class ClassValue:
    """The metric of one class: its number of cases (boxes, pixels) and a share of 0 to 1."""

    index: int
    n: int
    value: float


@runtime_checkable
class Task(Protocol):
    """A task has a named metric, and the methods of one of the two forms.

    A class may also have

    * ``bounds``, least and largest score or metric before ``scale``; an interval can then be given
      when few samples differ;
    * ``scale``, what the number is multiplied by for display (100 for shares);
    * ``predict(outputs)``, one class index per sample, for agreement between rungs;
    * ``reads(outputs)``, names of the outputs that the metric reads: all others are
      compared with the float model by themselves;
    * ``blind(labels)``, the metric of the best answer that never looks at the input, before
      ``scale``, and that answer in words: a limit that it meets shows nothing;
    * ``by_class(pooled)``, the metric per class as ``ClassValue``, to find classes that vanish;
      with a second parameter ``weights``, classes also that lose more than their limit;
    * ``doubts(cases)``, given ``(outputs, label, sample)`` of the float baseline: what shows that
      labels, preprocessing or settings do not fit the model;
    * ``apart(pairs)``, given ``(reference outputs, candidate outputs, sample)``: what shows that
      the candidate is another model or has another post-processing;
    * ``sets(outputs)``, names of outputs whose rows are a list without fixed meaning (what a
      model leaves after suppression), which cannot be compared number by number;
    * ``also(pooled, weights)``, further figures by name, before ``scale``.

    Attributes:
        name: of the metric, ``top-1 accuracy``.
        unit: of the metric and of a drop, ``points``.
        higher_is_better: whether a larger number is a better one.
    """

    name: str
    unit: str
    higher_is_better: bool


@runtime_checkable
class Scored(Task, Protocol):
    """The form of metrics that are a mean over samples."""

    def score(self, outputs: Mapping[str, Any], label: Any) -> float:
        """How good one sample's outputs are; a third parameter ``sample`` is given if there is one.

        Args:
            outputs: numpy arrays by output name, without a batch axis; of a sequence, one row per
                step.
            label: what the data source gives for this sample.
        """


@runtime_checkable
class Pooled(Task, Protocol):
    """The form of metrics of a whole data set.

    ``pool(statistics)`` may be there too: it is called once with the list of all samples'
    statistics (sorting, stacking), and what it gives is handed to ``metric`` each time.
    """

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> Any:
        """What one sample contributes: arrays, numbers, tuples of these. Arguments as above."""

    def metric(self, pooled: Any, weights: Any) -> float:
        """The metric, before ``scale``.

        Args:
            pooled: the list of statistics, or what ``pool`` made of it.
            weights: how often each sample counts, shape (samples,); all 1 for the metric itself,
                resampled counts (0 among them) for its interval.

        Returns:
            A number; NaN where these samples define none.
        """


Case = tuple[Mapping[str, Any], Any, Sample]
Pair = tuple[Mapping[str, Any], Mapping[str, Any], Sample]


def pooled_form(task: Task) -> bool:
    """Whether a task is of the pooled form."""
    return hasattr(task, "statistics")


def measure(task: Task, outputs: Mapping[str, Any], label: Any, sample: Sample) -> Any:
    """The score or the statistics of one sample."""
    call = getattr(task, "statistics", None) or task.score  # type: ignore[attr-defined]
    if "sample" in inspect.signature(call).parameters:
        return call(outputs, label, sample=sample)
    return call(outputs, label)


def pool(task: Task, statistics: Sequence[Any]) -> Any:
    """All samples' statistics, in the form that the task's ``metric`` takes."""
    pooling = getattr(task, "pool", None)
    return list(statistics) if pooling is None else pooling(statistics)


def doubts(task: Task, cases: Iterable[Case]) -> tuple[Doubt, ...]:
    """What a task finds wrong with the float baseline."""
    call = getattr(task, "doubts", None)
    return () if call is None else tuple(call(cases))


def apart(task: Task, pairs: Iterable[Pair]) -> tuple[Doubt, ...]:
    """What a task finds between a rung and its reference."""
    call = getattr(task, "apart", None)
    return () if call is None else tuple(call(pairs))


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
    parts = ["name", "unit", "higher_is_better"]
    parts += ["statistics", "metric"] if hasattr(task, "statistics") else ["score"]
    lacking = [a for a in parts if not hasattr(task, a)]
    if lacking:
        raise UserError("task", f"{spec.name} has no {lacking[0]!r}", advice="see Task")
    loaded: Task = task
    return loaded
