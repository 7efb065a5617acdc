"""``quantize``: the best portable INT8 model that the calibration data supports."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seatrial import data as data_room
from seatrial import intake, registry
from seatrial.errors import UserError
from seatrial.options import Progress, QuantizeOptions
from seatrial.quantize.advice import advise
from seatrial.recovery import plan
from seatrial.report import Report, new, rows
from seatrial.samples import Samples
from seatrial.trial import document, evidence, quantise, recover, shapes
from seatrial.trial.context import Trial, configured
from seatrial.trial.evidence import Evidence
from seatrial.trial.files import delivered
from seatrial.trial.machine import environment_row
from seatrial.trial.targets import probe, survey

STAGES = 4


def quantize(options: QuantizeOptions, progress: Progress) -> Report:
    """Make candidates, judge them on held-out calibration data, write the best.

    One file is written: the model of the first dialect that the chosen targets want. Targets of
    other dialects need a call of their own (``-b TARGET``), and the report says so.

    Raises:
        UserError: the model or the data is refused, or nothing in the model can be quantised.
    """
    overrides = {"data.calibration.source": options.calibration or None, "run.seed": options.seed}
    config = configured(options.config, overrides)
    try:
        first = [plan.named(name) for name in options.methods]
    except ValueError as error:
        raise UserError("--methods", str(error)) from None
    with tempfile.TemporaryDirectory(prefix="seatrial-quantize-") as folder:
        trial = Trial("quantize", Path(folder), jobs=options.jobs, config=config, progress=progress)
        trial.seed = config.run.seed
        found = Evidence(options=options, config=config, sla=config.sla.with_defaults())
        with trial:
            portable = _make(trial, found, options, first)
            if portable.chosen is not None and portable.chosen.ref is not None:
                out, table = Path(options.out), portable.chosen.table
                files = delivered(trial.workspace.path(portable.chosen.ref), out)
                tables = []
                if table is not None:
                    beside = out.with_name(f"{out.stem}.ranges.json")
                    tables = delivered(trial.workspace.path(table), beside)
            else:
                raise UserError(options.model, portable.why_not or "no candidate can be used")
            return _report(trial, found, options, files, tables)


def _make(
    trial: Trial, found: Evidence, options: QuantizeOptions, first: Sequence[plan.Recipe]
) -> quantise.Portable:
    with trial.stage("intake", 1, STAGES):
        trial.admitted = intake.admit(Path(options.model), trial.workspace)
        found.advice = advise(trial.model.facts)
        if not found.advice.gain:
            raise UserError(options.model, f"INT8 gains nothing here: {found.advice.text}")
        source = found.config.source("calibration")
        if source is None:
            raise UserError("--calibration", "no calibration data was given")
    with trial.stage("backends", 2, STAGES):
        plugins = registry.discover()
        trial.targets = survey(trial.runner, plugins, options.targets, every=options.all_targets)
        probe(trial.runner, trial.targets)
    with trial.stage("calibration data", 3, STAGES):
        loaded = data_room.load(
            trial.runner,
            source,
            found.config.inputs,
            trial.model.facts.inputs,
            role="calibration",
            force=options.force_synthetic,
            limits=trial.limits(timeout_s=1800),
        )
        if not isinstance(loaded, data_room.Loaded):
            raise UserError(source.text, f"could not be read: {loaded.reason}")
        found.calibration = loaded
        trial.batch = shapes.batch(trial.model.facts)
    with trial.stage("INT8", 4, STAGES):
        groups = Samples(trial.workspace.path(loaded.ref)).groups
        found.split = quantise.split(trial, loaded.ref, groups)
        found.portables = quantise.bake_off(
            trial, trial.usable, found.split, vendors=not first, first=first
        )
        recover.run(trial, found)
    if not found.portables:
        raise UserError("-b", "no usable target takes a Q/DQ model", advice="seatrial backends")
    return next(iter(found.portables.values()))


def _report(
    trial: Trial, found: Evidence, options: QuantizeOptions, files: list[Path], tables: list[Path]
) -> Report:
    data = new("quantize", command_line=options.command_line, seed=trial.seed)
    evidence.describe(trial, found, data)
    data["environment"] = environment_row()
    data["targets"] = [document.target_row(t) for t in trial.targets]
    data["files"] = [evidence.file_row("int8-model", path) for path in files]
    data["files"] += [evidence.file_row("ranges", path) for path in tables]
    dialects = list(found.portables)
    if len(dialects) > 1:
        text = f"the chosen targets want {len(dialects)} Q/DQ dialects; the first one was written"
        data["reasons"].append(rows.reason("quantize.dialects", text, level="warning"))
    data["next"] = [f"seatrial check {shlex.quote(options.out)}"]
    return Report(data)
