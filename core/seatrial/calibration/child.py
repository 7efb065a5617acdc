"""Core tasks of this room: each runs in a child process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.samples import Samples

from .checkpoint import Checkpoints
from .collect import Collector, worker_count
from .cost import Meter, duration
from .ready import Ready, Setup, get_ready
from .survey import survey_samples
from .table import save
from .types import (
    EXTREMES,
    FROM_EXTREMES,
    METHODS,
    SAMPLED,
    STATISTICS,
    Forecast,
    ForecastRequest,
    RangesRequest,
    RangesResult,
    RangeTable,
    SampleFlags,
    SurveyRequest,
)

#: Progress is reported at most this often, in seconds.
PROGRESS_S = 0.5

#: A forecast of its own observes at most this many samples.
FORECAST_SAMPLES = 24


def ranges(request: RangesRequest, job: Job) -> RangesResult:
    """Observe every activation that Q/DQ insertion may need.

    Raises:
        UserError: an unknown method, an empty store, a model whose opset is too old, or one that
            folding changes.
    """
    if request.method not in METHODS:
        raise UserError("method", f"{request.method!r} is not one of {', '.join(METHODS)}")
    statistics = _statistics(request)
    samples, indices = _samples(request, job)
    meter = Meter(worker_count(request.threads))
    ready = _ready(request, job, indices[0], statistics)
    collector = Collector(ready, _again(request, job), statistics, request.seed)
    checkpoints = Checkpoints(request, statistics, indices)
    meter.start(checkpoints.load(collector))
    if meter.resumed:
        job.progress(f"going on after {meter.resumed} of {len(indices)} samples")
    told = _Progress(job, meter, len(indices))
    for complete in collector.run(samples, indices, request.threads, checkpoints.due):
        told.tell(collector)
        if complete and collector.done < len(indices):
            checkpoints.save(collector)
    table = RangeTable(
        method=request.method,
        count=len(indices),
        tensors=collector.running.ranges(samples.ids, collector.histograms),
        statistics=statistics,
        seed=request.seed,
        model=request.identity.model,
        contract=request.identity.contract,
        data=request.identity.data,
    )
    result = RangesResult(
        artifact=save(table, job.out),
        sha256=table.sha256,
        count=len(indices),
        method=request.method,
        tensors=len(table.tensors),
        nonfinite=tuple(collector.nonfinite),
        flags=collector.flags.found(),
        forecast=told.forecast,
        spent=meter.spent(),
        notes=ready.notes,
    )
    checkpoints.remove()
    return result


def survey(request: SurveyRequest, job: Job) -> SampleFlags:
    """Say which samples of a store stand out, without a model."""
    samples = Samples(job.path(request.samples))
    job.progress(f"looking at {samples.count} samples")
    return survey_samples(samples, range(samples.count))


def forecast(request: ForecastRequest, job: Job) -> Forecast:
    """Make the set-up, observe a few samples and say what all of them will cost."""
    observed = RangesRequest(
        model=request.model,
        samples=request.samples,
        threads=request.threads,
        statistics=request.statistics,
    )
    samples, indices = _samples(observed, job)
    meter = Meter(worker_count(request.threads))
    ready = _ready(observed, job, indices[0], request.statistics)
    collector = Collector(ready, _again(observed, job), request.statistics)
    meter.start(0)
    for _ in collector.run(samples, _repeated(indices, meter.needed), request.threads):
        meter.tick(collector.done)
    return meter.forecast(request.count or len(indices), len(collector.histograms))


def _repeated(indices: Sequence[int], count: int) -> list[int]:
    return [indices[k % len(indices)] for k in range(count)]


def _samples(request: RangesRequest, job: Job) -> tuple[Samples, tuple[int, ...]]:
    samples = Samples(job.path(request.samples))
    indices = request.indices or tuple(range(samples.count))
    if not indices:
        raise UserError("calibration", "the sample store is empty")
    return samples, indices


def _statistics(request: RangesRequest) -> str:
    """What to collect; the method must be able to live on it."""
    needed = EXTREMES if request.method in FROM_EXTREMES else SAMPLED
    wanted = request.statistics or needed
    if wanted not in STATISTICS:
        raise UserError("statistics", f"{wanted!r} is not one of {', '.join(STATISTICS)}")
    if wanted == EXTREMES != needed:
        raise UserError("statistics", f"{request.method} needs histograms, not only extremes")
    return wanted


def _ready(request: RangesRequest, job: Job, sample: int, statistics: str) -> Ready:
    job.progress("preparing the graph", 0.0)
    folder = Path(tempfile.mkdtemp(dir=job.scratch))
    ready = get_ready(
        Setup(
            model=str(job.path(request.model)),
            folder=str(folder),
            samples=str(job.path(request.samples)),
            sample=sample,
            statistics=statistics,
        )
    )
    job.progress(f"observing {len(ready.tensors)} tensors", 0.0)
    return ready


def _again(request: RangesRequest, job: Job) -> Callable[[], Any]:
    """Gives the prepared graph once more, where a NaN has to be looked for."""

    def graph() -> Any:
        from seatrial.quantize.prepare import prepare

        return prepare(job.path(request.model)).graph

    return graph


class _Progress:
    """Says how far a pass is, not too often, and what it will cost once that is known."""

    def __init__(self, job: Job, meter: Meter, count: int) -> None:
        self.job = job
        self.meter = meter
        self.count = count
        self.last = 0.0
        self.forecast: Forecast | None = None

    def tell(self, collector: Collector) -> None:
        """After each inference."""
        done = collector.done
        self.meter.tick(done)
        if self.forecast is None and self.meter.known and done < self.count:
            self.forecast = self.meter.forecast(self.count, len(collector.histograms))
            took, memory = duration(self.forecast.seconds), self.forecast.memory_mb
            self.say(f"calibration of {self.count} samples: about {took}, {memory:.0f} MB", done)
        elif time.monotonic() - self.last > PROGRESS_S or done == self.count:
            left = self.meter.left_s(self.count)
            tail = f", {duration(left)} left" if left and done < self.count else ""
            self.say(f"calibrated {done} of {self.count} samples{tail}", done)

    def say(self, text: str, done: int) -> None:
        """One line."""
        self.last = time.monotonic()
        self.job.progress(text, done / self.count)
