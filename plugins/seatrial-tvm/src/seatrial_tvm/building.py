"""Compiling: the library that would ship, what the compiler refused, and what it generated."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax
from tvm.support import cc
from tvm.target import codegen

from seatrial.hookspecs import Job
from seatrial.models import Model, RefusedError
from seatrial.results import (
    Artifact,
    Availability,
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    Int8Build,
    Int8Request,
    Verdict,
)

from . import FORMAT, INSTALL, version
from .importing import Shapes, blame_compiler, from_model, imported, prepared
from .kernels import Kernel, instruction_set, kernels

ENTRY = "model.so"
FACTS = "model.json"


def probe(cpu: str) -> Availability:
    """Whether TVM can generate code for a CPU and link it."""
    compiler = cc.get_cc()
    if compiler is None:
        reason = "no C++ compiler is on the path, and TVM needs one to link what it generates"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    if not tvm.runtime.enabled("llvm"):
        reason = f"TVM {version()} was built without LLVM"
        return Availability(usable=False, reason=reason, install_hint=INSTALL)
    wanted = cpu or codegen.llvm_get_system_cpu()
    if cpu and not codegen.llvm_get_system_triple().startswith("x86_64"):
        return Availability(usable=False, reason=f"{cpu} is no class of this machine's CPU")
    return Availability(
        usable=True,
        versions={
            "tvm": version(),
            "llvm": str(codegen.llvm_version_major()),
            "linker": compiler.rpartition("/")[2],
        },
        devices=(wanted,),
        instruction_sets=tuple(sorted(_features(wanted))),
    )


def _features(cpu: str) -> set[str]:
    """Vector extensions that LLVM may use for a CPU."""
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu})
    known = ("sse4.2", "avx", "avx2", "avx512f", "avx512vnni", "avxvnni", "amx-int8", "neon", "sve")
    return {name for name in known if codegen.llvm_cpu_has_features(name, target)}


@dataclass(frozen=True)
class Compiled:
    """A linked library.

    Attributes:
        artifact: its files.
        kernels: in the order of their calls.
        notes: seconds of each step, and what was not done.
    """

    artifact: Artifact
    kernels: tuple[Kernel, ...]
    notes: tuple[str, ...]

    @property
    def precision(self) -> str:
        """What it multiplies in or, where it multiplies nothing, computes in."""
        told = [k.precision for k in self.kernels if k.weighted]
        told = told or [k.precision for k in self.kernels]
        return next((p for p in ("FP64", "FP32", "BF16", "FP16") if p in told), "FP32")


def _target(cpu: str) -> Any:
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu or codegen.llvm_get_system_cpu()})


def compiled(model: Model, shapes: Shapes, cpu: str, job: Job) -> Compiled:
    """Import, compile and link.

    Raises:
        RefusedError: by the importer or the compiler, with the nodes.
    """
    target = _target(cpu)
    began = time.perf_counter()
    job.progress("importing", 0.1)
    module = imported(model, shapes)
    at_import = time.perf_counter()
    job.progress("compiling", 0.3)
    try:
        lowered, executable = _compile(module, target)
    except Exception as error:  # noqa: BLE001 - passes end in errors of every kind
        raise blame_compiler(model, error, lambda p: _alone(p, target)) from None
    at_compile = time.perf_counter()
    job.progress("linking", 0.7)
    executable.export_library(str(job.out / ENTRY))
    at_link = time.perf_counter()
    made = kernels(lowered)
    library = next(m for m in executable.mod.imports if m.kind == "llvm") if made else None
    facts = {
        "feeds": _feeds(model),
        "outputs": [o.name for o in model.proto.graph.output],
        "kernels": [dataclasses.asdict(k) for k in made],
        "instruction_set": instruction_set(library.inspect_source("asm")) if library else "",
        "target": str(target.attrs["mcpu"]),
    }
    (job.out / FACTS).write_text(json.dumps(facts), "utf-8")
    times = (at_import - began, at_compile - at_import, at_link - at_compile)
    words = ", ".join(
        f"{name} {t:.2f} s" for name, t in zip(("import", "compile", "link"), times, strict=True)
    )
    notes = (words, "kernels as tvm.compile makes them by default: no tuning, no schedules")
    return Compiled(Artifact(format=FORMAT, entry=ENTRY, files=(ENTRY, FACTS)), made, notes)


def _compile(module: Any, target: Any) -> tuple[Any, Any]:
    """What ``tvm.compile(module, target)`` does, in two steps: lowered kernels, and executable."""
    with target:
        lowered = relax.get_pipeline("default")(module)
    return lowered, tvm.compile(lowered, target=target, relax_pipeline=None)


def _alone(proto: Any, target: Any) -> None:
    """Import and compile a model of one node, or raise."""
    _compile(from_model(proto, {}), target)


def _feeds(model: Model) -> list[str]:
    """Names of the model's inputs in the order of the function's parameters."""
    return [i.name for i in model.inputs]


def check(request: CheckRequest, job: Job, cpu: str) -> CompileReport:
    """Compile, and say what happened to each node."""
    try:
        model = prepared(job.path(request.model), job.scratch)
        made = compiled(model, request.shapes, cpu, job)
    except RefusedError as error:
        return error.report()
    on = f"llvm -mcpu={cpu or codegen.llvm_get_system_cpu()}"
    return CompileReport(
        verdict=Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        placements=model.placed(on),
        findings=tuple(_emulation(made)) if request.precision == "int8" else (),
        artifact=made.artifact,
        notes=made.notes,
    )


def _emulation(made: Compiled) -> list[Finding]:
    """That the Q/DQ pairs are computed one by one, as the generated kernels show."""
    floats = [k for k in made.kernels if k.weighted and k.precision != "INT8"]
    if not floats:
        return []
    text = (
        f"{len(floats)} of {sum(k.weighted for k in made.kernels)} kernels multiply in"
        f" {'/'.join(sorted({k.precision for k in floats}))} between dequantize and quantize:"
        " the numbers are those of INT8, the arithmetic and the speed are not"
    )
    return [Finding(reason=text, severity="warning", advice="build the float model for speed")]


def build(request: BuildRequest, job: Job, cpu: str) -> Build:
    """The float library. TVM lowers no precision by itself, so ``native`` is the same.

    Raises:
        ValueError: the model is invalid, or TVM refuses it.
    """
    _, made = _built(request, job, cpu)
    return Build(artifact=made.artifact, precision=made.precision, notes=made.notes)


def build_int8(request: Int8Request, job: Job, cpu: str) -> Int8Build:
    """The library of a Q/DQ model. No node is called INT8 unless its kernel multiplies so.

    Raises:
        ValueError: not a Q/DQ model, an invalid one, or TVM refuses it.
    """
    if request.form != "qdq":
        raise ValueError(f"form {request.form!r}: TVM calibrates nothing, it takes qdq")
    model, made = _built(request, job, cpu)
    pairs = ("QuantizeLinear", "DequantizeLinear")
    weighted = [k for k in made.kernels if k.weighted]
    emulated = _emulation(made)
    # Kernels carry no names of nodes: they are told apart only when all are of one kind.
    nodes = [x for x, t in zip(model.labels, model.types, strict=True) if t not in pairs]
    whole = not emulated and bool(weighted)
    return Int8Build(
        artifact=made.artifact,
        method="Q/DQ pairs of the ONNX model, as TVM's importer reads them",
        int8_nodes=tuple(nodes) if whole else (),
        float_nodes=() if whole else tuple(nodes),
        notes=(*made.notes, *(f.reason for f in emulated)),
    )


def _built(request: BuildRequest | Int8Request, job: Job, cpu: str) -> tuple[Model, Compiled]:
    try:
        model = prepared(job.path(request.model), job.scratch)
        return model, compiled(model, request.shapes, cpu, job)
    except RefusedError as error:
        raise ValueError(str(error)) from None
