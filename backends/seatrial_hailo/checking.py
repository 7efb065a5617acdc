"""``compile_check``: the parser's answer for every node, and the mapper's where it is asked for."""

from __future__ import annotations

from seatrial.hookspecs import Job
from seatrial.results import (
    CheckRequest,
    CompileReport,
    Depth,
    Finding,
    Placement,
    Verdict,
)

from . import graph as g
from .errors import sentence
from .optimising import made_up, optimise
from .parsing import Parsed, parse

_PARSED = (
    "parsed only: what maps to the chip shows when it is compiled, and that needs calibration data "
    "(seatrial run); the option map = true tries the mapping here with made-up ranges"
)


def compile_check(request: CheckRequest, job: Job) -> CompileReport:
    """Parse; with the option ``map`` also optimise with made-up data and compile.

    The verdict is never better than unknown: what ships is INT8 from calibration data, which a
    check does not have.
    """
    path = job.path(request.model)
    graph = g.read(path)
    job.progress("parsing", 0.1)
    parsed = parse(path, graph, request.target, request.shapes, request.options)
    if parsed.runner is None or parsed.refused is not None:
        return _refused(parsed)
    if not request.options.get("map"):
        return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.PARSE, notes=(_PARSED,))
    return _mapped(parsed, request, job)


def _refused(parsed: Parsed) -> CompileReport:
    """The parser does not take the whole model, be it that it takes a part of it."""
    findings = parsed.refused.findings if parsed.refused else ()
    notes: tuple[str, ...] = ()
    if parsed.runner is not None:
        ends = ", ".join(parsed.ends)
        text = f'it parses up to {ends}: set end_nodes = "{ends}" to build that part for the chip'
        notes = (f"{text}; the rest runs on the host",)
    return CompileReport(
        verdict=Verdict.UNSUPPORTED, depth=Depth.PARSE, findings=findings, notes=notes
    )


def _mapped(parsed: Parsed, request: CheckRequest, job: Job) -> CompileReport:
    """Compile with ranges that nobody measured: whether it fits, not what it computes."""
    runner = parsed.runner
    job.progress("optimising with made-up ranges, to see whether it maps", 0.3)
    try:
        optimise(runner, made_up(runner), {"optimization_level": 0, **request.options})
        job.progress("mapping", 0.6)
        runner.compile()
    except Exception as error:  # noqa: BLE001 - mapper and optimiser raise plain text of any type
        finding = Finding(reason=sentence(error), placement=Placement.NOWHERE)
        return CompileReport(
            verdict=Verdict.UNSUPPORTED, depth=Depth.MAP, findings=(finding,), notes=()
        )
    note = "structure only: it maps to the chip with made-up ranges; nothing was kept"
    return CompileReport(verdict=Verdict.UNKNOWN, depth=Depth.MAP, notes=(note,))
