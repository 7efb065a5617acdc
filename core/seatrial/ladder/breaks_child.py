"""How far a target's layers and inner tensors are from the reference's. Runs in a child only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from seatrial.hookspecs import Job
from seatrial.quantize import ops
from seatrial.quantize.graph import Graph
from seatrial.reference import open_model
from seatrial.samples import Samples

from .breaks import (
    CompareLayersRequest,
    CompareTapsRequest,
    Isolated,
    LayerFacts,
    LayersCompared,
    Misread,
    MisreadRequest,
    Tap,
    TapFacts,
    TapRequest,
    Taps,
    TapsCompared,
)
from .differences import difference
from .units import Units

#: Tensors that are looked at in one model, at most.
MOST_TAPS = 300

#: What only moves or describes data shows nothing that its input does not.
SILENT = ops.PASS | {"Identity", "Cast", "Constant", "Shape", "Size", "QuantizeLinear"}

#: Steps of an output without a quantiser: its range in 8 bits.
STEPS = 255


def compare_layers(request: CompareLayersRequest, job: Job) -> LayersCompared:
    """Compare layers that stand side by side, in steps of their outputs' quantisers."""
    wide = Samples(job.path(request.expected_wide)), Samples(job.path(request.got_wide))
    narrow = None
    if request.expected_narrow is not None and request.got_narrow is not None:
        narrow = (
            Samples(job.path(request.expected_narrow)),
            Samples(job.path(request.got_narrow)),
        )
    found = []
    for layer in request.layers:
        moved, largest = _moved(layer, *wide)
        found.append(
            LayerFacts(
                node=layer.node,
                op_type=layer.op_type,
                tensor=layer.tensor,
                moved=moved,
                largest=largest,
                moved_narrow=_moved(layer, *narrow)[0] if narrow and layer.narrowed else -1.0,
            )
        )
    return LayersCompared(layers=tuple(found))


def _moved(layer: Isolated, expected: Samples, got: Samples) -> tuple[float, float]:
    """Share of elements more than a step off, and the largest difference in steps."""
    import numpy as np

    far, elements, largest = 0, 0, 0.0
    for i in range(expected.count):
        a = np.asarray(expected.one(layer.output, i), np.float64)
        b = np.asarray(got.one(layer.output, i), np.float64).reshape(a.shape)
        step = layer.step or float(np.abs(a).max()) / STEPS or 1.0
        # Halfway to the second step: a step is never exactly itself in float.
        apart = np.abs(a - b) / step
        apart[~np.isfinite(apart)] = STEPS
        far += int((apart > 1.5).sum())
        elements += a.size
        largest = max(largest, float(apart.max()))
    return far / max(elements, 1), largest


def taps(request: TapRequest, job: Job) -> Taps:
    """Inner float tensors worth a look: what computing nodes write, behind their quantisers."""
    graph = Graph.read(job.path(request.model))
    found = list(_taps(graph))
    if len(found) > MOST_TAPS:
        found = [found[k * len(found) // MOST_TAPS] for k in range(MOST_TAPS)]
    return Taps(taps=tuple(found))


def _taps(graph: Graph) -> Iterator[Tap]:
    graph.infer()
    producers, outputs = graph.producers(), set(graph.outputs)
    constant = set(graph.initializers)
    quantised = any(n.op_type == "QuantizeLinear" for n in graph.nodes)
    for node in graph.nodes:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
            continue
        name = node.output[0] if node.output else ""
        if not name or name in outputs or graph.is_float(name) is False or node.op_type in SILENT:
            continue
        if not quantised:
            yield Tap(tensor=name, node=node.name, op_type=node.op_type)
        elif node.op_type == "DequantizeLinear" and (source := _behind(node, producers)):
            yield Tap(tensor=name, node=source.name, op_type=source.op_type)


def _behind(restoring: Any, producers: Any) -> Any:
    """The node whose result a DequantizeLinear restores."""
    rounding = producers.get(restoring.input[0])
    return producers.get(rounding.input[0]) if rounding is not None else None


def compare_taps(request: CompareTapsRequest, job: Job) -> TapsCompared:
    """Compare the inner tensors that both runs have."""
    expected, got = (Units(Samples(job.path(ref))) for ref in (request.expected, request.got))
    found = []
    for tap in request.taps:
        if tap.tensor not in expected.names or tap.tensor not in got.names:
            continue
        apart = difference(got, tap.tensor, expected, tap.tensor)
        sqnr = apart.sqnr_db if apart.sqnr_db is None or math.isfinite(apart.sqnr_db) else None
        found.append(
            TapFacts(
                tensor=tap.tensor,
                node=tap.node,
                op_type=tap.op_type,
                sqnr_db=sqnr,
                identical=apart.identical,
            )
        )
    return TapsCompared(taps=tuple(found))


#: Samples on which a mix-up is tried.
TRIED = 8

#: A mix-up explains outputs that it comes this close to, and this much closer than no mix-up, dB.
EXPLAINS_DB, CLOSER_DB = 20.0, 10.0

#: Mix-ups of a picture's axes: the memory of one layout read as the other.
MISREADINGS = {
    "NHWC memory read as NCHW": (0, 2, 3, 1),
    "NCHW memory read as NHWC": (0, 3, 1, 2),
}


def misread(request: MisreadRequest, job: Job) -> Misread:
    """Run the reference on inputs in a wrong layout: does that give the outputs in question?"""
    samples, got = Samples(job.path(request.samples)), Samples(job.path(request.got))
    path = job.path(request.model)
    session = open_model(path, optimize=request.optimize)
    pictures = [n for n, shape in session.shapes.items() if len(shape) == 4]
    if not pictures or got.count != samples.count:
        return Misread()
    groups = list(session.groups(samples, range(min(samples.count, TRIED))))
    base = _closeness(session, samples, got, groups, lambda name, x: x)
    best = Misread()
    for what, axes in MISREADINGS.items():

        def turned(name: str, x: Any, axes: tuple[int, ...] = axes) -> Any:
            return x.transpose(axes).reshape(x.shape) if name in pictures else x

        close = _closeness(session, samples, got, groups, turned)
        if close >= max(EXPLAINS_DB, base + CLOSER_DB, best.sqnr_db or 0.0):
            best = Misread(what=what, sqnr_db=min(close, 999.0))
    return best


def _closeness(session: Any, samples: Samples, got: Samples, groups: Any, turn: Any) -> float:
    """Signal over difference of all outputs, in dB; infinite where nothing differs."""
    import numpy as np

    signal = noise = 0.0
    for group in groups:
        feeds = {n: np.ascontiguousarray(turn(n, x)) for n, x in samples.feeds(group).items()}
        found = session.run(feeds)
        for k, i in enumerate(dict.fromkeys(group)):
            for name in got.names:
                value = found.get(name)
                if value is None or value.dtype.kind != "f" or len(value) != len(group):
                    continue
                a = np.asarray(value[k], np.float64).ravel()
                b = np.asarray(got.one(name, i), np.float64).ravel()
                if a.size == b.size and np.isfinite(b).all():
                    signal += float(a @ a)
                    noise += float((a - b) @ (a - b))
    return math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal else -math.inf
