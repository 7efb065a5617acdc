"""A live session on an exported library."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from seatrial.hookspecs import Job
from seatrial.results import LayerRun, LoadRequest, Ran, TargetKind

from . import CPUS, FORMAT, version
from .building import FACTS

#: What a library that splits its loops over threads calls.
_PARALLEL = b"TVMBackendParallelLaunch"


def load(request: LoadRequest, job: Job) -> TvmSession:
    """Load a library.

    Raises:
        ValueError: another format, damaged files, or inner tensors are wanted.
    """
    if request.format != FORMAT:
        raise ValueError(f"this backend loads {FORMAT}, not {request.format}")
    if request.taps:
        raise ValueError("a linked library gives its outputs only: inner tensors are fused away")
    path = job.path(request.artifact)
    emulated = bool(CPUS.get(request.target))
    return TvmSession(path, emulated=emulated, profile=request.profile)


class TvmSession:
    """See :class:`seatrial.hookspecs.Session`.

    Args:
        path: the library, with its facts beside it.
        emulated: it was made for a lesser CPU than this.
        profile: keep the time of every kernel.

    Raises:
        ValueError: the files are damaged.
    """

    def __init__(self, path: Path, *, emulated: bool, profile: bool) -> None:
        self._facts: dict[str, Any] = json.loads((path.parent / FACTS).read_text("utf-8"))
        content = path.read_bytes()
        _complete(content)
        self._parallel = _PARALLEL in content
        machine = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
        self._machine: Any = machine
        self._main: Any = machine["main"]
        self._emulated = emulated
        self._calls: list[list[float]] = []
        if profile:
            self._watch()

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once; inputs are copied into TVM's memory, which it wants aligned.

        Raises:
            ValueError: other inputs than the model's.
        """
        wanted = self._facts["feeds"]
        if sorted(feeds) != sorted(wanted):
            raise ValueError(f"inputs {sorted(feeds)} were given, {sorted(wanted)} are wanted")
        self._turn = 0
        # not ascontiguousarray, which gives a scalar an axis
        given = self._main(*(tvm.runtime.tensor(np.asarray(feeds[n], order="C")) for n in wanted))
        names = self._facts["outputs"]
        values = [given] if len(names) == 1 else list(given)
        return {name: _array(v) for name, v in zip(names, values, strict=True)}

    def _watch(self) -> None:
        """Have the machine tell before and after each kernel."""
        known = {k["name"] for k in self._facts["kernels"]}
        began = 0.0

        def tell(_: Any, symbol: str, before: bool, *rest: Any) -> int:
            nonlocal began
            if symbol in known:
                if before:
                    began = time.perf_counter()
                else:
                    self._keep((time.perf_counter() - began) * 1e3)
            return 0

        self._turn = 0
        self._machine.set_instrument(tvm_ffi.convert(tell))

    def _keep(self, ms: float) -> None:
        if self._turn == len(self._calls):
            self._calls.append([])
        self._calls[self._turn].append(ms)
        self._turn += 1

    def ran(self) -> Ran:
        """What ran: the kernels that were generated, with their times when they were asked for."""
        on = f"llvm -mcpu={self._facts['target']}"
        times = [statistics.median(c) for c in self._calls]
        listed = self._facts["kernels"]
        timed = times if len(times) == len(listed) else [-1.0] * len(listed)
        threads = "split over threads" if self._parallel else "one thread: no kernel is split"
        return Ran(
            where=TargetKind.EMULATED if self._emulated else TargetKind.DEVICE,
            device=f"CPU, TVM {version()}, {on}",
            layers=tuple(
                LayerRun(
                    layer=f"{k['name']}@{n}",
                    op_type=k["name"].removeprefix("fused_").rstrip("0123456789"),
                    on=on,
                    precision=k["precision"],
                    kernel=k["name"],
                    ms=ms,
                )
                for n, (k, ms) in enumerate(zip(listed, timed, strict=True))
            ),
            instruction_set=self._facts["instruction_set"],
            notes=(threads, "TVM does not tell which ONNX nodes a kernel stands for"),
        )

    def close(self) -> None:
        """Free everything; twice does no harm."""
        self._main = None
        self._machine = None


def _complete(content: bytes) -> None:
    """Refuse half a library: the dynamic loader maps it and dies of a bus error.

    Raises:
        ValueError: the section table, which lies at the end of an ELF file, is not all there.
    """
    if content[:4] != b"\x7fELF" or len(content) < 64:
        raise ValueError("not a shared library")
    start = int.from_bytes(content[40:48], "little")
    size, count = (int.from_bytes(content[k : k + 2], "little") for k in (58, 60))
    if start + size * count > len(content):
        raise ValueError("the library is cut short")


def _array(value: Any) -> Any:
    """A numpy array of what the machine gave: a tensor, or sizes."""
    if hasattr(value, "numpy"):
        return value.numpy()
    if isinstance(value, (int, float, bool)):
        return np.asarray(value)
    return np.asarray([int(v) for v in value], np.int64)
