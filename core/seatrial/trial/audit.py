"""``audit``: the calibration set, reviewed; also a part of ``run`` and ``quantize``."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial import data as data_room
from seatrial import intake
from seatrial import results as r
from seatrial.audit import rules
from seatrial.audit.growth import FEWEST, JUDGES, judge_growth
from seatrial.audit.growth_records import Growth, GrowthRequest
from seatrial.audit.records import Audit, AuditRequest, Check, PeekRequest
from seatrial.calibration.types import METHODS
from seatrial.codec import encode
from seatrial.data.contract import InputContract
from seatrial.errors import UserError
from seatrial.options import AuditOptions
from seatrial.progress import Progress
from seatrial.quantize import bakeoff
from seatrial.quantize.advice import advise
from seatrial.report import Report, new, quantize_rows, rows
from seatrial.samples import Samples
from seatrial.trial import evidence, pictures, sequences
from seatrial.trial.context import Trial, configured
from seatrial.trial.evidence import Evidence
from seatrial.trial.machine import environment_row

#: Seconds that the model's inferences may take.
BUDGET_S = 60.0
#: Seconds for the INT8 loss by calibration samples.
GROWTH_S = 60.0
#: Samples that are read a second time.
AGAIN = 48
#: Side of pictures that are audited without a model and without a contract.
SIDE = 224
STAGES = 3

#: The inputs that samples are read for, and their contracts.
_Fed = tuple[Sequence[r.TensorIO], Mapping[str, InputContract]]

#: Findings of the data room that the audit makes itself, with more evidence.
_OWN = frozenset({"duplicate", "one-class", "unbalanced", "not-repeatable"})


def audit(options: AuditOptions, progress: Progress) -> Report:
    """Review a calibration set; nothing is chosen or changed.

    Raises:
        UserError: the model, the data or the configuration is refused.
    """
    overrides = {
        "data.calibration.source": options.calibration or None,
        "data.test.source": options.test or None,
        "run.seed": options.seed,
    }
    config = configured(options.config, overrides)
    found = Evidence(options=options, config=config, sla=config.sla)
    with tempfile.TemporaryDirectory(prefix="seatrial-audit-") as folder:
        trial = Trial("audit", Path(folder), jobs=options.jobs, config=config, progress=progress)
        trial.seed = config.run.seed
        with trial:
            _stages(trial, found, options)
            return _report(trial, found, options)


def _stages(trial: Trial, found: Evidence, options: AuditOptions) -> None:
    config = found.config
    source, test = config.source("calibration"), config.source("test")
    if source is None:
        raise UserError("--calibration", "no calibration data was given")
    train = data_room.parse(options.train, subject="--train") if options.train else None
    model = options.model or config.model.path
    with trial.stage("intake", 1, STAGES):
        if model:
            trial.admitted = intake.admit(Path(model), trial.workspace)
            found.config = sequences.settled(found.config, trial.model.facts)
    with trial.stage("data", 2, STAGES):
        fed = _inputs(trial, found, source)
        force = options.force_synthetic
        found.calibration = _read(trial, found, source, "calibration", fed, force=force)
        if test is not None:
            found.test = _read(trial, found, test, "test", fed, force=force)
        if train is not None:
            found.train = _read(trial, found, train, "training", fed, force=force)
    with trial.stage("audit", 3, STAGES):
        review(trial, found, fed)
        pictures.illustrate(trial, found)


def _inputs(trial: Trial, found: Evidence, source: data_room.Source) -> _Fed:
    """The model's inputs and contracts; without a model, what the source itself holds."""
    contracts = dict(found.config.inputs)
    if trial.admitted is not None:
        return trial.admitted.facts.inputs, contracts
    request = PeekRequest(source=source)
    outcome = trial.runner.task(
        "seatrial.audit.peek_child:peek", request, limits=trial.limits(), user=source.user_code
    )
    if outcome.result is None:
        why = outcome.fault.reason if outcome.fault else "no answer"
        raise UserError(source.text, f"could not be read: {why}")
    if outcome.result.refused is not None:
        raise data_room.refusal_error(outcome.result.refused)
    if not outcome.result.pictures:
        # Arrays of pixels that a contract scales are fed as the contract's type, not as bytes.
        inputs = [
            dataclasses.replace(i, dtype=c.dtype or "float32", shape=("...",))
            if (c := contracts.get(i.name)) is not None and c.mode == "image"
            else i
            for i in outcome.result.inputs
        ]
        names = {i.name for i in inputs}
        return inputs, {n: c for n, c in contracts.items() if n in names}
    name, contract = next(iter(contracts.items()), ("picture", None))
    if contract is None:
        contract = InputContract(resize="stretch", size=(SIDE, SIDE), layout="NHWC", dtype="uint8")
    dtype = contract.dtype or "float32"
    filled = dataclasses.replace(contract, dtype=dtype, layout=contract.layout or "NCHW")
    return [r.TensorIO(name=name, dtype=dtype, shape=("...",))], {name: filled}


