"""``export``: from a PyTorch module to an ONNX model, with a gate that can fail."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import data as data_room
from seatrial import intake, registry
from seatrial import results as r
from seatrial.codec import encode
from seatrial.data.contract import fed_shape
from seatrial.errors import UserError
from seatrial.export import opsets, pipeline, recipes, view
from seatrial.export import records as er
from seatrial.export.module_records import Described, ModuleSpec
from seatrial.export.parity_records import PASS
from seatrial.export.spec import spec_of
from seatrial.export.stage import Made, Wish
from seatrial.options import ExportOptions
from seatrial.progress import Progress
from seatrial.report import Report, new
from seatrial.samples import Samples
from seatrial.trial import compile as compile_stage
from seatrial.trial import document
from seatrial.trial import recipes as recipes_stage
from seatrial.trial.context import Clock, Trial, configured
from seatrial.trial.evidence import file_row
from seatrial.trial.machine import environment_row
from seatrial.trial.targets import TargetState, probe, survey

if TYPE_CHECKING:
    from seatrial.config import Config

STAGES = 5
#: Seconds that each target's compiler is given on the exported model.
COMPILE_S = 60.0


def export(options: ExportOptions, progress: Progress) -> Report:
    """Export a module, prove the model equal, and ask the targets whether they take it.

    Raises:
        UserError: the module, the samples or a named target is refused.
    """
    config = configured(options.config, {})
    out = Path(options.out)
    if out.suffix.lower() != ".onnx":
        raise UserError("-o", f"{options.out!r} is not an .onnx file")
    recipes.check(options.recipes)
    folder = Path(tempfile.mkdtemp(prefix="seatrial-export-"))
    keep = False
    try:
        with Trial("export", folder, jobs=options.jobs, config=config, progress=progress) as trial:
            report = _export(trial, options, out)
            keep = bool(report.data["faults"])
        if keep:
            report.write(folder)
        return report
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _export(trial: Trial, options: ExportOptions, out: Path) -> Report:
    with trial.stage("backends", 1, STAGES):
        trial.targets = survey(
            trial.runner, registry.discover(), options.targets, every=options.all_targets
        )
        probe(trial.runner, trial.targets)
        choice = opsets.choose(limits(trial.targets), options.opset or 0)
    if Path(options.model).suffix.lower() == ".onnx":
        return _changed(trial, options, out)
    with trial.stage("module", 2, STAGES):
        spec = wanted(trial, options.model, options.weights, trust=options.trust_pickle)
        described = pipeline.describe(trial, spec)
    if isinstance(described, r.Fault):
        return _faulted(trial, options, described)
    with trial.stage("samples", 3, STAGES):
        loaded, samples = feeds(
            trial,
            trial.config,
            options.data,
            described,
            shapes=options.shapes,
            limit=options.samples,
        )
    with trial.stage("export", 4, STAGES):
        wish = Wish(
            spec=spec,
            choice=choice,
            dynamic=dynamic(options.dynamic, described),
            routes=options.routes or er.ROUTES,
            translations=options.translations,
            synthetic=loaded is None,
            seed=options.seed or 0,
        )
        made = pipeline.make(trial, wish, samples)
        applied, final = recipes_stage.run(
            trial,
            options.recipes,
            made.chosen.model if made.chosen is not None else None,
            samples,
            count=made.count,
            dynamic=bool(wish.dynamic),
            clock_s=COMPILE_S,
        )
    with trial.stage("compile", 5, STAGES):
        written = _deliver(trial, final, out)
        if written:
            trial.admitted = intake.admit(out, trial.workspace)
            _compile(trial, dynamic=bool(wish.dynamic))
    data = new("export", command_line=options.command_line, seed=options.seed or 0)
    data["export"] = view.facts(made, described, trial.targets, options.model)
    data["export"]["recipes"] = [view.recipe(a) for a in applied]
    data["export"]["problems"] += view.suggestions(trial.targets)
    data["reasons"] = view.reasons(made.gate, made.reasons)
    data["environment"] = environment_row()
    data["timings"] = trial.timings
    data["targets"] = [document.target_row(t) for t in trial.targets]
    data["faults"] = document.fault_rows(trial.targets) + [
        {"target": None, **encode(fault)} for fault in made.faults
    ]
    data["logs"] = document.log_rows(data["faults"], trial.out)
    if trial.admitted is not None:
        data["model"] = document.model_row(trial.admitted)
    data["files"] = [file_row("model", out)] if written else []
    data["next"] = _next(options, made, out)
    return Report(data)


def _changed(trial: Trial, options: ExportOptions, out: Path) -> Report:
    """Recipes on a model that is ONNX already: no module, so nothing but they are proven."""
    with trial.stage("model", 2, STAGES):
        inputs = recipes_stage.admitted(trial, options)
    with trial.stage("samples", 3, STAGES):
        loaded, samples = feeds(
            trial,
            trial.config,
            options.data,
            Described(inputs=inputs),
            shapes=options.shapes,
            limit=options.samples,
        )
    with trial.stage("recipes", 4, STAGES):
        applied, final = recipes_stage.change(trial, options, samples, COMPILE_S)
    with trial.stage("compile", 5, STAGES):
        _deliver(trial, final, out)
        trial.admitted = intake.admit(out, trial.workspace)
        _compile(trial, dynamic=recipes_stage.has_free(trial))
    data = new("export", command_line=options.command_line, seed=options.seed or 0)
    count = Samples(trial.workspace.path(samples)).count
    data["export"] = recipes_stage.facts(
        options.model, applied, count=count, synthetic=loaded is None
    )
    data["export"]["problems"] += view.suggestions(trial.targets)
    data["reasons"] = view.reasons(data["export"]["gate"], data["export"]["reasons"])
    data["environment"] = environment_row()
    data["timings"] = trial.timings
    data["targets"] = [document.target_row(t) for t in trial.targets]
    data["faults"] = document.fault_rows(trial.targets)
    data["logs"] = document.log_rows(data["faults"], trial.out)
    data["model"] = document.model_row(trial.model)
    data["files"] = [file_row("model", out)]
    return Report(data)


def _faulted(trial: Trial, options: ExportOptions, fault: r.Fault) -> Report:
    """The report of a module whose own child gave no answer."""
    data = new("export", command_line=options.command_line, seed=options.seed or 0)
    data["environment"] = environment_row()
    data["timings"] = trial.timings
    data["faults"] = [{"target": None, **encode(fault)}]
    data["logs"] = document.log_rows(data["faults"], trial.out)
    data["export"] = view.unknown(options.model, fault.reason)
    return Report(data)


def limits(states: Sequence[TargetState]) -> list[opsets.Limit]:
    """The opset ranges of the targets that were chosen; one that was only listed has none."""
    return [
        opsets.Limit(target=s.id, low=s.target.rules.opset_min, high=s.target.rules.opset_max)
        for s in states
        if s.target is not None and s.decides
    ]


def wanted(trial: Trial, model: str, weights: str, *, trust: bool) -> ModuleSpec:
    """The module as typed.

    Raises:
        UserError: it is not one.
    """
    spec = spec_of(model, trial.workspace, weights=weights, trust_pickle=trust)
    if spec is None:
        raise UserError(
            model,
            "is no PyTorch module",
            advice="MODULE:FACTORY, FILE.py:FACTORY, a .pt2 program or a TorchScript archive",
        )
    return spec


def feeds(
    trial: Trial,
    config: Config,
    data: str,
    described: Described,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    limit: int | None = None,
) -> tuple[data_room.Loaded | None, r.Ref]:
    """Real samples, or noise.

    Raises:
        UserError: the source is refused, or nothing tells the inputs' shapes.
    """
    inputs = tuple(_typed(tensor, shapes, config) for tensor in described.inputs)
    source = data_room.parse(data) if data else config.source("calibration")
    if source is None:
        ref, _ = pipeline.noise(trial, inputs, trial.seed)
        return None, ref
    open_inputs = tuple(_open(tensor) for tensor in inputs)
    loaded = data_room.load(
        trial.runner,
        source,
        config.inputs,
        open_inputs,
        role="calibration",
        limit=min(limit or pipeline.MOST_SAMPLES, pipeline.MOST_SAMPLES),
        force=True,
        limits=trial.limits(timeout_s=1800),
    )
    if isinstance(loaded, r.Fault):
        raise UserError(source.text, loaded.reason)
    return loaded, loaded.ref


def _typed(tensor: r.TensorIO, shapes: Mapping[str, tuple[int, ...]], config: Config) -> r.TensorIO:
    """The shape as typed, else as the factory's example has it, else as the contract says."""
    contract = config.inputs.get(tensor.name)
    told = tensor.shape or (fed_shape(contract) if contract is not None else ())
    return dataclasses.replace(tensor, shape=tuple(shapes.get(tensor.name, told)))


