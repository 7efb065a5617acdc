"""An exporter's exception as one problem with line, module, operator and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from seatrial.export.findings import place_of
from seatrial.export.problems import ERROR, Problem
from seatrial.export.records import TORCHSCRIPT
from seatrial.export.watch import Place, is_user_file

_NO_FUNCTION = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_UNSUPPORTED = re.compile(
    r"(?:exporting the operator|failed on an operator with unrecognized namespace) '?([\w:]+)",
    re.IGNORECASE,
)
_FAKE = re.compile(
    r"([\w]+)(?:::|\.)([\w]+)[^\n]{0,80}?(?:fake impl|meta kernel|FakeTensor|Meta)", re.I
)
_STACK = re.compile(r'File "([^"]+)", line (\d+), in')

#: operator -> what is known to help.
ADVICE = {
    "torchvision::nms": (
        "NonMaxSuppression (opset 11) does it: give a table that maps torchvision::nms to it, or "
        "leave the boxes as outputs and run it after the model"
    ),
    "torchvision::deform_conv2d": (
        "DeformConv (opset 19) does it where the target has it; few do: a plain convolution "
        "is the safe choice"
    ),
    "aten::_transformer_encoder_layer_fwd": (
        "torch.backends.mha.set_fastpath_enabled(False) before the export"
    ),
    "aten::grid_sampler": "GridSample needs opset 16",
    "aten::unique2": "Unique has an output whose size depends on the data; compute it afterwards",
    "aten::nonzero": "use a mask and torch.where, so that sizes do not depend on the data",
}
_BRANCH = (
    "use torch.where for values, torch.cond for branches, or a fixed number of steps for loops"
)
_CUSTOM = "give its ONNX form with --translations MODULE:TABLE, or write it with torch's operators"


def explain(error: BaseException, route: str, module: Any, program: Any = None) -> Problem:
    """Name what a failed export failed on.

    Args:
        error: as raised.
        route: which exporter raised it.
        module: the user's module, for paths in the tree.
        program: the exported program, when translation failed, for the node's own line.
    """
    texts = [str(e) for e in _chain(error)]
    kinds = {type(e).__name__ for e in _chain(error)}
    text = "\n".join(texts)
    place = place_of(error, module)
    op = _operator(text)
    if program is not None and op:
        place = node_place(program, op) or place
    if kinds & {"GuardOnDataDependentSymNode", "DataDependentOutputException"} or (
        "data-dependent" in text and not op
    ):
        return _problem(route, place, "data-dependent-control-flow", _BRANCHES, advice=_BRANCH)
    if op:
        custom = not op.startswith(("aten::", "prims::", "prim::"))
        code = "custom-operator" if custom else "unsupported-operator"
        advice = ADVICE.get(op, _CUSTOM if custom else "write it with other operators")
        text = f"{op} has no ONNX form in this exporter"
        return _problem(route, place, code, text, op=op, advice=advice)
    if kinds & {"UnsupportedOperatorException"} or "fake impl" in text or "Meta" in text:
        match = _FAKE.search(text)
        op = f"{match[1]}::{match[2]}" if match else ""
        advice = f"register a fake implementation (torch.library.register_fake); {_CUSTOM}"
        reason = f"{op or 'an operator'} says nothing of its output's shape"
        return _problem(route, place, "custom-operator", reason, op=op, advice=advice)
    if kinds & {"ConstraintViolationError", "UserError"} and "Constraint" in text:
        return _problem(
            route, place, "constrained-shape", _first(texts, "Constraint"), advice="see the axes"
        )
    first = next((t for t in texts if t.strip()), type(error).__name__)
    line = f"{type(error).__name__}: {' '.join(first.split())}"[:300]
    return _problem(route, place, "export-failed", line)


_BRANCHES = "Python decides here by a tensor's value, which differs from sample to sample"


def _problem(
    route: str, place: Place, code: str, text: str, *, op: str = "", advice: str = ""
) -> Problem:
    return Problem(
        code=code,
        level=ERROR,
        text=text,
        file=place.file,
        line=place.line,
        module=place.module,
        op=op,
        advice=advice,
        route=route,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _operator(text: str) -> str:
    match = _NO_FUNCTION.search(text)
    if match:
        return "::".join(match[1].split(".")[:2])
    match = _UNSUPPORTED.search(text)
    return match[1] if match and "::" in match[1] else ""


def _first(texts: list[str], word: str) -> str:
    lines = [line.strip() for t in texts for line in t.splitlines() if word in line]
    return lines[0][:300] if lines else word


def node_place(program: Any, op: str) -> Place | None:
    """Line and module of the first node of an operator in an exported program."""
    wanted = op.replace("::", ".")
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith(wanted):
            place = stack_place(node.meta.get("stack_trace") or "")
            stack = node.meta.get("nn_module_stack") or {}
            paths = [str(v[0]) for v in stack.values()]
            return Place(place.file, place.line, own_path(paths[-1] if paths else ""))
    return None


def stack_place(text: str) -> Place:
    """The innermost line of the user's in a stack trace as text."""
    found = [(f, int(n)) for f, n in _STACK.findall(text) if is_user_file(f)]
    return Place(*found[-1]) if found else Place()


def own_path(path: str) -> str:
    """A module path without the wrapper that the export may have put around the module."""
    if path == "module":
        return ""
    return path.removeprefix("module.")


def traced(recorded: list[Any], scripted: frozenset[str]) -> Iterator[Problem]:
    """What the TorchScript tracer warned of: an error where a tensor's value was frozen.

    Args:
        recorded: ``warnings.WarningMessage`` of the trace.
        scripted: ``FILE:LINE`` that read a tensor's value when the module ran eagerly; a tracer
            warning elsewhere is about a size, and the axis probe tells whether it matters.
    """
    seen: set[tuple[str, int]] = set()
    for warning in recorded:
        if warning.category.__name__ != "TracerWarning":
            continue
        key = (str(warning.filename), int(warning.lineno))
        if key in seen or not is_user_file(key[0]):
            continue
        seen.add(key)
        value = f"{key[0]}:{key[1]}" in scripted
        yield Problem(
            code="data-dependent-control-flow" if value else "traced-size",
            level=ERROR if value else "info",
            text="the trace froze a tensor's value here"
            if value
            else "the trace may have frozen a size here",
            file=key[0],
            line=key[1],
            advice=_BRANCH if value else "",
            route=TORCHSCRIPT,
        )
