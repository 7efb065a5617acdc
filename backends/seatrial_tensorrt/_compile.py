"""The hooks that build: compile-check, float engine, INT8 engine."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import (
    Build,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    Int8Build,
    Int8Request,
    LayerRun,
    NodePlacement,
    Placement,
    Verdict,
)

from ._artifact import save
from ._engine import Built, Wish
from ._engine import build as build_engine
from ._inspect import WEIGHTED, int8_and_float, untold
from ._model import Prepared, prepare
from ._refusals import Refusal
from ._trt import NotHereError, Toolkit

#: Warnings of the logger that a report shows.
_MOST_WARNINGS = 5


def compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Answer ``seatrial_compile_check``."""
    try:
        toolkit = Toolkit(request.target, request.options)
    except NotHereError as error:
        return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.PARSE, notes=(str(error),))
    job.progress("reading the model", 0.1)
    prepared = prepare(job.path(request.model), request.shapes, toolkit.options.max_batch)
    job.progress("building an engine", 0.2)
    built = build_engine(toolkit, prepared, Wish(precision=request.precision), job.progress)
    if isinstance(built, Refusal):
        return _refused(toolkit, prepared, built)
    job.progress("reading the engine back", 0.9)
    saved = save(toolkit, prepared, built, job.out)
    placements = _placed(toolkit, prepared, built, saved.layers)
    findings = (*built.sized, *_unseen(toolkit, saved.layers))
    findings += tuple(_fallback(p) for p in placements if p.placement is Placement.FALLBACK)
    notes = [*built.notes, *_notes(toolkit, prepared, built, saved.layers)]
    if request.precision == "int8":
        more, how = _int8_findings(prepared, saved.layers)
        findings, notes = (*findings, *more), [*notes, *how]
    return CompileReport(
        verdict=Verdict.PARTIAL if any(map(_away, placements)) else Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        findings=findings,
        placements=placements,
        artifact=saved.artifact,
        notes=tuple(notes),
    )


