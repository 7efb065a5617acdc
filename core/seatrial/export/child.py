"""Core tasks around the user's module itself: what it takes, what it does, its outputs."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seatrial.export import findings, watch
from seatrial.export.records import (
    Described,
    DescribeRequest,
    OutputsRequest,
    OutputsResult,
    Problem,
    StudyRequest,
    StudyResult,
    Variant,
    VariantRun,
)
from seatrial.export.torch_module import Built, array, blame, build, call, flatten, seed, tensors
from seatrial.hookspecs import Job
from seatrial.results import Artifact, TensorIO
from seatrial.samples import Samples
from seatrial.session import OutputStore

#: Samples whose outputs are kept in memory to see whether the order of calls matters.
ORDER_CHECKED = 8
#: Difference over scale that batch mates may make: other kernels for other batch sizes.
COUPLED = 1e-3


def describe(request: DescribeRequest, job: Job) -> Described:
    """Build the module and say what it takes."""
    import torch

    with quiet():
        built = build(request.spec, job)
    inputs = []
    for k, name in enumerate(built.names):
        given = built.example[k] if built.example and k < len(built.example) else None
        known = torch.is_tensor(given)
        inputs.append(
            TensorIO(
                name=name,
                dtype=str(array(given).dtype) if known else "",
                shape=tuple(given.shape) if known else (),
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
        watched = _watch(run, samples, request.indices[0])
        files = _prefixed(run.store(job, samples, request.indices, "fp32"), "fp32")
        varies = _order_matters(run, samples, request.indices)
        problems += findings.watched(*watched, varies=varies)
        problems += _coupled(run, samples, request.indices)
        exact = Yardstick(original, run, request.seed)
        files += _prefixed(exact.store(job, samples, request.indices), "exact")
        runs = [
            _variant(run, exact, samples, request, v, job.out / "variants" / str(k))
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
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no warnings."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


class ModuleRun:
    """Feeds samples to the module and names its outputs.

    Args:
        built: the module.
        location: for messages.
        names: of the outputs; empty: by their keys or positions.
    """

    def __init__(self, built: Built, location: str, names: Sequence[str] = ()) -> None:
        self.built = built
        self.location = location
        self.names: tuple[str, ...] = tuple(names)

    def settle(self) -> None:
        """Evaluation mode; exported programs have theirs built in."""
        if self.built.program is None:
            self.built.module.eval()

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Numpy feeds in, numpy outputs out."""
        return self.named(self.raw(tensors(feeds, self.built.names)))

    def raw(self, inputs: Sequence[Any]) -> Any:
        """Call the module; UserError names the user's line when it raises."""
        try:
            return call(self.built.module, self.built.names, inputs)
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            blame(self.location, error)

    def named(self, value: Any) -> dict[str, Any]:
        """Outputs as arrays by name."""
        found = flatten(value)
        if not self.names:
            self.names = tuple(n for n, _ in found)
        return {n: array(t) for n, (_, t) in zip(self.names, found, strict=True)}

    def store(
        self, job: Job, samples: Samples, indices: Sequence[int], folder: str, *, batch: int = 1
    ) -> Artifact:
        """Write the outputs over samples as a store."""
        root = job.out / folder if folder else job.out / "outputs"
        store = OutputStore(root, samples, indices, batch)
        for start in range(0, len(indices), batch):
            group = list(indices[start : start + batch])
            used = len(group)
            group += group[-1:] * (batch - used)
            job.progress(f"module {folder}", start / len(indices))
            store.add(self(samples.feeds(group)), used)
        artifact = store.close()
        if folder:
            return artifact
        return Artifact(
            format=artifact.format, entry="", files=tuple(f"outputs/{f}" for f in artifact.files)
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


def _watch(run: ModuleRun, samples: Samples, index: int) -> tuple[watch.Trace, watch.Trace]:
    """Two watched passes over one sample."""
    traces = []
    for _ in range(2):
        given = tensors(samples.feeds([index]), run.built.names)
        inputs = dict(zip(run.built.names, given, strict=True))
        with watch.watched(run.built.module, inputs) as trace:
            value = run.raw(given)
        run.named(value)
        traces.append(trace)
    return traces[0], traces[1]


def _order_matters(run: ModuleRun, samples: Samples, indices: Sequence[int]) -> float:
    """Largest scale-aware difference between two passes, the second in reversed order."""
    import numpy as np

    some = list(indices[:ORDER_CHECKED])
    first = {i: run(samples.feeds([i])) for i in some}
    worst = 0.0
    for i in [*reversed(some), some[0]]:
        for name, value in run(samples.feeds([i])).items():
            worst = max(worst, difference(first[i][name], value))
    return float(np.minimum(worst, 1e30))


def difference(one: Any, other: Any) -> float:
    """Largest difference over the largest magnitude; infinite for other shapes or NaNs."""
    import numpy as np

    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return float("inf")
    if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
        return 0.0
    if a.dtype.kind not in "fc":
        return 1.0
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not finite.any():
        return float("inf")
    scale = float(np.abs(a[finite]).max()) or 1.0
    return float(np.abs(a[finite].astype(np.float64) - b[finite]).max()) / scale


def _coupled(run: ModuleRun, samples: Samples, indices: Sequence[int]) -> list[Problem]:
    """Whether a sample's output depends on what else is in its batch."""
    if len(indices) < 2 or not samples.index.get("batch_axis", True):
        return []
    pair = list(indices[:2])
    try:
        feeds = samples.feeds(pair)
        together = run.named(
            call(run.built.module, run.built.names, tensors(feeds, run.built.names))
        )
    except Exception:  # noqa: BLE001  # it takes no batch of two: the axis probe says so
        return []
    for k, i in enumerate(pair):
        alone = run(samples.feeds([i]))
        for name, value in together.items():
            if value.ndim and value.shape[0] == 2 and alone[name].shape[:1] == (1,):
                gap = difference(alone[name][0], value[k])
                if gap > COUPLED:
                    return [findings.coupled(name, gap)]
    return []


class Yardstick:
    """The same module in float64, else with its weights moved by half a unit in the last place.

    Args:
        module: a copy of the module that was never called, or ``None``.
        run: how the module is called.
        seed: of the moves.
    """

    def __init__(self, module: Any, run: ModuleRun, seed: int) -> None:
        self.kind = ""
        self.run = run
        self.seed = seed
        self.module = module

    def store(self, job: Job, samples: Samples, indices: Sequence[int]) -> Artifact:
        """Write its outputs; a kind that fails on the way gives way to the next."""
        import shutil

        for kind in ("fp64", "ulp"):
            root = job.out / "exact"
            shutil.rmtree(root, ignore_errors=True)
            try:
                self._prepare(kind)
                store = OutputStore(root, samples, indices, 1)
                for i in indices:
                    store.add(self(samples.feeds([i])), 1)
                return store.close()
            except Exception:  # noqa: BLE001  # no yardstick is no fault
                self.kind = ""
                traceback.print_exc()
        shutil.rmtree(job.out / "exact", ignore_errors=True)
        return Artifact(format="none", entry="", files=())

    def _prepare(self, kind: str) -> None:
        import torch

        if self.module is None:
            raise ValueError("the module cannot be copied")
        self.kind = kind
        self.working = copy.deepcopy(self.module)
        if kind == "fp64":
            self.working.double()
            return
        generator = torch.Generator().manual_seed(self.seed)
        for value in [*self.working.parameters(), *self.working.buffers()]:
            if value.is_floating_point():
                value.mul_(1 + _half_ulps(value.shape, generator))

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs for one sample, in the yardstick's own precision."""
        import torch

        if not self.kind:
            raise ValueError("no yardstick")
        inputs = tensors(feeds, self.run.built.names)
        seed(0)
        if self.kind == "ulp":
            generator = torch.Generator().manual_seed(self.seed)
            inputs = tuple(
                t * (1 + _half_ulps(t.shape, generator)) if t.is_floating_point() else t
                for t in inputs
            )
            return self._named(inputs)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return self._named([t.double() if t.is_floating_point() else t for t in inputs])
        finally:
            torch.set_default_dtype(before)

    def _named(self, inputs: Sequence[Any]) -> dict[str, Any]:
        return self.run.named(call(self.working, self.run.built.names, inputs))


def _half_ulps(shape: Any, generator: Any) -> Any:
    import torch

    return (torch.rand(shape, generator=generator) * 2 - 1) * 2.0**-24


def _variant(
    run: ModuleRun,
    exact: Yardstick,
    samples: Samples,
    request: StudyRequest,
    variant: Variant,
    folder: Path,
) -> VariantRun:
    """Run the module at another size and keep what went in and came out."""
    import numpy as np

    feeds = resized(samples, request.indices, variant.sizes)
    inputs = tensors(feeds, run.built.names)
    try:
        got = run.named(call(run.built.module, run.built.names, inputs))
    except Exception as error:  # noqa: BLE001  # a refusal is what the probe asks about
        place = findings.place_of(error)
        text = " ".join(str(error).split())[:200]
        return VariantRun(
            label=variant.label, ok=False, reason=text, file=place.file, line=place.line
        )
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
