"""``bench``: models and targets side by side, in the same interleaved rounds."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seatrial import data as data_room
from seatrial import intake, registry
from seatrial import results as r
from seatrial.codec import encode
from seatrial.errors import UserError
from seatrial.options import BenchOptions
from seatrial.progress import Progress
from seatrial.report import Report, new, rows
from seatrial.trial import (
    build,
    document,
    forms,
    layouts,
    sequences,
    shapes,
    speed,
    timing,
)
from seatrial.trial.child import SyntheticRequest
from seatrial.trial.context import Trial, configured
from seatrial.trial.machine import environment_row
from seatrial.trial.targets import TargetState, probe, survey

#: Seconds of the rounds per artefact, and with ``--quick``.
BENCH_S, QUICK_S = 8.0, 2.0
#: Random inputs when nobody gave data: latency of most nets does not depend on values.
SYNTHETIC = 16


def bench(options: BenchOptions, progress: Progress) -> Report:
    """Time every model on every chosen target: FP32 pinned, and what the runtime would do.

    Models that carry Q/DQ pairs are timed as INT8. All models must take the same inputs, since
    they are fed the same samples in the same rounds.

    Raises:
        UserError: a model or the data is refused, or the models differ in their inputs.
    """
    config = configured(options.config, {"run.seed": options.seed, "run.threads": options.threads})
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as folder:
        out = Path(options.out) if options.out else Path(folder)
        trial = Trial("bench", out, jobs=options.jobs, config=config, progress=progress)
        trial.seed = config.run.seed
        trial.threads_flag = options.threads is not None
        with trial:
            report = _bench(trial, options)
        if options.out:
            report.write(out)
        return report


def _bench(trial: Trial, options: BenchOptions) -> Report:
    with trial.stage("intake", 1, 4):
        models = [intake.admit(Path(m), trial.workspace) for m in options.models]
        trial.admitted = models[0]
        _same_inputs(models, options.models)
        trial.batch = shapes.batch(trial.model.facts)
    with trial.stage("backends", 2, 4):
        plugins = registry.discover()
        trial.targets = survey(trial.runner, plugins, options.targets, every=options.all_targets)
        probe(trial.runner, trial.targets)
    with trial.stage("build", 3, 4):
        samples, loaded = _samples(trial, options)
        entered: list[timing.Contestant] = []
        for model, name in zip(models, options.models, strict=True):
            trial.admitted = model
            for state in trial.usable:
                mine = _pieces(trial, state, name, options)
                known = state.facts.setdefault("pieces", {})
                for one in mine:
                    known.setdefault(one.name, one.piece)
                entered += mine
        trial.admitted = next((m for m in models if not m.facts.has_qdq), models[0])
        deep = not options.quick
        if deep:
            contracts = loaded.info.contracts if loaded is not None else trial.config.inputs
            speed.prove_layouts(trial, samples, contracts, deep=True)
            entered += _variants(trial, entered)
        speed.look(trial, samples, deep=deep)
        more = _more(trial, list(zip(models, options.models, strict=True)), entered, options)
    with trial.stage("rounds", 4, 4):
        seconds = options.seconds or (QUICK_S if options.quick else BENCH_S)
        budget = seconds * max(1, len(entered)) + speed.EXTRA_S * len(more)
        found = timing.time_all(
            trial,
            [*entered, *more],
            samples,
            trial.samples_count,
            budget_s=budget,
            inputs=True,
        )
        speed.explain(trial, None, found, deep=False)
    data = new("bench", command_line=options.command_line, seed=trial.seed)
    data["model"] = document.model_row(models[0])
    if loaded is not None:
        data["input_contract"] = {n: encode(c) for n, c in loaded.info.contracts.items()}
    data["models"] = [{**document.model_row(m), "graph": None} for m in models]
    data["environment"] = environment_row()
    data["timings"] = trial.timings
    for state in trial.targets:
        speed.enter_rows(state, found)
        data["targets"].append(document.target_row(state))
    speed.enter_report(data, found)
    data["faults"] = document.fault_rows(trial.targets)
    data["logs"] = document.log_rows(data["faults"], trial.out)
    data["reasons"] += document.option_reasons(trial)
    if loaded is None:
        text = f"fed with {SYNTHETIC} random samples: no data was given"
        data["reasons"].append(rows.reason("bench.synthetic", text, part="fast", level="warning"))
    first = shlex.quote(options.models[0])
    data["next"] = [f"seatrial run {first} --calibration SRC --test SRC"]
    return Report(data)


def _same_inputs(models: list[intake.Admitted], names: tuple[str, ...]) -> None:
    first = {(t.name, t.dtype, t.shape) for t in models[0].facts.inputs}
    for model, name in zip(models[1:], names[1:], strict=True):
        if {(t.name, t.dtype, t.shape) for t in model.facts.inputs} != first:
            raise UserError(
                name, f"takes other inputs than {names[0]}", advice="bench it by itself"
            )


def _variants(trial: Trial, entered: Sequence[timing.Contestant]) -> list[timing.Contestant]:
    """The layout variants that were proven equal, as forms of the model they were made of."""
    found = []
    for state in trial.usable:
        own = next((c for c in entered if c.state is state and c.name == "fp32"), None)
        for name in (layouts.OTHER, layouts.FRAMES):
            piece = state.facts["pieces"].get(name)
            if piece is not None and own is not None:
                found.append(timing.Contestant(state, name, piece, own.model, feed=piece.feed))
    return found


def _more(
    trial: Trial,
    models: Sequence[tuple[intake.Admitted, str]],
    entered: Sequence[timing.Contestant],
    options: BenchOptions,
) -> list[timing.Contestant]:
    """Free shapes of every model, and several calls in flight; ``--quick`` only these, if asked."""
    found: list[timing.Contestant] = []
    admitted = trial.admitted
    for model, name in models if not options.quick else ():
        trial.admitted = model
        found += forms.dynamic(trial, [c for c in entered if c.model == name])
    trial.admitted = admitted
    if not options.quick or options.streams:
        found += forms.streams(trial, entered, options.streams)
    return forms.affordable(entered, found)


def _samples(trial: Trial, options: BenchOptions) -> tuple[r.Ref, data_room.Loaded | None]:
    """The store that feeds the rounds, and where it came from if it is real data."""
    if options.data:
        source = data_room.parse(options.data, subject="--data")
        loaded = data_room.load(
            trial.runner,
            source,
            sequences.settled(trial.config, trial.model.facts).inputs,
            trial.model.facts.inputs,
            role="calibration",
            limit=64,
            texts=trial.config.task.texts,
            limits=trial.limits(),
        )
        loaded = sequences.rolled(trial, loaded)
        if not isinstance(loaded, data_room.Loaded):
            raise UserError(options.data, f"could not be read: {loaded.reason}")
        trial.samples_count = loaded.info.count
        return loaded.ref, loaded
    inputs = tuple(
        dataclasses.replace(t, shape=options.shapes.get(t.name, t.shape))
        for t in trial.model.facts.inputs
    )
    request = SyntheticRequest(
        inputs=inputs, count=SYNTHETIC * trial.batch, seed=trial.seed, batch=trial.batch
    )
    outcome = trial.runner.task("seatrial.trial.child:synthetic", request, limits=trial.limits())
    if outcome.result is None:
        reason = outcome.fault.reason if outcome.fault else "gave nothing"
        raise UserError(options.models[0], f"no inputs could be made: {reason}")
    trial.samples_count = SYNTHETIC * trial.batch
    return trial.runner.adopt(outcome, outcome.result.artifact), None


def _pieces(
    trial: Trial, state: TargetState, name: str, options: BenchOptions
) -> list[timing.Contestant]:
    """What one model gives on one target."""
    typed = {k: tuple(v) for k, v in options.shapes.items()}
    known = shapes.known(trial.model.facts, typed, batch=trial.batch)
    state.facts["shapes"] = known
    made: list[tuple[str, build.Piece | None]] = []
    if trial.model.facts.has_qdq:
        made.append(("int8", build.build_given(trial, state, known)))
    else:
        made.append(("fp32", build.build_float(trial, state, "fp32", known)))
        own = build.build_float(trial, state, "native", known)
        if own is not None and own.stated != "FP32":
            made.append(("native", own))
    return [timing.Contestant(state, kind, piece, name) for kind, piece in made if piece]
