"""``run``: the whole trial, from a model and data to one verdict per target."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from seatrial import data as data_room
from seatrial import intake
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.export.parity_records import FAIL
from seatrial.options import RunOptions
from seatrial.progress import Progress
from seatrial.quantize import advice
from seatrial.report import Report
from seatrial.samples import Samples
from seatrial.trial import (
    breaks,
    evidence,
    from_torch,
    given,
    ladder,
    pictures,
    pieces,
    quantise,
    recolour,
    recover,
    refit,
    sequences,
    speed,
    suppression,
    timing,
)
from seatrial.trial import compile as compile_stage
from seatrial.trial import (
    shapes as shapes_of,
)
from seatrial.trial.audit import review, varies
from seatrial.trial.context import Trial, configured
from seatrial.trial.evidence import Evidence
from seatrial.trial.targets import TargetState
from seatrial.verdict.fast import LEAST_CALLS

#: ``--quick`` ends within two minutes: the budget of the stages, leaving time for the report.
QUICK_S = 105.0
#: Samples that ``--quick`` uses at most.
QUICK_CALIBRATION, QUICK_TEST = 64, 256
#: Seconds of the benchmark's rounds per artefact, and rounds, at most: four times as many make an
#: interval half as wide. ``bench`` takes its time.
BENCH_S, ROUNDS = 4.0, 30
#: Seconds of the model's inferences in the audit.
AUDIT_S = 45.0
STAGES = 9


def run(options: RunOptions, progress: Progress) -> Report:
    """The whole trial.

    Raises:
        UserError: the model, the data, the configuration or a named target is refused.
    """
    config = configured(options.config, _overrides(options))
    model = options.model or config.model.path
    if not model:
        raise UserError("MODEL", "no model was named", advice="seatrial run MODEL ...")
    out = Path(options.out or config.run.out or f"{Path(model).stem}-trial")
    quick = options.quick or config.run.quick
    sla = options.sla.over(config.sla).with_defaults()
    found = Evidence(options=options, config=config, sla=sla, quick=quick)
    trial = Trial(
        "run",
        out,
        jobs=options.jobs,
        config=config,
        progress=progress,
        budget_s=QUICK_S if quick else None,
    )
    trial.seed = config.run.seed
    trial.threads_flag = options.threads is not None
    try:
        with trial:
            _stages(trial, found, options, model)
    except KeyboardInterrupt:
        found.interrupted = True
    report = evidence.report(trial, found, model=model, out=out)
    report.write(out)
    return report


def _overrides(options: RunOptions) -> dict[str, object]:
    """Flags by the configuration's dotted keys; they win. Limits are laid over as a record."""
    return {
        "model.weights": options.weights or None,
        "model.trust_pickle": options.trust_pickle or None,
        "data.calibration.source": options.calibration or None,
        "data.test.source": options.test or None,
        "data.source": options.data or None,
        "run.seed": options.seed,
        "run.threads": options.threads,
        "run.quick": options.quick or None,
    }


def _stages(trial: Trial, found: Evidence, options: RunOptions, model: str) -> None:
    with trial.stage("intake", 1, STAGES):
        path = from_torch.model_path(trial, found, options, model)
        if path is not None:
            trial.admitted = intake.admit(path, trial.workspace)
        if path is None or found.export_gate == FAIL:
            return  # nothing to try, or something that is not the module
        found.config = sequences.settled(found.config, trial.model.facts)
        ladder.ready(trial, found.config.task)
        found.advice = advice.advise(trial.model.facts)
        found.given = tuple(given.read(trial, path) for path in options.qdq)
        test_source = found.config.source("test")
    with trial.stage("backends", 2, STAGES):
        from_torch.targets(trial, found, options)
    with trial.stage("calibration data", 3, STAGES):
        _calibration(trial, found)
    with trial.stage("compile", 4, STAGES):
        compile_stage.each(trial, functools.partial(_compile, trial, found, options))
    with trial.stage("INT8", 5, STAGES):
        _int8(trial, found)
    with trial.stage("layout", 6, STAGES):
        _layout(trial, found)
    with trial.stage("ladder", 7, STAGES):
        _ladder(trial, found, test_source)
    with trial.stage("audit", 8, STAGES):
        _audit(trial, found)
    with trial.stage("benchmark", 9, STAGES):
        _benchmark(trial, found)
        breaks.explain(trial, found)


def _compile(trial: Trial, found: Evidence, options: RunOptions, state: TargetState) -> None:
    shapes = shapes_of.static(trial, state, found, options.shapes)
    state.facts["shapes"] = shapes
    compile_stage.check_float(trial, state, shapes=shapes)
    if not trial.shapes_of(state, options.shapes) and compile_stage.free_shapes(
        trial, state, shapes
    ):
        state.facts["shapes"] = {}
    compile_stage.finish(state)


def _calibration(trial: Trial, found: Evidence) -> None:
    """Read the calibration set; a model that carries its own Q/DQ can do without one."""
    source = found.config.source("calibration")
    trial.batch = shapes_of.batch(trial.model.facts)
    if source is None:
        if trial.model.facts.has_qdq or not found.advice_gain or found.given:
            return
        raise UserError(
            "--calibration",
            "no calibration data was given",
            advice="--calibration SRC, or --data SRC to split one source in two",
        )
    found.calibration = _load(
        trial, found, source, "calibration", QUICK_CALIBRATION if found.quick else None
    )
    if found.calibration is None:
        return
    found.feed = found.calibration.ref
    trial.samples_count = found.calibration.info.count


