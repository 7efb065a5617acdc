"""The ladder: every rung runs the same test samples, then one child compares them.

The test set is opened here and not before: by now every choice is frozen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.ladder import records as lr
from seatrial.tasks.base import TaskSpec
from seatrial.trial import build
from seatrial.trial.build import Piece
from seatrial.trial.quantise import Portable

if TYPE_CHECKING:
    from seatrial.options import SLA
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

REFERENCE = "seatrial.reference:load"
#: What a reference run is called in the report.
REFERENCE_NAME = "reference (CPU, FP32)"
#: A rung is run again for the noise floor only if one pass over the test set took less, seconds.
NOISE_PASS_S = 60.0

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
        remember: they choose something, and may come from an earlier run.
    """
    request = r.LoadRequest(
        artifact=model,
        format="onnx",
        target="reference",
        threads=threads,
        taps=taps,
        options={"optimize": optimize},
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
    found, faults = _reference_rungs(trial, test, portables, noise=noise)
    for state in targets:
        pieces: dict[str, Piece] = state.facts.get("pieces", {})
        for name in RUNG_PIECES:
            piece = pieces.get(name)
            if piece is None:
                continue
            trial.progress("ladder", f"{state.id} {piece.stated}")
            rung = _device_rung(trial, state, name, piece, test, noise=noise)
            if rung is not None:
                found.append(rung)
    return found, faults


def _reference_rungs(
    trial: Trial, test: r.Ref, portables: Iterable[Portable], *, noise: bool
) -> tuple[list[lr.Rung], list[r.Fault]]:
    found: list[lr.Rung] = []
    faults: list[r.Fault] = []
    models: list[tuple[str, str | None, r.Ref, str, str]] = []
    if not trial.model.facts.has_qdq:
        models.append((lr.ONNX_FP32, None, trial.model.ref, "all", "FP32"))
    for portable in portables:
        if portable.chosen is not None and portable.chosen.ref is not None:
            ref = portable.chosen.ref
            models.append((lr.ONNX_INT8, f"qdq:{ref.sha256[:16]}", ref, "none", "INT8"))
    for rung, source, model, optimize, precision in models:
        trial.progress("ladder", f"reference {precision}")
        outputs = reference_outputs(trial, model, test, optimize=optimize)
        if isinstance(outputs, r.Fault):
            faults.append(outputs)
            continue
        again = []
        if noise and rung == lr.ONNX_FP32:
            repeat = reference_outputs(trial, model, test, optimize=optimize, threads=1)
            again = [] if isinstance(repeat, r.Fault) else [repeat]
        found.append(
            lr.Rung(
                rung=rung,
                outputs=outputs,
                source=source,
                precision=precision,
                noise=tuple(again),
                ran_on=REFERENCE_NAME + ("" if optimize == "all" else ", Q/DQ taken literally"),
                artifact=model.sha256,
            )
        )
    return found, faults


def _device_rung(
    trial: Trial, state: TargetState, name: str, piece: Piece, test: r.Ref, *, noise: bool
) -> lr.Rung | None:
    ships = name == ("int8" if "int8" in state.facts["pieces"] else "fp32")
    outputs = build.run_once(trial, state, piece, test, decisive=ships)
    if outputs is None:
        return None
    again: tuple[r.Ref, ...] = ()
    if noise and name == "int8":
        repeat = build.run_once(trial, state, piece, test, threads=1)
        again = (repeat,) if repeat is not None else ()
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
        seed=trial.seed,
    )
    refs = [test, *(rung.outputs for rung in found), *(n for rung in found for n in rung.noise)]
    outcome = trial.runner.task(
        "seatrial.ladder.child:judge",
        request,
        refs=refs,
        limits=trial.limits(timeout_s=1800),
        user=task.own,
    )
    result: lr.JudgeResult | None = outcome.result
    return result if result is not None else _fault(outcome.fault)
