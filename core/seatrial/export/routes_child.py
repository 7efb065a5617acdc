"""Core task: one export by one route."""

from __future__ import annotations

import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.export import diagnose, findings, watch
from seatrial.export.problems import INFO, Problem
from seatrial.export.records import DYNAMO, Exported, ExportRequest
from seatrial.export.torch_module import (
    Built,
    adapted,
    build,
    call,
    flatten,
    needs_adapter,
    tensors,
)
from seatrial.hookspecs import Job
from seatrial.results import Artifact
from seatrial.samples import Samples

#: Weights above this many bytes go to a file beside the model: protobuf ends at 2 GiB.
EXTERNAL_BYTES = 1_500_000_000
#: Lowest and highest opset of the TorchScript exporter.
TORCHSCRIPT_OPSETS = (7, 20)
_GUARD = re.compile(r"eval (.+?) \[guard added\] \(([^:()]+):(\d+) in")


class Failed(Exception):
    """An export failed; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.text)


def export(request: ExportRequest, job: Job) -> Exported:
    """Export, and on failure say where and why."""
    import torch

    begin = time.monotonic()
    built = build(request.spec, job)
    if built.program is None:
        built.module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    samples = Samples(job.path(request.samples))
    path = job.out / "model.onnx"
    guards: list[Problem] = []
    problems: tuple[Problem, ...] = ()
    try:
        with guards_noted(guards):
            if request.route == DYNAMO:
                save(to_program(built, request, samples), path)
            else:
                problems = _torchscript(built, request, samples, path)
    except Failed as failure:
        return Exported(
            problems=(_located(failure.problem, built, request, samples),),
            guards=tuple(guards),
            seconds=time.monotonic() - begin,
        )
    files = tuple(sorted(p.name for p in job.out.iterdir() if p.is_file()))
    return Exported(
        artifact=Artifact(format="onnx", entry="model.onnx", files=files),
        problems=problems,
        guards=tuple(guards),
        seconds=time.monotonic() - begin,
    )


def example(built: Built, request: ExportRequest, samples: Samples) -> tuple[Any, ...]:
    """Inputs to export with: two samples where the batch is free, sizes 0 and 1 are special."""
    from seatrial.export.child import resized

    batched = any(0 in axes for axes in request.dynamic.values())
    rows = 2 if batched else request.batch
    first = samples.feeds([0])
    sizes = {n: (rows, *v.shape[1:]) if batched else v.shape for n, v in first.items()}
    if not batched and rows > 1 and samples.index.get("batch_axis", True):
        sizes = {n: (rows, *v.shape[1:]) for n, v in first.items()}
    indices = list(range(min(samples.count, rows)))
    return tensors(resized(samples, indices, sizes), built.names)


def to_program(built: Built, request: ExportRequest, samples: Samples) -> Any:
    """The dynamo route: an ``ONNXProgram``.

    Raises:
        Failed: capture or translation failed.
    """
    import torch

    inputs = example(built, request, samples)
    with quiet():
        subject, wrapped = _subject(built, inputs)
        if built.program is not None:
            captured = built.program
        else:
            captured = _capture(subject, inputs, _dims(built, request, wrapped), built.module)
        names = {} if request.outputs == () else {"output_names": list(request.outputs)}
        try:
            program = torch.onnx.export(
                captured,
                inputs,
                dynamo=True,
                opset_version=request.opset,
                input_names=list(built.names),
                custom_translation_table=_translations(request.translations),
                verbose=False,
                **names,
            )
        except Exception as error:  # explained below
            raise Failed(diagnose.explain(error, DYNAMO, built.module, captured)) from error
    return program


def _subject(built: Built, inputs: Sequence[Any]) -> tuple[Any, bool]:
    """What is exported: the module, or an adapter around unusual inputs or outputs."""
    import torch

    if built.program is not None:
        return built.module, False
    with torch.no_grad():
        value = call(built.module, built.names, [t.clone() for t in inputs])
    if needs_adapter(built, value):
        return adapted(built).eval(), True
    return built.module, False


def _capture(subject: Any, inputs: Sequence[Any], dims: Any, module: Any) -> Any:
    import torch

    try:
        return torch.export.export(subject, tuple(inputs), dynamic_shapes=dims, strict=False)
    except Exception as error:  # explained
        raise Failed(diagnose.explain(error, DYNAMO, module)) from error


def _dims(built: Built, request: ExportRequest, wrapped: bool) -> Any:
    """``dynamic_shapes``: what was asked is left to the exporter to find, all else is fixed."""
    import torch

    if not request.dynamic:
        return None
    auto = torch.export.Dim.AUTO
    shapes = tuple(
        dict.fromkeys(request.dynamic[n], auto) if request.dynamic.get(n) else None
        for n in built.names
    )
    return (shapes,) if wrapped else shapes


def _translations(location: str) -> Any:
    """A user's table: operator (overload, or its name as text) -> onnxscript function."""
    import torch

    from seatrial.data.callables import resolve

    if not location:
        return None
    table = resolve(location)
    table = table() if callable(table) else table
    found = {}
    for key, function in table.items():
        if isinstance(key, str):
            space, _, name = key.partition("::")
            name, _, overload = name.partition(".")
            try:
                packet = getattr(getattr(torch.ops, space), name)
                found[getattr(packet, overload or "default")] = function
            except AttributeError:
                raise UserError(location, f"torch has no operator {key!r}") from None
        else:
            found[key] = function
    return found


