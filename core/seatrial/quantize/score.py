"""How far a candidate's outputs are from the float model's. Runs in a child only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.reference import open_model
from seatrial.samples import Samples

from .types import Score, ScoreRequest

#: Sums of probabilities may be off by this much: float32 rounding of 1,000 classes.
SUM_TOLERANCE = 1e-3


def score_candidate(request: ScoreRequest, job: Job) -> Score:
    """Run both models sample by sample; memory does not grow with the samples.

    Raises:
        UserError: no samples were named, or the models' outputs differ in name or shape.
    """
    if not request.indices:
        raise UserError("bake-off", "no held-out samples")
    samples = Samples(job.path(request.samples))
    path = job.path(request.candidate)
    reference = open_model(job.path(request.model), threads=request.threads)
    candidate = open_model(path, optimize="none", threads=request.threads)
    totals = Totals()
    for group in reference.groups(samples, request.indices):
        feeds = samples.feeds(group)
        expected, got = reference.run(feeds), candidate.run(feeds)
        for k in range(len(set(group))):
            totals.add(_part(expected, k, len(group)), _part(got, k, len(group)))
        job.progress(f"scored {totals.n} samples", totals.n / len(request.indices))
    return totals.score(sum(f.stat().st_size for f in _files(path)))


def _part(outputs: Mapping[str, Any], k: int, size: int) -> dict[str, Any]:
    """Outputs of the k-th sample of a group; the batch axis stays."""
    if size == 1:
        return dict(outputs)
    return {n: v[k : k + 1] for n, v in outputs.items() if v.ndim and len(v) == size}


def _files(path: Path) -> list[Path]:
    return [path, *path.parent.glob(f"{path.name}.data")]


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
        for name, value in floats.items():
            if name not in got or got[name].shape != value.shape:
                raise UserError("bake-off", "the candidate lacks this output", place=name)
        a = np.concatenate([v.astype(np.float64).ravel() for v in floats.values()] or [[]])
        b = np.concatenate([got[n].astype(np.float64).ravel() for n in floats] or [[]])
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
        if len(rows) == 1 and rows[0] is not None:
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
