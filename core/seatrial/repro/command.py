"""The verb: ask, cut, empty, rename, ask again, and write what a vendor needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import intake, registry
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.report.model import write_text
from seatrial.trial.context import Clock, Trial, configured
from seatrial.trial.targets import TargetState, probe, survey

from . import letter, search, symptom
from .types import KEPT, RANDOM, Count, CountRequest, CutRequest, CutResult

if TYPE_CHECKING:
    from seatrial.options import ReproOptions
    from seatrial.progress import Progress

#: Seconds that the search is given; the smallest model so far goes forward.
BUDGET_S = 300.0
#: Times that the result is asked again, to tell a symptom from an accident.
AGAIN = 3


@dataclass(frozen=True)
class Repro:
    """What was written.

    Attributes:
        folder: where.
        target: the target.
        symptom: what it shows.
        nodes_before: of the model.
        nodes: of what is left.
        weights: ``kept`` or ``random``.
        named: whether the model's own names are in it.
        shown: how often it showed the symptom when it was asked again.
        asked: how often that was.
        next: what to type.
    """

    folder: Path
    target: str
    symptom: symptom.Symptom
    nodes_before: int
    nodes: int
    weights: str
    named: bool
    shown: int
    asked: int
    next: str


def repro(options: ReproOptions, progress: Progress) -> Repro:
    """Write the smallest model that a target refuses, or dies of, in the same way.

    Raises:
        UserError: the model is refused before any target sees it, the target cannot be used, it
            takes the model, or the folder is not empty.
    """
    config = configured(options.config, {})
    out = Path(options.out or f"{Path(options.model).stem}-repro")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(str(out), "exists and is not empty", advice="name another with -o")
    trial = Trial("repro", out, jobs=options.jobs, config=config, progress=progress)
    with trial:
        done = _repro(trial, options, out)
    shutil.rmtree(out / ".seatrial", ignore_errors=True)
    return done


def _repro(trial: Trial, options: ReproOptions, out: Path) -> Repro:
    with trial.stage("intake", 1, 3):
        trial.admitted = intake.admit(Path(options.model), trial.workspace)
    with trial.stage("backends", 2, 3):
        trial.targets = survey(trial.runner, registry.discover(), (options.target,))
        probe(trial.runner, trial.targets)
        state = _usable(trial, options.target)
    reduction = _Reduction(trial, state, options.shapes, Clock(options.budget_s or BUDGET_S))
    with trial.stage("reduce", 3, 3):
        reduction.run()
    return _write(trial, state, reduction, out)


def _usable(trial: Trial, text: str) -> TargetState:
    for state in trial.targets:
        if state.usable:
            return state
    first = trial.targets[0]
    why = first.availability.reason if first.availability else ""
    why = why or (first.fault.reason if first.fault else "not usable")
    raise UserError(text, f"cannot be used here: {why}", advice="seatrial backends")


class _Reduction:
    """The search: every model that goes forward was asked and showed the symptom."""

    def __init__(
        self,
        trial: Trial,
        state: TargetState,
        shapes: Mapping[str, tuple[int, ...]],
        clock: Clock,
    ) -> None:
        self._trial, self._state, self._shapes, self._clock = trial, state, shapes, clock
        self.model = trial.model.ref
        self.nodes_before = self.nodes = 0
        self.weights = KEPT
        self.named = True
        self.shown = 0
        self.op_types: tuple[str, ...] = ()
        found = self._ask(self.model)
        if found is None:
            raise UserError(
                state.id, "takes this model: there is nothing to reproduce", advice="seatrial check"
            )
        self.symptom = found

    def run(self) -> None:
        """Empty, cut, empty again, rename; then ask several times more."""
        counted = self._trial.runner.task(
            "seatrial.repro.child:count",
            CountRequest(model=self.model),
            refs=[self.model],
            limits=self._trial.limits(),
        )
        count: Count | None = counted.result
        if count is None:
            self._confirm()  # onnx itself cannot read it: the file is the reproduction
            return
        self.nodes_before = self.nodes = count.nodes
        self._try("own numbers for the weights", weights=RANDOM)
        if count.nodes > 1:
            first, end = search.shortest(count.nodes, self._shows)
            self._try(f"nodes {first + 1} to {end}", first=first, end=end)
        if self.weights == KEPT:
            self._try("own numbers for the weights", weights=RANDOM)
        if self._try("own names", rename=True):
            self.named = False
        self._confirm()

    def _confirm(self) -> None:
        for _ in range(AGAIN):
            self.shown += self.symptom.same(self._ask(self.model))

    def _shows(self, first: int, end: int) -> bool:
        if not self._clock.left_s:
            return False
        self._trial.progress("reduce", f"nodes {first + 1} to {end}")
        made, _ = self._cut(CutRequest(model=self.model, first=first, end=end))
        return made is not None and self.symptom.same(self._ask(made))

    def _try(
        self,
        what: str,
        *,
        first: int = 0,
        end: int = 0,
        weights: str = KEPT,
        rename: bool = False,
    ) -> bool:
        """Go on with a change, if the symptom is still there."""
        self._trial.progress("reduce", what)
        made, cut = self._cut(
            CutRequest(model=self.model, first=first, end=end, weights=weights, rename=rename)
        )
        if made is None or cut is None:
            return False
        again = self._ask(made)
        if again is None or not self.symptom.same(again):
            return False
        self.model, self.nodes, self.op_types = made, cut.nodes, cut.op_types
        self.symptom = again
        # Nothing large was the model's own to begin with: what is left is nobody's either.
        if weights == RANDOM or not cut.kept:
            self.weights = RANDOM
        return True

    def _cut(self, request: CutRequest) -> tuple[r.Ref | None, CutResult | None]:
        outcome = self._trial.runner.task(
            "seatrial.repro.child:cut",
            request,
            refs=[request.model],
            limits=self._trial.limits(),
        )
        result: CutResult | None = outcome.result
        if result is None or result.artifact is None:
            return None, result
        return self._trial.runner.adopt(outcome, result.artifact), result

    def _ask(self, model: r.Ref) -> symptom.Symptom | None:
        state = self._state
        request = r.CheckRequest(
            model=model,
            target=state.target.id if state.target else "",
            shapes=self._told(model),
            options=dict(self._trial.options(state)),
        )
        outcome = self._trial.call(state, "seatrial_compile_check", request, [model])
        return symptom.of(outcome)

    def _told(self, model: r.Ref) -> dict[str, tuple[int, ...]]:
        """Static shapes are for the inputs of the whole model."""
        return dict(self._shapes) if model == self._trial.model.ref else {}


def _write(trial: Trial, state: TargetState, done: _Reduction, out: Path) -> Repro:
    shutil.copyfile(trial.workspace.path(done.model), out / "model.onnx")
    command = f"seatrial check model.onnx -b {state.id}"
    made = Repro(
        folder=out,
        target=state.id,
        symptom=done.symptom,
        nodes_before=done.nodes_before,
        nodes=done.nodes,
        weights=done.weights,
        named=done.named,
        shown=done.shown,
        asked=AGAIN,
        next=command,
    )
    write_text(out / "README.md", letter.text(made, state, done.op_types))
    return made
