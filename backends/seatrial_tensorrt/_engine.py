"""Building a serialised engine: network, configuration, timing cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.results import Finding

from . import _parse
from ._dtypes import BFLOAT16, FLOAT, FLOAT16
from ._live import Progress, make_monitor
from ._model import Prepared
from ._refusals import Refusal, last_words, no_engine, nodes_of, open_sizes, whole
from ._trt import Toolkit

#: TF32 exists from this compute capability on.
_TF32_SINCE = (8, 0)

#: How to have FP16 from TensorRT 11 on, where types stand in the model.
AUTOCAST = "python -m modelopt.onnx.autocast --onnx_path MODEL.onnx --output_path HALF.onnx"


@dataclass(frozen=True)
class Wish:
    """What kind of engine is wanted.

    Attributes:
        precision: ``fp32``, ``native`` or ``int8``.
        formats: input -> member of ``TensorFormat`` that its memory has to have.
    """

    precision: str = "fp32"
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """An engine, not yet on disk.

    Attributes:
        plan: the serialised engine.
        timings: the serialised timing cache.
        precision: of its float layers.
        fallback: labels of nodes that a DLA leaves to the GPU.
        sized: findings for nodes whose output sizes depend on values.
        notes: what is worth a line.
    """

    plan: bytes
    timings: bytes
    precision: str
    fallback: tuple[str, ...] = ()
    sized: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def half_asked(toolkit: Toolkit, wish: Wish) -> bool:
    """Whether float layers may run in FP16, by flag.

    Raises:
        UserError: the flag is asked for where TensorRT has none, or FP32 is pinned.
    """
    flagged = _flag(toolkit, "FP16") is not None
    asked = toolkit.options.fp16 and wish.precision != "fp32"
    if asked and not flagged:
        reason = f"TensorRT {toolkit.version} takes types from the model"
        raise UserError("option fp16", reason, advice=f"convert the model: {AUTOCAST}")
    # A DLA computes in FP16 or INT8 only; without the flag it would get nothing.
    return flagged and (asked or toolkit.core is not None)


def build(
    toolkit: Toolkit, prepared: Prepared, wish: Wish, progress: Progress | None = None
) -> Built | Refusal:
    """Parse and build.

    Args:
        toolkit: what builds.
        prepared: the model.
        wish: what kind of engine.
        progress: told what the builder is at; each word extends the deadline.

    Raises:
        UserError: options that do not go together.
        MemoryError: the builder ran out of memory.
        RuntimeError: CUDA failed, so nothing was said about the model.
    """
    half = half_asked(toolkit, wish)
    # A parser holds one model, so the survey has a network and a parser of its own.
    surveyed = _parse.new_network(toolkit, strong=not half)
    covered = _parse.coverage(_parse.new_parser(toolkit, surveyed), prepared)
    network = _parse.new_network(toolkit, strong=not half)
    parser = _parse.new_parser(toolkit, network)
    ok, told = _parse.parse(parser, prepared)
    if not ok:
        every = tuple(dict.fromkeys((*told, *covered.faults)))
        found = _parse.findings(prepared, every, covered.refused)
        return Refusal(False, found or (whole(toolkit, "the parser gave no reason"),))
    if prepared.open:
        return Refusal(True, open_sizes(prepared), open=True)
    config = _configure(toolkit, wish, half=half)
    monitor = make_monitor(toolkit.trt, progress) if progress is not None else None
    if monitor is not None:
        config.progress_monitor = monitor
    _set_formats(toolkit, network, wish.formats)
    _set_profile(toolkit, network, config, prepared)
    fallback = _left_to_gpu(toolkit, network, config, prepared)
    notes = [*prepared.notes, *toolkit.notes, *_of_dla(toolkit, half=half)]
    if covered.refused:
        left = ", ".join(covered.refused[:4])
        notes.append(f"parsed, although the parser's own survey leaves out {left}")
    cache, how = _timing_cache(toolkit, config)
    notes += how
    toolkit.log.mark()
    memory = toolkit.builder.build_serialized_network(network, config)
    if memory is None:
        return Refusal(True, no_engine(toolkit, prepared))
    timings = bytes(memoryview(cache.serialize())) if cache is not None else b""
    _keep_timings(toolkit.options.timing_cache, timings)
    return Built(
        plan=bytes(memoryview(memory)),
        timings=timings,
        precision=_float_precision(toolkit, prepared, wish, half=half),
        fallback=fallback,
        sized=_parse.sized_by_values(prepared, covered.data_dependent),
        notes=tuple(notes),
    )


def _configure(toolkit: Toolkit, wish: Wish, *, half: bool) -> Any:
    trt, chosen = toolkit.trt, toolkit.options
    config = toolkit.builder.create_builder_config()
    # Without it the inspector tells names of layers and nothing else.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if chosen.workspace_mb:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, chosen.workspace_mb << 20)
    if chosen.optimization_level >= 0:
        config.builder_optimization_level = chosen.optimization_level
    if wish.precision != "native":
        config.clear_flag(trt.BuilderFlag.TF32)
    if half:
        config.set_flag(_flag(toolkit, "FP16"))
        if wish.precision == "int8":
            config.set_flag(_flag(toolkit, "INT8"))
    if toolkit.core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = toolkit.core
        if chosen.gpu_fallback:
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return config


def _flag(toolkit: Toolkit, name: str) -> Any:
    """A builder flag of precision by name, ``None`` from 11 on."""
    known = {
        "FP16": getattr(toolkit.trt.BuilderFlag, "FP16", None),
        "INT8": getattr(toolkit.trt.BuilderFlag, "INT8", None),
    }
    return known[name]


def _of_dla(toolkit: Toolkit, *, half: bool) -> list[str]:
    """A DLA has no FP32: where that leads."""
    if toolkit.core is None:
        return []
    if half:
        return ["a DLA computes in FP16 or INT8: the float layers run in FP16"]
    return [f"a DLA computes in FP16 or INT8: a model in FP32 stays on the GPU; {AUTOCAST}"]


def _set_formats(toolkit: Toolkit, network: Any, formats: Mapping[str, str]) -> None:
    trt = toolkit.trt
    for k in range(network.num_inputs):
        tensor = network.get_input(k)
        if tensor.name in formats:
            wanted = getattr(trt.TensorFormat, formats[tensor.name])
            tensor.allowed_formats = 1 << int(wanted)


def _set_profile(toolkit: Toolkit, network: Any, config: Any, prepared: Prepared) -> None:
    """Sizes of a batch that may vary: from 1 to the most, tuned for 1."""
    if not prepared.free:
        return
    profile = toolkit.builder.create_optimization_profile()
    for k in range(network.num_inputs):
        tensor = network.get_input(k)
        if tensor.name in prepared.free:
            rest = tuple(tensor.shape)[1:]
            most = (toolkit.options.max_batch, *rest)
            profile.set_shape(tensor.name, (1, *rest), (1, *rest), most)
    if config.add_optimization_profile(profile) < 0:
        raise RuntimeError("TensorRT refuses the range of batch sizes: " + last_words(toolkit))


def _left_to_gpu(
    toolkit: Toolkit, network: Any, config: Any, prepared: Prepared
) -> tuple[str, ...]:
    """Nodes of which some layer cannot run on the DLA."""
    if toolkit.core is None:
        return ()
    found: dict[str, None] = {}
    for k in range(network.num_layers):
        layer = network.get_layer(k)
        if not config.can_run_on_DLA(layer):
            found |= dict.fromkeys(nodes_of(f"{layer.metadata} {layer.name}", prepared.labels))
    return tuple(found)


def _timing_cache(toolkit: Toolkit, config: Any) -> tuple[Any, list[str]]:
    """A cache in the configuration, filled from the user's file when there is one."""
    given, notes = b"", []
    path = toolkit.options.timing_cache
    if path and not (Path(path).is_absolute() and Path(path).parent.is_dir()):
        reason = "no absolute path in a folder that exists"
        raise UserError("option timing_cache", reason, place=path)
    if path and Path(path).is_file():
        given = Path(path).read_bytes()
        notes.append(f"timings of tactics were taken from {Path(path).name}")
    cache = config.create_timing_cache(given)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        if not given:
            return None, ["TensorRT made no timing cache"]
        notes = [f"{Path(path).name} was made by another TensorRT or GPU and is not used"]
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            return None, notes
    return cache, notes


def _keep_timings(path: str, timings: bytes) -> None:
    """Write the user's timing cache whole or not at all."""
    if not path or not timings:
        return
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(timings)
    Path(name).replace(target)


def _float_precision(toolkit: Toolkit, prepared: Prepared, wish: Wish, *, half: bool) -> str:
    """What float layers run in, as far as the request decides; the inspector tells the rest."""
    if half:
        return "FP16"
    kinds = [t.data_type for t in prepared.graph.model.graph.initializer]
    for element, name in ((FLOAT16, "FP16"), (BFLOAT16, "BF16")):
        if kinds.count(element) * 2 > len([k for k in kinds if k in (FLOAT, FLOAT16, BFLOAT16)]):
            return name
    return "TF32" if wish.precision == "native" and toolkit.gpu.sm >= _TF32_SINCE else "FP32"
