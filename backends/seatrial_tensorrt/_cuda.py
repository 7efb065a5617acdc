"""The few calls of the CUDA driver API that a session needs, by ctypes.

``libcuda.so.1`` is where a driver is, so neither torch nor another package is asked for. The
primary context that is made current here is the one that TensorRT itself uses on this device.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = "libcuda.so.1"
KERNEL_MODULE = Path("/proc/driver/nvidia/version")

#: Results that have a meaning of their own.
NO_DEVICE = 100

_NAME, _MAJOR, _MINOR = 256, 75, 76
_DEFAULT_EVENT, _NON_BLOCKING = 0, 1

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocHost_v2": (POINTER(c_void_p), c_size_t),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
}


class CudaError(RuntimeError):
    """A call of the driver failed.

    Args:
        call: name of the function.
        code: its result; 0: it never ran.
        text: what the result means.
    """

    def __init__(self, call: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{call}: {text}" + (f" (CUDA error {code})" if code else ""))


@dataclass(frozen=True)
class Gpu:
    """A device: its name, compute capability and memory in bytes."""

    name: str
    sm: tuple[int, int]
    memory: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.name}, SM {self.sm[0]}.{self.sm[1]}, {self.memory / 2**30:.0f} GiB"


class Driver:
    """The loaded driver.

    Raises:
        CudaError: there is none, or it does not start.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            absent = "No such file" in str(error)
            raise CudaError(LIBRARY, 0, "not found" if absent else str(error)) from None
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name, None)
            if function is None:
                raise CudaError(LIBRARY, 0, f"it has no {name}: too old, or no driver library")
            function.argtypes = arguments
            function.restype = c_int
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            MemoryError: the device has no memory left.
            CudaError: any other failure.
        """
        code = int(getattr(self._library, name)(*arguments))
        if code == 2:
            raise MemoryError(f"{name}: out of memory on the GPU")
        if code:
            raise CudaError(name, code, self._text(code))

    def _text(self, code: int) -> str:
        words = []
        for name in ("cuGetErrorName", "cuGetErrorString"):
            found = c_char_p()
            if getattr(self._library, name)(code, byref(found)) == 0 and found.value:
                words.append(found.value.decode("utf-8", "replace"))
        return ": ".join(words) or "unknown error"

    @property
    def version(self) -> str:
        """The newest CUDA that this driver serves, ``13.0``."""
        number = c_int()
        self.call("cuDriverGetVersion", byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def count(self) -> int:
        """How many devices are visible."""
        number = c_int()
        self.call("cuDeviceGetCount", byref(number))
        return number.value

    def gpu(self, ordinal: int = 0) -> Gpu:
        """What a device is."""
        device, memory = c_int(), c_size_t()
        name = ctypes.create_string_buffer(_NAME)
        major, minor = c_int(), c_int()
        self.call("cuDeviceGet", byref(device), ordinal)
        self.call("cuDeviceGetName", name, _NAME, device)
        self.call("cuDeviceGetAttribute", byref(major), _MAJOR, device)
        self.call("cuDeviceGetAttribute", byref(minor), _MINOR, device)
        self.call("cuDeviceTotalMem_v2", byref(memory), device)
        text = name.value.decode("utf-8", "replace")
        return Gpu(text, (major.value, minor.value), memory.value)


def kernel_module() -> str:
    """Version of the driver's kernel module, ``""`` where there is none to read."""
    try:
        words = KERNEL_MODULE.read_text("utf-8", "replace").split()
    except OSError:
        return ""
    return next((w for w in words if w[:1].isdigit() and "." in w), "")


class Device:
    """The primary context of the first device, made current in this thread; frees what it gave."""

    def __init__(self, driver: Driver, ordinal: int = 0) -> None:
        self._driver = driver
        device, context = c_int(), c_void_p()
        driver.call("cuDeviceGet", byref(device), ordinal)
        driver.call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._device: c_int | None = device
        driver.call("cuCtxSetCurrent", context)
        self._memory: list[int] = []
        self._pinned: list[int] = []
        stream = c_void_p()
        # Never the default stream: TensorRT synchronises more often there.
        driver.call("cuStreamCreate", byref(stream), _NON_BLOCKING)
        self.stream = int(stream.value or 0)
        self._events: list[c_void_p] = []

    def allocate(self, size: int) -> int:
        """Address of device memory; at least one byte, since TensorRT takes no null address."""
        address = c_uint64()
        self._driver.call("cuMemAlloc_v2", byref(address), max(size, 1))
        self._memory.append(address.value)
        return address.value

    def free(self, address: int) -> None:
        """Give device memory back before the end."""
        self._memory.remove(address)
        self._driver.call("cuMemFree_v2", address)

    def pinned(self, size: int) -> int:
        """Address of page-locked host memory."""
        address = c_void_p()
        self._driver.call("cuMemAllocHost_v2", byref(address), max(size, 1))
        self._pinned.append(int(address.value or 0))
        return self._pinned[-1]

    def unpin(self, address: int) -> None:
        """Give page-locked memory back before the end."""
        self._pinned.remove(address)
        self._driver.call("cuMemFreeHost", address)

    def upload(self, device: int, host: int, size: int) -> None:
        """Copy to the device, in the order of the stream."""
        self._driver.call("cuMemcpyHtoDAsync_v2", device, host, size, self.stream)

    def download(self, host: int, device: int, size: int) -> None:
        """Copy from the device, in the order of the stream."""
        self._driver.call("cuMemcpyDtoHAsync_v2", host, device, size, self.stream)

    def synchronise(self) -> None:
        """Wait for the stream."""
        self._driver.call("cuStreamSynchronize", self.stream)

    def event(self) -> c_void_p:
        """An event with a time."""
        event = c_void_p()
        self._driver.call("cuEventCreate", byref(event), _DEFAULT_EVENT)
        self._events.append(event)
        return event

    def record(self, event: c_void_p) -> None:
        """Put an event into the stream."""
        self._driver.call("cuEventRecord", event, self.stream)

    def elapsed_ms(self, begin: c_void_p, end: c_void_p) -> float:
        """Milliseconds between two events, after the second one happened."""
        value = c_float()
        self._driver.call("cuEventSynchronize", end)
        self._driver.call("cuEventElapsedTime", byref(value), begin, end)
        return float(value.value)

    def close(self) -> None:
        """Free everything; calling it twice does no harm."""
        if self._device is None:
            return
        device, self._device = self._device, None
        for event in self._events:
            self._driver.call("cuEventDestroy_v2", event)
        for address in self._memory:
            self._driver.call("cuMemFree_v2", address)
        for address in self._pinned:
            self._driver.call("cuMemFreeHost", address)
        self._driver.call("cuStreamDestroy_v2", self.stream)
        self._driver.call("cuDevicePrimaryCtxRelease_v2", device)