def _load(
    trial: Trial, found: Evidence, source: data_room.Source, role: str, limit: int | None
) -> data_room.Loaded | None:
    trial.progress("data", f"{role} from {source.text}")
    loaded = data_room.load(
        trial.runner,
        source,
        found.config.inputs,
        trial.model.facts.inputs,
        role=role,
        limit=limit,
        force=found.options.force_synthetic,
        texts=found.config.task.texts,
        limits=trial.limits(timeout_s=1800),
    )
    loaded = sequences.rolled(trial, loaded)
    if isinstance(loaded, data_room.Loaded):
        return loaded
    found.faults.append(loaded)
    return None


def _int8(trial: Trial, found: Evidence) -> None:
    """Candidates, bake-off, and the builds of every target."""
    alive = [t for t in trial.usable if t.fault is None]
    found.int8 = found.advice_gain or trial.model.facts.has_qdq
    reference: r.Ref | None = None
    if found.calibration is not None and found.int8 and not trial.model.facts.has_qdq:
        ids = Samples(trial.workspace.path(found.calibration.ref)).groups
        found.split = quantise.split(trial, found.calibration.ref, ids)
        found.portables = quantise.bake_off(trial, alive, found.split, vendors=not found.quick)
        held_out = quantise.reference(trial, found.split)
        if isinstance(held_out, r.Fault):
            found.faults.append(held_out)
        else:
            reference = held_out
    elif trial.model.facts.has_qdq:
        found.portables = quantise.as_given(trial, alive)
    if found.int8:
        given.enter(trial, found, alive)
    for state in alive:
        trial.progress("build", state.id)
        pieces.build_all(trial, state, found, reference)
    recover.run(trial, found, reference)


def _layout(trial: Trial, found: Evidence) -> None:
    if found.feed is None or (found.quick and trial.clock.left_s < trial.clock.reserve_s):
        return
    loaded = found.calibration
    contracts = loaded.info.contracts if loaded is not None else {}
    # Without a contract for pictures nobody knows what a frame is.
    deep = not found.quick and any(c.mode == "image" for c in contracts.values())
    speed.prove_layouts(trial, found.feed, contracts, deep=deep)


def _ladder(trial: Trial, found: Evidence, source: data_room.Source | None) -> None:
    """Open the test set, now that every choice is frozen, and judge."""
    if source is None:
        return
    found.test = _load(trial, found, source, "test", QUICK_TEST if found.quick else None)
    if found.test is None:
        return
    found.varies = varies(trial, found, found.test)
    if found.calibration is not None:
        found.overlap = data_room.overlap(
            trial.workspace.path(found.calibration.ref), trial.workspace.path(found.test.ref)
        )
    if found.feed is None:
        found.feed, trial.samples_count = found.test.ref, found.test.info.count
    found.task = found.config.task.spec(labelled=found.test.info.labelled)
    rungs, faults = ladder.rungs(
        trial, found.test.ref, found.portables.values(), trial.usable, noise=not found.quick
    )
    found.faults += faults
    first = from_torch.rung(trial, found)
    rungs = [first, *rungs] if first is not None else rungs
    found.rungs = rungs
    if not rungs:
        return
    judged = ladder.judge(trial, rungs, found.test.ref, found.task, found.sla)
    if isinstance(judged, r.Fault):
        found.faults.append(judged)
    elif judged.refused is not None:
        raise judged.refused.error()
    else:
        found.judged = suppression.checked(trial, found, judged)
        asked = () if found.quick else (refit.doubt, recolour.doubt)
        wrong = tuple(doubt for ask in asked if (doubt := ask(trial, found)) is not None)
        doubts = (*found.judged.doubts, *wrong)
        found.judged = dataclasses.replace(found.judged, doubts=doubts)


def _audit(trial: Trial, found: Evidence) -> None:
    """Review the calibration set, now that every choice is made and the test set is open."""
    trial.progress("audit", "calibration set")
    # Never left out: copies of the test set are known to it alone, and need no inference.
    review(trial, found, budget_s=max(0.0, min(AUDIT_S, 0.2 * trial.clock.left_s)))
    pictures.illustrate(trial, found)


def _benchmark(trial: Trial, found: Evidence) -> None:
    entered = timing.contestants(trial.usable)
    if found.feed is None or not entered:
        return
    deep = not found.quick
    speed.look(trial, found.feed, deep=deep)
    more = speed.extras(trial, entered, None) if deep else []
    wanted = BENCH_S * len(entered) * (0.5 if found.quick else 1.0) + speed.EXTRA_S * len(more)
    limit = found.sla.max_latency
    found.rounds = timing.time_all(
        trial,
        [*entered, *more],
        found.feed,
        trial.samples_count,
        budget_s=trial.clock.cap(wanted),
        least_calls=LEAST_CALLS.get(limit.quantile, 0) if limit else 0,
        most_rounds=ROUNDS,
        inputs=True,
    )
    speed.explain(trial, found, found.rounds, deep=deep)
