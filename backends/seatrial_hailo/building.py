"""Artefacts: the translated float model (HAR), the quantised one (HAR), and the chip's (HEF)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import (
    Artifact,
    Build,
    BuildRequest,
    Int8Build,
    Int8Request,
    Option,
    TensorIO,
)

from . import graph as g
from . import parsing
from .optimising import calibration, optimise
from .targets import emulated

FLOAT_HAR, INT8_HAR, HEF = "hailo-har-float", "hailo-har-int8", "hef"


class RefusedModelError(Exception):
    """The parser does not take the model; the text names the first node and what would help."""


def build(request: BuildRequest, job: Job) -> Build:
    """The translated float model. No chip runs it: the emulator does, as the baseline of INT8."""
    runner, inputs, outputs = _translated(
        job.path(request.model), request.target, request.shapes, request.options, job
    )
    runner.save_har(str(job.out / "model.har"))
    artifact = Artifact(
        format=FLOAT_HAR, entry="model.har", files=("model.har",), inputs=inputs, outputs=outputs
    )
    note = "float runs in the compiler's emulator: the chip computes integers only"
    return Build(artifact=artifact, precision="FP32", notes=(note,))


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Parse, optimise with the calibration samples, and compile for the chip.

    Raises:
        ValueError: a Q/DQ model, layers to keep in float, or no calibration samples.
        RefusedModelError: the parser does not take the model.
    """
    if request.form != "float" or request.calibration is None:
        raise ValueError("the compiler quantises float models itself, with calibration samples")
    if request.keep_float:
        raise ValueError("the chip computes integers only: no layer can stay in float")
    runner, inputs, outputs = _translated(
        job.path(request.model), request.target, request.shapes, request.options, job
    )
    job.progress("preparing calibration samples", 0.2)
    data = calibration(job.path(request.calibration), inputs, job.scratch)
    count = len(next(iter(data.values())))
    job.progress(f"optimising with {count} samples", 0.3)
    optimise(runner, data, request.options)
    runner.save_har(str(job.out / "model_quantised.har"))
    method = f"Dataflow Compiler, {count} samples"
    covered = _covered(runner)
    if emulated(request.target):
        artifact = Artifact(
            format=INT8_HAR,
            entry="model_quantised.har",
            files=("model_quantised.har",),
            inputs=inputs,
            outputs=outputs,
        )
        return Int8Build(artifact=artifact, method=method, int8_nodes=covered)
    job.progress("compiling for the chip", 0.7)
    (job.out / "model.hef").write_bytes(runner.compile())
    artifact = Artifact(
        format=HEF,
        entry="model.hef",
        files=("model.hef", "model_quantised.har"),
        inputs=inputs,
        outputs=outputs,
    )
    return Int8Build(artifact=artifact, method=method, int8_nodes=covered)


def _translated(
    path: Path,
    target: str,
    shapes: Mapping[str, tuple[int, ...]],
    options: Mapping[str, Option],
    job: Job,
) -> tuple[Any, tuple[TensorIO, ...], tuple[TensorIO, ...]]:
    """The parsed model and its borders; a part of it only where the options say so."""
    graph = g.read(path)
    job.progress("parsing", 0.1)
    parsed = parsing.parse(path, graph, target, shapes, options)
    if parsed.runner is None or parsed.refused is not None:
        first = parsed.refused.findings[0] if parsed.refused else None
        where = f"{first.node}: " if first and first.node else ""
        said = f"{where}{first.reason}; {first.advice}" if first else "refused without a reason"
        raise RefusedModelError(said)
    inputs, outputs = parsing.borders(parsed.runner, graph, parsed.ends)
    return parsed.runner, inputs, outputs


def _covered(runner: Any) -> tuple[str, ...]:
    """ONNX nodes that the layers of the quantised model came from."""
    layers = runner.get_hn_dict()["layers"].values()
    names = (n for layer in layers for n in layer.get("original_names", ()))
    return tuple(dict.fromkeys(names))
