"""A copy of the model that gives the extremes of its activations instead of its outputs.

The statistics are computed in the graph, by operators that the runtime's blocked layout knows
(global pooling, a depthwise convolution with -1), each right after the node that writes the
tensor: activations stay in cache, buffers are reused, and graph optimisation stays on.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph, captured, subgraphs
from seatrial.quantize.signs import non_negative
from seatrial.reference import ReferenceSession, open_model, optimised

from .pick import Picker, feature_maps
from .types import EVERYTHING, EXTREMES

#: Prefix of every name that this module adds.
MARK = "seatrial_observed"

#: Operators that give finite values for finite values, short of an overflow.
SAFE = (ops.HEAVY | ops.LIGHT | ops.PASS | {"BatchNormalization", "Sub", "Sum", "Neg", "Pad"}) | {
    "Cast",
    "Constant",
    "Dropout",
    "Elu",
    "Erf",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "Max",
    "Min",
    "PRelu",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "Resize",
    "Selu",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Tanh",
}

#: Above this many bytes of inline weights the optimised graph cannot be saved in one file.
REORDER_BELOW = 1_800_000_000


@dataclass(frozen=True)
class Probe:
    """Where the statistics of one tensor come out.

    Attributes:
        tensor: the observed tensor.
        high: output that holds its largest value (per channel or one in all).
        low: output that holds its smallest value, or ``""``.
        channels: of a tensor (N, C, H, W) whose C is known, else 0. With channels, ``low``
            holds the largest value of the negated tensor.
        mean: output that is NaN if an element is, or ``""`` where none can be: a maximum over
            elements does not tell.
        picked: output that holds the elements for the histogram, or ``""``.
    """

    tensor: str
    high: str
    low: str = ""
    mean: str = ""
    channels: int = 0
    picked: str = ""


def observed(
    graph: Graph, tensors: Iterable[str], statistics: str = EXTREMES, seed: int = 0
) -> tuple[Any, tuple[Probe, ...]]:
    """Add statistics to a copy of a graph and drop everything they do not need.

    Args:
        graph: prepared, with inferred shapes; not changed.
        tensors: activations that nodes write (inputs are looked at by the caller).
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.
        seed: of the elements picked for histograms.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    probes, added = [], []
    positive = non_negative(graph)
    names = list(tensors)
    guarded = may_be_nan(graph, names)
    picker = Picker(model, MARK, seed, everything=statistics == EVERYTHING)
    maps = feature_maps(graph)
    for k, name in enumerate(names):
        probe = Probe(
            tensor=name,
            high=f"{MARK}_high_{k}",
            low="" if name in positive else f"{MARK}_low_{k}",
            mean=f"{MARK}_mean_{k}" if name in guarded else "",
            channels=_channels(graph.shape(name)),
            picked="" if statistics == EXTREMES else f"{MARK}_picked_{k}",
        )
        probes.append(probe)
        added += _statistics(model, probe)
        if probe.picked:
            added += picker.nodes(name, probe.picked, graph.shape(name), blocked=name in maps)
    outputs = [o for p in probes for o in (p.high, p.low, p.mean, p.picked) if o]
    nodes = _needed([*model.graph.node, *added], outputs)
    for part in (model.graph.node, model.graph.output, model.graph.value_info):
        del part[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs)
    return model, tuple(probes)


def may_be_nan(graph: Graph, tensors: Iterable[str]) -> set[str]:
    """The observed tensors in which a NaN may show first.

    The caller looks at every element of the inputs. From finite values the operators of
    :data:`SAFE` make no NaN (a value beyond float32 shows as an infinity in some maximum), so
    NaNs have to be looked for only behind all other operators, up to the next observed tensor.
    """
    wanted = set(tensors)
    guarded: set[str] = set()
    tainted: set[str] = set()
    for node in graph.nodes:
        safe = node.op_type in SAFE and not node.domain
        if safe and not tainted.intersection(reads(node)):
            continue
        for name in node.output:
            (guarded if name in wanted else tainted).add(name)
    return guarded


def _channels(shape: tuple[int | None, ...] | None) -> int:
    return (shape[1] or 0) if shape is not None and len(shape) == 4 else 0


