"""Core tasks around the user's module itself: what it takes, what it does, its outputs."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.export import findings, steady
from seatrial.export.gate import measured
from seatrial.export.module_records import (
    Described,
    DescribeRequest,
    OutputsRequest,
    OutputsResult,
    StudyRequest,
    StudyResult,
    Variant,
    VariantRun,
)
from seatrial.export.module_run import ModuleRun, quiet, watched_passes
from seatrial.export.torch_module import Built, array, build, call, tensors
from seatrial.export.yardstick import Yardstick
from seatrial.hookspecs import Job
from seatrial.results import Artifact, TensorIO
from seatrial.samples import Samples


def describe(request: DescribeRequest, job: Job) -> Described:
    """Build the module and say what it takes."""
    import torch

    with quiet():
        built = build(request.spec, job)
    inputs = []
    for k, name in enumerate(built.names):
        given = built.example[k] if built.example and k < len(built.example) else None
        value = array(given) if torch.is_tensor(given) else None
        inputs.append(
            TensorIO(
                name=name,
                dtype=str(value.dtype) if value is not None else "",
                shape=tuple(value.shape) if value is not None else (),
            )
        )
    numbers = getattr(built.module, "parameters", list)
    return Described(
        inputs=tuple(inputs),
        optional=built.optional,
        example=built.example is not None,
        parameters=sum(p.numel() for p in numbers()),
        torch=str(torch.__version__),
        notes=built.notes,
    )


def outputs(request: OutputsRequest, job: Job) -> OutputsResult:
    """The module's outputs over samples, under the names of the exported model's."""
    with quiet():
        runner = ModuleRun(build(request.spec, job), request.spec.location, request.outputs)
        runner.settle()
        samples = Samples(job.path(request.samples))
        indices = request.indices or tuple(range(samples.count))
        artifact = runner.store(job, samples, indices, "", batch=request.batch)
    return OutputsResult(artifact=artifact, names=runner.names)


def study(request: StudyRequest, job: Job) -> StudyResult:
    """Watch the module, check that it is a function, and run it in float32 and as a yardstick."""
    samples = Samples(job.path(request.samples))
    with quiet():
        built = build(request.spec, job)
        problems = list(findings.training(built, request.spec.location))
        run = ModuleRun(built, request.spec.location)
        run.settle()
        original = _copied(built)
        first = request.indices[0]
        watched = watched_passes(run, samples, [first], [first])
        begin = time.monotonic()
        files = _prefixed(run.store(job, samples, request.indices, "fp32"), "fp32")
        call_s = (time.monotonic() - begin) / len(request.indices)
        varies = steady.order_matters(run, original, samples, request.indices)
        problems += findings.watched(*watched, varies=varies)
        problems += steady.coupled(run, samples, request.indices)
        problems += steady.values(run, job, samples, request)
        exact = Yardstick(original, run, request.seed)
        some = [request.indices[k] for k in measured(len(request.indices))]
        files += _prefixed(exact.store(job, samples, some), "exact")
        runs = [
            _variant(
                run,
                exact,
                resized(samples, request.indices, v.sizes),
                v,
                job.out / "variants" / str(k),
            )
            for k, v in enumerate(request.variants)
        ]
    files += sorted(
        p.relative_to(job.out).as_posix() for p in (job.out / "variants").glob("*/*.npy")
    )
    return StudyResult(
        artifact=Artifact(format="seatrial-study", entry="", files=tuple(files)),
        outputs=run.names,
        yardstick=exact.kind,
        problems=tuple(problems),
        variants=tuple(runs),
        scripted=findings.escapes(watched[0]),
        lines=findings.lines(watched[1]),
        touched=findings.lines(watched[1], every=True),
        call_s=call_s,
    )


def _prefixed(artifact: Artifact, folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in artifact.files]


def _copied(built: Built) -> Any:
    """A copy from before the first call, for the yardstick; ``None`` when it cannot be copied."""
    if built.program is not None:
        return None
    try:
        return copy.deepcopy(built.module)
    except Exception:  # noqa: BLE001  # modules with locks, handles, generators
        return None


def _variant(
    run: ModuleRun,
    exact: Yardstick,
    feeds: Mapping[str, Any],
    variant: Variant,
    folder: Path,
) -> VariantRun:
    """Run the module at another size and keep what went in and came out."""
    import numpy as np

    inputs = tensors(feeds, run.built.names)
    try:
        got = run.named(call(run.built.module, run.built.names, inputs))
    except Exception as error:  # noqa: BLE001  # a refusal is what the probe asks about
        place = findings.place_of(error)
        text = " ".join(str(error).split())[:200]
        return VariantRun(
            label=variant.label, ok=False, reason=text, file=place.file, line=place.line
        )
    if not variant.kept:
        return VariantRun(label=variant.label, ok=True)
    folder.mkdir(parents=True)
    for i, name in enumerate(variant.sizes):
        np.save(folder / f"in-{i}.npy", feeds[name])
    for i, value in enumerate(got.values()):
        np.save(folder / f"out-{i}.npy", value)
    if exact.kind == "fp64":
        try:
            for i, value in enumerate(exact(feeds).values()):
                np.save(folder / f"exact-{i}.npy", value)
        except Exception:  # noqa: BLE001  # then the general bound is used
            traceback.print_exc()
    return VariantRun(label=variant.label, ok=True)


def resized(
    samples: Samples, indices: Sequence[int], sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Feeds of other sizes: samples repeated along the batch, wrapped around along other axes."""
    import numpy as np

    feeds = {}
    for name, shape in sizes.items():
        rows = shape[0] if samples.index.get("batch_axis", True) else 1
        picked = [indices[k % len(indices)] for k in range(rows)]
        value = samples.feeds(picked)[name] if rows > 1 else samples.feeds(picked[:1])[name]
        for axis, size in enumerate(shape):
            if value.shape[axis] != size:
                value = np.take(value, np.arange(size) % value.shape[axis], axis=axis)
        feeds[name] = np.ascontiguousarray(value)
    return feeds
