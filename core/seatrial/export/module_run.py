"""The module fed with samples. Runs in a user child only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from seatrial.errors import UserError
from seatrial.export import watch
from seatrial.export.torch_module import Built, array, blame, call, flatten, tensors
from seatrial.hookspecs import Job
from seatrial.results import Artifact
from seatrial.samples import Samples
from seatrial.session import OutputStore


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
        if len(found) != len(self.names):
            reason = f"forward gave {len(self.names)} outputs, then {len(found)}"
            raise UserError(self.location, reason, advice="return the same outputs every time")
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


def watched_passes(run: ModuleRun, samples: Samples, *groups: Sequence[int]) -> list[watch.Trace]:
    """One watched pass per group of samples."""
    traces = []
    for group in groups:
        given = tensors(samples.feeds(group), run.built.names)
        inputs = dict(zip(run.built.names, given, strict=True))
        with watch.watched(run.built.module, inputs) as trace:
            value = run.raw(given)
        run.named(value)
        traces.append(trace)
    return traces
