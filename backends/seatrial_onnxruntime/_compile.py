"""The compile-check: a session is created as it would be in production."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import (
    Artifact,
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    NodePlacement,
    Placement,
    Verdict,
)

from . import _model, _ort
from ._optimised import Survey, survey
from ._placement import Placed, placed
from ._refusals import Refusals, model_finding, refusals
from ._targets import Provider, provider

#: Nodes of a model up to which each is followed through the optimiser; beyond it that takes
#: longer than creating the session itself, and the verdict would wait for its explanation.
FOLLOWED = 20_000


@dataclass(frozen=True)
class Ready:
    """A model as it is given to the runtime.

    Attributes:
        path: where it came from.
        model: parsed, without external data; ``None`` when it cannot be parsed.
        changed: shapes were filled in, so it is given as bytes.
    """

    path: Path
    model: Any
    changed: bool

    @property
    def source(self) -> Path | bytes:
        """What to hand to a session."""
        return self.model.SerializeToString() if self.changed else self.path

    @property
    def folder(self) -> Path | None:
        """Where the external data of ``source`` lie, when it is not a file itself."""
        return self.path.parent if self.changed else None

    def copy(self, out: Path) -> tuple[str, tuple[str, ...]]:
        """Write the model and its external data; gives entry and files."""
        return _model.copy(self.path, out, self.model, self.changed)


def prepare(path: Path, shapes: Any) -> Ready:
    """Read a model and give it the requested shapes.

    Raises:
        UserError: the shapes do not fit the model.
    """
    try:
        model = _model.read(path)
    except UserError:
        return Ready(path, None, changed=False)
    return Ready(path, model, _model.with_shapes(model, shapes))


def compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Answer ``seatrial_compile_check``. The verdict is that of the session, and nothing else's."""
    chosen = provider(request.target)
    absent = _ort.missing(chosen)
    if absent:
        return _unknown(absent, chosen)
    ready = prepare(job.path(request.model), request.shapes)
    setup = _ort.Setup(
        provider=chosen, pin_fp32=request.precision == "fp32", options=request.options
    )
    job.progress("creating a session")
    try:
        session = _ort.open_session(ready.source, setup, ready.folder)
    except _ort.errors() as error:
        return _refused(ready, chosen, error)
    lost = _ort.missing(chosen, session)
    if lost:
        return _unknown(lost, chosen)
    job.progress("reading placements")
    return _accepted(ready, request, job, session, setup)


def _unknown(reason: str, chosen: Provider) -> CompileReport:
    finding = Finding(reason=reason, advice=chosen.wheel)
    return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.PARSE, findings=(finding,))


def _refused(ready: Ready, chosen: Provider, error: Exception) -> CompileReport:
    found = Refusals((model_finding(error),))
    if ready.model is not None:
        found = refusals(ready.model, chosen, error, ready.path.parent)
    notes = (f"the runtime's first error: {_ort.plain(error)}", *found.notes)
    return CompileReport(
        verdict=Verdict.UNSUPPORTED,
        depth=Depth.MAP,
        findings=found.findings,
        placements=tuple(
            NodePlacement(
                node=f.node,
                op_type=f.op_type,
                on="",
                placement=Placement.NOWHERE,
                domain=f.domain,
            )
            for f in found.findings
            if f.node
        ),
        notes=notes,
    )


def _accepted(
    ready: Ready, request: CheckRequest, job: Job, session: Any, setup: _ort.Setup
) -> CompileReport:
    entry, files = ready.copy(job.out)
    artifact: Artifact = _model.artifact(session, entry, files)
    listed = list(_model.nodes(ready.model.graph)) if ready.model is not None else []
    seen = None
    if len(listed) > FOLLOWED:
        note = f"{len(listed)} nodes are too many to follow through the optimiser"
        result = placed(session, listed, setup.provider, by_mark=False, notes=(note,))
    else:
        result, seen = inspect(ready, setup, session, job.scratch)
    findings = list(result.findings)
    notes = list(result.notes)
    if seen is not None:
        notes += seen.notes()
        if request.precision == "int8":
            findings += _int8_findings(seen)
    if request.precision == "int8" and not _has_quantizers(ready.model):
        findings.append(Finding(reason="the model carries no QuantizeLinear: nothing runs in INT8"))
    return CompileReport(
        verdict=Verdict.PARTIAL if result.fallback else Verdict.SUPPORTED,
        depth=Depth.ARTEFACT,
        findings=tuple(findings),
        placements=result.placements,
        artifact=artifact,
        notes=tuple(notes),
    )


def inspect(
    ready: Ready, setup: _ort.Setup, session: Any, scratch: Path
) -> tuple[Placed, Survey | None]:
    """Where the nodes of an accepted model went, and what the executed graph looks like.

    A second session on a copy with marked nodes tells both; where a provider compiles whole
    partitions the executed graph cannot be written, and only placements are told.
    """
    if ready.model is None:
        return Placed((), False, (), ("the file cannot be parsed here; no placements",)), None
    marked, places = _model.marked(ready.model)
    dump = scratch / "optimised.onnx"
    kernels = not setup.provider.compiles
    probe = _ort.Setup(
        provider=setup.provider,
        pin_fp32=setup.pin_fp32,
        options=setup.options,
        optimised=dump if kernels else None,
    )
    try:
        twin = _ort.open_session(marked.SerializeToString(), probe, ready.path.parent)
    except _ort.errors() as error:
        note = f"the copy with marked nodes was refused: {_ort.plain(error)}"
        return placed(session, places, setup.provider, by_mark=False, notes=(note,)), None
    result = placed(twin, places, setup.provider, by_mark=True)
    if not kernels:
        return result, None
    executed = _model.read(dump)
    for leftover in scratch.glob("optimised.*"):
        leftover.unlink()
    return result, survey(ready.model, executed)


def _has_quantizers(model: Any) -> bool:
    if model is None:
        return False
    return any(p.node.op_type == "QuantizeLinear" for p in _model.nodes(model.graph))


def _int8_findings(seen: Survey) -> list[Finding]:
    """Nodes between quantizers that run in float nevertheless."""
    _, floating = seen.int8_and_float()
    wrapped = {
        name for p in seen.places if p.node.op_type == "DequantizeLinear" for name in p.node.output
    }
    owner = seen.owner()
    return [
        Finding(
            node=p.label,
            op_type=p.node.op_type,
            domain=p.domain,
            reason="stands behind DequantizeLinear, but no INT8 kernel took it: it runs in float",
            placement=Placement.TARGET,
            severity="info",
        )
        for k, p in enumerate(seen.places)
        if p.label in floating and k in owner and any(i in wrapped for i in p.node.input)
    ]
