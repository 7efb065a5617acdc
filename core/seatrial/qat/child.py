"""Core tasks of this room. ``train`` runs in the user's child: loader and loss are their code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from seatrial.calibration import choose, table
from seatrial.calibration.types import RangeTable, TensorRange
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.child import resolved
from seatrial.quantize.plan import Plan, make_plan
from seatrial.quantize.prepare import Prepared, prepare
from seatrial.quantize.scales import Scale, activation_scale
from seatrial.results import Artifact, QdqDialect, TensorIO
from seatrial.samples import Samples

from . import records as qr

#: Names of the files of a training's artefact.
TRAINED = "trained.onnx"

#: An exported model is the trained one if the power of their difference is below this share of the
#: power of the quantisation error: what is left then is rounding that fell the other way.
SHARE = 0.1


def train(request: qr.TrainRequest, job: Job) -> qr.TrainResult:
    """Fine-tune; checkpoints go to ``request.folder`` after every epoch.

    Raises:
        UserError: the model, the loader, the loss or a checkpoint is refused.
    """
    import torch

    from .net import loading
    from .net.network import settle
    from .net.train import Training

    request.settings.check()
    if request.settings.threads:
        torch.set_num_threads(request.settings.threads)
    job.progress("preparing the graph")
    prepared = prepare(job.path(request.model))
    ranges = _ranges(request, prepared, job)
    plan = make_plan(prepared.graph, has_range=lambda name: name in ranges)
    network = _network(prepared, plan, ranges, request.dialect, request.settings)
    samples = Samples(job.path(request.samples))
    note = _proven(network, prepared, samples, job.path(request.model), settle)
    loss = loading.open_loss(request.loss)
    job.progress("opening the loader")
    batches = loading.open_batches(request.train, request.validation, request.settings)
    training = Training(
        network=network,
        inputs=_inputs(prepared),
        loss=loss,
        batches=batches,
        settings=request.settings,
        folder=Path(request.folder),
        names=(request.train, request.loss),
        say=job.progress,
    )
    started = time.monotonic()
    training.run()
    files = _write(prepared, network, job.out)
    earlier = sum(e.seconds for e in training.history[: training.resumed + 1])
    return qr.TrainResult(
        artifact=Artifact(format="trained", entry=TRAINED, files=files),
        best=training.best,
        epochs=tuple(training.history),
        float_loss=training.float_loss,
        learnt=len(network.roots),
        calibrate=tuple(n for n in plan.roots if n not in network.roots),
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        folded=len(prepared.folded),
        frozen=sum(n.op_type == "BatchNormalization" for n in prepared.graph.nodes),
        train_samples=batches.train_samples,
        validation_samples=batches.validation_samples,
        resumed=training.resumed,
        seconds=round(earlier + time.monotonic() - started, 3),
        notes=(*_notes(network, batches, samples), *((note,) if note else ())),
    )


def merge(request: qr.MergeRequest, job: Job) -> qr.Merged:
    """Learnt ranges, and calibrated ones for the rest."""
    learnt = table.load(job.path(request.learnt))
    observed = table.load(job.path(request.observed))
    ranges = choose.chosen(observed, request.method, symmetric=request.symmetric)
    missing = {n: r for n, r in ranges.items() if n not in learnt.tensors}
    merged = {**learnt.tensors, **{n: _range(*r) for n, r in missing.items()}}
    made = RangeTable(method="minmax", count=observed.count, tensors=merged)
    return qr.Merged(artifact=table.save(made, job.out), calibrated=len(missing))


def verify(request: qr.VerifyRequest, job: Job) -> qr.Verified:
    """Run the trained net and the exported model over the same samples."""
    import math

    import numpy as np
    import torch

    from seatrial.reference import open_model

    from .net.network import feeds_of, settle

    prepared = prepare(job.path(request.trained))
    ranges = choose.chosen(table.load(job.path(request.ranges)))
    plan = make_plan(prepared.graph, has_range=lambda name: name in ranges)
    network = _network(prepared, plan, ranges, request.dialect, qr.Settings())
    samples = Samples(job.path(request.samples))
    settle(network, feeds_of(samples, _few(samples), network.inputs), _fixed(prepared))
    exported = open_model(job.path(request.exported), optimize="none")
    difference = error = signal = 0.0
    for i in request.indices:
        feeds = feeds_of(samples, [i], network.inputs)
        group = next(exported.groups(samples, [i]))
        given = exported.run(
            {n: v for n, v in samples.feeds(group).items() if n in exported.inputs}
        )
        with torch.no_grad():
            network.quantised = True
            trained = network(feeds)
            network.quantised = False
            plain = network(feeds)
        for name, value in trained.items():
            got = np.asarray(given[name], np.float64)[: len(value)]
            y, z = value.double().numpy(), plain[name].double().numpy()
            difference += float(((got - y) ** 2).sum())
            error += float(((y - z) ** 2).sum())
            signal += float((y**2).sum())
    ratio = difference / error if error else float(difference > 0)
    sqnr = min(200.0, 10 * math.log10(max(signal, 1e-300) / max(difference, 1e-300)))
    return qr.Verified(n=len(request.indices), equal=ratio < SHARE, ratio=ratio, sqnr_db=sqnr)


# --- parts --------------------------------------------------------------------------------------


def _ranges(request: qr.TrainRequest, prepared: Prepared, job: Job) -> dict[str, choose.Range]:
    """Ranges of all tensors, those that only move observed values among them."""
    try:
        found = choose.chosen(
            table.load(job.path(request.ranges)),
            request.method,
            symmetric=request.dialect.symmetric,
        )
    except ValueError as error:
        raise UserError("ranges", str(error)) from None
    producers = prepared.graph.producers()
    names = [n for node in prepared.graph.nodes for n in node.output if n]
    every = {n: resolved(n, found, producers) for n in names}
    return {**found, **{n: r for n, r in every.items() if r is not None}}


def _network(
    prepared: Prepared,
    plan: Plan,
    ranges: dict[str, choose.Range],
    dialect: QdqDialect,
    settings: qr.Settings,
) -> Any:
    from .net.network import Network

    if not any(u.weight for u in plan.units):
        raise UserError(
            "model", "no layer with constant weights can be quantised: nothing to train"
        )
    scales: dict[str, Scale] = {}
    wanted = _wanted(plan, settings.layers)
    for root, names in plan.groups.items():
        if root in wanted:
            lo = min(ranges[n][0] for n in names)
            hi = max(ranges[n][1] for n in names)
            scales[root] = activation_scale(lo, hi, dialect)
    return Network(prepared.graph, plan, dialect, scales, learn_ranges=settings.learn_ranges)


def _wanted(plan: Plan, layers: str) -> set[str]:
    """Groups whose activations are fake-quantised in training."""
    if layers == qr.ALL:
        return set(plan.groups)
    return {plan.roots[u.inputs[0]] for u in plan.units if u.weight}


def _proven(network: Any, prepared: Prepared, samples: Samples, path: Path, settle: Any) -> str:
    """Hold the net in torch against the reference, without quantisation.

    Raises:
        UserError: they differ: training would not train this model.
    """
    import numpy as np
    import torch

    from seatrial.layout.compare import distance
    from seatrial.reference import open_model

    from .net.network import feeds_of

    indices = _few(samples)
    note: str = settle(network, feeds_of(samples, indices, network.inputs), _fixed(prepared))
    original = open_model(path, threads=1)
    for i in indices:
        group = next(original.groups(samples, [i]))
        feeds = {n: v for n, v in samples.feeds(group).items() if n in original.inputs}
        expected = original.run(feeds)
        network.quantised = False
        with torch.no_grad():
            got = network(feeds_of(samples, [i], network.inputs))
        network.quantised = True
        for name, value in got.items():
            far = distance(np.asarray(expected[name])[: len(value)], value.numpy())[1]
            if not far <= 1e-3:
                raise UserError(
                    path.name,
                    f"run by torch its output is off by {far:.2g} of its magnitude",
                    place=name,
                    advice="training would not train this model",
                )
    return note


def _few(samples: Samples) -> list[int]:
    if samples.count < 2:
        raise UserError("--calibration", "one sample is too few")
    return list(range(min(3, samples.count)))


def _fixed(prepared: Prepared) -> int:
    """The batch that the model is fixed to; 0: free."""
    inputs = prepared.graph.proto.input
    dims = inputs[0].type.tensor_type.shape.dim if inputs else ()
    return int(dims[0].dim_value) if dims and dims[0].HasField("dim_value") else 0


def _inputs(prepared: Prepared) -> tuple[TensorIO, ...]:
    import onnx

    found = []
    for value in prepared.graph.proto.input:
        kind = value.type.tensor_type
        found.append(
            TensorIO(
                name=value.name,
                dtype=str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)),
                shape=tuple(
                    d.dim_value if d.HasField("dim_value") else (d.dim_param or "?")
                    for d in kind.shape.dim
                ),
            )
        )
    return tuple(found)


def _write(prepared: Prepared, network: Any, out: Path) -> tuple[str, ...]:
    """The float graph with the learnt weights, and the table of the learnt ranges."""
    for name, value in network.values().items():
        prepared.graph.set_constant(name, value.detach().numpy())
    files = prepared.graph.write(out / TRAINED)
    learnt = {n: _range(*r) for n, r in network.ranges().items()}
    made = table.save(RangeTable(method="minmax", count=1, tensors=learnt), out)
    return (*files, *made.files)


def _range(lo: float, hi: float) -> TensorRange:
    return TensorRange(lo=lo, hi=hi, count=1)


def _notes(network: Any, batches: Any, samples: Samples) -> tuple[str, ...]:
    """What looks odd: training data on another scale than the calibration data."""
    from .net import loading

    batch = next(iter(batches.validation))
    feeds, _ = loading.split(batch, network.inputs, "")
    notes = []
    for name, value in feeds.items():
        stored = samples.feeds(range(min(samples.count, 64)))[name]
        if not value.is_floating_point():
            continue
        a, b = float(value.std()), float(stored.std())
        shift = abs(float(value.mean()) - float(stored.mean()))
        if not 0.5 < a / (b or 1.0) < 2 or shift > (b or 1.0):
            notes.append(
                f"the training data of {name} has mean {float(value.mean()):.3g} and deviation "
                f"{a:.3g}, the calibration data {float(stored.mean()):.3g} and {b:.3g}: "
                "is the preprocessing the same?"
            )
    return tuple(notes)
