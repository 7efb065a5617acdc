"""The configuration as the commands use it. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from seatrial.codec import record
from seatrial.data.contract import InputContract
from seatrial.data.source import SPLIT_COUNT, Source, expanded, parse, split
from seatrial.results import Option
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec


@record
class ModelConfig:
    """``[model]``: path (absolute) or ``MODULE:FACTORY``, and how to export it.

    Attributes:
        exporter: the only one to try; empty: all.
        weights: a checkpoint (absolute) to load into what a factory gives.
        trust_pickle: loading it may run the code that a pickle carries.
    """

    path: str = ""
    opset: int | None = None
    exporter: str = ""
    weights: str = ""
    trust_pickle: bool = False


@record
class SetConfig:
    """``[data.calibration]``, ``[data.test]``, or ``[data]`` when one source is split in two.

    ``base`` is the folder that relative paths start from; the rest is as in
    :class:`seatrial.data.Source`.
    """

    source: str
    base: str
    where: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    labels: str = ""
    classes: tuple[str, ...] = ()
    class_index: str = ""
    limit: int = 0
    sample_seed: int | None = None
    split_seed: int = 0
    split_count: int = SPLIT_COUNT


@record
class TaskConfig:
    """``[task]``.

    Attributes:
        kind: ``classify`` and its like; ``""``: by the labels.
        callable: ``MODULE:CLASS`` of the user's own task.
        top_k: a label among the k highest outputs counts as right.
        label_offset: added to every label (1 for models with a background class first); the
            task does so, sample stores keep labels as the source has them.
        state: of sequences: output -> the input that takes it in the next step.
        expected: the float model's metric as it is known from training, in the metric's unit.
        settings: the named task's own (``score_threshold``, ``metric`` ...).
        options: of the user's own task.
    """

    kind: str = ""
    callable: str = ""
    top_k: int = 1
    label_offset: int = 0
    state: Mapping[str, str] = field(default_factory=dict)
    expected: float | None = None
    settings: Mapping[str, Option] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def texts(self) -> bool:
        """Whether labels are texts, not names of classes."""
        return self.kind == "transcribe"

    def spec(self, *, labelled: bool) -> TaskSpec:
        """The task to judge with.

        Args:
            labelled: the test set has labels; decides when ``kind`` is not set.
        """
        name = self.callable or self.kind or ("classify" if labelled else "none")
        options: dict[str, Option] = dict(self.settings)
        if name == "classify":
            options |= {"top": self.top_k, "label_offset": self.label_offset}
        elif self.label_offset:
            options["label_offset"] = self.label_offset
        return TaskSpec(name=name, options={**options, **self.options}, expected=self.expected)


@record
class TargetConfig:
    """``[target."NAME"]``; ``None`` or empty: not set."""

    env: str = ""
    threads: int | None = None
    streams: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    timeout_s: float | None = None
    memory_mb: int | None = None
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class EnvConfig:
    """``[env.NAME]``: another interpreter, or a prefix that starts the worker elsewhere."""

    python: str = ""
    launcher: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@record
class RunConfig:
    """``[run]``."""

    seed: int = 0
    threads: int | None = None
    quick: bool = False
    targets: tuple[str, ...] = ()
    out: str = ""


@record
class Config:
    """All of it.

    Attributes:
        path: the file, ``""`` when there is none.
        inputs: input contracts by input name, as written.
        data: sets by role: ``calibration``, ``test``, or ``all`` to be split in two.
        sla: limits as set; defaults are not filled in.
        defaults_used: ``table.key=value`` of every default that decides something.
    """

    path: str = ""
    model: ModelConfig = ModelConfig()
    inputs: Mapping[str, InputContract] = field(default_factory=dict)
    data: Mapping[str, SetConfig] = field(default_factory=dict)
    task: TaskConfig = TaskConfig()
    sla: SLA = SLA()
    targets: Mapping[str, TargetConfig] = field(default_factory=dict)
    environments: Mapping[str, EnvConfig] = field(default_factory=dict)
    run: RunConfig = RunConfig()
    defaults_used: tuple[str, ...] = ()

    def target(self, name: str) -> TargetConfig | None:
        """The table of a target, or that of its backend as a whole."""
        return self.targets.get(name) or self.targets.get(name.partition(":")[0])

    def source(self, role: str) -> Source | None:
        """The source of ``calibration`` or ``test``; existence is checked now, not before.

        Raises:
            UserError: it does not exist.
        """
        chosen = self.data.get(role)
        if chosen is not None:
            return self._source(chosen, role)
        whole = self.data.get("all")
        if whole is None:
            return None
        calibration, test, _ = split(self._source(whole, "data"), seed=whole.split_seed)
        return calibration if role == "calibration" else test

    @property
    def split(self) -> str:
        """How one source serves both roles, in one sentence; ``""`` when each has its own."""
        whole = self.data.get("all")
        if whole is None or {"calibration", "test"} <= set(self.data):
            return ""
        return split(self._source(whole, "data"), seed=whole.split_seed)[2]

    def _source(self, chosen: SetConfig, role: str) -> Source:
        base = Path(chosen.base)
        source = parse(chosen.source, base=base, subject=role)

        def beside(path: str) -> str:
            return str(base / expanded(path)) if path else ""

        return dataclasses.replace(
            source,
            where=chosen.where,
            arrays=chosen.arrays,
            labels=beside(chosen.labels),
            classes=chosen.classes,
            class_index=beside(chosen.class_index),
            limit=chosen.limit,
            sample_seed=chosen.sample_seed,
            split_count=chosen.split_count,
        )
