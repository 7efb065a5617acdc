"""``quantize``: the best portable INT8 model that the calibration data supports."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seatrial import intake, registry
from seatrial import results as r
from seatrial.calibration.types import RangeTable
from seatrial.errors import UserError
from seatrial.options import QuantizeOptions
from seatrial.progress import Progress
from seatrial.quantize.advice import advise
from seatrial.quantize.schemes import PLAIN
from seatrial.recovery import plan
from seatrial.report import Report, new, rows
from seatrial.samples import Samples
from seatrial.trial import (
    document,
    evidence,
    pictures,
    quantise,
    ranges,
    recover,
    sequences,
    shapes,
)
from seatrial.trial.context import Trial, configured
from seatrial.trial.evidence import Evidence
from seatrial.trial.files import delivered
from seatrial.trial.machine import environment_row
from seatrial.trial.targets import probe, survey

STAGES = 4


def quantize(options: QuantizeOptions, progress: Progress) -> Report:
    """Make candidates, judge them on held-out calibration data, write the best.

    One file is written: the model of the first dialect that the chosen targets want. Targets of
    other dialects need a call of their own (``-b TARGET``), and the report says so. The ranges of
    the float model are written beside it; with them (``--ranges``) no sample is read for ranges
    again: samples only judge, and without any one candidate is written unmeasured.

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
                out = Path(options.out)
                files = delivered(trial.workspace.path(portable.chosen.ref), out)
                tables = _tables(trial, portable, out, options)
            else:
                raise UserError(options.model, portable.why_not or "no candidate can be used")
            return _report(trial, found, options, files, tables)


def _tables(
    trial: Trial, portable: quantise.Portable, out: Path, options: QuantizeOptions
) -> list[Path]:
    """Leave the ranges beside the model, unless that is where they came from."""
    beside = out.with_name(f"{out.stem}.ranges.json")
    table = portable.table or (portable.chosen.table if portable.chosen is not None else None)
    if table is None or (options.ranges and Path(options.ranges).resolve() == beside.resolve()):
        return []
    return delivered(trial.workspace.path(table), beside)


def _make(
    trial: Trial, found: Evidence, options: QuantizeOptions, first: Sequence[plan.Recipe]
) -> quantise.Portable:
    with trial.stage("intake", 1, STAGES):
        trial.admitted = intake.admit(Path(options.model), trial.workspace)
        found.advice = advise(trial.model.facts)
        if not found.advice.gain:
            raise UserError(options.model, f"INT8 gains nothing here: {found.advice.text}")
        found.config = sequences.settled(found.config, trial.model.facts)
        source = found.config.source("calibration")
        given = ranges.reload(trial, Path(options.ranges)) if options.ranges else None
        if source is None and given is None:
            raise UserError("--calibration", "no calibration data was given")
    with trial.stage("backends", 2, STAGES):
        plugins = registry.discover()
        trial.targets = survey(trial.runner, plugins, options.targets, every=options.all_targets)
        probe(trial.runner, trial.targets)
    with trial.stage("calibration data", 3, STAGES):
        if source is not None:
            found.calibration = sequences.samples(
                trial, found.config, source, force=options.force_synthetic
            )
        trial.batch = shapes.batch(trial.model.facts)
    with trial.stage("INT8", 4, STAGES):
        _candidates(trial, found, first, given)
        pictures.illustrate(trial, found)
    if not found.portables:
        raise UserError("-b", "no usable target takes a Q/DQ model", advice="seatrial backends")
    return next(iter(found.portables.values()))


def _candidates(
    trial: Trial,
    found: Evidence,
    first: Sequence[plan.Recipe],
    given: tuple[r.Ref, RangeTable] | None,
) -> None:
    """The bake-off, or without samples the one candidate that is preferred among equals."""
    table = given[0] if given is not None else None
    loaded = found.calibration
    if given is not None:
        found.ranges = ranges.notes(trial, given[1], loaded.ref if loaded is not None else None)
    if loaded is not None:
        groups = Samples(trial.workspace.path(loaded.ref)).groups
        found.split = quantise.split(trial, loaded.ref, groups)
        vendors = not first and given is None
        found.portables = quantise.bake_off(
            trial, trial.usable, found.split, vendors=vendors, first=first, table=table
        )
        recover.run(trial, found)
    elif table is not None:
        if len(first) > 1:
            text = f"there are no samples to choose among {len(first)} methods by"
            raise UserError("--methods", text, advice="name one, or add --calibration SRC")
        one = first[0] if first else plan.Recipe(PLAIN[0])
        found.portables = quantise.unmeasured(trial, trial.usable, table, one)


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
    for text in found.ranges:
        data["reasons"].append(rows.reason("quantize.ranges", text, level="info"))
    if found.split is None:
        text = "nothing was measured: no calibration samples were given to judge the result by"
        data["reasons"].append(rows.reason("quantize.unmeasured", text, level="warning"))
    data["next"] = [f"seatrial check {shlex.quote(options.out)}"]
    return Report(data)
