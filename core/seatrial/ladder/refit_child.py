"""The float model's metric when the same pictures are fed in another usual way. Core task."""

from __future__ import annotations

from typing import Any

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Ref
from seatrial.samples import Samples
from seatrial.tasks.base import TaskSpec, load, pooled_form
from seatrial.verdict.pooled import Resampling, alike, compared
from seatrial.verdict.stats import Paired, paired

from .records import ONNX_FP32, Rung
from .sweep import Sweep
from .units import Units


@record
class Fed:
    """The float model's outputs for samples that were fed in one way: ``name`` says which."""

    name: str
    test: Ref
    outputs: Ref


@record
class RefitRequest:
    """Ask whether the float model does better when it is fed otherwise.

    Attributes:
        own: as configured.
        others: the same samples, fed otherwise.
        least: a gain below this, in the metric's unit, is not looked at closer.
    """

    task: TaskSpec
    own: Fed
    others: tuple[Fed, ...]
    least: float = 0.0
    seed: int = 0


@record
class Gain:
    """What feeding otherwise gains over the configured way, with its interval."""

    name: str
    value: float
    own: float
    gain: Paired


@record
class Refitted:
    """One entry per other way that could be judged."""

    gains: tuple[Gain, ...]


def refit(request: RefitRequest, job: Job) -> Refitted:
    """Judge every way of feeding against the configured one, on the same samples."""
    try:
        own = _sweep(request, request.own, job)
        found = [_gain(request, own, _sweep(request, f, job), f.name) for f in request.others]
    except UserError:
        return Refitted(gains=())
    return Refitted(gains=tuple(g for g in found if g is not None))


def _sweep(request: RefitRequest, fed: Fed, job: Job) -> Sweep:
    test, outputs = Units(Samples(job.path(fed.test))), Units(Samples(job.path(fed.outputs)))
    return Sweep(
        Rung(rung=ONNX_FP32, outputs=fed.outputs),
        outputs,
        load(request.task),
        test.labels,
        names={},
        facts=test.facts(),
        groups=test.groups,
    )


def _gain(request: RefitRequest, own: Sweep, other: Sweep, name: str) -> Gain | None:
    """The drop from the other way to the configured one."""
    if not (own.judged and other.judged) or own.bad_scores or other.bad_scores:
        return None
    values = other.facts().value, own.facts().value
    if values[0] is None or values[1] is None:
        return None
    task: Any = own.task
    sign = 1.0 if task.higher_is_better else -1.0
    if sign * (values[0] - values[1]) < request.least:
        return None
    how: dict[str, Any] = {
        "scale": getattr(task, "scale", 1.0),
        "higher_is_better": task.higher_is_better,
        "bounds": getattr(task, "bounds", None),
    }
    if pooled_form(task):
        groups = own.samples.groups
        over = Resampling(groups, range(len(groups)), seed=request.seed)
        same = [alike(a, b) for a, b in zip(other.statistics, own.statistics, strict=True)]
        gain = compared(other.draws(over), own.draws(over), same, over, **how)
    else:
        gain = paired(other.scores, own.scores, seed=request.seed, **how)
    return Gain(name=name, value=values[0], own=values[1], gain=gain)
