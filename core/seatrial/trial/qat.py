"""``qat``: fine-tune with fake quantisers, and write the Q/DQ model that was trained."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from pathlib import Path

from seatrial import intake, registry
from seatrial.errors import UserError
from seatrial.export.parity_records import FAIL
from seatrial.options import QatOptions
from seatrial.progress import Progress
from seatrial.qat import view
from seatrial.quantize import recipe
from seatrial.quantize.advice import advise
from seatrial.quantize.schemes import scheme
from seatrial.report import Report, new, rows
from seatrial.samples import Samples
from seatrial.trial import document, evidence, qat_export, qat_training, quantise, sequences, shapes
from seatrial.trial.candidates import Candidate
from seatrial.trial.context import Trial, configured
from seatrial.trial.evidence import Evidence
from seatrial.trial.files import delivered
from seatrial.trial.from_torch import model_path
from seatrial.trial.machine import environment_row
from seatrial.trial.qat_work import CHECKPOINTS, Work, located, settings
from seatrial.trial.targets import probe, survey

STAGES = 6


def qat(options: QatOptions, progress: Progress) -> Report:
    """Start from post-training ranges, train, export, and prove the export equal.

    Raises:
        UserError: the model, the data, the loader, the loss or a setting is refused.
    """
    overrides = {
        "data.calibration.source": options.calibration or None,
        "run.seed": options.seed,
        "model.weights": options.weights or None,
        "model.trust_pickle": options.trust_pickle or None,
    }
    config = configured(options.config, overrides)
    settings(options, config.run.seed).check()
    for flag, text in (("--train", options.train), ("--loss", options.loss)):
        if not text:
            raise UserError(flag, "was not given", advice=f"{flag} MODULE:CALLABLE")
        located(text, flag)
    out = Path(options.out or f"{Path(options.model.rpartition(':')[0] or options.model).stem}-qat")
    if options.fresh:
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    trial = Trial("qat", out, jobs=options.jobs, config=config, progress=progress)
    trial.seed = config.run.seed
    found = Evidence(options=options, config=config, sla=config.sla.with_defaults())
    work = Work(trial, found, options, out)
    try:
        with trial:
            _stages(work)
    except KeyboardInterrupt:
        found.interrupted = True
    report = _report(work)
    report.write(out)
    return report


def _stages(work: Work) -> None:
    trial, found, options = work.trial, work.found, work.options
    with trial.stage("backends", 1, STAGES):
        wanted = options.targets or found.config.run.targets
        trial.targets = survey(trial.runner, registry.discover(), wanted, every=options.all_targets)
        probe(trial.runner, trial.targets)
        _choose_dialects(work)
    with trial.stage("model", 2, STAGES):
        _admit(work)
    with trial.stage("calibration data", 3, STAGES):
        _calibration(work)
    with trial.stage("INT8 without training", 4, STAGES):
        _without_training(work)
    with trial.stage("training", 5, STAGES):
        qat_training.train(work)
    with trial.stage("export", 6, STAGES):
        if work.result is not None:
            qat_export.export(work)


def _choose_dialects(work: Work) -> None:
    """The dialects of one training: those that differ in nothing but the form of the bias.

    A target that is only named counts too: its form is known without its hardware.

    Raises:
        UserError: no target takes a Q/DQ model.
    """
    states = [t for t in work.trial.targets if t.target is not None and t.decides]
    listed = [t.target.rules.qdq for t in states if t.target is not None]
    wanted = list(dict.fromkeys(d for d in listed if d is not None))
    if not wanted:
        raise UserError("-b", "no target takes a Q/DQ model", advice="seatrial backends")
    first = wanted[0]
    alike = [d for d in wanted if dataclasses.replace(d, bias=first.bias) == first]
    work.dialects, work.others = alike, [d for d in wanted if d not in alike]


def _admit(work: Work) -> None:
    trial, found, options = work.trial, work.found, work.options
    path = model_path(trial, found, options, options.model, free_batch=True)
    if path is None or found.export_gate == FAIL:
        why = (
            found.export_reasons[0]["text"] if found.export_reasons else "no exporter gave a model"
        )
        raise UserError(
            options.model,
            why,
            place="export",
            advice=f"seatrial export {options.model} -o model.onnx shows it",
        )
    trial.admitted = intake.admit(path, trial.workspace)
    found.advice = advise(trial.model.facts)
    if not found.advice.gain:
        raise UserError(options.model, f"INT8 gains nothing here: {found.advice.text}")
    trial.batch = shapes.batch(trial.model.facts)
    delivered(trial.workspace.path(trial.model.ref), work.out / "float.onnx")
    work.files.append(evidence.file_row("float-model", work.out / "float.onnx"))


def _calibration(work: Work) -> None:
    trial, found = work.trial, work.found
    source = found.config.source("calibration")
    if source is None:
        raise UserError("--calibration", "no calibration data was given")
    found.config = sequences.settled(found.config, trial.model.facts)
    found.calibration = sequences.samples(
        trial, found.config, source, force=work.options.force_synthetic
    )


def _without_training(work: Work) -> None:
    """The bake-off: what post-training quantisation reaches, and where training starts."""
    trial, found = work.trial, work.found
    assert found.calibration is not None
    whole = found.calibration.ref
    found.split = quantise.split(trial, whole, Samples(trial.workspace.path(whole)).groups)
    states = [
        t
        for t in trial.targets
        if t.target is not None and t.decides and t.target.rules.qdq == work.dialects[0]
    ]
    usable = [t for t in states if t.usable]
    found.portables = quantise.bake_off(trial, usable or states, found.split, vendors=bool(usable))
    candidates = [c for p in found.portables.values() for c in p.candidates]
    own = {c.name: c.method for c in candidates if _plain(c)}
    order = [n for n in recipe.closest(c.entry() for c in candidates) if n in own]
    work.method = own[order[0]] if order else "minmax"


def _plain(candidate: Candidate) -> bool:
    """Whether nothing but the choice of ranges makes a candidate: training starts from ranges."""
    one = candidate.recipe
    return one is not None and not (one.form or one.kept or one.corrected)


def _report(work: Work) -> Report:
    trial, found, options = work.trial, work.found, work.options
    data = new("qat", command_line=options.command_line, seed=trial.seed)
    evidence.describe(trial, found, data)
    data["interrupted"] = found.interrupted
    data["environment"] = environment_row()
    data["targets"] = [document.target_row(t) for t in trial.targets]
    data["files"] = work.files
    if work.result is not None:
        data["qat"] = view.facts(
            work.result,
            options,
            settings(options, trial.seed),
            method=work.method,
            calibrated=work.calibrated,
            exports=work.exports,
        )
    data["reasons"] += view.reasons(work.result, work.exports, settings(options, trial.seed))
    if work.others:
        text = f"the chosen targets want {len(work.others)} further Q/DQ form(s) that compute "
        text += "differently: " + ", ".join(scheme(d) for d in work.others)
        data["reasons"].append(rows.reason("qat.dialects", text, level="warning"))
    data["next"] = _next(work)
    return Report(data)


def _next(work: Work) -> list[str]:
    if not work.exports:
        return [shlex.join(work.options.command_line)] if work.options.command_line else []
    words = ["seatrial", "run", str(work.out / "float.onnx")]
    for exported in work.exports:
        words += ["--qdq", exported.path]
    if work.options.calibration:
        words += ["--calibration", work.options.calibration]
    return [shlex.join([*words, "--test", "SRC"])]
