"""The reference: ONNX Runtime on the CPU in FP32, the only core code that names a runtime.

Export parity, layout equivalence, calibration and the ``onnx-fp32`` and ``onnx-int8`` rungs are
judged against it. It is an embedded default that is always installed, never a target.
Runs in a child only: importing this module is cheap, calling it imports onnxruntime.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .hookspecs import Job
from .results import LayerRun, LoadRequest, Ran, TargetKind
from .samples import Samples

#: Values of ``options["optimize"]``: ``all`` is the default, ``none`` takes the graph as it is,
#: ``literal`` takes Q and DQ as they are and optimises everything around them.
OPTIMIZE = ("all", "basic", "literal", "none")


class ReferenceSession:
    """A loaded model; ``run`` may be called from several threads at once.

    Args:
        session: the runtime's session.
        title: what ``ran`` says of it.
        profile: whether per-layer facts are collected.
    """

    def __init__(self, session: Any, title: str, *, profile: bool = False) -> None:
        self._session: Any = session
        self._title = title
        self._profile = profile
        self._layers: tuple[LayerRun, ...] | None = None
        self.inputs: tuple[str, ...] = tuple(i.name for i in session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(o.name for o in session.get_outputs())
        self.shapes: dict[str, tuple[int | str | None, ...]] = {
            i.name: tuple(i.shape) for i in session.get_inputs()
        }

    def groups(self, samples: Samples, indices: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """The samples of each inference: as many as the model's fixed batch, else one by one.

        A last short group is filled up with its last sample.
        """
        first = next(iter(self.shapes.values()), ())[:1]
        fixed = samples.index.get("batch_axis", True) and first and isinstance(first[0], int)
        size = max(int(first[0] or 1), 1) if fixed else 1
        for start in range(0, len(indices), size):
            group = tuple(indices[start : start + size])
            yield group + group[-1:] * (size - len(group))

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; sequences and maps come back as arrays where their parts agree in shape."""
        values = self._session.run(self.outputs, dict(feeds))
        return {name: plain(v) for name, v in zip(self.outputs, values, strict=True)}

    def view(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run once without copying what comes out, for models whose outputs are many or large.

        Returns:
            Arrays by output name over the runtime's own memory: it is used again once they are
            gone. Only tensors of numbers are served.
        """
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        values = binding.get_outputs()
        return {name: v.numpy() for name, v in zip(self.outputs, values, strict=True)}

    def ran(self) -> Ran:
        """Always the CPU; layers only when the session was loaded with ``profile``."""
        if self._profile and self._layers is None:
            self._layers = _layers(Path(self._session.end_profiling()))
        return Ran(
            where=TargetKind.DEVICE,
            device="CPU",
            layers=self._layers or (),
            notes=(self._title,),
        )

    def close(self) -> None:
        """Free the model."""
        self._session = None


def load(request: LoadRequest, job: Job) -> ReferenceSession:
    """Load an ONNX model, float or with Q/DQ pairs.

    Args:
        request: ``options["optimize"]`` is one of :data:`OPTIMIZE`;
            ``options["denormals_as_zero"]`` flushes them.
        job: resolves the model.

    Raises:
        UserError: an unknown option, or a tap that the main graph does not compute.
    """
    optimize = request.options.get("optimize", "all")
    path = job.path(request.artifact)
    job.progress(f"loading {path.name} on the reference")
    source: Path | bytes = path
    if request.taps:
        import onnx

        source = with_outputs(onnx.load(path, load_external_data=False), request.taps)
    return open_model(
        source,
        folder=path.parent,
        optimize=str(optimize),
        threads=request.threads,
        denormals_as_zero=bool(request.options.get("denormals_as_zero", False)),
        profile=job.scratch / "reference" if request.profile else None,
    )


def open_model(
    source: Path | bytes,
    *,
    folder: Path | None = None,
    optimize: str = "all",
    threads: int = 0,
    profile: Path | None = None,
    in_order: bool = False,
    denormals_as_zero: bool = False,
) -> ReferenceSession:
    """Open a model file, or a serialised model whose external data lies in ``folder``.

    Args:
        source: a file or bytes.
        folder: only used for bytes.
        optimize: one of :data:`OPTIMIZE`.
        threads: of one inference; 0: the runtime's own choice.
        profile: path prefix of a profile to collect.
        in_order: execute nodes in the order in which the graph lists them.
        denormals_as_zero: numbers next to zero are zero, as on many devices.
    """
    import onnxruntime as ort

    options = _options(optimize, threads)
    if denormals_as_zero:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if in_order:
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        _lean_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Planned blocks are kept per thread: a tenth more memory in all, at the same speed.
        options.enable_mem_pattern = False
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    session = _session(source, folder, options)
    title = f"onnxruntime {ort.__version__}, CPU, graph optimisation {optimize}"
    return ReferenceSession(session, title, profile=profile is not None)


@functools.cache
def _lean_arena() -> None:
    """Give sessions that ask for it one arena that grows by what is asked of it.

    By default an arena doubles with each extension, and how far depends on whether the peaks of
    two inferences ever meet: the longer a pass, the more memory.
    """
    import onnxruntime as ort

    kind, memory = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    as_requested = ort.OrtArenaCfg({"arena_extend_strategy": 1})
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, memory), as_requested)


def runtime_version() -> str:
    """Version of the runtime."""
    import onnxruntime as ort

    return str(ort.__version__)


def optimised(
    source: bytes, target: Path, *, folder: Path | None = None, weights: str = ""
) -> None:
    """Write the graph as the runtime optimises it for this CPU: only valid on this machine.

    Args:
        source: a serialised model.
        target: the file to write.
        folder: where the model's external data lies.
        weights: name of a file beside ``target`` that takes the large weights, if any shall.
    """
    options = _options("all", 1)
    options.optimized_model_filepath = str(target)
    if weights:
        key = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{key}file_name", weights)
        options.add_session_config_entry(f"{key}min_size_in_bytes", "1024")
    # Nothing is run here: weights need not be packed, nor memory be kept.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    _session(source, folder, options)


def with_outputs(original: Any, taps: Iterable[str]) -> bytes:
    """A copy of a ``ModelProto`` with inner tensors added to its outputs, serialised.

    Raises:
        UserError: a name that no node of the main graph writes.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(original)
    have = {o.name for o in model.graph.output}
    known = {name for node in model.graph.node for name in node.output if name}
    for name in taps:
        if name in have:
            continue
        if name not in known:
            raise UserError("taps", "no node of the main graph writes this tensor", place=name)
        model.graph.output.append(onnx.ValueInfoProto(name=name))
        have.add(name)
    return bytes(model.SerializeToString())


def plain(value: Any) -> Any:
    """An output as one array: a list of maps becomes (samples, classes) in key order.

    Raises:
        ValueError: parts that do not stack into one array.
    """
    import numpy as np

    if value is None:
        raise ValueError("an optional output is empty")
    if isinstance(value, Mapping):
        return np.asarray([value[k] for k in sorted(value)])
    if isinstance(value, list):
        parts = [plain(v) for v in value]
        if len({np.shape(p) for p in parts}) > 1:
            raise ValueError("a sequence output has parts of different shapes")
        return np.stack(parts) if parts else np.zeros((0,), np.float32)
    array = np.asarray(value)
    return array.astype(str) if array.dtype.hasobject else array


def _options(optimize: str, threads: int) -> Any:
    import onnxruntime as ort

    levels = {
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "literal": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
    if optimize not in levels:
        raise UserError("optimize", f"{optimize!r} is not one of {', '.join(OPTIMIZE)}")
    options = ort.SessionOptions()
    options.graph_optimization_level = levels[optimize]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # Idle threads must not burn the cores of whatever runs beside the reference.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if optimize == "literal":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _session(source: Path | bytes, folder: Path | None, options: Any) -> Any:
    import onnxruntime as ort

    if isinstance(source, bytes) and folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder))
    model = source if isinstance(source, bytes) else str(source)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _layers(profile: Path) -> tuple[LayerRun, ...]:
    """Median time of each kernel in a profile."""
    times: dict[str, list[float]] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for event in json.loads(profile.read_text("utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            times.setdefault(name, []).append(event["dur"] / 1000)
            facts[name] = event["args"]
    return tuple(_layer(name, facts[name], ms) for name, ms in times.items())


def _layer(name: str, facts: Mapping[str, Any], ms: Sequence[float]) -> LayerRun:
    types = [t for part in facts.get("output_type_shape", []) for t in part]
    precision = {"float": "FP32", "float16": "FP16", "uint8": "INT8", "int8": "INT8"}
    return LayerRun(
        layer=name,
        op_type=facts.get("op_name", ""),
        on=facts.get("provider", ""),
        precision=precision.get(types[0], "") if types else "",
        ms=statistics.median(ms),
    )