def _read(
    trial: Trial,
    found: Evidence,
    source: data_room.Source,
    role: str,
    fed: _Fed,
    *,
    force: bool,
) -> data_room.Loaded | None:
    """A set as the model is fed it; broken numbers are findings here, random data is refused."""
    trial.progress("data", f"{role} from {source.text}")
    if role != "calibration":
        source = dataclasses.replace(source, closed=True)
    loaded = data_room.load(
        trial.runner, source, fed[1], fed[0], role=role, force=True,
        texts=found.config.task.texts, limits=trial.limits(timeout_s=1800),
    )  # fmt: skip
    loaded = sequences.rolled(trial, loaded)
    if not isinstance(loaded, data_room.Loaded):
        found.faults.append(loaded)
        return None
    made_up = next((f for f in loaded.forced if f.code == "synthetic"), None)
    if made_up is not None and not force:
        advice = "use real samples, or --force-synthetic to go on anyway"
        raise UserError(source.text, made_up.text, place=f"{role} set", advice=advice)
    return loaded


def review(
    trial: Trial,
    found: Evidence,
    fed: _Fed | None = None,
    *,
    budget_s: float = BUDGET_S,
) -> None:
    """Audit what was loaded and keep the result with the evidence.

    The test set's store may be given: only its samples are looked at, and nothing is chosen by
    what they show.
    """
    calibration = found.calibration
    if calibration is None:
        return
    inputs, contracts = fed or (trial.model.facts.inputs, found.config.inputs)
    again, repeated = _again(trial, calibration, inputs, contracts)
    model = trial.admitted.ref if trial.admitted is not None else None
    request = AuditRequest(
        calibration=calibration.ref,
        test=found.test.ref if found.test else None,
        train=found.train.ref if found.train else None,
        again=again,
        repeated=repeated,
        model=model,
        budget_s=budget_s,
        seed=trial.seed,
        requested=0 if found.quick else calibration.source.limit,
    )
    refs = [f for f in (request.calibration, request.test, request.train, again, repeated, model)
            if f is not None]  # fmt: skip
    outcome = trial.runner.task(
        "seatrial.audit.child:audit", request, refs=refs, limits=trial.limits()
    )
    if outcome.result is None:
        if outcome.fault is not None:
            found.faults.append(outcome.fault)
        return
    result: Audit = outcome.result
    told = {f.code for f in result.findings}
    more = [_of_the_data_room(f) for f in calibration.info.findings if f.code not in _OWN | told]
    if calibration.info.synthetic:
        more = [f for f in more if f.code != "synthetic"]
        text = "SYNTHETIC: the calibration data are random; no range and no figure means anything"
        more.append(rules.finding("synthetic", rules.RED, text, score=1.0))
    growth, check = _growth(trial, found, calibration)
    more += judge_growth(growth) if growth is not None else []
    found.audit = dataclasses.replace(
        result,
        findings=rules.ordered([*result.findings, *more]),
        growth=growth,
        checks=(*result.checks, check),
    )


def _growth(
    trial: Trial, found: Evidence, calibration: data_room.Loaded
) -> tuple[Growth | None, Check]:
    """Whether more samples would lower the INT8 loss, in the form that goes forward."""
    name = "INT8 loss by samples"
    facts = trial.admitted.facts if trial.admitted is not None else None
    groups = Samples(trial.workspace.path(calibration.ref)).groups
    held_out = bakeoff.held_out(len(groups), groups)
    missing = "no model" if facts is None else ""
    if facts is not None and facts.has_qdq:
        missing = "the model is quantised already"
    elif found.quick or trial.clock.left_s < GROWTH_S:
        missing = "no time"
    elif len(groups) - len(held_out) < FEWEST or len(held_out) < JUDGES:
        missing = f"needs {FEWEST} samples for ranges and {JUDGES} to judge"
    elif facts is not None and not advise(facts).gain:
        missing = "INT8 gains nothing here"
    if missing:
        return None, Check(name=name, status="left out", reason=missing)
    portable = next((p for p in found.portables.values() if p.winner is not None), None)
    method = portable.winner.method if portable is not None and portable.winner else ""
    request = GrowthRequest(
        model=trial.model.ref,
        samples=calibration.ref,
        held_out=held_out,
        dialect=portable.dialect if portable is not None else r.QdqDialect(),
        method=method if method in METHODS and method != "moving-average" else "mse",
        seed=trial.seed,
        seconds=GROWTH_S,
    )
    refs = [request.model, request.samples]
    try:
        outcome = trial.runner.task(
            "seatrial.audit.growth_child:measure", request, refs=refs, limits=trial.limits()
        )
    except UserError as error:
        return None, Check(name=name, status="failed", reason=error.line())
    if outcome.result is None:
        why = outcome.fault.reason if outcome.fault else "no answer"
        return None, Check(name=name, status="failed", reason=why)
    growth: Growth = outcome.result
    return growth, Check(name=name, status="done", seconds=growth.seconds)


