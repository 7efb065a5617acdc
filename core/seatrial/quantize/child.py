"""Core tasks of this room: each runs in a child process."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.calibration.choose import Range, chosen
from seatrial.calibration.table import load
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Artifact

from . import ops, types
from . import race as racing
from .forms import dynamic, weight_only
from .graph import Graph
from .insert import insert_pairs
from .plan import make_plan
from .prepare import OPSET_MIN, OPSET_WIDE, Prepared, prepare
from .schemes import candidate_name, scheme
from .score import score_candidate
from .signs import non_negative

#: Operators whose presence means that a model is quantised already.
QUANTISED = frozenset({"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"})

#: Name of the written model.
MODEL = "model.qdq.onnx"

#: Gives the range of a tensor, or ``None`` when it is not known.
Lookup = Callable[[str], "Range | None"]


def insert(request: types.InsertRequest, job: Job) -> types.InsertResult:
    """Give the model with Q/DQ pairs.

    Raises:
        UserError: no ranges were given, a kept label is unknown, the opset is too old, or the
            table cannot serve the method.
    """
    return insert_into(request, job, job.out)


def insert_into(request: types.InsertRequest, job: Job, out: Path) -> types.InsertResult:
    """The same into a folder of the caller's."""
    path = job.path(request.model)
    graph = Graph.read(path)
    if any(n.op_type in QUANTISED for n in graph.nodes):
        return _passed_through(path, graph, out)
    _check_labels(request.keep_float, {n.name for n in graph.nodes})
    job.progress("preparing the graph")
    wide = "16" in request.dialect.activations and not request.dialect.domain
    prepared = prepare(path, OPSET_WIDE if wide else OPSET_MIN)
    if request.form:
        return _other_form(request, prepared, job, out)
    lookup, method = _lookup(request, prepared.graph, job)
    kept = {prepared.folded.get(label, label) for label in request.keep_float}
    plan = make_plan(prepared.graph, kept, lambda t: lookup(t) is not None)
    result = types.InsertResult(
        artifact=None,
        method=candidate_name(method, request.dialect),
        int8_nodes=tuple(n.name for unit in plan.units for n in unit.nodes),
        float_nodes=tuple(plan.floats.values()),
        tensors=len(plan.roots),
        folded=tuple(prepared.folded),
        notes=_notes(prepared),
    )
    if not plan.units:
        return replace(result, notes=(*result.notes, _why_nothing(result)))
    job.progress(f"inserting {len(plan.roots)} pairs")
    insert_pairs(prepared.graph, plan, request.dialect, lambda t: lookup(t) or (0.0, 0.0))
    artifact = Artifact(format="onnx", entry=MODEL, files=prepared.graph.write(out / MODEL))
    return replace(result, artifact=artifact)


def score(request: types.ScoreRequest, job: Job) -> types.Score:
    """Compare a candidate with the float model on held-out calibration samples."""
    return score_candidate(request, job)


def race(request: types.RaceRequest, job: Job) -> types.RaceResult:
    """Make and score several candidates; see :mod:`seatrial.quantize.race`."""

    def make(entrant: types.Entrant, folder: Path) -> types.InsertResult:
        assert entrant.insert is not None
        return insert_into(entrant.insert, job, folder)

    return racing.race(request, job, make)


def _other_form(
    request: types.InsertRequest, prepared: Prepared, job: Job, out: Path
) -> types.InsertResult:
    """Only weights, or products with activations quantised at run time."""
    job.progress(f"writing the {request.form} form")
    kept = {prepared.folded.get(label, label) for label in request.keep_float}
    writers = {types.WEIGHT_ONLY: weight_only, types.DYNAMIC: dynamic}
    if request.form not in writers:
        raise UserError("form", f"{request.form!r} is not one of {', '.join(writers)}")
    done = writers[request.form](prepared.graph, kept, request.dialect)
    rest = {n.name: n for n in prepared.graph.nodes if n.name in done.floats}
    result = types.InsertResult(
        artifact=None,
        method=f"core:{request.form}-{scheme(request.dialect)}",
        int8_nodes=done.names,
        float_nodes=tuple(
            types.FloatNode(node=n, op_type=node.op_type, reason=done.floats[n])
            for n, node in rest.items()
        ),
        folded=tuple(prepared.folded),
        notes=_notes(prepared),
    )
    if not done.names:
        return replace(result, notes=(*result.notes, _why_nothing(result)))
    artifact = Artifact(format="onnx", entry=MODEL, files=prepared.graph.write(out / MODEL))
    return replace(result, artifact=artifact)


def _notes(prepared: Prepared) -> tuple[str, ...]:
    notes = list(prepared.notes)
    if prepared.folded:
        notes.append(f"{len(prepared.folded)} BatchNormalization nodes folded")
    if prepared.removed:
        notes.append(f"{len(prepared.removed)} constant or identity nodes folded")
    return tuple(notes)


def _why_nothing(result: types.InsertResult) -> str:
    """One line for a model in which nothing was quantised."""
    reasons = Counter(f"{n.op_type}: {n.reason.split(':')[0]}" for n in result.float_nodes)
    common = ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
    return f"nothing can be quantised ({common or 'the model has no nodes'})"


def _check_labels(wanted: tuple[str, ...], known: set[str]) -> None:
    for label in wanted:
        if label not in known:
            raise UserError("keep_float", "the model has no such node", place=label)


def _passed_through(path: Path, graph: Graph, out: Path) -> types.InsertResult:
    """Copy a model that carries its own Q/DQ pairs, byte for byte."""
    files = [path.name, *graph.external_files()]
    for name in files:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target)
    return types.InsertResult(
        artifact=Artifact(format="onnx", entry=path.name, files=tuple(files)),
        method="already Q/DQ",
        notes=("the model is quantised already and was passed through unchanged",),
    )


def _lookup(request: types.InsertRequest, graph: Graph, job: Job) -> tuple[Lookup, str]:
    """Ranges by tensor, and the name of the method that they were chosen by."""
    if request.unit_ranges:
        positive = non_negative(graph)
        return lambda name: (0.0 if name in positive else -1.0, 1.0), "unit"
    producers = graph.producers()
    if request.ranges is None:
        raise UserError("ranges", "Q/DQ insertion needs a calibration table")
    table = load(job.path(request.ranges))
    try:
        ranges = chosen(table, request.method, symmetric=request.dialect.symmetric)
    except ValueError as error:
        raise UserError("method", str(error)) from None
    observed = {name: ranges.get(name) for name in table.tensors}
    return lambda name: resolved(name, observed, producers), request.method or table.method


def resolved(
    name: str, observed: Mapping[str, Range | None], producers: Mapping[str, Any]
) -> Range | None:
    """The range of a tensor, through nodes that only move values when it was not observed."""
    if name in observed:
        return observed[name]
    node = producers.get(name)
    if node is None or node.op_type not in ops.PASS:
        return None
    inputs = node.input if node.op_type in ops.ALL_DATA else node.input[:1]
    parts = [resolved(i, observed, producers) for i in inputs]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    return min(p[0] for p in known), max(p[1] for p in known)
