"""Q/DQ models made in children: pairs inserted, biases corrected, weights rounded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.errors import UserError
from seatrial.quantize.types import InsertRequest, InsertResult
from seatrial.recovery import plan
from seatrial.recovery.types import (
    Corrected,
    CorrectRequest,
    MadeModel,
    MakeRequest,
    Rounded,
    Rounding,
    RoundRequest,
)

if TYPE_CHECKING:
    from seatrial.isolation import Outcome
    from seatrial.trial.context import Trial


@dataclasses.dataclass
class Made:
    """A portable Q/DQ model, or why there is none; ``table`` holds the core's ranges.

    Attributes:
        model: the rewritten float model that it was made of; ``None``: the trial's own.
        rewritten: what was done to the float model, or to the integers of the weights.
    """

    ref: r.Ref | None
    method: str = ""
    float_nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fault: r.Fault | None = None
    why_not: str = ""
    table: r.Ref | None = None
    model: r.Ref | None = None
    rewritten: str = ""


def insert(trial: Trial, request: InsertRequest, *, timeout_s: float = 0.0) -> Made:
    """Run the core's Q/DQ insertion; a model that it refuses is no fault and no end."""
    refs = [request.model, *([request.ranges] if request.ranges else [])]
    try:
        outcome = trial.runner.task(
            "seatrial.quantize.child:insert",
            request,
            refs=refs,
            limits=trial.limits(timeout_s=timeout_s),
            remember=trial.remembers,
        )
    except UserError as error:
        return Made(None, why_not=error.line())
    result: InsertResult | None = outcome.result
    if result is None:
        return Made(None, fault=outcome.fault)
    made = result.artifact
    return _inserted(result, trial.runner.adopt(outcome, made) if made is not None else None)


def insert_and_correct(trial: Trial, insert: InsertRequest, store: r.Ref) -> Made:
    """A model with Q/DQ pairs and corrected biases, made in one child.

    Args:
        trial: the command at work.
        insert: the pairs.
        store: samples on which biases are corrected.
    """
    request = MakeRequest(insert=insert, samples=store, seconds=_seconds(trial))
    try:
        ranges = [insert.ranges] if insert.ranges else []
        outcome = _ask(trial, "make", request, [insert.model, store, *ranges])
    except UserError as error:
        return Made(None, why_not=error.line())
    result: MadeModel | None = outcome.result
    if result is None:
        return Made(None, fault=outcome.fault)
    if result.corrected is None:
        return _inserted(result.inserted, None)
    ref = trial.runner.adopt(outcome, result.corrected.artifact)
    return _with_biases(_inserted(result.inserted, ref), ref, result.corrected)


def correct(trial: Trial, made: Made, store: r.Ref) -> Made:
    """The same model with corrected biases."""
    if made.ref is None:
        return made
    request = CorrectRequest(
        model=made.model or trial.model.ref,
        candidate=made.ref,
        samples=store,
        seconds=_seconds(trial),
    )
    refs = [request.model, request.candidate, store]
    outcome = _ask(trial, "correct", request, refs)
    result: Corrected | None = outcome.result
    if result is None:
        return dataclasses.replace(made, ref=None, fault=outcome.fault)
    return _with_biases(made, trial.runner.adopt(outcome, result.artifact), result)


def round_weights(trial: Trial, made: Made, store: r.Ref, dialect: r.QdqDialect) -> Made:
    """The same model with weights rounded for the outputs of their layers."""
    if made.ref is None:
        return made
    request = RoundRequest(
        model=made.model or trial.model.ref,
        candidate=made.ref,
        samples=store,
        limit=63 if dialect.reduce_range else 127,
        seed=trial.seed,
        seconds=_seconds(trial),
    )
    refs = [request.model, request.candidate, store]
    outcome = _ask(trial, "round_weights", request, refs)
    result: Rounded | None = outcome.result
    if result is None:
        return dataclasses.replace(made, ref=None, fault=outcome.fault)
    return dataclasses.replace(
        made,
        ref=trial.runner.adopt(outcome, result.artifact),
        method=f"{made.method}+{plan.ROUNDED}",
        rewritten="; ".join(text for text in (made.rewritten, _rounding(result.done)) if text),
    )


def _ask(
    trial: Trial,
    name: str,
    request: MakeRequest | CorrectRequest | RoundRequest,
    refs: Sequence[r.Ref],
) -> Outcome[Any]:
    """Run a task of the recovery; what a deadline may have cut short is not remembered."""
    return trial.runner.task(
        f"seatrial.recovery.child:{name}",
        request,
        refs=refs,
        limits=trial.limits(timeout_s=1800),
        remember=trial.remembers and not request.seconds,
    )


def _seconds(trial: Trial) -> float:
    """Time for a task that can end early; 0: no limit."""
    left = trial.clock.left_s - trial.clock.reserve_s
    return max(1.0, left) if math.isfinite(left) else 0.0


def _inserted(result: InsertResult, ref: r.Ref | None) -> Made:
    """What an insertion gave."""
    if ref is None:
        reason = "; ".join(result.notes) or "no node of this model can be quantised"
        return Made(None, method=result.method, why_not=reason)
    return Made(
        ref,
        method=result.method,
        float_nodes=tuple(n.node for n in result.float_nodes),
        notes=result.notes,
    )


def _with_biases(made: Made, ref: r.Ref, done: Corrected) -> Made:
    """A model whose biases were corrected, and that they were."""
    note = f"biases of {done.layers} layers corrected on {done.samples} samples"
    if done.skipped:
        note += f"; {done.skipped} layers were not reached in time"
    return dataclasses.replace(
        made, ref=ref, method=f"{made.method}+bias", notes=(*made.notes, note)
    )


def _rounding(done: Rounding) -> str:
    """One line on adaptive rounding."""
    if not done.changed:
        return f"adaptive rounding changed none of {done.layers} layers"
    text = (
        f"adaptive rounding changed {done.changed} of {done.layers} layers "
        f"({done.moved / done.weights:.0%} of their weights); relative error of the layers' "
        f"outputs where it was not fitted {done.before:.3g} -> {done.after:.3g}"
    )
    text += f"; {done.refused} layers were no better there and stay" if done.refused else ""
    return text + (f"; {done.late} layers were not reached in time" if done.late else "")
