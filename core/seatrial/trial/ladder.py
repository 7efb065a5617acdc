"""The ladder: every rung runs the same test samples, then one child compares them.

The test set is opened here and not before: by now every choice is frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.ladder import records as lr
from seatrial.tasks.base import TaskSpec
from seatrial.trial import build
from seatrial.trial import noise as noise_floor
from seatrial.trial.build import Piece
from seatrial.trial.quantise import Portable
from seatrial.trial.reference import REFERENCE_NAME, fault_of, reference_outputs

if TYPE_CHECKING:
    from seatrial.config import TaskConfig
    from seatrial.sla import SLA
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Models up to this size are started side by side: several of them are no burden on the memory.
LIGHT_BYTES = 64 * 2**20

#: Pieces that are rungs; another layout of the same artefact was proven equal by itself.
RUNG_PIECES = ("fp32", "native", "int8")


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
        noise=noise_floor.of_reference(trial, model.ref, test, model.optimize) if noise else (),
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
    again = noise_floor.of_device(trial, state, name, piece, test) if noise else ()
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
        raise result.refused.error()


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
    return result if result is not None else fault_of(outcome.fault)
