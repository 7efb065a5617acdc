"""``check``: does this model compile, on every backend, in seconds?"""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from seatrial import intake, registry
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.export import recipes
from seatrial.options import CheckOptions
from seatrial.progress import Progress
from seatrial.quantize.types import InsertRequest
from seatrial.report import Report, new, rows
from seatrial.trial import compile as compile_stage
from seatrial.trial import document
from seatrial.trial.context import CALL_TIMEOUT_S, Clock, Trial, configured
from seatrial.trial.machine import environment_row
from seatrial.trial.making import insert
from seatrial.trial.targets import TargetState, probe, survey

#: Seconds that a target is given in all, unless ``--deep``.
BUDGET_S = 30.0


def check(options: CheckOptions, progress: Progress) -> Report:
    """Ask every chosen backend whether the model compiles.

    Raises:
        UserError: the model or a named target is refused.
    """
    config = configured(options.config, {})
    model = options.model or config.model.path
    if not model:
        raise UserError("MODEL", "no model was named", advice="seatrial check MODEL ...")
    options = dataclasses.replace(options, model=model)
    kept = bool(options.out)
    out = Path(options.out) if kept else Path(tempfile.mkdtemp(prefix="seatrial-check-"))
    report: Report | None = None
    try:
        with Trial("check", out, jobs=options.jobs, config=config, progress=progress) as trial:
            report = _check(trial, options)
        if kept or report.data["faults"]:
            kept = True
            report.write(out)
        return report
    finally:
        if not kept:
            shutil.rmtree(out, ignore_errors=True)


def _check(trial: Trial, options: CheckOptions) -> Report:
    with trial.stage("intake", 1, 3):
        trial.admitted = intake.admit(Path(options.model), trial.workspace)
    with trial.stage("backends", 2, 3):
        trial.targets = survey(
            trial.runner, registry.discover(), options.targets, every=options.all_targets
        )
        probe(trial.runner, trial.targets)
    budget = None if options.deep else (options.budget_s or BUDGET_S)
    forms = UnitForms(trial)
    with trial.stage("compile", 3, 3):
        compile_stage.each(trial, partial(_ask, trial, options.shapes, budget, forms))
    data = new("check", command_line=options.command_line)
    data["model"] = document.model_row(trial.model)
    data["targets"] = [document.target_row(t) for t in trial.targets]
    data["faults"] = document.fault_rows(trial.targets)
    data["logs"] = document.log_rows(data["faults"], trial.out)
    data["environment"] = environment_row()
    data["timings"] = trial.timings
    data["reasons"] = [
        *document.note_reasons(trial.model),
        *document.option_reasons(trial),
        *_reasons(trial.targets),
    ]
    data["next"] = _next(options, trial)
    return Report(data, strict=options.strict)


def _ask(
    trial: Trial,
    shapes: Mapping[str, tuple[int, ...]],
    budget: float | None,
    forms: UnitForms,
    state: TargetState,
) -> None:
    clock = Clock(budget)
    shapes = trial.shapes_of(state, shapes)
    compile_stage.check_float(trial, state, shapes=shapes, clock=clock)
    form = partial(forms, clock=clock)
    compile_stage.check_int8(trial, state, form, shapes=shapes, structure_only=True, clock=clock)
    compile_stage.finish(state)


class UnitForms:
    """The Q/DQ form of the model with unit ranges, made once per dialect: structure only."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._made: dict[r.QdqDialect, tuple[r.Ref | None, str]] = {}

    def __call__(self, state: TargetState, clock: Clock) -> tuple[r.Ref | None, str]:
        """A reference, or the reason why there is none; made in the time that is left."""
        dialect = state.target.rules.qdq if state.target else None
        facts = self._trial.model.facts
        if dialect is None:
            own = state.description is not None and "float" in state.description.int8_forms
            why = "it quantises the float model on samples, in a run" if own else ""
            return None, why or "this target takes no Q/DQ model"
        if facts.has_qdq:
            return self._trial.model.ref, "the model carries its own Q/DQ pairs"
        if dialect not in self._made:
            request = InsertRequest(model=self._trial.model.ref, dialect=dialect, unit_ranges=True)
            seconds = clock.cap(CALL_TIMEOUT_S, least_s=compile_stage.LEAST_S)
            made = insert(self._trial, request, timeout_s=seconds)
            why = made.why_not or (f"no Q/DQ form: {made.fault.reason}" if made.fault else "")
            self._made[dialect] = (made.ref, why)
        return self._made[dialect]


def _reasons(states: list[TargetState]) -> list[rows.Row]:
    """One line per target: the answer, or why there is none."""
    found = []
    for state in states:
        built = state.facts.get("built")
        if state.fault is not None and not (built and built["verdict"] != "unknown"):
            text = f"{state.fault.kind.value}: {state.fault.reason}"
            level = "error" if state.decides else "info"
            found.append(_reason("check.fault", text, state, level))
        elif built is None:
            why = state.availability.reason if state.availability else "not probed"
            found.append(_reason("check.unavailable", why, state, "info"))
        elif built["verdict"] != "supported":
            found.append(_reason(f"check.{built['verdict']}", _summary(built), state, "error"))
    return found


def _reason(code: str, text: str, state: TargetState, level: str) -> rows.Row:
    return rows.reason(code, text, part="compiles", target=state.id, level=level)


def _summary(built: rows.Row) -> str:
    """The first error finding, and how many more there are."""
    errors = [f for f in built["findings"] if f["severity"] == "error"] or built["findings"]
    if not errors:
        notes = [n for part in (built["fp32"], built["int8"]) if part for n in part["notes"]]
        return notes[0] if notes else f"{built['verdict']}, the compiler gave no reason"
    first = errors[0]
    where = f"{first['node']} ({first['op_type']}): " if first["node"] else ""
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{where}{first['reason']}{more}"


def _next(options: CheckOptions, trial: Trial) -> list[str]:
    model = shlex.quote(options.model)
    found = [f for t in trial.targets for _, f in t.facts.get("findings", ())]
    names = (recipes.known(f.op_type) for f in found if f.severity == "error")
    wanted = list(dict.fromkeys(n for n in names if n))
    if wanted:
        flags = " ".join(f"--recipe {n}" for n in wanted)
        return [f"seatrial export {model} -o changed.onnx {flags}"]
    usable = [t for t in trial.usable if t.facts.get("built")]
    if any(t.facts["built"]["verdict"] in ("supported", "partial") for t in usable):
        return [f"seatrial init {model} --data FOLDER_OF_IMAGES"]
    if not usable:
        return ["seatrial backends"]
    return [f"seatrial check {model} --deep -o check-report"]
