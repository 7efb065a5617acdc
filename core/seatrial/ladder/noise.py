"""How far further runs of one artefact are from the first: the floor below which nothing tells."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.hookspecs import Job
from seatrial.samples import Samples
from seatrial.tasks.base import Task

from .differences import difference
from .read import outputs_of
from .records import NoiseFacts, NoiseRun
from .sweep import Sweep
from .units import Units


def noise_of(sweep: Sweep, job: Job, test: Units, task: Task) -> tuple[NoiseFacts, ...]:
    """How far further runs of the same artefact are from the rung itself."""
    found = []
    for run in sweep.rung.noise:
        if run.indices:
            outputs = Units(Samples(job.path(run.outputs)))
        else:
            outputs = outputs_of(sweep.rung, job.path(run.outputs), test)
        found.append(_floor(sweep, run, outputs, task))
    return tuple(found)


def _floor(sweep: Sweep, run: NoiseRun, outputs: Units, task: Task) -> NoiseFacts:
    indices = run.indices or tuple(range(outputs.count))
    again = Sweep(sweep.rung, outputs, task, None, names=sweep.names)
    apart = [difference(outputs, n, sweep.samples, n, indices=indices) for n in outputs.names]
    worst = [o.sqnr_db for o in apart if o.floating and not o.identical]
    agreed = -1
    if sweep.predicts and again.predicts:
        pairs = zip(again.classes, (sweep.classes[i] for i in indices), strict=True)
        agreed = sum(a == b and a >= 0 for a, b in pairs)
    return NoiseFacts(
        what=run.what,
        n=outputs.count,
        agreed=agreed,
        # A difference without a ratio (no signal, or beyond all bounds) is no floor to stand on.
        sqnr_db=min((0.0 if x is None else x for x in worst), default=None),
        identical=all(o.identical for o in apart),
    )


def least_agreed(facts: Sequence[NoiseFacts], count: int) -> int:
    """Samples of the same class in the worst run over all of them; -1: none was made."""
    known = [f.agreed for f in facts if f.n == count and f.agreed >= 0]
    return min(known, default=-1)
