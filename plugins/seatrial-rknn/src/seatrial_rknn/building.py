"""Compiling: the chip's file, and what its compiler said of each node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seatrial.hookspecs import Job
from seatrial.models import Model, RefusedError, read
from seatrial.results import (
    Artifact,
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    Int8Build,
    Int8Request,
    NodePlacement,
    Placement,
    Verdict,
)
from seatrial.samples import Samples

from . import FORMAT
from .log import Layer, layers, without_lowering
from .toolkit import PARTS, Toolkit, ToolkitError

ENTRY = "model.rknn"
FACTS = "model.json"
SOURCE = "model.onnx"
#: Layers that move data and compute nothing: of the compiler's own, they are no fallback.
MOVES = ("Reshape", "Transpose", "exDataConvert", "exNorm")
SIMULATOR = "the files beside model.rknn are for the simulator, which runs no .rknn"


@dataclass(frozen=True)
class Compiled:
    """What the compiler wrote and said."""

    artifact: Artifact
    model: Model
    layers: tuple[Layer, ...]
    findings: tuple[Finding, ...]

    def named(self) -> Iterator[tuple[int, Layer]]:
        """The layers that carry the name of a node, with its position."""
        for layer in self.layers:
            index = self.model.layer(layer.name)
            if index is not None:
                yield index, layer

    @property
    def notes(self) -> tuple[str, ...]:
        """Size and the compiler's own estimate."""
        cycles = sum(layer.cycles for layer in self.layers)
        return (f"{cycles} cycles by the compiler's estimate", SIMULATOR)


def check(request: CheckRequest, job: Job) -> CompileReport:
    """Compile, and say what happened to each node."""
    try:
        made = compiled(request, job)
    except RefusedError as error:
        return error.report()
    return CompileReport(
        verdict=Verdict.PARTIAL if _falls_back(made) else Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        findings=made.findings,
        placements=tuple(_placements(made)),
        artifact=made.artifact,
        notes=made.notes,
    )


def compiled(request: Any, job: Job, calibration: Samples | None = None) -> Compiled:
    """Read, compile, and read the log.

    Raises:
        RefusedError: no valid model, refused by the compiler, or nodes were left without anything
            that computes them.
    """
    model = read(job.path(request.model), job.scratch, request.shapes)
    job.progress("compiling", 0.2)
    try:
        kit = Toolkit(request.target, job.scratch)
        kit.read(model.path)
        if calibration is None:
            kit.build()
        else:
            kit.quantise(list(_rows(model, calibration, job)))
            job.progress("compiling INT8", 0.7)
            kit.close()
            kit = Toolkit(request.target, job.scratch)
            kit.build_quantised(job.scratch)
        kit.export(job.out / ENTRY)
    except ToolkitError as error:
        raise RefusedError(_of_error(model, error)) from None
    said = kit.said
    kit.close()
    if left := tuple(_not_lowered(model, said)):
        raise RefusedError(*left)
    table = layers(said)
    sources = (SOURCE,) if calibration is None else PARTS
    for name in sources:
        shutil.copyfile(job.scratch / name, job.out / name)
    facts = {
        "inputs": [i.name for i in model.inputs],
        "outputs": [[o.name, _dtype(o)] for o in model.proto.graph.output],
        "int8": calibration is not None,
        "layers": [vars(layer) | {"node": _label(model, layer)} for layer in table],
    }
    (job.out / FACTS).write_text(json.dumps(facts), "utf-8")
    artifact = Artifact(format=FORMAT, entry=ENTRY, files=(ENTRY, FACTS, *sources))
    return Compiled(artifact, model, table, tuple(_on_cpu(model, table)))


def _rows(model: Model, samples: Samples, job: Job) -> Iterator[str]:
    """Write the samples as the toolkit reads them (NCHW, one file per input); a line for each."""
    import numpy as np

    for k in range(samples.count):
        feeds = samples.feeds((k,))
        files = []
        for n, tensor in enumerate(model.inputs):
            files.append(f"sample_{k}_{n}.npy")
            np.save(job.scratch / files[-1], feeds[tensor.name])
        yield " ".join(files)


def _dtype(tensor: Any) -> str:
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))


def _label(model: Model, layer: Layer) -> str:
    index = model.layer(layer.name)
    return "" if index is None else model.labels[index]


def _of_error(model: Model, error: ToolkitError) -> Finding:
    """The node that an error names, or the only one there is."""
    index = model.index(str(error))
    if index is None and len(model.labels) == 1:
        index = 0
    return model.finding(index, str(error), Placement.NOWHERE)


def _not_lowered(model: Model, said: str) -> Iterator[Finding]:
    for name, kind in without_lowering(said).items():
        index = model.layer(name)
        where = "" if index is not None else f" ({name}, which the compiler made)"
        reason = f"no lowering found for {kind}{where}: nothing on the chip computes it"
        yield model.finding(
            index, reason, Placement.NOWHERE, advice="replace it, or register a custom op"
        )


def _on_cpu(model: Model, table: tuple[Layer, ...]) -> Iterator[Finding]:
    for layer in table:
        if layer.on == "NPU":
            continue
        index = model.layer(layer.name)
        where = "" if index is not None else f" ({layer.name}, which the compiler made)"
        reason = f"{layer.op}{where} runs on the chip's {layer.on}"
        # what moves a result to where the caller wants it is no part of the model
        moves = index is None and layer.op in MOVES
        placement = Placement.UNKNOWN if moves else Placement.FALLBACK
        severity = "info" if moves else "warning"
        yield model.finding(index, reason, placement, on=layer.on, severity=severity)


def _falls_back(made: Compiled) -> bool:
    """Whether anything of the model itself runs beside the NPU."""
    return any(f.severity != "info" for f in made.findings)


def _placements(made: Compiled) -> Iterator[NodePlacement]:
    """Of the nodes that are layers by name; the compiler does not tell where others went."""
    for index, layer in sorted(made.named(), key=lambda pair: pair[0]):
        yield NodePlacement(
            node=made.model.labels[index],
            op_type=made.model.types[index],
            on=layer.on,
            placement=Placement.TARGET if layer.on == "NPU" else Placement.FALLBACK,
        )


def build(request: BuildRequest, job: Job) -> Build:
    """The float model: the NPU has no FP32, so it is FP16 whatever was asked.

    Raises:
        ValueError: an invalid model, or one that is refused.
    """
    made = _built(request, job)
    return Build(artifact=made.artifact, precision="FP16", notes=made.notes)


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """The toolkit's own calibration: weights per channel, activations asymmetric.

    Raises:
        ValueError: another form, no samples, nodes to be kept in float, or a refused model.
    """
    if request.form != "float" or request.calibration is None:
        raise ValueError("the toolkit quantises the float model on samples of its inputs")
    if request.keep_float:
        raise ValueError("this backend cannot keep single nodes in float")
    samples = Samples(job.path(request.calibration))
    made = _built(request, job, samples)
    told = {made.model.labels[k]: layer.precision for k, layer in made.named()}
    return Int8Build(
        artifact=made.artifact,
        method=f"RKNN-Toolkit2, normal algorithm, {samples.count} samples",
        int8_nodes=tuple(n for n, p in told.items() if p == "INT8"),
        float_nodes=tuple(n for n, p in told.items() if p != "INT8"),
        notes=made.notes,
    )


def _built(request: Any, job: Job, samples: Samples | None = None) -> Compiled:
    try:
        return compiled(request, job, samples)
    except RefusedError as error:
        raise ValueError(str(error)) from None
