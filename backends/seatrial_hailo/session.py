"""Live sessions: the compiler's emulator on a HAR, the chip on a HEF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job, Session
from seatrial.results import LayerRun, LoadRequest, Ran, TargetKind, TensorIO

from . import sdk
from .building import FLOAT_HAR, HEF, INT8_HAR
from .targets import chip_of

#: Milliseconds that the chip may take for one inference.
TIMEOUT_MS = 10_000


def load(request: LoadRequest, job: Job) -> Session:
    """Open an artefact of this backend.

    Raises:
        ValueError: a format that this backend does not load, or taps.
    """
    if request.taps:
        raise ValueError("inner tensors cannot be read from the chip or its emulator")
    path = job.path(request.artifact)
    if request.format == HEF:
        return Chip(path, request)
    if request.format in (FLOAT_HAR, INT8_HAR):
        return Emulator(path, request)
    raise ValueError(f"this backend loads {HEF} and HARs, not {request.format}")


def _shaped(value: Any, io: TensorIO) -> Any:
    """An output with the axes that were declared: vectors come as 1 x 1 x C or C."""
    import numpy as np

    array = np.asarray(value, dtype=np.float32)
    return array.reshape(io.shape) if io.shape and all(io.shape) else array


class Emulator:
    """Bit-true emulation of the quantised model, or the translated float model."""

    def __init__(self, path: Path, request: LoadRequest) -> None:
        chip = chip_of(request.target)
        module = sdk.compiler()
        self._inputs, self._outputs = request.inputs, request.outputs
        self._quantised = request.format == INT8_HAR
        self._arch = chip.arch if chip else ""
        self._runner = module.ClientRunner(hw_arch=self._arch, har=str(path))
        kind = module.InferenceContext
        self._stack = ExitStack()
        # SDK_NATIVE is float and shows the translation only; SDK_QUANTIZED computes as the chip.
        wanted = kind.SDK_QUANTIZED if self._quantised else kind.SDK_NATIVE
        self._context = self._stack.enter_context(self._runner.infer_context(wanted))

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once, NHWC in and out."""
        given = {io.name: feeds[io.name] for io in self._inputs}
        data = next(iter(given.values())) if len(given) == 1 else given
        return _named(self._runner.infer(self._context, data, batch_size=1), self._outputs)

    def ran(self) -> Ran:
        """All of it in the emulator; the layers are the compiler's own."""
        precision = "INT8" if self._quantised else "FP32"
        layers = tuple(
            LayerRun(
                layer=name,
                op_type=str(layer["type"]),
                nodes=tuple(layer.get("original_names", ())),
                on="emulator",
                precision=precision,
                layout="NHWC",
            )
            for name, layer in self._runner.get_hn_dict()["layers"].items()
            if layer["type"] not in ("input_layer", "output_layer")
        )
        device = f"{self._arch} emulated by the Dataflow Compiler"
        return Ran(where=TargetKind.SIMULATOR, device=device, layers=layers)

    def close(self) -> None:
        """Leave the emulator; twice does no harm."""
        self._stack.close()


def _named(given: Any, outputs: Sequence[TensorIO]) -> dict[str, Any]:
    """Outputs by layer: the emulator gives one array, a list in the layers' order, or a mapping."""
    if isinstance(given, Mapping):
        return {io.name: _shaped(given[io.name], io) for io in outputs}
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(values) != len(outputs):
        raise ValueError(f"{len(values)} outputs, {len(outputs)} were expected")
    return {io.name: _shaped(v, io) for io, v in zip(outputs, values, strict=True)}


class Chip:
    """A HEF on the chip, through HailoRT's asynchronous-inference objects used synchronously."""

    def __init__(self, path: Path, request: LoadRequest) -> None:
        import numpy as np

        platform = sdk.runtime()
        self._inputs, self._outputs = request.inputs, request.outputs
        self._stack = ExitStack()
        parameters = platform.VDevice.create_params()
        parameters.scheduling_algorithm = platform.HailoSchedulingAlgorithm.ROUND_ROBIN
        device = self._stack.enter_context(platform.VDevice(parameters))
        self._device = ", ".join(str(d) for d in platform.Device.scan())
        model = device.create_infer_model(str(path))
        for io in self._inputs:
            model.input(io.name).set_format_type(platform.FormatType.FLOAT32)
        for io in self._outputs:
            model.output(io.name).set_format_type(platform.FormatType.FLOAT32)
        self._configured = self._stack.enter_context(model.configure())
        self._bindings = self._configured.create_bindings()
        # Output buffers have to be bound before the first run (else status 6).
        self._buffers = {
            io.name: np.empty(tuple(model.output(io.name).shape), np.float32)
            for io in self._outputs
        }
        for name, buffer in self._buffers.items():
            self._bindings.output(name).set_buffer(buffer)

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once: copies to and from the chip are inside."""
        import numpy as np

        for io in self._inputs:
            value = np.ascontiguousarray(feeds[io.name], np.float32)
            self._bindings.input(io.name).set_buffer(value[0])
        self._configured.run([self._bindings], TIMEOUT_MS)
        return {io.name: _shaped(self._buffers[io.name], io) for io in self._outputs}

    def ran(self) -> Ran:
        """On the chip, all of it: a HEF has no fallback."""
        note = "the runtime tells no layers; all of a HEF runs on the chip, in integers"
        return Ran(where=TargetKind.DEVICE, device=self._device, notes=(note,))

    def close(self) -> None:
        """Free the chip; twice does no harm."""
        self._stack.close()
