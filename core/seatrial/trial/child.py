"""Small tasks of the trial that run in a child."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.score import Totals
from seatrial.quantize.types import Score
from seatrial.results import Artifact, Ref, TensorIO
from seatrial.samples import Samples, StoreWriter


@record
class SubsetRequest:
    """Ask for a part of a sample store.

    Attributes:
        indices: which samples.
        reverse: by input an axis of its samples, batch axis left out, that is turned round.
    """

    samples: Ref
    indices: tuple[int, ...]
    reverse: Mapping[str, int] = field(default_factory=dict)


@record
class Subset:
    """The part, a store of its own."""

    artifact: Artifact


def subset(request: SubsetRequest, job: Job) -> Subset:
    """Copy some samples of a store, with ids, hashes, groups and labels.

    Vendor quantizers take a whole store; the samples that the bake-off judges on must not be in it.
    """
    import numpy as np

    source = Samples(job.path(request.samples))
    writer = StoreWriter(job.out, len(request.indices), batch_axis=source.index["batch_axis"])
    for i in request.indices:
        sample = {name: source.one(name, i) for name in source.names}
        turned = {n: np.flip(sample[n], axis) for n, axis in request.reverse.items()}
        writer.add(sample | turned)
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


@record
class SyntheticRequest:
    """Ask for random inputs to time a model with; never to calibrate or to judge it.

    Attributes:
        inputs: of the model; a free first dimension is the batch, other free ones are an error.
        batch: size of the batch axis.
    """

    inputs: tuple[TensorIO, ...]
    count: int
    seed: int
    batch: int = 1


def synthetic(request: SyntheticRequest, job: Job) -> Subset:
    """Write a store of random samples: uniform in [0, 1), small integers for integer inputs.

    Raises:
        UserError: an input has a free dimension besides the batch, or a type without numbers.
    """
    import numpy as np

    rng = np.random.default_rng(request.seed)
    stacked = all(t.shape and t.shape[0] in (request.batch, *_texts(t)) for t in request.inputs)
    writer = StoreWriter(job.out, request.count, batch_axis=stacked)
    for _ in range(request.count):
        writer.add({t.name: _random(rng, t, stacked) for t in request.inputs})
    samples = [{"id": f"random-{i}", "sha256": ""} for i in range(request.count)]
    files = writer.close(samples, synthetic=True)
    return Subset(artifact=Artifact(format="samples", entry="", files=files))


def _texts(tensor: TensorIO) -> tuple[str, ...]:
    return tuple(d for d in tensor.shape[:1] if isinstance(d, str))


def _random(rng: Any, tensor: TensorIO, stacked: bool) -> Any:
    import numpy as np

    shape = tensor.shape[1:] if stacked else tensor.shape
    free = [d for d in shape if isinstance(d, str)]
    if free:
        raise UserError(
            tensor.name,
            f"dimension {free[0]!r} is free",
            advice=f"--shape {tensor.name}=1x..., or --data SRC",
        )
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    raise UserError(tensor.name, f"cannot be fed with random {tensor.dtype}", advice="--data SRC")
