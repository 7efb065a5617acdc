"""Core tasks of this room: each runs in a child process."""

from __future__ import annotations

from seatrial.calibration.table import load, save
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.child import MODEL
from seatrial.quantize.graph import Graph
from seatrial.results import Artifact, Ref
from seatrial.samples import Samples

from . import bias
from .types import (
    CORRECT_MOST,
    WEIGH_MOST,
    Corrected,
    CorrectRequest,
    Weighed,
    WeighRequest,
)
from .weigh import spread
from .weigh import weigh as weighed


def weigh(request: WeighRequest, job: Job) -> Weighed:
    """Weigh the histograms of a calibration table; see :mod:`seatrial.recovery.weigh`.

    Raises:
        UserError: the store is empty, or the table holds no histograms.
    """
    samples = _samples(request.samples, job)
    table = load(job.path(request.ranges))
    if not any(t.histogram for t in table.tensors.values()):
        raise UserError("ranges", "weighted ranges need a table with histograms")
    indices = spread(samples.count, WEIGH_MOST, request.indices)
    path = job.path(request.model)
    made, uneven = weighed(path, table, samples, indices, seed=request.seed, job=job)
    return Weighed(artifact=save(made, job.out), tensors=len(made.tensors), uneven=uneven)


def correct(request: CorrectRequest, job: Job) -> Corrected:
    """Correct the biases of a Q/DQ model; see :mod:`seatrial.recovery.bias`.

    Raises:
        UserError: the store is empty.
    """
    samples = _samples(request.samples, job)
    indices = spread(samples.count, CORRECT_MOST, request.indices)
    graph = Graph.read(job.path(request.candidate))
    path = job.path(request.model)
    done = bias.correct(path, graph, samples, indices, seconds=request.seconds, job=job)
    return Corrected(
        artifact=Artifact(format="onnx", entry=MODEL, files=graph.write(job.out / MODEL)),
        layers=done.layers,
        skipped=done.skipped,
        samples=done.samples,
        shift=done.shift,
    )


def _samples(ref: Ref, job: Job) -> Samples:

    samples = Samples(job.path(ref))
    if not samples.count:
        raise UserError("calibration", "the sample store is empty")
    return samples