def build(request: BuildRequest, job: Job) -> Build:
    """Answer ``seatrial_build``.

    Raises:
        ValueError: neither ``fp32`` nor ``native`` was asked for.
        UserError: TensorRT refuses the model, with its first reason.
    """
    if request.precision not in ("fp32", "native"):
        raise ValueError(f"precision {request.precision!r}: there are fp32 and native")
    toolkit = Toolkit(request.target, request.options)
    prepared = prepare(job.path(request.model), request.shapes, toolkit.options.max_batch)
    job.progress("building the float engine", 0.2)
    built = accepted(
        build_engine(toolkit, prepared, Wish(precision=request.precision), job.progress), prepared
    )
    saved = save(toolkit, prepared, built, job.out)
    notes = (*built.notes, *_notes(toolkit, prepared, built, saved.layers))
    return Build(artifact=saved.artifact, precision=built.precision, notes=notes)


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Answer ``seatrial_build_int8``: from Q/DQ pairs only, which 10 and 11 both read.

    Raises:
        ValueError: another form, or a model without pairs.
        UserError: TensorRT refuses the model, with its first reason.
    """
    if request.form != "qdq":
        raise ValueError(f"form {request.form!r}: TensorRT 11 has no calibrator, there is qdq")
    toolkit = Toolkit(request.target, request.options)
    prepared = prepare(job.path(request.model), request.shapes, toolkit.options.max_batch)
    if not prepared.graph.quantised:
        raise ValueError("the model carries no Q/DQ pairs")
    job.progress("building the INT8 engine", 0.2)
    built = accepted(
        build_engine(toolkit, prepared, Wish(precision="int8"), job.progress), prepared
    )
    saved = save(toolkit, prepared, built, job.out)
    types = {n.label: n.op_type for n in prepared.graph.nodes}
    int8, floating = int8_and_float(saved.layers, types)
    notes = [*built.notes, *_notes(toolkit, prepared, built, saved.layers)]
    if open_ := untold(types, (*int8, *floating)):
        notes.append(f"the inspector does not tell the precision of {', '.join(open_)}")
    return Int8Build(
        artifact=saved.artifact,
        method=f"Q/DQ pairs of the ONNX model, read by TensorRT {toolkit.version}",
        int8_nodes=int8,
        float_nodes=floating,
        notes=tuple(notes),
    )


def accepted(built: Built | Refusal, prepared: Prepared) -> Built:
    """The engine, or the first reason against it.

    Raises:
        UserError: there is none.
    """
    if isinstance(built, Built):
        return built
    first = built.findings[0]
    raise UserError(prepared.path.name, first.reason, place=first.node, advice=first.advice)


def _refused(toolkit: Toolkit, prepared: Prepared, refusal: Refusal) -> CompileReport:
    blamed = {f.node for f in refusal.findings if f.node}
    placements = tuple(
        NodePlacement(
            node=n.label,
            op_type=n.op_type,
            domain=n.domain,
            on="",
            placement=Placement.NOWHERE if n.label in blamed else Placement.UNKNOWN,
        )
        for n in prepared.graph.nodes
    )
    return CompileReport(
        verdict=Verdict.UNKNOWN if refusal.open else Verdict.UNSUPPORTED,
        depth=Depth.MAP if refusal.parsed and not refusal.open else Depth.PARSE,
        findings=refusal.findings,
        placements=placements,
        notes=(*prepared.notes, *toolkit.notes, *_said(toolkit)),
    )


def _placed(
    toolkit: Toolkit, prepared: Prepared, built: Built, layers: Sequence[LayerRun]
) -> tuple[NodePlacement, ...]:
    """Where each node is: a GPU takes all of a model or nothing, a DLA leaves some to the GPU.

    On a DLA a node is away when it cannot run there, and when the engine has it on the GPU only.
    """
    own = "GPU" if toolkit.core is None else f"DLA {toolkit.core}"
    left = set(built.fallback)
    seen = not _unseen(toolkit, layers)
    if toolkit.core is not None and seen:
        there = {n for layer in layers if layer.on == "DLA" for n in layer.nodes}
        left |= {n for layer in layers if layer.on != "DLA" for n in layer.nodes} - there
    return tuple(
        NodePlacement(
            node=n.label,
            op_type=n.op_type,
            domain=n.domain,
            on="GPU" if n.label in left else own,
            placement=Placement.FALLBACK
            if n.label in left
            else (Placement.TARGET if seen else Placement.UNKNOWN),
        )
        for n in prepared.graph.nodes
    )


def _unseen(toolkit: Toolkit, layers: Sequence[LayerRun]) -> tuple[Finding, ...]:
    """On a DLA: whether the engine shows that anything of it runs there."""
    if toolkit.core is None or any(layer.on == "DLA" for layer in layers):
        return ()
    reason = "the inspector names no layer on the DLA: what could run there was not seen to do so"
    return (Finding(reason=reason, placement=Placement.UNKNOWN, severity="warning"),)


def _away(placement: NodePlacement) -> bool:
    return placement.placement is not Placement.TARGET


def _fallback(placement: NodePlacement) -> Finding:
    return Finding(
        node=placement.node,
        op_type=placement.op_type,
        domain=placement.domain,
        reason="the DLA does not take it; it runs on the GPU",
        placement=placement.placement,
        on=placement.on,
        severity="warning",
    )


def _notes(
    toolkit: Toolkit, prepared: Prepared, built: Built, layers: Sequence[LayerRun]
) -> tuple[str, ...]:
    kinds: dict[str, int] = {}
    for layer in layers:
        if layer.precision:
            kinds[layer.precision] = kinds.get(layer.precision, 0) + 1
    counted = ", ".join(f"{n} {name}" for name, n in sorted(kinds.items()))
    fused = sum(len(ly.nodes) > 1 for ly in layers)
    notes = [
        f"{len(prepared.top())} ONNX nodes run as {len(layers)} layers, {fused} of them fused"
        + (f": {counted}" if counted else ""),
        f"an engine for TensorRT {toolkit.version} on {toolkit.gpu.name} only",
    ]
    return (*notes, *_said(toolkit))


def _said(toolkit: Toolkit) -> list[str]:
    warnings = toolkit.log.warnings()
    more = len(warnings) - _MOST_WARNINGS
    kept = [f"TensorRT warns: {text[:200]}" for text in warnings[:_MOST_WARNINGS]]
    return kept + ([f"{more} more warnings are in the log"] if more > 0 else [])


def _int8_findings(
    prepared: Prepared, layers: Sequence[LayerRun]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Weighted nodes that stay float in an INT8 engine."""
    types = {n.label: n.op_type for n in prepared.graph.nodes}
    int8, floating = int8_and_float(layers, types)
    weighted = [n for n, kind in types.items() if kind in WEIGHTED]
    findings = tuple(
        Finding(
            node=label,
            op_type=types[label],
            reason="stays float in the INT8 engine",
            placement=Placement.TARGET,
            on="GPU",
            advice="see that its input and its weight pass through Q/DQ pairs that fit together",
            severity="warning",
        )
        for label in floating
        if types[label] in WEIGHTED
    )
    done = sum(label in int8 for label in weighted)
    notes = [f"{done} of {len(weighted)} Conv, Gemm and MatMul nodes run in INT8"]
    if open_ := untold(types, (*int8, *floating)):
        notes.append(f"the inspector does not tell the precision of {', '.join(open_[:8])}")
    return findings, tuple(notes)
