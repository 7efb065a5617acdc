"""Several candidates made and scored in one child: the hopeless ones stop early.

Successive halving with two rounds (Jamieson and Talwalkar 2016): all run over a first part of the
held-out samples, those that are far behind there stop, the others run over the rest. What a
candidate scored on fewer samples never wins. Runs in a child only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.samples import Samples

from .score import Judge, Totals, size_of
from .types import Entrant, Finish, InsertResult, RaceRequest, RaceResult

#: Samples of the first round.
FIRST = 16

#: A candidate stops when its mean loss is this many times the best one's and the paired difference
#: is beyond this many standard errors. Both: few samples alone say little.
BEHIND, ERRORS = 1.5, 3.0

#: Makes an entrant's model in a folder of its own.
Make = Callable[[Entrant, Path], InsertResult]


@dataclass
class _Lane:
    entrant: Entrant
    path: Path | None = None
    inserted: InsertResult | None = None
    reason: str = ""
    totals: Totals = field(default_factory=Totals)
    stopped: bool = False

    @property
    def running(self) -> bool:
        return self.path is not None and not self.reason and not self.stopped


def race(request: RaceRequest, job: Job, make: Make) -> RaceResult:
    """Make and score all entrants.

    Raises:
        UserError: no samples were named.
    """
    if not request.indices:
        raise UserError("bake-off", "no held-out samples")
    deadline = time.monotonic() + request.seconds if request.seconds else math.inf
    judge = Judge(Samples(job.path(request.samples)), request.indices, job)
    judge.read(Samples(job.path(request.reference)))
    lanes = [_Lane(entrant) for entrant in request.entrants]
    first = spread(len(request.indices), FIRST)
    late = "not tried: the time budget was spent"
    for number, lane in enumerate(lanes):
        if time.monotonic() > deadline and number:
            lane.reason = late
            continue
        _start(lane, number, job, make)
        _run(lane, judge, first)
    rivals = [[request.rival[k] for k in first]] if request.rival else []
    _stop(lanes, rivals)
    taken = set(first)
    rest = [k for k in range(len(request.indices)) if k not in taken]
    running = [lane for lane in lanes if lane.running]
    for number, lane in enumerate(sorted(running, key=_mean)):
        if time.monotonic() > deadline and number:
            lane.stopped = True
        elif rest:
            _run(lane, judge, rest)
    order = sorted(range(len(request.indices)), key=[*first, *rest].__getitem__)
    return RaceResult(finishes=tuple(_finish(lane, order) for lane in lanes))


def spread(count: int, wanted: int) -> list[int]:
    """Positions of the first round: evenly over all, since neighbours may be alike."""
    few = min(count, wanted)
    return [k * count // few for k in range(few)]


def behind(losses: Sequence[float], best: Sequence[float]) -> bool:
    """Whether a candidate is far behind the best one on the same samples."""
    n = len(losses)
    if n < 2 or n != len(best):
        return False
    differences = [a - b for a, b in zip(losses, best, strict=True)]
    mean = math.fsum(differences) / n
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    far = math.fsum(losses) > BEHIND * math.fsum(best)
    return far and mean > ERRORS * math.sqrt(variance / n)


def _start(lane: _Lane, number: int, job: Job, make: Make) -> None:
    entrant = lane.entrant
    job.progress(f"making {entrant.name}")
    if entrant.made is not None:
        lane.path = job.path(entrant.made)
        return
    folder = job.out / str(number)
    folder.mkdir()
    try:
        lane.inserted = made = make(entrant, folder)
    except UserError as error:
        lane.reason = error.line()
        return
    if made.artifact is None:
        lane.reason = "; ".join(made.notes) or "no node of this model can be quantised"
        return
    lane.path = folder / made.artifact.entry
    moved = [f"{number}/{name}" for name in made.artifact.files]
    artifact = replace(made.artifact, entry=f"{number}/{made.artifact.entry}", files=tuple(moved))
    lane.inserted = replace(made, artifact=artifact)


def _run(lane: _Lane, judge: Judge, places: Sequence[int]) -> None:
    if not lane.running or lane.path is None:
        return
    try:
        judge.score(lane.path, places, lane.totals)
    except MemoryError:
        raise
    except UserError as error:
        lane.reason = error.line()
    except Exception as error:  # noqa: BLE001 - a model that does not run loses, whatever it raises
        lane.reason = f"did not run: {' '.join(str(error).split())[:300]}"


def _losses(lane: _Lane) -> Sequence[float]:
    totals = lane.totals
    return totals.kls if totals.classified == totals.n else totals.relative


def _mean(lane: _Lane) -> float:
    losses = _losses(lane)
    whole = len(losses) == lane.totals.n and losses
    return math.fsum(losses) / len(losses) if whole else math.inf


def _stop(lanes: Sequence[_Lane], rivals: Sequence[Sequence[float]]) -> None:
    """End the race for those far behind the best of the first round."""
    running = [lane for lane in lanes if lane.running]
    rows = [*rivals, *(_losses(lane) for lane in running if math.isfinite(_mean(lane)))]
    if not rows:
        return
    best = min(rows, key=math.fsum)
    for lane in running:
        lane.stopped = lane.totals.nonfinite > 0 or behind(_losses(lane), best)


def _finish(lane: _Lane, order: Sequence[int]) -> Finish:
    """The score with its losses in the order of the samples."""
    score = None
    if lane.path is not None and lane.totals.n and not lane.reason:
        score = lane.totals.score(size_of(lane.path))
        if lane.stopped:
            score = replace(score, stopped=True)
        elif not score.nonfinite:
            losses = tuple(score.losses[k] for k in order)
            errors = tuple(score.errors[k] for k in order)
            score = replace(score, losses=losses, errors=errors)
    return Finish(name=lane.entrant.name, inserted=lane.inserted, score=score, reason=lane.reason)
