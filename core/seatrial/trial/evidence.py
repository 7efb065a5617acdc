"""What a run has found, and the report and verdict that follow from it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial import data as data_room
from seatrial import results as r
from seatrial.audit.pictures import Pictures
from seatrial.audit.records import Audit
from seatrial.codec import encode
from seatrial.export.module_records import ModuleSpec
from seatrial.ladder import gates
from seatrial.ladder import records as lr
from seatrial.options import AuditOptions, QatOptions, QuantizeOptions, RunOptions
from seatrial.quantize.advice import Advice
from seatrial.report import Report, new, quantize_rows, rows
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec
from seatrial.trial import advised, document, further, pictures, quantise, remarks, speed, timing
from seatrial.trial.machine import environment_row
from seatrial.verdict import rules
from seatrial.verdict.records import Case, Circumstances

if TYPE_CHECKING:
    from seatrial.config import Config
    from seatrial.trial.context import Trial
    from seatrial.trial.given import Given
    from seatrial.trial.targets import TargetState


@dataclasses.dataclass
class Evidence:
    """Filled stage by stage; an interrupted run reports what is there.

    Attributes:
        given: Q/DQ models that the user named beside the float model.
        feed: the store that layout proof, profiling and benchmark are fed from.
        export_gate: of the export that the run began with; empty: it began at an ONNX model.
        module_cost: seconds that the module takes to start, and for one sample.
        varies: the test source gave other samples when it was read again.
        ranges: what to say of ranges that came from an earlier command.
        unpictured: why the report has no pictures of samples and ranges.
        missing: what was not tried, and would have to be for a better verdict.
        faults: of the core's own children, which belong to no target.
    """

    options: RunOptions | QuantizeOptions | QatOptions | AuditOptions
    config: Config
    sla: SLA
    quick: bool = False
    given: tuple[Given, ...] = ()
    advice: Advice | None = None
    calibration: data_room.Loaded | None = None
    test: data_room.Loaded | None = None
    feed: r.Ref | None = None
    split: quantise.Split | None = None
    portables: dict[r.QdqDialect, quantise.Portable] = dataclasses.field(default_factory=dict)
    diagnoses: list[rows.Row] = dataclasses.field(default_factory=list)
    recoveries: list[rows.Row] = dataclasses.field(default_factory=list)
    int8: bool = False
    overlap: data_room.Overlap | None = None
    audit: Audit | None = None
    pictures: Pictures | None = None
    unpictured: str = ""
    train: data_room.Loaded | None = None
    task: TaskSpec = dataclasses.field(default_factory=TaskSpec)
    rungs: list[lr.Rung] = dataclasses.field(default_factory=list)
    judged: lr.JudgeResult | None = None
    rounds: timing.Rounds | None = None
    module: ModuleSpec | None = None
    exported: dict[str, Any] = dataclasses.field(default_factory=dict)
    export_gate: str = ""
    export_reasons: list[rows.Row] = dataclasses.field(default_factory=list)
    given_reasons: list[rows.Row] = dataclasses.field(default_factory=list)
    module_cost: tuple[float, float] = (0.0, 0.0)
    ranges: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    faults: list[r.Fault] = dataclasses.field(default_factory=list)
    interrupted: bool = False
    varies: bool = False

    @property
    def advice_gain(self) -> bool:
        """Whether INT8 is worth trying, by the model's operators."""
        return self.advice is None or self.advice.gain


def report(trial: Trial, found: Evidence, *, model: str, out: Path) -> Report:
    """The report of a run, finished or interrupted."""
    data = new("run", command_line=found.options.command_line, seed=trial.seed)
    data["sla"] = encode(found.sla)
    data["environment"] = environment_row()
    data["interrupted"] = found.interrupted
    describe(trial, found, data)
    _judge(trial, found, data)
    data["advice"] = advised.advice(trial, found, data)
    data["next"] = further.commands(found, data, model, out)
    return Report(data)


