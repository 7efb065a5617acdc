"""The ladder: every rung runs the same test samples, then one child compares them.

The test set is opened here and not before: by now every choice is frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.benchmark.machine import machine
from seatrial.errors import UserError
from seatrial.ladder import records as lr
from seatrial.samples import Samples
from seatrial.tasks.base import TaskSpec
from seatrial.trial import build
from seatrial.trial.build import Piece
from seatrial.trial.quantise import Portable

if TYPE_CHECKING:
    from seatrial.config import TaskConfig
    from seatrial.sla import SLA
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

REFERENCE = "seatrial.reference:load"
#: What a reference run is called in the report.
REFERENCE_NAME = "reference (CPU, FP32)"
#: Samples on which a rung is run again in ways that change no class counts but show a floor.
NOISE_SAMPLES = 64

#: Models up to this size are started side by side: several of them are no burden on the memory.
LIGHT_BYTES = 64 * 2**20

#: Pieces that are rungs; another layout of the same artefact was proven equal by itself.
RUNG_PIECES = ("fp32", "native", "int8")


def reference_outputs(
    trial: Trial,
    model: r.Ref,
    samples: r.Ref,
    indices: tuple[int, ...] | None = None,
    *,
    optimize: str = "all",
    threads: int = 0,
    taps: tuple[str, ...] = (),
    denormals_as_zero: bool = False,
    remember: bool = False,
) -> r.Ref | r.Fault:
    """Outputs of a model on the reference over samples.

    Args:
        trial: the command at work.
        model: float, or with Q/DQ pairs.
        samples: a sample store.
        indices: which samples; ``None``: all.
        optimize: ``none`` takes Q and DQ literally.
        threads: of one inference; 0: the runtime's choice.
        taps: inner tensors to give as well.
        denormals_as_zero: numbers next to zero are zero, as on many devices.
        remember: they choose something, and may come from an earlier run.
    """
    request = r.LoadRequest(
        artifact=model,
        format="onnx",
        target="reference",
        threads=threads,
        taps=taps,
        options={"optimize": optimize, "denormals_as_zero": denormals_as_zero},
    )
    outcome = trial.runner.outputs(
        REFERENCE,
        None,
        request,
        samples,
        indices,
        batch=trial.batch,
        limits=trial.limits(),
        remember=remember and trial.remembers,
    )
    return outcome.result if outcome.result is not None else _fault(outcome.fault)


def _fault(fault: r.Fault | None) -> r.Fault:
    return fault or r.Fault(kind=r.FaultKind.RAISED, stage="reference", reason="gave no outputs")


def rungs(
    trial: Trial,
    test: r.Ref,
    portables: Iterable[Portable],
    targets: Iterable[TargetState],
    *,
    noise: bool,
) -> tuple[list[lr.Rung], list[r.Fault]]:
    """Run every rung over the test set.

    Args:
        trial: the command at work.
        test: the test store.
        portables: one per dialect; those with a chosen model give an ``onnx-int8`` rung.
        targets: with the pieces that were built in ``facts["pieces"]``.
        noise: repeat the reference and every INT8 rung with another thread count.

    Returns:
        The rungs that ran, and the faults of the reference (a target's own are in its state).
    """
    models = _reference_models(trial, portables)
    calls: list[Callable[[], lr.Rung | r.Fault | None]] = [
        partial(_reference_rung, trial, test, model, noise=noise) for model in models
    ]
    for state in targets:
        pieces: dict[str, Piece] = state.facts.get("pieces", {})
        calls += [
            partial(_device_rung, trial, state, name, pieces[name], test, noise=noise)
            for name in RUNG_PIECES
            if name in pieces
        ]
    light = trial.model.ref.bytes <= LIGHT_BYTES
    made = trial.runner.together(calls) if light else [call() for call in calls]
    found = [one for one in made if isinstance(one, lr.Rung)]
    return found, [one for one in made if isinstance(one, r.Fault)]


@dataclasses.dataclass(frozen=True)
class _Model:
    """A model that runs on the reference: which rung it is, and how it is read."""

    rung: str
    ref: r.Ref
    precision: str
    optimize: str = "all"
    source: str | None = None


def _reference_models(trial: Trial, portables: Iterable[Portable]) -> list[_Model]:
    models = []
    if not trial.model.facts.has_qdq:
        models.append(_Model(lr.ONNX_FP32, trial.model.ref, "FP32"))
    for portable in portables:
        if portable.chosen is not None and portable.chosen.ref is not None:
            ref = portable.chosen.ref
            source = f"qdq:{ref.sha256[:16]}"
            models.append(_Model(lr.ONNX_INT8, ref, "INT8", "none", source))
    return models


def _reference_rung(trial: Trial, test: r.Ref, model: _Model, *, noise: bool) -> lr.Rung | r.Fault:
    trial.progress("ladder", f"reference {model.precision}")
    outputs = reference_outputs(trial, model.ref, test, optimize=model.optimize)
    if isinstance(outputs, r.Fault):
        return outputs
    literal = "" if model.optimize == "all" else ", Q/DQ taken literally"
    return lr.Rung(
        rung=model.rung,
        outputs=outputs,
        source=model.source,
        precision=model.precision,
        noise=_reference_noise(trial, model.ref, test, model.optimize) if noise else (),
        ran_on=REFERENCE_NAME + literal,
        artifact=model.ref.sha256,
    )


def _device_rung(
    trial: Trial, state: TargetState, name: str, piece: Piece, test: r.Ref, *, noise: bool
) -> lr.Rung | None:
    trial.progress("ladder", f"{state.id} {piece.stated}")
    ships = name == ("int8" if "int8" in state.facts["pieces"] else "fp32")
    outputs = build.run_once(trial, state, piece, test, decisive=ships)
    if outputs is None:
        return None
    again = _device_noise(trial, state, name, piece, test) if noise else ()
    return lr.Rung(
        rung=lr.DEVICE_INT8 if name == "int8" else lr.DEVICE_FLOAT,
        outputs=outputs,
        target=state.id,
        source=build.NATIVE if name == "native" else piece.source or None,
        precision=piece.stated,
        noise=again,
        ran_on=f"{state.target.title if state.target else state.id}, {piece.stated}",
        artifact=piece.ref.sha256,
    )


def _few(trial: Trial, test: r.Ref) -> tuple[int, ...]:
    """Evenly spaced samples for the floor, whole batches of them.

    None of a store of sequences: a step alone has not the states of its own run.
    """
    samples = Samples(trial.workspace.path(test))
    count = 0 if samples.state else samples.count
    size = min(count, NOISE_SAMPLES)
    size -= size % trial.batch
    return tuple(k * count // size for k in range(size)) if size else ()


def _reference_noise(
    trial: Trial, model: r.Ref, test: r.Ref, optimize: str
) -> tuple[lr.NoiseRun, ...]:
    """The reference again, in ways that must not matter: over all samples where classes count.

    The Q/DQ model that is taken literally is run with the reference's own integer kernels as well:
    how sound kernels round, and how many classes that flips.
    """
    few = _few(trial, test)
    ways: list[tuple[str, tuple[int, ...] | None, dict[str, Any]]] = [
        ("1 thread", None if optimize == "all" else few, {"threads": 1})
    ]
    if optimize == "all":
        ways += [
            ("a second run", few, {}),
            ("denormals as zero", few, {"denormals_as_zero": True}),
            ("optimisation off", few, {"optimize": "none"}),
        ]
    elif machine().int8_sets:  # without INT8 dot products its own integer kernels saturate
        ways.append((lr.INTEGERS, None, {"optimize": "all"}))
    found = []
    for what, indices, how in ways:
        if indices == ():
            continue
        outputs = reference_outputs(trial, model, test, indices, **{"optimize": optimize, **how})
        if isinstance(outputs, r.Ref):
            found.append(lr.NoiseRun(what=what, outputs=outputs, indices=indices or ()))
    return tuple(found)


def _device_noise(
    trial: Trial, state: TargetState, name: str, piece: Piece, test: r.Ref
) -> tuple[lr.NoiseRun, ...]:
    """An artefact again on its target: INT8 with one thread over all samples, else over a few."""
    few = _few(trial, test)
    found = []
    ways: list[tuple[str, tuple[int, ...] | None, int | None]] = [("a second run", few, None)]
    if name == "int8":
        ways.insert(0, ("1 thread", None, 1))
    for what, indices, threads in ways:
        if indices == ():
            continue
        outcome = trial.outputs(state, piece, test, indices, threads=threads)
        # A target that refuses a thread count has no such floor; that is no fault of its answers.
        if outcome.result is not None:
            found.append(lr.NoiseRun(what=what, outputs=outcome.result, indices=indices or ()))
    return tuple(found)


def ready(trial: Trial, task: TaskConfig) -> None:
    """Refuse a task that cannot be used before anything is tried.

    Raises:
        UserError: no such task or setting, or a library that it needs is missing.
    """
    if not (task.kind or task.callable):
        return
    spec = task.spec(labelled=True)
    outcome = trial.runner.task(
        "seatrial.ladder.child:ready", lr.ReadyRequest(task=spec), user=spec.own
    )
    result: lr.Ready | None = outcome.result
    if result is not None and result.refused is not None:
        raise refusal(result.refused)


def refusal(refused: lr.Refusal) -> UserError:
    """A child's refusal as the error to raise."""
    return UserError(refused.subject, refused.reason, place=refused.place, advice=refused.advice)


def judge(
    trial: Trial, found: list[lr.Rung], test: r.Ref, task: TaskSpec, sla: SLA
) -> lr.JudgeResult | r.Fault:
    """Compare all rungs in one child (the user's own child, when the task is the user's code)."""
    request = lr.JudgeRequest(
        rungs=tuple(found),
        test=test,
        task=task,
        max_drop=sla.max_drop or 0.0,
        device_drop=sla.device_drop or 0.0,
        class_drop=sla.class_drop,
        seed=trial.seed,
    )
    refs = [
        test,
        *(rung.outputs for rung in found),
        *(n.outputs for rung in found for n in rung.noise),
    ]
    outcome = trial.runner.task(
        "seatrial.ladder.child:judge",
        request,
        refs=refs,
        limits=trial.limits(timeout_s=1800),
        user=task.own,
    )
    result: lr.JudgeResult | None = outcome.result
    return result if result is not None else _fault(outcome.fault)
