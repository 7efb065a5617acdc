"""A live session: one execution context, its buffers, copies and events."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import (
    BenchmarkRequest,
    BenchmarkSamples,
    LoadRequest,
    Ran,
    TargetKind,
)

from ._artifact import Stored, deserialise, information
from ._cuda import Device
from ._dtypes import NUMPY
from ._inspect import read_layers, with_times
from ._live import Outputs, make_allocator, make_profiler
from ._refusals import last_words
from ._targets import FORMAT
from ._trt import Toolkit

PRECISIONS = ("fp32", "native", "int8")


def load(request: LoadRequest, job: Job) -> TensorRtSession:
    """Answer ``seatrial_load``.

    Raises:
        ValueError: another format, taps, or an engine for another TensorRT or GPU.
        RuntimeError: TensorRT cannot load the engine.
    """
    if request.format != FORMAT:
        raise ValueError(f"format {request.format!r}: this backend loads {FORMAT}")
    if request.taps:
        raise ValueError("an engine has no inner tensors to show: its layers are fused")
    path = job.path(request.artifact)
    stored = Stored.beside(path)
    toolkit = Toolkit(request.target, request.options, builds=False)
    stored.check(toolkit)
    device = Device(toolkit.driver)
    try:
        engine = deserialise(toolkit, path.read_bytes())
        return TensorRtSession(toolkit, device, engine, stored, profile=request.profile)
    except BaseException:
        device.close()
        raise


def benchmark(request: BenchmarkRequest, job: Job) -> BenchmarkSamples:
    """Answer ``seatrial_benchmark``: the computation alone, between two events in its stream."""
    import numpy as np

    from seatrial.samples import Samples

    samples = Samples(job.path(request.samples))
    if not samples.count:
        raise ValueError("no samples to time")
    session = load(request.load, job)
    perms = {io.onnx or io.name: (io.name, io.perm) for io in request.load.inputs}
    feeds = []
    for k in range(min(samples.count, request.n)):
        turned = {}
        for name, value in samples.feeds([k]).items():
            own, perm = perms.get(name, (name, ()))
            turned[own] = np.ascontiguousarray(value.transpose(perm) if perm else value)
        feeds.append(turned)
    try:
        for k in range(request.warmup):
            session.run(feeds[k % len(feeds)])
        session.times.clear()
        for k in range(request.n):
            session.run(feeds[k % len(feeds)])
        found = tuple(max(1, round(ms * 1e6)) for ms in session.times)
    finally:
        session.close()
    return BenchmarkSamples(
        latencies_ns=found,
        clock="CUDA events around the engine, in its stream",
        includes_copies=False,
    )


@dataclass
class _Slot:
    """One tensor of the engine and its memory.

    Attributes:
        dtype: numpy's type.
        host: the engine reads or writes host memory (values that are shapes).
        perm: axes of the memory as fed, in terms of the engine's tensor.
        shape: the engine's, ``None`` where an axis is free.
        device: address on the device, 0: none yet.
        pinned: address in host memory, 0: none yet.
        size: bytes that both hold.
        bound: address that the context was told.
    """

    name: str
    dtype: Any
    host: bool
    perm: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    device: int = 0
    pinned: int = 0
    size: int = -1
    bound: int = 0


class TensorRtSession:
    """See :class:`seatrial.hookspecs.Session`.

    Args:
        toolkit: TensorRT for one target.
        device: the context, stream and memory; the session closes it.
        engine: the engine.
        stored: what was kept beside it.
        profile: keep the times of every layer.
    """

    def __init__(
        self, toolkit: Toolkit, device: Device, engine: Any, stored: Stored, *, profile: bool
    ) -> None:
        self._toolkit, self._device, self._engine = toolkit, device, engine
        self._stored = stored
        context = engine.create_execution_context()
        if context is None:
            raise MemoryError(f"no execution context: {last_words(toolkit) or 'no reason given'}")
        self._context: Any = context
        #: Milliseconds of computation of every run.
        self.times: list[float] = []
        self._events = (device.event(), device.event())
        self._layers: dict[str, list[float]] = {}
        if profile:
            self._profiler = make_profiler(toolkit.trt, self._layers)
            context.profiler = self._profiler
        self._inputs, outputs = self._slots()
        self._fixed = {n: s for n, s in outputs.items() if s.shape is not None}
        self._free = Outputs(device, {n: s.dtype for n, s in outputs.items() if s.shape is None})
        self._names = tuple(outputs)
        self._allocator = make_allocator(toolkit.trt, self._free) if self._free.dtypes else None
        for name in self._free.dtypes:
            if not context.set_output_allocator(name, self._allocator):
                raise RuntimeError(f"no allocator for output {name}: {last_words(toolkit)}")

    def _slots(self) -> tuple[dict[str, _Slot], dict[str, _Slot]]:
        import numpy as np

        trt, engine = self._toolkit.trt, self._engine
        inputs: dict[str, _Slot] = {}
        outputs: dict[str, _Slot] = {}
        for k in range(engine.num_io_tensors):
            name = str(engine.get_tensor_name(k))
            kind = engine.get_tensor_dtype(name).name
            if kind not in NUMPY:
                raise ValueError(f"tensor {name} is {kind}, which numpy has not")
            shape = tuple(map(int, engine.get_tensor_shape(name)))
            slot = _Slot(
                name=name,
                dtype=np.dtype(NUMPY[kind]),
                host=engine.get_tensor_location(name) == trt.TensorLocation.HOST,
                perm=self._stored.perms.get(name, ()),
                shape=None if any(d < 0 for d in shape) else shape,
            )
            mode = engine.get_tensor_mode(name)
            (inputs if mode == trt.TensorIOMode.INPUT else outputs)[name] = slot
        return inputs, outputs

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once.

        Raises:
            ValueError: other inputs than the engine's, another type or shape.
            RuntimeError: TensorRT or CUDA failed.
        """
        if feeds.keys() != self._inputs.keys():
            wanted = sorted(self._inputs)
            raise ValueError(f"inputs {sorted(feeds)} were given, {wanted} are wanted")
        for name, value in feeds.items():
            self._feed(self._inputs[name], value)
        missing = self._context.infer_shapes()
        if missing:
            raise ValueError(f"sizes of {', '.join(map(str, missing))} are not given")
        for slot in self._fixed.values():
            shape = slot.shape or ()
            self._reserve(slot, _count(shape) * slot.dtype.itemsize)
        self._execute()
        return self._results()

    def _execute(self) -> None:
        device = self._device
        begin, end = self._events
        device.record(begin)
        if not self._context.execute_async_v3(device.stream):
            reason = last_words(self._toolkit) or "no reason given"
            raise RuntimeError(f"TensorRT could not run the engine: {reason}")
        device.record(end)
        for slot in self._fixed.values():
            if not slot.host:
                device.download(slot.pinned, slot.device, slot.size)
        device.synchronise()
        self.times.append(device.elapsed_ms(begin, end))

    def _results(self) -> dict[str, Any]:
        found = self._free.fetch()
        for name, slot in self._fixed.items():
            found[name] = _view(slot.pinned, slot.shape or (), slot.dtype)
        for name in self._stored.doubles & found.keys():
            found[name] = found[name].astype("float64")
        return {name: found[name] for name in self._names}

    def _feed(self, slot: _Slot, value: Any) -> None:
        """Put an input where the engine reads it."""
        if value.dtype != slot.dtype:
            raise ValueError(f"input {slot.name!r} is {value.dtype}, {slot.dtype} is wanted")
        own = tuple(value.shape)
        if slot.perm and len(own) == len(slot.perm):
            own = tuple(own[slot.perm.index(axis)] for axis in range(len(own)))
        if slot.shape is not None and own != slot.shape:
            raise ValueError(f"input {slot.name!r} has shape {own}, {slot.shape} is wanted")
        if slot.shape is None and not self._context.set_input_shape(slot.name, own):
            reason = last_words(self._toolkit)
            raise ValueError(f"input {slot.name!r} of shape {own} is refused: {reason}")
        self._reserve(slot, value.nbytes)
        _view(slot.pinned, value.shape, slot.dtype)[...] = value
        if not slot.host:
            self._device.upload(slot.device, slot.pinned, value.nbytes)

    def _reserve(self, slot: _Slot, size: int) -> None:
        """Memory for a tensor, grown where it has too little, and made known to the context."""
        if size > slot.size:
            if slot.pinned:
                self._device.unpin(slot.pinned)
            slot.pinned = self._device.pinned(size)
            if not slot.host:
                if slot.device:
                    self._device.free(slot.device)
                slot.device = self._device.allocate(size)
            slot.size = size
        address = slot.pinned if slot.host else slot.device
        if slot.bound != address:
            if not self._context.set_tensor_address(slot.name, address):
                raise RuntimeError(f"TensorRT refuses the memory of {slot.name}")
            slot.bound = address

    def ran(self) -> Ran:
        """What ran, as the inspector tells; times only in a profiled session."""
        text = information(self._toolkit, self._engine, self._context)
        core = self._toolkit.core
        layers = read_layers(text, self._stored.labels, self._stored.types)
        driver = self._toolkit.driver.version
        notes = [f"TensorRT {self._toolkit.version}, driver for CUDA {driver}"]
        if self.times:
            notes.append(
                f"computation alone, by CUDA events: {median(self.times):.4g} ms at the median of "
                f"{len(self.times)} runs; the rest of a latency is copies and calls"
            )
        return Ran(
            where=TargetKind.DEVICE,
            device=str(self._toolkit.gpu) + ("" if core is None else f", DLA core {core}"),
            layers=with_times(layers, self._layers),
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Free everything."""
        self._context = None
        self._allocator = None
        self._engine = None
        self._device.close()


def _count(shape: tuple[int, ...]) -> int:
    size = 1
    for dimension in shape:
        size *= dimension
    return size


def _view(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """Host memory as an array; valid until the next run."""
    import numpy as np

    count = _count(tuple(shape))
    raw = (ctypes.c_ubyte * max(count * dtype.itemsize, 1)).from_address(address)
    return np.frombuffer(raw, dtype, count).reshape(shape)