def describe(trial: Trial, found: Evidence, data: dict[str, Any]) -> None:
    """Model, data, candidates and faults: what every verb that calibrates reports alike."""
    data["timings"] = trial.timings
    data["export"] = found.exported
    data["input_contract"] = _contracts(found)
    data["data"] = {
        "calibration": _source(found, found.calibration, "calibration"),
        "test": _source(found, found.test, "test"),
    }
    data["calibration"] = _calibration(trial, found)
    data["candidates"] = quantise.candidate_rows(found.portables.values()) + [
        row for state in trial.targets for row in state.facts.get("int8_candidates", ())
    ]
    data["diagnosis"], data["recovery"] = found.diagnoses, found.recoveries
    data["advice"] = advised.advice(trial, found, data)
    if trial.admitted is not None:
        data["model"] = document.model_row(trial.admitted)
    data["faults"] = document.fault_rows(trial.targets) + [
        {"target": None, **encode(fault)} for fault in found.faults
    ]
    data["logs"] = document.log_rows(data["faults"], trial.out)


def file_row(role: str, path: Path) -> rows.Row:
    """A file that a command wrote."""
    content = path.read_bytes()
    return {
        "role": role,
        "path": str(path),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


def _judge(trial: Trial, found: Evidence, data: dict[str, Any]) -> None:
    """Ladder, target rows and verdict."""
    graded = gates.grade(found.judged, found.sla) if found.judged is not None else ()
    data["ladder"] = [g.row for g in graded]
    data["noise"] = _noise(found.judged)
    run = Circumstances(
        int8=found.int8,
        tested=found.test is not None,
        overlap=found.overlap.count if found.overlap else 0,
        synthetic_calibration=_forced(found.calibration),
        synthetic_test=_forced(found.test),
        disturbances=found.rounds.disturbances if found.rounds else (),
        named=tuple(t.id for t in trial.targets if t.asked),
        interrupted=found.interrupted,
        faulted=bool(found.faults),
        export=found.export_gate,
        exported=trial.admitted is not None,
        unfit=next((f.text for f in remarks.decisive(found)), ""),
        copied=remarks.copied(found),
        varies=found.varies,
        unlisted=remarks.unlisted(found),
    )
    for state in trial.targets:
        # Before its row is made, which these go into.
        if found.rounds is not None:
            speed.enter_rows(state, found.rounds)
    cases = [
        Case(
            target=document.target_row(state),
            graded=graded,
            timings=_timed(found, state),
            sla=found.sla,
            run=run,
        )
        for state in trial.targets
    ]
    first = [rules.judge_target(case).answers["accurate"] for case in cases]
    verdicts = []
    for k, (state, case) in enumerate(zip(trial.targets, cases, strict=True)):
        kin = _kin(trial.targets, k, [case.target for case in cases], first)
        verdict, row = rules.judge_target(dataclasses.replace(case, kin=kin)), case.target
        told = verdict.decides or state.usable
        row.update(
            verdict=verdict.verdict if told else None,
            answers=dict(verdict.answers) if told else None,
            reasons=list(verdict.reasons),
            decides=verdict.decides,
        )
        data["targets"].append(row)
        verdicts.append((state.id, verdict))
    speed.enter_report(data, found.rounds)
    final = rules.judge_run(verdicts, run)
    data["verdict"] = final.verdict
    data["answers"] = dict(final.answers)
    levels = ("error", "warning", "info")
    everything = [*final.reasons, *remarks.remarks(trial, found)]
    data["reasons"] = [row for level in levels for row in everything if row["level"] == level]
    data["missing"] = [*final.missing, *found.missing]


def _kin(
    states: Sequence[TargetState], own: int, made: Sequence[rows.Row], answers: Sequence[str]
) -> tuple[tuple[str, str, str], ...]:
    """How the other machines fared that were acted on the same device, if this is the device."""
    mine = states[own]
    if mine.target is None or mine.target.kind is not r.TargetKind.DEVICE:
        return ()
    return tuple(
        (other.target.machine_class, other.id, answers[k])
        for k, other in enumerate(states)
        if other.target is not None
        and (other.plugin.id, other.env) == (mine.plugin.id, mine.env)
        and other.target.device == mine.target.device
        and other.target.kind is r.TargetKind.EMULATED
        and made[k]["ran"] is not None
    )


def _noise(judged: lr.JudgeResult | None) -> dict[str, Any]:
    """The noise floor: each rung against itself, run again in ways that must not matter.

    Per way the percent of samples that keep their class, and signal over difference in dB.
    """
    found: dict[str, Any] = {}
    for rung in judged.rungs if judged is not None else ():
        source = f" ({rung.source})" if rung.source and rung.target is None else ""
        for floor in rung.noise:
            name = f"{rung.rung}{source} {rung.target or 'reference'}, {floor.what}"
            if floor.agreed >= 0:
                found[name] = 100.0 * floor.agreed / floor.n
            told = "identical" if floor.identical else floor.sqnr_db
            found[f"{name}, dB"] = told
    return found


def _timed(found: Evidence, state: TargetState) -> tuple[Any, ...]:
    """Timings of a target that a limit may be judged by; all of them are in its row."""
    if found.rounds is None:
        return ()
    return tuple(
        one.timing
        for one in found.rounds.contestants
        if one.state is state and one.timing is not None and one.ships
    )


def _contracts(found: Evidence) -> dict[str, Any] | None:
    loaded = found.calibration or found.test
    if loaded is None or not loaded.info.contracts:
        return None
    return {name: encode(c) for name, c in loaded.info.contracts.items()}


def _forced(loaded: data_room.Loaded | None) -> bool:
    return loaded is not None and (loaded.info.synthetic or bool(loaded.forced))


def _source(found: Evidence, loaded: data_room.Loaded | None, role: str) -> rows.Row | None:
    if loaded is None:
        return None
    info = loaded.info
    return rows.data_source(
        loaded.source.text,
        kind=loaded.source.kind,
        count=info.count,
        requested=loaded.source.limit or None,
        labels=info.labelled,
        classes=len(info.class_counts) or None,
        groups=info.groups if info.grouped else None,
        sha256=info.content_sha256,
        synthetic=info.synthetic,
        how="; ".join(part for part in (info.selection, found.config.split) if part),
        notes=[f.text for f in info.findings if role == "test"],
    )


def _calibration(trial: Trial, found: Evidence) -> rows.Row | None:
    """The set that calibrates, its audit, and the method."""
    from seatrial.trial import audit

    loaded = found.calibration
    if loaded is None:
        return None
    review = found.audit
    sets = {"calibration": loaded, "test": found.test, "train": found.train}
    chosen = next((p.chosen for p in found.portables.values() if p.chosen), None)
    return quantize_rows.calibration(
        count=loaded.info.count,
        requested=loaded.source.limit or None,
        method=chosen.method if chosen is not None else "",
        scheme=next(
            (c.scheme for p in found.portables.values() for c in p.candidates if c.chosen), ""
        ),
        findings=[audit.finding_row(f) for f in review.findings] if review else [],
        audit=audit.audit_row(review, sets) if review else None,
        facts=_calibration_facts(found),
        cost=_cost(trial),
        thumbnails=pictures.thumbnail_rows(found.pictures),
        histograms=pictures.histogram_rows(found.pictures, chosen.method if chosen else ""),
    )


def _calibration_facts(found: Evidence) -> dict[str, Any]:
    known: dict[str, Any] = {"held_out": len(found.split.held_out) if found.split else 0}
    return {**known, "pictures": found.unpictured} if found.unpictured else known


def _cost(trial: Trial) -> rows.Row | None:
    """Forecast and actual cost of the last pass of calibration, which had the most samples."""
    last = trial.calibrations[-1] if trial.calibrations else None
    if last is None or last.spent is None:
        return None
    told, spent = last.forecast, last.spent
    return {
        "samples": last.count,
        "table_sha256": last.sha256,
        "forecast_s": told.seconds if told else None,
        "forecast_mb": told.memory_mb if told else None,
        "seconds": spent.seconds,
        "memory_mb": spent.memory_mb,
        "setup_mb": spent.setup_mb,
        "resumed": spent.resumed,
    }
