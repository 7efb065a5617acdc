"""Image inputs in another layout, through OpenVINO's own pre-processing."""

from __future__ import annotations

from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import LayoutRequest, LayoutResult

from . import graph as g
from .artifacts import save
from .names import names_of
from .runtime import Runtime

#: Wanted layout -> (layout of the model now, axes of the new input taken from the old one).
CHANGES = {
    "NHWC": ("NCHW", (0, 2, 3, 1)),
    "NCHW": ("NHWC", (0, 3, 1, 2)),
}


def transform_layout(request: LayoutRequest, job: Job) -> LayoutResult:
    """Declare the wanted layout; OpenVINO converts on entry, and folds what it can.

    Raises:
        ValueError: unknown layout or input, or an input that has not four dimensions.
        RuntimeError: OpenVINO refuses the model.
    """
    if request.layout not in CHANGES:
        raise ValueError(f"layout {request.layout!r}: there are {', '.join(CHANGES)}")
    present, perm = CHANGES[request.layout]
    runtime = Runtime(request.target)
    path = job.path(request.model)
    graph = g.read(path)
    model = runtime.read(path, request.shapes)
    names = names_of(graph, model)
    before = _transposes(model)
    ports = {n: k for k, p in enumerate(model.inputs) for n in p.get_names()}
    ov = runtime.ov
    steps = ov.preprocess.PrePostProcessor(model)
    for name in request.inputs:
        if name not in ports:
            raise ValueError(f"the model has no input {name!r}; it has {', '.join(graph.inputs)}")
        rank = model.input(ports[name]).get_partial_shape().rank
        if not rank.is_static or rank.get_length() != 4:
            raise ValueError(f"input {name!r} has not four dimensions, its layout has no meaning")
        steps.input(ports[name]).tensor().set_layout(ov.Layout(request.layout))
        steps.input(ports[name]).model().set_layout(ov.Layout(present))
    changed = steps.build()
    after = _transposes(changed)
    artifact = save(runtime, changed, names, job.out, perms=dict.fromkeys(request.inputs, perm))
    return LayoutResult(
        artifact=artifact,
        transposes_added=len(after - before),
        transposes_removed=len(before - after),
        method="reconfigured",
        notes=(
            "the CPU plugin computes convolutions channels-last whatever the input layout; the"
            " conversion at the input may cost nothing or one pass",
        ),
    )


def _transposes(model: Any) -> set[str]:
    return {
        o.get_friendly_name() for o in model.get_ordered_ops() if o.get_type_name() == "Transpose"
    }
