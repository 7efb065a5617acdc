"""The noise floor: rungs that are run again in ways that must not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.benchmark.machine import machine
from seatrial.ladder import records as lr
from seatrial.samples import Samples
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.build import Piece
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Samples on which a rung is run again in ways that change no class counts but show a floor.
NOISE_SAMPLES = 64


def _few(trial: Trial, test: r.Ref) -> tuple[int, ...]:
    """Evenly spaced samples for the floor, whole batches of them.

    None of a store of sequences: a step alone has not the states of its own run.
    """
    samples = Samples(trial.workspace.path(test))
    count = 0 if samples.state else samples.count
    size = min(count, NOISE_SAMPLES)
    size -= size % trial.batch
    return tuple(k * count // size for k in range(size)) if size else ()


def of_reference(trial: Trial, model: r.Ref, test: r.Ref, optimize: str) -> tuple[lr.NoiseRun, ...]:
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


def of_device(
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
