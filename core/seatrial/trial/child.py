"""Small tasks of the trial that run in a child."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.hookspecs import Job
from seatrial.quantize.score import Totals
from seatrial.quantize.types import Score
from seatrial.results import Artifact, Ref
from seatrial.samples import Samples, StoreWriter


@record
class SubsetRequest:
    """Ask for a part of a sample store."""

    samples: Ref
    indices: tuple[int, ...]


@record
class Subset:
    """The part, a store of its own."""

    artifact: Artifact


def subset(request: SubsetRequest, job: Job) -> Subset:
    """Copy some samples of a store, with ids, hashes, groups and labels.

    Vendor quantizers take a whole store; the samples that the bake-off judges on must not be in it.
    """
    source = Samples(job.path(request.samples))
    writer = StoreWriter(job.out, len(request.indices), batch_axis=source.index["batch_axis"])
    for i in request.indices:
        writer.add({name: source.one(name, i) for name in source.names})
    labels = source.labels
    kept = ("schema", "count", "batch_axis", "tensors", "samples")
    files = writer.close(
        [source.index["samples"][i] for i in request.indices],
        None if labels is None else [labels[i] for i in request.indices],
        **{k: v for k, v in source.index.items() if k not in kept},
    )
    return Subset(artifact=Artifact(format="samples", entry="", files=files))


@record
class ScoreOutputsRequest:
    """Ask how far the outputs of one run are from those of another, over the same samples."""

    reference: Ref
    candidate: Ref
    bytes: int = 0


def score_outputs(request: ScoreOutputsRequest, job: Job) -> Score:
    """The bake-off's figures for outputs that exist already, a device's for instance."""
    expected = Samples(job.path(request.reference))
    got = Samples(job.path(request.candidate))
    if expected.count != got.count:
        raise ValueError(f"{got.count} outputs to compare with {expected.count}")
    totals = Totals()
    for i in range(expected.count):
        totals.add(
            {name: expected.one(name, i)[None] for name in expected.names},
            {name: got.one(name, i)[None] for name in got.names},
        )
    return totals.score(request.bytes)
