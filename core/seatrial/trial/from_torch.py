"""A trial that begins at a PyTorch module: export first, and run the module as rung 0."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import registry
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.export import opsets, pipeline, view
from seatrial.export import records as er
from seatrial.export.spec import spec_of
from seatrial.export.stage import Wish
from seatrial.ladder import records as lr
from seatrial.trial import export as verb
from seatrial.trial.targets import probe, survey

if TYPE_CHECKING:
    from seatrial.options import RunOptions
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

#: What the rung is called in the report.
NAME = "PyTorch (CPU, FP32)"


def model_path(trial: Trial, found: Evidence, options: RunOptions, model: str) -> Path:
    """The ONNX model of a run: the file as given, or what the module was exported to.

    Raises:
        UserError: the module cannot be exported, or what came out is not the module.
    """
    if Path(model).suffix.lower() == ".onnx":
        return Path(model)
    spec = spec_of(model, trial.workspace)
    if spec is None:
        return Path(model)
    described = pipeline.describe(trial, spec)
    if isinstance(described, r.Fault):
        found.faults.append(described)
        raise UserError(model, f"{described.kind.value}: {described.reason}", place="export")
    wanted = options.targets or found.config.run.targets
    targets = survey(trial.runner, registry.discover(), wanted, every=options.all_targets)
    probe(trial.runner, targets)
    loaded, samples = verb.feeds(trial, found.config, "", described, shapes=options.shapes)
    wish = Wish(
        spec=spec,
        choice=opsets.choose(verb.limits(targets)),
        synthetic=loaded is None,
        seed=trial.seed,
    )
    made = pipeline.make(trial, wish, samples)
    found.module = spec
    found.faults += made.faults
    found.exported = view.facts(made, described, targets, model)
    found.export_reasons = view.reasons(made)
    chosen = made.chosen
    if made.gate == er.FAIL or chosen is None or chosen.model is None:
        reason = made.reasons[0] if made.reasons else "no exporter gave a model"
        raise UserError(
            model, reason, place="export", advice=f"seatrial export {model} -o model.onnx shows it"
        )
    path = trial.out / "exported.onnx"
    shutil.copyfile(trial.workspace.path(chosen.model), path)
    return path


def rung(trial: Trial, found: Evidence) -> lr.Rung | None:
    """The module itself over the test set, or ``None`` when the run began at an ONNX model."""
    if found.module is None or found.test is None:
        return None
    trial.progress("ladder", NAME)
    request = er.OutputsRequest(
        spec=found.module,
        samples=found.test.ref,
        outputs=tuple(o.name for o in trial.model.facts.outputs),
        batch=trial.batch,
    )
    outcome = trial.runner.task(
        "seatrial.export.child:outputs",
        request,
        refs=(found.test.ref, *found.module.refs),
        limits=trial.limits(timeout_s=1800),
        user=True,
    )
    result: er.OutputsResult | None = outcome.result
    if result is None:
        if outcome.fault is not None:
            found.faults.append(outcome.fault)
        return None
    ref = trial.runner.adopt(outcome, result.artifact)
    return lr.Rung(
        rung=lr.PYTORCH,
        outputs=r.Ref(sha256=ref.sha256, entry="outputs", bytes=ref.bytes),
        precision="FP32",
        ran_on=NAME,
    )