def save(program: Any, path: Path) -> None:
    """Write an ``ONNXProgram``, with weights beside it when they are large."""
    size = sum(
        v.const_value.nbytes
        for v in program.model.graph.initializers.values()
        if v.const_value is not None
    )
    program.save(str(path), external_data=size > EXTERNAL_BYTES)


def _torchscript(
    built: Built, request: ExportRequest, samples: Samples, path: Path
) -> tuple[Problem, ...]:
    """The TorchScript route; what the tracer warned of."""
    import torch

    inputs = example(built, request, samples)
    low, high = TORCHSCRIPT_OPSETS
    with warnings.catch_warnings(record=True) as recorded, torch.no_grad():
        warnings.simplefilter("always")
        subject, _ = _subject(built, inputs)
        axes = {n: {a: f"{n}_{a}" if a else "batch" for a in v} for n, v in request.dynamic.items()}
        try:
            torch.onnx.export(
                subject,
                tuple(inputs),
                str(path),
                dynamo=False,
                opset_version=min(max(request.opset, low), high),
                input_names=list(built.names),
                output_names=list(request.outputs) or None,
                dynamic_axes=axes or None,
                do_constant_folding=True,
            )
        except Exception as error:  # explained below
            raise Failed(diagnose.explain(error, request.route, built.module)) from error
    return tuple(diagnose.traced(recorded, frozenset(request.scripted)))


def _located(problem: Problem, built: Built, request: ExportRequest, samples: Samples) -> Problem:
    """Find the line of an operator that the exporter named without one: watch it run."""
    import dataclasses

    if problem.file or not problem.op or built.program is not None:
        return problem
    wanted = problem.op.replace("::", ".")
    try:
        inputs = example(built, request, samples)
        with quiet(), watch.watched(built.module, {}) as trace:
            flatten(call(built.module, built.names, inputs))
    except Exception as error:  # noqa: BLE001  # then its own line is the best there is
        place = findings.place_of(error, built.module)
        return dataclasses.replace(problem, file=place.file, line=place.line)
    for event in trace.of("op", "function"):
        if event.name.startswith(wanted) or event.name == problem.op.rpartition("::")[2]:
            place = event.place
            return dataclasses.replace(
                problem, file=place.file, line=place.line, module=place.module
            )
    return problem


@contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no warnings, and nothing of the exporter's on the streams."""
    from seatrial.export.module_run import quiet as silent

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with silent():
            yield
    finally:
        logging.disable(before)


@contextmanager
def guards_noted(guards: list[Problem]) -> Iterator[None]:
    """Collect where the exporter tied a free size to a number.

    torch tells it in a log record only; a filter on the logger sees the record and drops it.
    """
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = logger.level

    def note(record: logging.LogRecord) -> bool:
        match = _GUARD.search(record.getMessage())
        if match:
            file = _full_path(match[2])
            if file:
                guards.append(
                    Problem(
                        code="guard",
                        level=INFO,
                        text=f"the export holds where {match[1]}",
                        file=file,
                        line=int(match[3]),
                        route=DYNAMO,
                    )
                )
        return record.levelno >= logging.ERROR

    logger.addFilter(note)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeFilter(note)
        logger.setLevel(before)


def _full_path(shown: str) -> str:
    """The user's file that a shortened path in a log record stands for."""
    name = Path(shown).name
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if Path(file).name == name and watch.is_user_file(file):
            return str(file)
    return ""
