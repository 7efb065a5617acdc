"""The compile-check: what ``read_model`` and ``compile_model`` say, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import (
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    NodePlacement,
    Placement,
    Verdict,
)

from . import graph as g
from .artifacts import save
from .errors import read_refusal
from .layers import int8_and_float, runtime_layers, unaccounted
from .names import Names, names_of
from .probing import cannot_act
from .refusals import refused
from .runtime import DeviceMissingError, Runtime, raise_if_out_of_memory


def compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Read, reshape, compile and serialise, as a direct user of OpenVINO would."""
    path = job.path(request.model)
    lacking = cannot_act(request.target)
    if lacking:
        return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.PARSE, notes=(lacking,))
    runtime = Runtime(request.target)
    properties = runtime.properties(request.precision, request.options)
    device = runtime.device_name(request.options)
    job.progress("reading the model", 0.1)
    try:
        model = runtime.read(path, request.shapes)
    except RuntimeError as error:
        raise_if_out_of_memory(error)
        return _refusal(runtime, path, str(error), None, Depth.PARSE)
    job.progress("compiling", 0.3)
    try:
        compiled = runtime.compile(model, properties, device)
    except DeviceMissingError as error:
        return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.PARSE, notes=(str(error),))
    except RuntimeError as error:
        return _refusal(runtime, path, str(error), model, Depth.MAP)
    job.progress("writing the artefact", 0.9)
    graph = g.read(path)
    names = names_of(graph, model)
    placements = place(graph, names, _devices(runtime, model, device), runtime.device)
    artifact = save(runtime, model, names, job.out)
    elsewhere = [p for p in placements if p.placement is not Placement.TARGET]
    findings = tuple(_fallback(p) for p in elsewhere)
    notes = _notes(graph, names, model, compiled)
    if request.precision == "int8":
        found, more = _int8(compiled, graph, names)
        findings, notes = (*findings, *found), (*notes, *more)
    return CompileReport(
        verdict=Verdict.PARTIAL if elsewhere else Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        findings=findings,
        placements=placements,
        artifact=artifact,
        notes=notes,
    )


def _refusal(runtime: Runtime, path: Path, text: str, model: Any, depth: Depth) -> CompileReport:
    """The report of a model that the runtime said no to."""
    refusal = read_refusal(text.replace(f"{path.parent}/", ""))
    try:
        graph = g.read(path)
    except Exception as error:  # noqa: BLE001 - protobuf's own error; what counts is OpenVINO's
        note = f"the nodes cannot be named, the file does not parse: {type(error).__name__}"
        finding = Finding(reason=refusal.reason, placement=Placement.NOWHERE)
        return CompileReport(
            verdict=Verdict.UNSUPPORTED, depth=depth, findings=(finding,), notes=(note,)
        )
    return CompileReport(
        verdict=Verdict.UNSUPPORTED,
        depth=depth,
        findings=refused(runtime, path, graph, refusal, model),
    )


def _devices(runtime: Runtime, model: Any, device: str) -> dict[str, str] | None:
    """Where HETERO puts each operation; ``None`` on a single device, which takes all or fails."""
    if not device.startswith("HETERO:"):
        return None
    return dict(runtime.core.query_model(model, device))


def place(
    graph: g.Graph, names: Names, devices: dict[str, str] | None, device: str
) -> tuple[NodePlacement, ...]:
    """One placement per node.

    Args:
        graph: the ONNX graph.
        names: labels by OpenVINO's names.
        devices: operation -> device as HETERO placed them, ``None`` when one device took all.
        device: the target itself.
    """
    on: dict[str, str] = {}
    for name, where in (devices or {}).items():
        label = names.label(name)
        # a node is on the target only if all of its operations are
        if label and on.get(label, device).partition(".")[0] == device:
            on[label] = where
    return tuple(
        NodePlacement(
            node=n.label,
            op_type=n.op_type,
            domain=n.domain,
            on=(where := on.get(n.label, device)),
            placement=Placement.TARGET if where.partition(".")[0] == device else Placement.FALLBACK,
        )
        for n in graph.nodes
    )


def _fallback(placement: NodePlacement) -> Finding:
    return Finding(
        node=placement.node,
        op_type=placement.op_type,
        domain=placement.domain,
        placement=placement.placement,
        on=placement.on,
        reason=f"the target does not take it; it runs on {placement.on}",
        severity="warning",
    )


def _notes(graph: g.Graph, names: Names, model: Any, compiled: Any) -> tuple[str, ...]:
    kept = {names.label(o.get_friendly_name()) for o in model.get_ordered_ops()}
    top = graph.inside("")
    gone = sum(1 for n in top if n.label not in kept)
    layers = len(runtime_layers(compiled, names))
    return (
        f"{len(top)} ONNX nodes, {gone} of them folded or merged on reading, run as "
        f"{layers} layers",
    )


def _int8(
    compiled: Any, graph: g.Graph, names: Names
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Which weighted nodes run in INT8 kernels, and which stay float."""
    layers = runtime_layers(compiled, names)
    int8, floating = int8_and_float(layers, names.types)
    weighted = {n.label: n for n in graph.nodes if n.op_type in g.WEIGHTED}
    findings = tuple(
        Finding(
            node=label,
            op_type=weighted[label].op_type,
            placement=Placement.TARGET,
            on=compiled.get_property("EXECUTION_DEVICES")[0],
            reason="stays float in the INT8 artefact",
            advice="see that its inputs and weights pass through Q/DQ pairs that fit together",
            severity="warning",
        )
        for label in floating
        if label in weighted
    )
    done = sum(1 for label in int8 if label in weighted)
    notes = [f"{done} of {len(weighted)} Conv, Gemm and MatMul nodes run in INT8 kernels"]
    if open_ := unaccounted(graph, int8, floating):
        notes.append(f"the runtime does not tell the precision of {', '.join(open_[:8])}")
    return findings, tuple(notes)
