"""The judge: a core task that turns output stores and labels into numbers.

It is the only code that opens the test set's labels, and it runs after every choice is frozen.
With a task of the user's own it runs in the user child.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seatrial.errors import UserError, one_line, place_of
from seatrial.hookspecs import Job
from seatrial.refusal import Refusal
from seatrial.samples import Samples
from seatrial.tasks.base import load

from .differences import match
from .judged import Judged
from .noise import least_agreed, noise_of
from .read import labels_of, names_of, outputs_of
from .records import (
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
    JudgeRequest,
    JudgeResult,
    Ready,
    ReadyRequest,
    Rung,
    base_of,
)
from .sweep import Sweep
from .units import Units, spans


class TaskError(Exception):
    """The user's own task raised; the message names file and line."""


def judge(request: JudgeRequest, job: Job) -> JudgeResult:
    """Judge all rungs on the same samples.

    What the user can cause (an empty test set, samples without outputs, labels that are no class
    indices) comes back as ``refused``, not as an exception: it is not a fault.
    """
    try:
        return _judge(request, job)
    except UserError as error:
        refused = Refusal.of(error)
        return JudgeResult(rungs=(), comparisons=(), n=0, labelled=False, refused=refused)
    except MemoryError:
        raise
    except Exception as error:
        place = place_of(error) if request.task.own else ""
        if not place:
            raise
        raise TaskError(f"{place}: {one_line(error)}") from error


def ready(request: ReadyRequest, job: Job) -> Ready:
    """Whether a task can be used: it exists, takes its settings, and has what it needs."""
    del job
    try:
        load(request.task)
    except UserError as error:
        return Ready(refused=Refusal.of(error))
    return Ready()


def _judge(request: JudgeRequest, job: Job) -> JudgeResult:
    store = Samples(job.path(request.test))
    if store.count == 0:
        raise UserError("test set", "it holds no samples", advice="nothing can be judged on none")
    test = Units(store, spans(store))
    task = load(request.task)
    labels = labels_of(test, task)
    stores = [outputs_of(rung, job.path(rung.outputs), test) for rung in request.rungs]
    names = names_of(request.rungs, stores)
    judged = Judged(request, task, test, labels)
    sweeps = []
    for k, (rung, outputs) in enumerate(zip(request.rungs, stores, strict=True)):
        job.progress(f"judging {rung.rung} {rung.target or ''}".strip(), k / len(request.rungs))
        sweeps.append(judged.sweep(rung, outputs, match(outputs, names)[0]))
    noise = [noise_of(sweep, job, test, task) for sweep in sweeps]
    floors = [least_agreed(facts, test.count) for facts in noise]
    judged.resample(sweeps, job)
    comparisons = [
        judged.compare(sweep, sweeps[other], (floors[i], floors[other]))
        for i, sweep in enumerate(sweeps)
        for other in _bases(sweep.rung, request.rungs)
    ]
    groups = len(set(test.groups))
    first = _reference(sweeps)
    return JudgeResult(
        rungs=tuple(
            dataclasses.replace(sweep.facts(), noise=facts)
            for sweep, facts in zip(sweeps, noise, strict=True)
        ),
        comparisons=tuple(comparisons),
        n=test.count,
        labelled=labels is not None,
        groups=groups if groups < test.count else 0,
        baseline=judged.baseline(first),
        blind=judged.blind(first),
        doubts=judged.doubts(first),
    )


def _bases(rung: Rung, rungs: Sequence[Rung]) -> list[int]:
    """Positions of the rungs that this one is judged against, those that are there."""
    found = []
    for name in base_of(rung.rung, rung.source):
        source = rung.source if name == ONNX_INT8 else None
        found += [i for i, r in enumerate(rungs) if r.rung == name and r.source == source][:1]
    return found


def _reference(sweeps: Sequence[Sweep]) -> Sweep | None:
    """The float baseline: ``onnx-fp32``, or PyTorch when it is all there is."""
    by_name = {s.rung.rung: s for s in reversed(sweeps)}
    return by_name.get(ONNX_FP32) or by_name.get(PYTORCH)
