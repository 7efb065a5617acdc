"""What the steps of one export share. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from seatrial import results as r
from seatrial.codec import record
from seatrial.export import opsets
from seatrial.export import records as er
from seatrial.export.locate_records import Divergence
from seatrial.export.module_records import ModuleSpec, StudyResult
from seatrial.export.parity_records import NOT_PROVEN


class Stage(Protocol):
    """The part of a command that is used here; ``seatrial.trial.context.Trial`` is one."""

    runner: Any
    workspace: Any
    progress: Any

    def limits(self, *, timeout_s: float = 0.0) -> Any:
        """Deadline and memory of one child."""


@record
class Wish:
    """What the user asked for.

    Attributes:
        spec: the module.
        choice: the opsets to stay within.
        dynamic: free axes by input name; empty: static.
        routes: to try.
        translations: ``MODULE:TABLE``.
        synthetic: the samples are noise.
        seed: of everything random.
        hurried: a route that passes is enough; the others are then not tried.
    """

    spec: ModuleSpec
    choice: opsets.Choice
    dynamic: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    routes: tuple[str, ...] = er.ROUTES
    translations: str = ""
    synthetic: bool = False
    seed: int = 0
    hurried: bool = False


@dataclasses.dataclass
class Made:
    """Everything that was learnt, filled step by step."""

    wish: Wish
    samples: r.Ref
    count: int
    study: StudyResult | None = None
    study_ref: r.Ref | None = None
    attempts: list[er.Attempt] = dataclasses.field(default_factory=list)
    divergence: Divergence | None = None
    faults: list[r.Fault] = dataclasses.field(default_factory=list)
    gate: str = NOT_PROVEN
    reasons: list[str] = dataclasses.field(default_factory=list)

    @property
    def chosen(self) -> er.Attempt | None:
        """The attempt that was kept."""
        return next((a for a in self.attempts if a.chosen), None)


def export_request(made: Made, route: str) -> er.ExportRequest:
    """What a route is asked for."""
    study = made.study
    return er.ExportRequest(
        spec=made.wish.spec,
        samples=made.samples,
        route=route,
        opset=made.wish.choice.wanted,
        dynamic=made.wish.dynamic,
        translations=made.wish.translations,
        outputs=study.outputs if study else (),
        scripted=study.scripted if study else (),
    )


def kept(stage: Stage, made: Made, name: str, request: Any) -> Any:
    """A core task on the workspace's objects; a fault is kept and gives ``None``."""
    outcome = stage.runner.task(
        f"seatrial.export.{name}", request, limits=stage.limits(timeout_s=900)
    )
    if outcome.result is None:
        made.faults.append(fault_of(outcome.fault))
    return outcome.result


def fault_of(fault: r.Fault | None) -> r.Fault:
    """The fault of an outcome without result; one that names no fault gave nothing."""
    return fault or r.Fault(kind=r.FaultKind.RAISED, stage="export", reason="gave no result")
