"""The child's part of sequences: run the float model step by step and keep its states."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.reference import open_model
from seatrial.results import Artifact, Ref
from seatrial.samples import Samples, StoreWriter


@record
class RolledRequest:
    """Ask for the states of all steps of a store of sequences."""

    model: Ref
    samples: Ref


@record
class Rolled:
    """The store, its state inputs filled in."""

    artifact: Artifact


def roll(request: RolledRequest, job: Job) -> Rolled:
    """Feed every step what the float model gave in the step before.

    Raises:
        UserError: a state has another shape than the input that takes it.
    """
    source = Samples(job.path(request.samples))
    session = open_model(job.path(request.model), threads=1)
    writer = StoreWriter(job.out, source.count, batch_axis=source.index["batch_axis"])
    before: dict[str, object] = {}
    for i in range(source.count):
        feeds = dict(source.feeds([i]))
        if source.follows(i):
            for output, name in source.state.items():
                value = before[output]
                if value.shape != feeds[name].shape:  # type: ignore[attr-defined]
                    shape = value.shape  # type: ignore[attr-defined]
                    reason = f"gives {shape} and input {name!r} takes {feeds[name].shape}"
                    raise UserError(f"output {output!r}", reason, place=source.ids[i])
                feeds[name] = value
        writer.add(feeds)
        before = session.run({n: feeds[n] for n in session.inputs if n in feeds})
        if i % 200 == 0:
            job.progress(f"step {i} of {source.count}", i / source.count)
    kept = ("schema", "count", "batch_axis", "tensors", "samples")
    files = writer.close(
        source.index["samples"],
        source.labels,
        **{k: v for k, v in source.index.items() if k not in kept},
    )
    return Rolled(artifact=Artifact(format="seatrial-samples", entry="", files=files))
