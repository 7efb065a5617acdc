"""Core tasks of this room: each runs in a child process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.plan import make_plan
from seatrial.quantize.prepare import Prepared, prepare
from seatrial.samples import Samples

from .collect import Collector
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
from .verify import check_prepared

#: Progress is reported at most this often, in seconds.
PROGRESS_S = 0.5


def ranges(request: RangesRequest, job: Job) -> RangesResult:
    """Observe every activation that Q/DQ insertion may need.

    Raises:
        UserError: an unknown method, an empty store, a model whose opset is too old, or one that
            folding changes.
    """
    if request.method not in METHODS:
        raise UserError("method", f"{request.method!r} is not one of {', '.join(METHODS)}")
    statistics = _statistics(request)
    samples = Samples(job.path(request.samples))
    indices = request.indices or tuple(range(samples.count))
    if not indices:
        raise UserError("calibration", "the sample store is empty")
    job.progress("preparing the graph", 0.0)
    path = job.path(request.model)
    prepared = prepare(path)
    check_prepared(path, prepared, samples, indices[0])
    notes = tuple(prepared.notes)
    collector = _collector(path, prepared, job, statistics, request.seed)
    del prepared
    started = time.monotonic()
    _observe(collector, samples, indices, request.threads, job)
    seconds = time.monotonic() - started
    found = {name: extremes.result() for name, extremes in collector.ranges.items()}
    table = RangeTable(
        method=request.method,
        count=len(indices),
        tensors=found,
        statistics=statistics,
        seed=request.seed,
    )
    return RangesResult(
        artifact=save(table, job.out),
        sha256=table.sha256,
        count=len(indices),
        method=request.method,
        tensors=len(found),
        nonfinite=tuple(collector.nonfinite),
        flags=survey_samples(samples, indices),
        seconds=seconds,
        notes=notes + ((collector.note,) if collector.note else ()),
    )


def survey(request: SurveyRequest, job: Job) -> SampleFlags:
    """Say which samples of a store stand out, without a model."""
    samples = Samples(job.path(request.samples))
    job.progress(f"looking at {samples.count} samples")
    return survey_samples(samples, range(samples.count))


def forecast(request: ForecastRequest, job: Job) -> Forecast:
    """Time the setup and two samples."""
    samples = Samples(job.path(request.samples))
    if not samples.count:
        raise UserError("calibration", "the sample store is empty")
    started = time.monotonic()
    path = job.path(request.model)
    collector = _collector(path, prepare(path), job, request.statistics)
    setup = time.monotonic() - started
    times = []
    for i in range(min(2, samples.count)):
        started = time.monotonic()
        _observe(collector, samples, [i], 1, job)
        times.append(time.monotonic() - started)
    each = times[-1]
    count = request.count or samples.count
    return Forecast(seconds=setup + count * each, setup_s=setup, sample_s=each)


def _statistics(request: RangesRequest) -> str:
    """What to collect; the method must be able to live on it."""
    needed = EXTREMES if request.method in FROM_EXTREMES else SAMPLED
    wanted = request.statistics or needed
    if wanted not in STATISTICS:
        raise UserError("statistics", f"{wanted!r} is not one of {', '.join(STATISTICS)}")
    if wanted == EXTREMES != needed:
        raise UserError("statistics", f"{request.method} needs histograms, not only extremes")
    return wanted


def _collector(
    path: Path, prepared: Prepared, job: Job, statistics: str = EXTREMES, seed: int = 0
) -> Collector:
    plan = make_plan(prepared.graph)
    job.progress(f"observing {len(plan.observe)} tensors", 0.0)
    return Collector(
        prepared.graph,
        plan.observe,
        job.scratch,
        again=lambda: prepare(path).graph,
        statistics=statistics,
        seed=seed,
    )


def _observe(
    collector: Collector, samples: Samples, indices: Sequence[int], threads: int, job: Job
) -> None:
    last = 0.0
    for done in collector.run(samples, indices, threads):
        now = time.monotonic()
        if now - last > PROGRESS_S or done == len(indices):
            last = now
            job.progress(f"calibrated {done} of {len(indices)} samples", done / len(indices))
