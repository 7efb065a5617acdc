"""Targets, their rules, and the options they take. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seatrial.errors import UserError
from seatrial.results import Description, InputRules, Option, QdqDialect, Target

INSTALL = "on a machine with an NVIDIA GPU and its driver: pip install 'seatrial[tensorrt]'"
DOCS = "https://docs.nvidia.com/deeplearning/tensorrt/"

#: Name of the artefact: a serialised engine, bound to this TensorRT and this kind of GPU.
FORMAT = "tensorrt-engine"

#: Target id -> DLA core, ``None``: the GPU itself.
CORES: Mapping[str, int | None] = {"gpu": None, "dla0": 0, "dla1": 1}

#: Zero points 0 in int8, float biases, one scale per output channel of a weight: the only form
#: that the parser takes on a GPU.
DIALECT = QdqDialect(activations="int8", symmetric=True, weights="int8", bias="float")


def core(target: str) -> int | None:
    """The DLA core of a target, ``None`` for the GPU.

    Raises:
        UserError: there is no such target.
    """
    if target not in CORES:
        reason = "no such target"
        raise UserError(f"tensorrt:{target}", reason, advice=f"one of {', '.join(CORES)}")
    return CORES[target]


@dataclass(frozen=True)
class Options:
    """What the user may set for a target.

    Attributes:
        workspace_mb: scratch memory of one layer at most; 0: as much as the GPU has.
        optimization_level: 0 to 5, how hard the builder searches; -1: its own choice.
        fp16: let float layers run in FP16 (TensorRT 10 only: from 11 on the model says it).
        max_batch: keep the first axis free up to this size; 1: a static engine.
        timing_cache: file that keeps the timings of tactics from one build to the next; absolute.
        plugins: libraries with plugins, absolute, separated by colons.
        gpu_fallback: on a DLA, layers that it cannot take may run on the GPU.
    """

    workspace_mb: int = 0
    optimization_level: int = -1
    fp16: bool = False
    max_batch: int = 1
    timing_cache: str = ""
    plugins: str = ""
    gpu_fallback: bool = True


def options(given: Mapping[str, Option]) -> Options:
    """Options as typed, checked.

    Raises:
        UserError: an option that does not exist, or a value of another type.
    """
    known = {name: type(getattr(Options(), name)) for name in Options.__dataclass_fields__}
    taken: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise UserError(f"option {name}", "no such option", advice=f"one of {', '.join(known)}")
        kind = known[name]
        if type(value) is not kind:
            raise UserError(f"option {name}", f"{value!r} is no {kind.__name__}")
        taken[name] = value
    found = Options(**taken)
    if not -1 <= found.optimization_level <= 5:
        raise UserError("option optimization_level", "0 to 5, or -1 for the builder's own choice")
    if found.max_batch < 1 or found.workspace_mb < 0:
        raise UserError("option max_batch or workspace_mb", "a negative size, or no sample at all")
    return found


def describe() -> Description:
    """Who this backend is."""
    rules = InputRules(
        opset_min=9, opset_max=24, static_shapes=True, layouts=("NCHW", "NHWC"), qdq=DIALECT
    )
    gpu = Target(
        id="gpu",
        title="TensorRT on the NVIDIA GPU",
        device="cuda:0",
        default=True,
        install_hint=INSTALL,
        rules=rules,
    )
    dlas = tuple(
        Target(
            id=name,
            title=f"TensorRT on DLA core {number} of a Jetson or DRIVE, the rest on its GPU",
            device=f"dla:{number}",
            install_hint="needs an SoC with a DLA; JetPack or DriveOS brings TensorRT",
            rules=rules,
        )
        for name, number in CORES.items()
        if number is not None
    )
    return Description(
        title="TensorRT",
        vendor="NVIDIA",
        targets=(gpu, *dlas),
        artifact_format=FORMAT,
        install_hint=INSTALL,
        docs=DOCS,
        # Kernels are loaded when they are first needed: less memory, shorter start.
        environment={"CUDA_MODULE_LOADING": "LAZY"},
        seconds_per_compile=30.0,
        seconds_per_sample=0.002,
        int8_forms=("qdq",),
        hardware_run="never",
    )
