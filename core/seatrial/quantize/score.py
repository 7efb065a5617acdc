"""How far a candidate's outputs are from the float model's. Runs in a child only."""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.reference import ReferenceSession, open_model
from seatrial.samples import Samples

from .types import Score, ScoreRequest

#: Sums of probabilities may be off by this much: float32 rounding of 1,000 classes.
SUM_TOLERANCE = 1e-3


#: Samples that run at a time: more only costs memory.
WORKERS_MAX = 4

#: The float model's outputs for one sample.
Expected = Mapping[str, Any]


def score_candidate(request: ScoreRequest, job: Job) -> Score:
    """Run a candidate, and the float model where its outputs are not at hand.

    Memory does not grow with the samples.

    Raises:
        UserError: no samples were named, or the models' outputs differ in name or shape.
    """
    if not request.indices:
        raise UserError("bake-off", "no held-out samples")
    judge = Judge(Samples(job.path(request.samples)), request.indices, job, request.threads)
    if request.reference is not None:
        judge.read(Samples(job.path(request.reference)))
    else:
        judge.run(job.path(request.model))
    totals = Totals()
    judge.score(job.path(request.candidate), range(len(request.indices)), totals)
    return totals.score(size_of(job.path(request.candidate)))


class Judge:
    """Scores candidates against the outputs of the float model over the same samples.

    Args:
        samples: the calibration store.
        indices: the held-out samples.
        job: for progress.
        threads: of one inference; 0: one, and as many samples at a time as there are cores.
    """

    def __init__(
        self, samples: Samples, indices: Sequence[int], job: Job, threads: int = 0
    ) -> None:
        self.samples = samples
        self.indices = tuple(indices)
        self.job = job
        self.threads = threads
        self._expected: list[Expected] = []
        self._store: Samples | None = None

    def read(self, outputs: Samples) -> None:
        """Take the float outputs from a store that holds exactly these samples.

        Raises:
            ValueError: another number of samples.
        """
        if outputs.count != len(self.indices):
            raise ValueError(f"{outputs.count} outputs for {len(self.indices)} samples")
        self._store = outputs

    def run(self, model: Path) -> None:
        """Make the float outputs, and keep them for every candidate that follows."""
        session = open_model(model, threads=self.threads or 1)
        places = range(len(self.indices))
        self._expected = [dict(outputs) for outputs in self._outputs(session, places)]

    def _want(self, place: int) -> Expected:
        if self._store is None:
            return self._expected[place]
        split = self._store.index.get("batch_axis", True)
        values = {n: self._store.one(n, place) for n in self._store.names}
        return {n: v[None] if split else v for n, v in values.items()}

    def score(self, candidate: Path, places: Sequence[int], totals: Totals) -> None:
        """Add some samples, by their position in ``indices``, to a candidate's totals."""
        session = open_model(candidate, optimize="literal", threads=self.threads or 1)
        for place, got in zip(places, self._outputs(session, places), strict=True):
            totals.add(self._want(place), _alike(got, self._want(place)))
            self.job.progress(f"scored {totals.n} samples", totals.n / len(self.indices))

    def _outputs(
        self, session: ReferenceSession, places: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        """Outputs per sample, with a batch axis of 1, in order; several samples in flight."""
        wanted = [self.indices[k] for k in places]
        workers = 1 if self.threads else min(os.cpu_count() or 1, WORKERS_MAX)
        groups = session.groups(self.samples, wanted)

        def one(group: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
            feeds = self.samples.feeds(group)
            return group, session.run({n: feeds[n] for n in session.inputs if n in feeds})

        with ThreadPoolExecutor(workers) as pool:
            running = deque(pool.submit(one, g) for g in itertools.islice(groups, workers))
            while running:
                group, outputs = running.popleft().result()
                running.extend(pool.submit(one, g) for g in itertools.islice(groups, 1))
                for k in range(len(set(group))):
                    yield _part(outputs, k, len(group))


def _alike(got: Mapping[str, Any], expected: Expected) -> dict[str, Any]:
    """Outputs without a batch axis (a detector's boxes) in the shape that a store gives them."""
    return {
        n: v[None] if n in expected and expected[n].ndim == v.ndim + 1 else v
        for n, v in got.items()
    }


def size_of(path: Path) -> int:
    """Bytes of a model and of its data beside it."""
    return sum(f.stat().st_size for f in (path, *path.parent.glob(f"{path.name}.data")))


def _part(outputs: Mapping[str, Any], k: int, size: int) -> dict[str, Any]:
    """Outputs of the k-th sample of a group; the batch axis stays."""
    if size == 1:
        return dict(outputs)
    return {n: v[k : k + 1] for n, v in outputs.items() if v.ndim and len(v) == size}


@dataclass
class Totals:
    """Running sums over samples."""

    n: int = 0
    agreeing: int = 0
    classified: int = 0
    cosine: float = 0.0
    signal: float = 0.0
    error: float = 0.0
    nonfinite: int = 0
    kls: list[float] = field(default_factory=list)
    relative: list[float] = field(default_factory=list)

    def add(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        """Take in the outputs of one sample."""
        import numpy as np

        floats = {n: v for n, v in expected.items() if np.issubdtype(v.dtype, np.floating)}
        pairs = []
        for name, value in floats.items():
            pair = _flat(value, got[name]) if name in got else None
            if pair is None:
                raise UserError("bake-off", "the candidate lacks this output", place=name)
            pairs.append(pair)
        a, b = (np.concatenate(parts) for parts in zip(*pairs, strict=True)) if pairs else ([], [])
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        self.n += 1
        if not np.isfinite(b).all():
            self.nonfinite += 1
            return
        power, error = float(a @ a), float((a - b) @ (a - b))
        norm = math.sqrt(power) * float(np.linalg.norm(b))
        self.signal += power
        self.error += error
        self.cosine += float(a @ b) / norm if norm else float(power == error == 0)
        self.relative.append(error / power if power else float(error > 0))
        rows = [_rows(v) for v in floats.values()]
        same = len(rows) == 1 and got[next(iter(floats))].size == len(a)
        if same and rows[0] is not None:
            self._classify(rows[0], got[next(iter(floats))].reshape(rows[0].shape))

    def _classify(self, a: Any, b: Any) -> None:
        self.classified += 1
        self.agreeing += int(bool((a.argmax(1) == b.argmax(1)).all()))
        self.kls.append(kl_divergence(a, b))

    def score(self, size: int) -> Score:
        """The figures over everything added."""
        finite = self.n - self.nonfinite
        classification = finite > 0 and self.classified == finite
        sqnr = None
        if self.signal > 0 and not self.nonfinite:
            # An exact copy has no noise; 200 dB is beyond anything float32 can resolve.
            sqnr = min(200.0, 10 * math.log10(self.signal / max(self.error, 1e-300)))
        return Score(
            n=self.n,
            classification=classification,
            agreement=self.agreeing / self.n if classification else None,
            cosine=self.cosine / finite if finite else None,
            sqnr_db=sqnr,
            kl=sum(self.kls) / finite if classification else None,
            losses=tuple(self.kls if classification else self.relative),
            errors=tuple(self.relative),
            nonfinite=self.nonfinite,
            bytes=size,
        )


def _flat(expected: Any, got: Any) -> tuple[Any, Any] | None:
    """Both as vectors to be compared element by element; ``None``: they are not alike at all.

    A list that has another length here (what a detector keeps after suppression) has no fixed
    order either: each row is set beside the nearest one of the other list, or beside zeros when
    that is empty.
    """
    import numpy as np

    a, b = expected.astype(np.float64), got.astype(np.float64)
    if a.shape == b.shape:
        return a.ravel(), b.ravel()
    differ = [k for k in range(a.ndim) if a.ndim == b.ndim and a.shape[k] != b.shape[k]]
    if len(differ) != 1:
        return None
    one, two = (np.moveaxis(v, differ[0], 0) for v in (a, b))
    one, two = (v.reshape(len(v), math.prod(v.shape[1:])) for v in (one, two))
    if not len(one) or not len(two):
        return (one.ravel(), one.ravel() * 0) if len(one) else (two.ravel() * 0, two.ravel())
    apart = ((one[:, None] - two[None]) ** 2).sum(axis=2)
    first = np.concatenate([one, one[apart.argmin(axis=0)]])
    second = np.concatenate([two[apart.argmin(axis=1)], two])
    return first.ravel(), second.ravel()


def _rows(value: Any) -> Any | None:
    """(samples, classes) of an output that looks like class scores, else ``None``."""
    import numpy as np

    squeezed = [d for d in value.shape[1:] if d != 1]
    if value.ndim < 2 or len(squeezed) != 1 or squeezed[0] < 2:
        return None
    return np.asarray(value).reshape(value.shape[0], squeezed[0])


def kl_divergence(a: Any, b: Any) -> float:
    """Mean over rows of KL(softmax(a) || softmax(b)) in nats; rows of probabilities stay as is."""
    import numpy as np

    la, lb = _log_probabilities(a, a), _log_probabilities(b, a)
    return float(np.mean(np.sum(np.exp(la) * (la - lb), axis=1)))


def _log_probabilities(x: Any, judge: Any) -> Any:
    import numpy as np

    x = x.astype(np.float64)
    sums = judge.astype(np.float64).sum(axis=1)
    if (judge >= 0).all() and (np.abs(sums - 1) < SUM_TOLERANCE).all():
        return np.log(np.maximum(x, 1e-12))
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))
