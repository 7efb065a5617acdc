"""A trial that begins at a PyTorch module: export first, and run the module as rung 0."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import registry
from seatrial import results as r
from seatrial.export import opsets, pipeline, view
from seatrial.export import records as er
from seatrial.export.module_records import Described, ModuleSpec, OutputsRequest, OutputsResult
from seatrial.export.parity_records import FAIL, NOT_PROVEN
from seatrial.export.spec import spec_of
from seatrial.export.stage import Made, Wish
from seatrial.ladder import records as lr
from seatrial.report import rows
from seatrial.trial import export as verb
from seatrial.trial.targets import probe, survey

if TYPE_CHECKING:
    from seatrial.options import QatOptions, RunOptions
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

#: What the rung is called in the report.
NAME = "PyTorch (CPU, FP32)"
#: Samples that the parity gate of a quick run compares; it needs ten.
QUICK_SAMPLES = 32
#: The rung is begun when so many times its estimated time are left.
MARGIN = 1.5


def targets(trial: Trial, found: Evidence, options: RunOptions | QatOptions) -> None:
    """Survey and probe the targets, once per run."""
    if trial.targets:
        return
    wanted = options.targets or found.config.run.targets
    plugins = registry.discover()
    trial.targets = survey(trial.runner, plugins, wanted, every=options.all_targets)
    probe(trial.runner, trial.targets)


def model_path(
    trial: Trial,
    found: Evidence,
    options: RunOptions | QatOptions,
    model: str,
    *,
    free_batch: bool = False,
) -> Path | None:
    """The ONNX model of a run: the file as given, or what the module was exported to.

    ``None`` when the export gave none; ``found`` says why, and that the gate is red. With
    ``free_batch`` a module that allows it is exported for batches of any size.

    Raises:
        UserError: the module cannot be imported, built, fed or called.
    """
    if Path(model).suffix.lower() == ".onnx":
        return Path(model)
    settings = found.config.model
    spec = spec_of(
        model, trial.workspace, weights=settings.weights, trust_pickle=settings.trust_pickle
    )
    if spec is None:
        return Path(model)
    targets(trial, found, options)
    described = pipeline.describe(trial, spec)
    if isinstance(described, r.Fault):
        found.faults.append(described)
        found.exported = view.unknown(model, described.reason)
        found.export_gate = NOT_PROVEN
        return None
    made = _made(trial, found, options, spec, described, free_batch=free_batch)
    found.module = spec
    found.faults += made.faults
    found.exported = view.facts(made, described, trial.targets, model)
    found.export_gate = made.gate
    found.export_reasons = view.reasons(made.gate, made.reasons)
    chosen = made.chosen
    if chosen is None or chosen.model is None:
        return None
    path = trial.out / "exported.onnx"
    verb.write(trial, chosen.model, path)
    return path


def _made(
    trial: Trial,
    found: Evidence,
    options: RunOptions | QatOptions,
    spec: ModuleSpec,
    described: Described,
    *,
    free_batch: bool,
) -> Made:
    """Export on the calibration samples; a quick run stops at the first route that passes."""
    loaded, samples = verb.feeds(
        trial,
        found.config,
        "",
        described,
        shapes=options.shapes,
        limit=QUICK_SAMPLES if found.quick else None,
    )
    settings = found.config.model
    wish = Wish(
        spec=spec,
        choice=opsets.choose(verb.limits(trial.targets), settings.opset or 0),
        dynamic=verb.dynamic(("batch",), described) if free_batch else {},
        routes=(settings.exporter,) if settings.exporter else er.ROUTES,
        synthetic=loaded is None,
        seed=trial.seed,
        hurried=found.quick,
    )
    made = pipeline.make(trial, wish, samples)
    if free_batch and made.gate == FAIL:
        made = pipeline.make(trial, dataclasses.replace(wish, dynamic={}), samples)
    found.module_cost = (described.seconds, made.study.call_s if made.study else 0.0)
    return made


def rung(trial: Trial, found: Evidence) -> lr.Rung | None:
    """The module itself over the test set, or ``None`` when the run began at an ONNX model.

    A run that promised to end says so where the module needs more time than is left.
    """
    if found.module is None or found.test is None:
        return None
    start, call = found.module_cost
    needed = start + call * found.test.info.count
    if needed * MARGIN > trial.clock.left_s:
        _not_tried(trial, found, needed)
        return None
    trial.progress("ladder", NAME)
    request = OutputsRequest(
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
    result: OutputsResult | None = outcome.result
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


def _not_tried(trial: Trial, found: Evidence, needed_s: float) -> None:
    """Say that rung 0 is not there, why, and what stands for it."""
    compared = found.exported.get("samples", 0)
    text = (
        f"pytorch-fp32 was not run on the test set: it needs about {needed_s:.0f} s, and "
        f"{trial.clock.left_s:.0f} s of this run were left; that the exported model computes the "
        f"same was shown on {compared} calibration samples only"
    )
    found.export_reasons.append(rows.reason("ladder.pytorch-not-tried", text, level="warning"))
    found.missing.append("the module itself on the test set (run without --quick)")
