"""A live session: one compiled model, synchronous, a request per call in flight."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import LoadRequest, Ran, TargetKind

from . import graph as g
from .artifacts import named
from .layers import instruction_set, own_dispatch, runtime_layers
from .names import Names, names_of
from .runtime import Runtime
from .targets import FORMAT, LEVELS

PRECISIONS = ("fp32", "native", "int8")
#: Element types that an array holds as OpenVINO does: bfloat16, 4 bits and strings are none.
_SHARED_TYPES = frozenset(
    ("boolean", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
)


def load(request: LoadRequest, job: Job) -> OpenVinoSession:
    """Load an artefact of this backend, or an ONNX model.

    Raises:
        ValueError: unknown format or precision, or a tap that the model has no tensor for.
        RuntimeError: OpenVINO refuses the model.
    """
    if request.precision not in PRECISIONS:
        raise ValueError(f"precision {request.precision!r}: there are {', '.join(PRECISIONS)}")
    path = job.path(request.artifact)
    runtime = Runtime(request.target)
    if request.format == FORMAT:
        model = runtime.read(path)
        names = Names.beside(path)
    elif request.format == "onnx":
        model = runtime.read(path)
        names = names_of(g.read(path), model)
    else:
        raise ValueError(f"format {request.format!r}: this backend loads {FORMAT} and onnx")
    outputs = [name for name, _ in named(model.outputs, names.outputs)]
    taps = add_taps(model, request.taps)
    properties = runtime.properties(
        request.precision,
        request.options,
        threads=request.threads,
        streams=request.streams,
        profile=request.profile,
    )
    compiled = runtime.compile(model, properties, runtime.device_name(request.options))
    return OpenVinoSession(
        runtime,
        compiled,
        names,
        outputs={name: k for k, name in enumerate(outputs)} | taps,
        profile=request.profile,
        properties=properties,
        streams=request.streams,
    )


def add_taps(model: Any, taps: tuple[str, ...]) -> dict[str, int]:
    """Make inner tensors outputs: tensor -> position among the outputs.

    Raises:
        ValueError: naming the tensors that the model does not have (folded or merged away).
    """
    present = {n: k for k, port in enumerate(model.outputs) for n in port.get_names()}
    wanted = [t for t in dict.fromkeys(taps) if t not in present]
    known = {
        n
        for operation in model.get_ordered_ops()
        if operation.get_type_name() != "Result"
        for port in operation.outputs()
        for n in port.get_names()
    }
    missing = [t for t in wanted if t not in known]
    if missing:
        raise ValueError(
            f"no tensor {', '.join(missing)} in the model as OpenVINO has it: unknown, or folded"
            " or merged away"
        )
    for tap in wanted:
        # two names may mean one tensor: it is then an output already
        if any(tap in port.get_names() for port in model.outputs):
            continue
        model.add_outputs(tap)
    return {
        t: next(k for k, port in enumerate(model.outputs) if t in port.get_names()) for t in taps
    }


class OpenVinoSession:
    """See :class:`seatrial.hookspecs.Session`.

    Args:
        runtime: OpenVINO for one target.
        compiled: the compiled model.
        names: labels by OpenVINO's names, and the ONNX interface.
        outputs: output or tap name -> position.
        profile: keep the times of every layer.
        streams: how many calls of ``run`` come at once.
        properties: what the model was compiled with.
    """

    def __init__(
        self,
        runtime: Runtime,
        compiled: Any,
        names: Names,
        *,
        outputs: Mapping[str, int],
        profile: bool,
        properties: Mapping[str, Any],
        streams: int = 1,
    ) -> None:
        self._runtime = runtime
        self._compiled = compiled
        self._names = names
        self._outputs = dict(outputs)
        self._profile = profile
        self._properties = dict(properties)
        #: port, element type, and whether arrays hold it as OpenVINO does
        self._inputs = {
            name: (port, kind.to_dtype(), kind.get_type_name() in _SHARED_TYPES)
            for name, port in named(compiled.inputs, names.inputs)
            for kind in (port.get_element_type(),)
        }
        self._times: dict[str, list[float]] = {}
        self._request: Any = compiled.create_infer_request()
        #: calls at once: each takes a request of its own
        self.streams = streams
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams if streams > 1 else 0):
            self._idle.put(compiled.create_infer_request())

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once; inputs are not copied, outputs are.

        Raises:
            ValueError: other inputs than the model's, or another element type.
        """
        if feeds.keys() != self._inputs.keys():
            raise ValueError(
                f"inputs {sorted(feeds)} were given, {sorted(self._inputs)} are wanted"
            )
        for name, value in feeds.items():
            if value.dtype != self._inputs[name][1]:
                dtype = self._inputs[name][1]
                raise ValueError(f"input {name!r} is {value.dtype}, the model takes {dtype}")
        results = self._shared(feeds) if self.streams > 1 else self._infer(self._request, feeds)
        if self._profile:
            self._keep_times()
        return {name: results[k] for name, k in self._outputs.items()}

    def _infer(self, request: Any, feeds: Mapping[str, Any]) -> Any:
        """Results by output. A tensor over an array's own memory is handed over as it is.

        The wrapper comes to the same tensor, a twentieth of a millisecond later: it looks at every
        array again. What cannot be shared (strings, numbers, bfloat16, read-only) is left to it.
        """
        others, shared = {}, self._runtime.ov.Tensor
        for name, value in feeds.items():
            port, _, plain = self._inputs[name]
            if plain and value.ndim and value.flags.writeable and value.flags.c_contiguous:
                request.set_tensor(port, shared(value, shared_memory=True))
            else:
                others[port] = value
        return request.infer(others, share_inputs=True, share_outputs=False)

    def _shared(self, feeds: Mapping[str, Any]) -> Any:
        """Run on a request that is idle; there are as many as calls at once."""
        request = self._idle.get()
        try:
            return self._infer(request, feeds)
        finally:
            self._idle.put(request)

    def _keep_times(self) -> None:
        for layer in self._request.get_profiling_info():
            if layer.status.name == "EXECUTED":
                ms = layer.real_time.total_seconds() * 1e3
                self._times.setdefault(layer.node_name, []).append(ms)

    def ran(self) -> Ran:
        """What ran, read from the compiled model; times only in a profiled session."""
        layers = runtime_layers(self._compiled, self._names, self._times or None)
        cap = self._runtime.cap
        level = instruction_set(layers)
        notes = [f"{key}={value}" for key, value in sorted(self._properties.items())]
        notes.append(f"threads: {self._compiled_property('INFERENCE_NUM_THREADS')}")
        beyond = bool(cap and level and LEVELS.index(level) > LEVELS.index(cap.level))
        if cap and beyond:
            notes.append(f"{level} kernels ran although {cap.isa} was set: this is no {cap.level}")
        if cap and (free := own_dispatch(layers)):
            notes.append(
                f"these kernels choose their instruction set themselves: {', '.join(free)}"
            )
        return Ran(
            where=TargetKind.EMULATED if cap and not beyond else TargetKind.DEVICE,
            device=self._device(),
            layers=layers,
            instruction_set=level,
            notes=tuple(notes),
        )

    def _compiled_property(self, name: str) -> str:
        try:
            return str(self._compiled.get_property(name))
        except RuntimeError:
            return "not told"

    def _device(self) -> str:
        try:
            name = self._runtime.core.get_property(self._runtime.device, "FULL_DEVICE_NAME")
        except RuntimeError:
            return self._runtime.device
        return f"{self._runtime.device}: {name}"

    def close(self) -> None:
        """Free the request and the compiled model."""
        self._request = None
        self._idle = queue.SimpleQueue()
        self._compiled = None
