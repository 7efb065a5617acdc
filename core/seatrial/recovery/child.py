"""Core tasks of this room: each runs in a child process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seatrial.calibration.table import load, save
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.child import MODEL, insert_into
from seatrial.quantize.graph import Graph
from seatrial.results import Artifact, Ref
from seatrial.samples import Samples

from . import bias, rounding
from . import rescale as rescaling
from .types import (
    CORRECT_MOST,
    EQUALISED,
    PROVE_MOST,
    RESCALE_MOST,
    ROUND_MOST,
    WEIGH_MOST,
    Corrected,
    CorrectRequest,
    MadeModel,
    MakeRequest,
    Rescaled,
    RescaleRequest,
    Rounded,
    RoundRequest,
    Weighed,
    WeighRequest,
)
from .weigh import spread
from .weigh import weigh as weighed

#: Name of the rewritten float model.
RESCALED = "model.rescaled.onnx"


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
    return _correct(request, job, job.path(request.candidate))


def make(request: MakeRequest, job: Job) -> MadeModel:
    """Insert Q/DQ pairs and correct the biases of what comes out.

    Raises:
        UserError: the insertion refuses the model or the request, or the store is empty.
    """
    inserted = insert_into(request.insert, job, job.scratch)
    left_out = replace(inserted, artifact=None)
    if inserted.artifact is None:
        return MadeModel(inserted=left_out)
    model, samples = request.insert.model, request.samples
    # The pairs have no object of their own: only the corrected model is kept.
    asked = CorrectRequest(model=model, candidate=model, samples=samples, seconds=request.seconds)
    corrected = _correct(asked, job, job.scratch / inserted.artifact.entry)
    return MadeModel(inserted=left_out, corrected=corrected)


def _correct(request: CorrectRequest, job: Job, candidate: Path) -> Corrected:
    samples = _samples(request.samples, job)
    indices = spread(samples.count, CORRECT_MOST, request.indices)
    graph = Graph.read(candidate)
    path = job.path(request.model)
    done = bias.correct(path, graph, samples, indices, seconds=request.seconds, job=job)
    return Corrected(
        artifact=Artifact(format="onnx", entry=MODEL, files=graph.write(job.out / MODEL)),
        layers=done.layers,
        skipped=done.skipped,
        samples=done.samples,
        shift=done.shift,
    )


def round_weights(request: RoundRequest, job: Job) -> Rounded:
    """Round the weights of a Q/DQ model anew; see :mod:`seatrial.recovery.rounding`.

    Raises:
        UserError: the store is empty.
    """
    samples = _samples(request.samples, job)
    graph = Graph.read(job.path(request.candidate))
    done = rounding.round_weights(
        job.path(request.model),
        graph,
        samples,
        spread(samples.count, ROUND_MOST, request.indices),
        limit=request.limit,
        seed=request.seed,
        seconds=request.seconds,
        job=job,
    )
    artifact = Artifact(format="onnx", entry=MODEL, files=graph.write(job.out / MODEL))
    return Rounded(artifact=artifact, done=done)


def rescale(request: RescaleRequest, job: Job) -> Rescaled:
    """Scale channels of the float model; see :mod:`seatrial.recovery.rescale`.

    Raises:
        UserError: the store is empty.
    """
    samples = _samples(request.samples, job)
    path = job.path(request.model)
    indices = spread(samples.count, RESCALE_MOST)
    done = rescaling.rescale(path, request.kind, samples, indices, seed=request.seed, job=job)
    if not done.sites:
        return Rescaled(artifact=None, note="no channels to scale")
    files = done.prepared.graph.write(job.out / RESCALED)
    proof = spread(samples.count, PROVE_MOST)
    off = rescaling.difference(path, job.out / RESCALED, samples, proof)
    made = Rescaled(
        artifact=None,
        sites=done.sites,
        spread=done.spread,
        difference=min(off, 1e9),
        proven=len(proof),
        folded=done.prepared.folded,
        removed=tuple(done.prepared.removed),
    )
    if not off <= rescaling.ROUNDING:
        note = f"refused: its outputs are off by {off:.1e} of their peak, more than float rounding"
        return replace(made, note=note)
    note = f"{_what(request.kind, done)}; outputs equal to {off:.0e} on {len(proof)} samples"
    return replace(made, note=note, artifact=Artifact(format="onnx", entry=RESCALED, files=files))


def _what(kind: str, done: rescaling.Rescaled) -> str:
    factor = f"scales up to {done.spread:.3g} to 1"
    if kind == EQUALISED:
        return f"{done.sites} pairs of layers equalised, {factor}"
    strengths = sorted(set(done.strengths))
    told = f"{strengths[0]:g}" if len(strengths) == 1 else f"{strengths[0]:g} to {strengths[-1]:g}"
    return f"inputs of matrix products smoothed at {done.sites} places, strength {told}, {factor}"


def _samples(ref: Ref, job: Job) -> Samples:
    samples = Samples(job.path(ref))
    if not samples.count:
        raise UserError("calibration", "the sample store is empty")
    return samples