def _statistics(model: Any, probe: Probe) -> list[Any]:
    """The nodes that compute what a probe names."""
    import numpy as np
    from onnx import numpy_helper

    if not probe.channels:
        kinds = {"ReduceMax": probe.high, "ReduceMin": probe.low, "ReduceMean": probe.mean}
        return [_reduce(op, probe.tensor, out, keepdims=0) for op, out in kinds.items() if out]
    nodes = [_reduce("GlobalMaxPool", probe.tensor, probe.high)]
    if probe.mean:
        nodes.append(_reduce("GlobalAveragePool", probe.tensor, probe.mean))
    if not probe.low:
        return nodes
    weight, flipped = f"{MARK}_minus_{probe.channels}", f"{probe.low}_negated"
    if all(t.name != weight for t in model.graph.initializer):
        minus = np.full((probe.channels, 1, 1, 1), -1, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(minus, weight))
    negate = _reduce("Conv", probe.tensor, flipped, group=probe.channels)
    negate.input.append(weight)
    return [*nodes, negate, _reduce("GlobalMaxPool", flipped, probe.low)]


def _reduce(op_type: str, source: str, result: str, **attributes: int) -> Any:
    import onnx

    return onnx.helper.make_node(op_type, [source], [result], name=result, **attributes)


def _needed(nodes: Sequence[Any], outputs: Iterable[str]) -> list[Any]:
    """The nodes that the outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(reads(node))
    return kept[::-1]


def reads(node: Any) -> list[str]:
    """Everything a node depends on, what its subgraphs capture included."""
    names = [n for n in node.input if n]
    for graph in subgraphs(node):
        names += captured(graph)
    return names


def open_observed(model: Any, folder: Path, scratch: Path) -> tuple[ReferenceSession, str]:
    """Load the observed model such that every statistic is taken right where its tensor is made.

    The runtime runs added outputs last, which keeps every activation alive. Its optimised graph
    is therefore saved, reordered, and loaded again as it stands. The saved form fits this CPU and
    this process only.

    Returns:
        The session, and a note when the reordered form could not be had.
    """
    import onnx

    source = bytes(model.SerializeToString())
    if len(source) > REORDER_BELOW or _external(model):
        return open_model(source, folder=folder, threads=1), "statistics taken last: large model"
    target = scratch / "observed.onnx"
    optimised(source, target)
    del source
    saved = onnx.load(target)
    target.unlink()
    nodes = eager(list(saved.graph.node), [o.name for o in saved.graph.output])
    del saved.graph.node[:]
    saved.graph.node.extend(nodes)
    text = bytes(saved.SerializeToString())
    del saved
    return open_model(text, optimize="none", threads=1, in_order=True), ""


def _external(model: Any) -> bool:
    return any(t.external_data for t in model.graph.initializer)


def eager(nodes: Sequence[Any], outputs: Iterable[str]) -> list[Any]:
    """Move each node that only statistics read to right behind what it reads."""
    marked = {o for o in outputs if o.startswith(MARK)}
    readers: dict[str, int] = {}
    for node in nodes:
        for name in reads(node):
            readers[name] = readers.get(name, 0) + 1
    only: dict[str, int] = {}
    statistics = set()
    for k in range(len(nodes) - 1, -1, -1):
        node = nodes[k]
        names = [o for o in node.output if o]
        if all(o in marked or (o in only and only[o] == readers[o]) for o in names):
            statistics.add(k)
            for name in reads(node):
                only[name] = only.get(name, 0) + 1
    waiting = [k for k in range(len(nodes)) if k in statistics]
    return _interleave(nodes, [k for k in range(len(nodes)) if k not in statistics], waiting)


def _interleave(nodes: Sequence[Any], main: Sequence[int], waiting: Sequence[int]) -> list[Any]:
    written = {o for node in nodes for o in node.output}
    left = {k: len({n for n in reads(nodes[k]) if n in written}) for k in waiting}
    by_input: dict[str, list[int]] = {}
    for k in waiting:
        for name in dict.fromkeys(reads(nodes[k])):
            by_input.setdefault(name, []).append(k)
    ordered: list[Any] = []

    def emit(k: int) -> None:
        ordered.append(nodes[k])
        for name in nodes[k].output:
            for reader in by_input.get(name, ()):
                left[reader] -= 1
                if left[reader] == 0:
                    emit(reader)

    for k in [k for k in waiting if left[k] == 0]:
        emit(k)
    for k in main:
        emit(k)
    return ordered
