"""The module's own rounding error, measured. Runs in a user child only."""

from __future__ import annotations

import copy
import shutil
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.export.module_run import ModuleRun
from seatrial.export.torch_module import call, seed, tensors
from seatrial.hookspecs import Job
from seatrial.results import Artifact
from seatrial.samples import Samples
from seatrial.session import OutputStore


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