def _again(
    trial: Trial,
    loaded: data_room.Loaded,
    inputs: Sequence[r.TensorIO],
    contracts: Mapping[str, InputContract],
) -> tuple[r.Ref | None, r.Ref | None]:
    """Some samples read a second time, with another seed and with the same."""
    if loaded.source.sample_seed is not None and loaded.source.kind == "callable":
        return None, None
    made: list[r.Ref | None] = []
    seeds = (1, 0) if loaded.source.kind == "callable" else (0,)
    for seed in seeds:
        source = dataclasses.replace(loaded.source, read_seed=seed)
        second = data_room.load(
            trial.runner, source, contracts, inputs, role="calibration", force=True, thin=AGAIN,
            limits=trial.limits(timeout_s=1800),
        )  # fmt: skip
        second = sequences.rolled(trial, second)
        made.append(second.ref if isinstance(second, data_room.Loaded) else None)
    return made[0], made[1] if len(made) > 1 else made[0]


def varies(trial: Trial, found: Evidence, loaded: data_room.Loaded) -> bool:
    """Whether a source made by code gives other samples when it is read again, all else equal."""
    if loaded.source.kind != "callable":
        return False
    second = data_room.load(
        trial.runner, loaded.source, found.config.inputs, trial.model.facts.inputs, role="test",
        force=True, thin=AGAIN, limits=trial.limits(timeout_s=1800),
    )  # fmt: skip
    if not isinstance(second, data_room.Loaded):
        return True
    first, again = (Samples(trial.workspace.path(of.ref)) for of in (loaded, second))
    known = dict(zip(first.ids, first.hashes, strict=True))
    return any(known.get(i, one) != one for i, one in zip(again.ids, again.hashes, strict=True))


def _of_the_data_room(found: data_room.DataFinding) -> rules.Finding:
    level = rules.RED if found.level == data_room.REFUSE else found.level
    return rules.finding(
        found.code,
        level,
        found.text,
        samples=found.samples,
        tensors=found.tensors,
        count=found.count,
    )


def finding_row(found: rules.Finding) -> rows.Row:
    """A finding as the report has it."""
    row: rows.Row = encode(found)
    return quantize_rows.calibration_finding(row.pop("code"), row.pop("text"), **row)


def audit_row(found: Audit, sources: Mapping[str, data_room.Loaded | None]) -> rows.Row:
    """What was measured, without the findings; and where the pictures named can be found."""
    row: rows.Row = encode(found)
    del row["findings"]
    for one in row["sets"]:
        loaded = sources.get(one["role"])
        one["kind"] = loaded.source.kind if loaded else ""
        one["location"] = loaded.source.location if loaded else ""
    return row


def _report(trial: Trial, found: Evidence, options: AuditOptions) -> Report:
    data = new("audit", command_line=options.command_line, seed=trial.seed)
    evidence.describe(trial, found, data)
    data["environment"] = environment_row()
    data["next"] = _next(found, options)
    return Report(data)


def _next(found: Evidence, options: AuditOptions) -> list[str]:
    """The command that follows: with what was left out, or on to the trial."""
    typed = list(options.command_line) or [
        "seatrial",
        "audit",
        "--calibration",
        options.calibration,
    ]
    if found.test is None:
        return [shlex.join([*typed, "--test", "TEST_SAMPLES"])]
    if not (options.model or found.config.model.path):
        return [shlex.join([*typed, "--model", "MODEL.onnx"])]
    model = options.model or found.config.model.path
    words = ["seatrial", "run", model]
    for flag, value in (("--calibration", options.calibration), ("--test", options.test)):
        words += [flag, value] if value else []
    words += ["--config", options.config] if options.config else []
    return [shlex.join([*words, "-o", "trial"])]
