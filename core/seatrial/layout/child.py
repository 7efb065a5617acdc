"""Core task of this room: runs in a child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.reference import ReferenceSession, open_model
from seatrial.samples import Samples

from . import compare as c
from .types import CompareRequest, CompareResult


def compare(request: CompareRequest, job: Job) -> CompareResult:
    """Compare two models' outputs, and name the mix-up of axes when they differ.

    Raises:
        UserError: the stores hold different numbers of samples, or none.
    """
    original, changed = Samples(job.path(request.expected)), Samples(job.path(request.got))
    if original.count != changed.count or not original.count:
        reason = f"{changed.count} samples of the transformed model, {original.count} of the other"
        raise UserError("layout", reason)
    perms, names = dict(request.perms), dict(request.names)
    found = c.compare_stores(original, changed, perms, names)
    outputs = []
    for name, difference in found.items():
        diagnosis = ""
        if not difference.result().within:
            job.progress(f"looking for mixed-up axes of {name}")
            pairs = _pairs(original, changed, name, perms.get(name, ()), names.get(name, name))
            diagnosis = c.output_mixup(pairs) or _input_mixup(request, job, name, pairs)
        outputs.append(difference.result(diagnosis))
    equal = all(o.within for o in outputs)
    return CompareResult(equal=equal, n=original.count, outputs=tuple(outputs))


def _pairs(
    original: Samples, changed: Samples, name: str, perm: tuple[int, ...], other: str
) -> list[tuple[Any, Any]]:
    if other not in changed.names:
        return []
    return [
        (original.one(name, i), c.original_layout(changed.one(other, i), perm))
        for i in range(min(c.DIAGNOSED, original.count))
    ]


@dataclass(frozen=True)
class _Trial:
    """The original model, fed with misread inputs."""

    session: ReferenceSession
    samples: Samples
    output: str

    def explains(self, tensor: str, k: int, i: int, got: Any) -> bool:
        """Whether misreading ``tensor`` in the k-th way gives what the other model gave."""
        import numpy as np

        feeds = self.samples.feeds([i])
        _, misread = list(c.input_mixups(self.samples.one(tensor, i)))[k]
        if misread.shape != feeds[tensor].shape[1:]:
            return False
        feeds[tensor] = np.ascontiguousarray(misread)[None]
        value = self.session.run({n: feeds[n] for n in self.session.inputs})[self.output]
        return bool(value[0].shape == got.shape and c.distance(got, value[0])[1] <= c.TOLERANCE)


def _input_mixup(request: CompareRequest, job: Job, name: str, pairs: list[tuple[Any, Any]]) -> str:
    """Feed the original misread inputs until it gives what the transformed model gave."""
    if request.model is None or request.samples is None or not pairs:
        return ""
    samples = Samples(job.path(request.samples))
    trial = _Trial(open_model(job.path(request.model)), samples, name)
    for tensor in samples.names:
        kinds = [kind for kind, _ in c.input_mixups(samples.one(tensor, 0))]
        for k, kind in enumerate(kinds):
            if all(trial.explains(tensor, k, i, got) for i, (_, got) in enumerate(pairs)):
                return f"the original gives the same when input {tensor} is misread: {kind}"
    return ""
