"""Starting OpenVINO for one target, and the properties that a model is compiled with."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seatrial.results import Option

from .targets import Cap, cap_of, device_of

#: Both are read once, when the first kernel is looked for: oneDNN honours the first, OpenVINO's
#: own kernels the second (releases before 2026.4.1 know only the first).
ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")

#: Options of ``[target."openvino:..."] options``, and what they mean.
OPTIONS = {
    "inference_precision": "f32, bf16 or f16 in place of the precision that was asked for",
    "cpu_pinning": "let OpenVINO pin its threads to cores (off, so that all runtimes are alike)",
    "fallback": "device for the nodes that the target refuses (HETERO), for example CPU",
    "scheme": "NNCF recipe of an INT8 build from a float model",
}


class DeviceMissingError(RuntimeError):
    """The target's device is not in this machine: nothing is known of the model."""


class Runtime:
    """OpenVINO in this process, for one target.

    Args:
        target: target id; a CPU variant caps the instruction set, once and for the process.

    Raises:
        ValueError: no such target.
        RuntimeError: OpenVINO already runs in this process with another instruction set.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.cap: Cap | None = cap_of(target)
        self.device = device_of(target)
        _cap_instruction_set(self.cap.isa if self.cap else "")
        import openvino

        self.ov: Any = openvino
        self.core: Any = openvino.Core()

    def present(self) -> bool:
        """Whether OpenVINO sees the device (one or several: ``GPU``, ``GPU.0``) here."""
        found = self.core.available_devices
        return any(d == self.device or d.startswith(f"{self.device}.") for d in found)

    def device_name(self, options: Mapping[str, Option]) -> str:
        """What ``compile_model`` is called with: the device, or HETERO with its fallback."""
        fallback = options.get("fallback")
        return f"HETERO:{self.device},{fallback}" if fallback else self.device

    def read(self, path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Any:
        """Read a model, its inputs given static shapes if any are asked for.

        Raises:
            ValueError: a shape was given for an input that the model does not have.
            RuntimeError: OpenVINO refuses the model.
        """
        if not shapes:
            return self.core.read_model(path)
        # Before the conversion, not by a reshape after it: some nodes convert only when they
        # know their shapes.
        with front_end_errors():
            front_end = onnx_front_end()
            loaded = front_end.load(str(path))
            missing = [n for n in shapes if not _is_input(loaded.get_place_by_tensor_name(n))]
            if missing:
                raise ValueError(f"shapes name inputs that the model lacks: {', '.join(missing)}")
            for name, shape in shapes.items():
                place = loaded.get_place_by_tensor_name(name)
                loaded.set_partial_shape(place, self.ov.PartialShape(list(shape)))
            return front_end.convert(loaded)

    def compile(self, model: Any, properties: Mapping[str, Any], device: str = "") -> Any:
        """Compile for the device.

        Raises:
            DeviceMissingError: OpenVINO does not see the device here.
            MemoryError: an allocation failed.
            RuntimeError: OpenVINO refuses the model.
        """
        if not self.present():
            raise DeviceMissingError(f"OpenVINO sees no {self.device} here")
        try:
            return self.core.compile_model(model, device or self.device, dict(properties))
        except RuntimeError as error:
            raise_if_out_of_memory(error)
            raise

    def properties(
        self,
        precision: str,
        options: Mapping[str, Option],
        *,
        threads: int = 0,
        streams: int = 1,
        profile: bool = False,
    ) -> dict[str, Any]:
        """Properties for one precision.

        ``fp32`` and ``int8`` pin the float parts to FP32: with no hint they would run in BF16
        on CPUs that have it, and an INT8 figure would then carry two causes of error. ``native``
        gives no hint. None of the emulated CPUs has BF16, so there native is FP32 as well.
        """
        check_options(options)
        chosen: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": ""}
        if precision != "native" or self.cap:
            chosen["INFERENCE_PRECISION_HINT"] = "f32"
        if "inference_precision" in options:
            chosen["INFERENCE_PRECISION_HINT"] = str(options["inference_precision"])
        if self.device == "CPU":
            chosen["ENABLE_CPU_PINNING"] = bool(options.get("cpu_pinning", False))
            if precision == "fp32":
                chosen["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
            if threads:
                # OpenVINO divides these among its streams; the contract counts per inference.
                chosen["INFERENCE_NUM_THREADS"] = threads * streams
        if self.device in ("CPU", "GPU"):
            chosen["NUM_STREAMS"] = streams
        if streams > 1:
            chosen["PERFORMANCE_HINT"] = "THROUGHPUT"
        if profile:
            chosen["PERF_COUNT"] = True
        return chosen


def _is_input(place: Any) -> bool:
    return place is not None and bool(place.is_input())


def onnx_front_end() -> Any:
    """The front end that reads ONNX; OpenVINO is running already."""
    from openvino.frontend import FrontEndManager

    return FrontEndManager().load_by_framework("onnx")


@contextlib.contextmanager
def front_end_errors() -> Iterator[None]:
    """Raise the front end's own exceptions, which share no base, as ``RuntimeError``."""
    from openvino import frontend

    own = (
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )
    try:
        yield
    except own as error:
        raise RuntimeError(str(error)) from error


def check_options(options: Mapping[str, Option]) -> None:
    """Refuse options that this backend does not know.

    Raises:
        ValueError: naming them and the ones it knows.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(
            f"unknown option {', '.join(unknown)}; there are {', '.join(sorted(OPTIONS))}"
        )


def raise_if_out_of_memory(error: BaseException) -> None:
    """Turn OpenVINO's wrapped ``std::bad_alloc`` into what the core counts as out of memory.

    Raises:
        MemoryError: if the error is one.
    """
    if "bad_alloc" in str(error) or "Cannot allocate memory" in str(error):
        raise MemoryError(f"OpenVINO could not allocate: {str(error).strip()[:300]}") from error


def _cap_instruction_set(isa: str) -> None:
    present = os.environ.get(ISA_VARIABLES[0], "")
    if "openvino" in sys.modules and present != isa:
        raise RuntimeError(
            f"OpenVINO already runs in this process with instruction set {present or 'uncapped'!r};"
            f" {isa or 'uncapped'!r} needs a process of its own"
        )
    for variable in ISA_VARIABLES:
        if isa:
            os.environ[variable] = isa
        else:
            os.environ.pop(variable, None)


def precision_name(element_type: Any) -> str:
    """``FP32``, ``BF16`` or ``FP16`` for an OpenVINO element type or its short name."""
    text = str(element_type).lower()
    for needle, name in (
        ("bf16", "BF16"),
        ("bfloat16", "BF16"),
        ("f16", "FP16"),
        ("float16", "FP16"),
    ):
        if needle in text:
            return name
    return "FP32"
