"""What TensorRT calls back: progress, times of layers, memory of outputs sized by values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._cuda import Device

#: Says what is being done.
Progress = Callable[[str], None]


def make_monitor(trt: Any, progress: Progress) -> Any:
    """A monitor of a build that passes on each phase and step; ``None`` where there is none."""
    if getattr(trt, "IProgressMonitor", None) is None:
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress(f"TensorRT: {phase_name}, {num_steps} steps")

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(f"TensorRT: {phase_name}, step {step + 1}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress(f"TensorRT: {phase_name} done")

    return Monitor()


def make_profiler(trt: Any, times: dict[str, list[float]]) -> Any:
    """A profiler that puts milliseconds by layer into ``times``."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.setdefault(str(layer_name), []).append(float(ms))

    return Profiler()


class Outputs:
    """Outputs whose sizes are known only after a run.

    Args:
        device: gives the memory.
        dtypes: numpy's type by output.
    """

    def __init__(self, device: Device, dtypes: Mapping[str, Any]) -> None:
        self._device = device
        self.dtypes = dict(dtypes)
        self._addresses: dict[str, tuple[int, int]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def reserve(self, name: str, size: int) -> int:
        """Address of at least so many bytes; 0 tells TensorRT that there are none."""
        address, held = self._addresses.get(name, (0, -1))
        if size > held:
            if address:
                self._device.free(address)
            try:
                address = self._device.allocate(size)
            except MemoryError:
                self._addresses.pop(name, None)
                return 0
            self._addresses[name] = (address, size)
        return address

    def shaped(self, name: str, shape: tuple[int, ...]) -> None:
        """Keep the shape of this run."""
        self._shapes[name] = shape

    def fetch(self) -> dict[str, Any]:
        """The outputs of the last run, copied to the host."""
        import numpy as np

        found = {}
        for name, dtype in self.dtypes.items():
            if name not in self._shapes:
                raise RuntimeError(f"TensorRT did not tell the shape of output {name}")
            array = np.empty(self._shapes[name], dtype)
            if array.nbytes:
                self._device.download(array.ctypes.data, self._addresses[name][0], array.nbytes)
            found[name] = array
        if found:
            self._device.synchronise()
        return found


def make_allocator(trt: Any, outputs: Outputs) -> Any:
    """An output allocator over :class:`Outputs`."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            return outputs.reserve(tensor_name, int(size))

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return outputs.reserve(tensor_name, int(size))

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            outputs.shaped(tensor_name, tuple(int(d) for d in shape))

    return Allocator()