def _open(tensor: r.TensorIO) -> r.TensorIO:
    """An input whose batch, or whose whole shape, the samples decide."""
    shape: tuple[int | str, ...] = ("batch", *tensor.shape[1:]) if tensor.shape else ("...",)
    return dataclasses.replace(tensor, shape=shape)


def dynamic(typed: Sequence[str], described: Described) -> dict[str, tuple[int, ...]]:
    """``batch`` or ``NAME:AXIS,AXIS`` as axes by input.

    Raises:
        UserError: no such input, or no axis.
    """
    names = [t.name for t in described.inputs]
    found: dict[str, set[int]] = {}
    for text in typed:
        if text == "batch":
            for name in names:
                found.setdefault(name, set()).add(0)
            continue
        name, _, axes = text.rpartition(":")
        if name not in names or not all(a.isdigit() for a in axes.split(",")):
            raise UserError(
                "--dynamic",
                f"{text!r} is neither 'batch' nor INPUT:AXIS,...",
                advice=f"inputs: {', '.join(names)}",
            )
        found.setdefault(name, set()).update(int(a) for a in axes.split(","))
    return {n: tuple(sorted(a)) for n, a in found.items()}


def _deliver(trial: Trial, model: r.Ref | None, out: Path) -> bool:
    """Write the chosen model where the user wants it, also when the gate is red: to look at."""
    if model is None:
        return False
    write(trial, model, out)
    return True


def write(trial: Trial, model: r.Ref, out: Path) -> None:
    """Copy a model of the workspace, with the weights that lie beside it."""
    source = trial.workspace.path(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    for extra in source.parent.iterdir():
        if extra.name != source.name:
            shutil.copyfile(extra, out.parent / extra.name)
    shutil.copyfile(source, out)


def _compile(trial: Trial, *, dynamic: bool) -> None:
    """Ask every target about the exported model."""
    shapes = (
        {t.name: tuple(int(d) for d in t.shape) for t in trial.model.facts.inputs}
        if not dynamic
        else {}
    )

    def ask(state: TargetState) -> None:
        compile_stage.check_float(trial, state, shapes=shapes, clock=Clock(COMPILE_S))
        compile_stage.finish(state)

    compile_stage.each(trial, ask)


def _next(options: ExportOptions, made: Made, out: Path) -> list[str]:
    if made.gate == PASS:
        return [f"seatrial run {shlex.quote(str(out))} --data {shlex.quote(options.data)}"]
    if made.wish.synthetic and made.chosen is not None:
        typed = list(options.command_line) or ["seatrial", "export", options.model]
        return [f"{shlex.join(typed)} --data SRC"]
    return []
