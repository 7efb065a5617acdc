"""A copy of the model that gives statistics of its activations instead of its outputs.

The statistics are computed in the graph, by operators that the runtime's blocked layout knows
(global pooling, a depthwise convolution with -1), each right after the node that writes the
tensor: activations stay in cache, buffers are reused, and graph optimisation stays on.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph
from seatrial.quantize.signs import non_negative

from .order import BLOCK, needed, reads
from .pick import Picker, node
from .types import EVERYTHING, EXTREMES, FLAT, MAPS, MARK, Reading

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


def observed(
    graph: Graph, tensors: Iterable[str], statistics: str = EXTREMES
) -> tuple[Any, Reading]:
    """Add statistics to a copy of a graph and drop everything they do not need.

    Args:
        graph: prepared, with inferred shapes; not changed.
        tensors: activations that nodes write (inputs are looked at by the caller).
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.

    Returns:
        The model, and how its outputs are read.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    names = list(tensors)
    positive, guarded = non_negative(graph), may_be_nan(graph, names)
    picker = Picker(model, MARK, everything=statistics == EVERYTHING)
    found = _Statistics(model, picker)
    picked = []
    for k, name in enumerate(names):
        shape = graph.shape(name)
        found.add(k, name, _channels(shape), low=name not in positive, mean=name in guarded)
        if statistics != EXTREMES:
            picked.append(f"{MARK}_picked_{k}")
            found.nodes += picker.nodes(name, picked[-1], shape)
    outputs = [*found.joined(), *picked]
    nodes = needed([*model.graph.node, *found.nodes], outputs)
    for part in (model.graph.node, model.graph.output, model.graph.value_info):
        del part[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs)
    return model, found.reading(names, picked)


class _Statistics:
    """Collects statistic nodes; their results are joined into two outputs.

    Many small outputs would cost more time to hand over than to compute.

    Args:
        model: takes the constants.
        picker: shares constants.
    """

    def __init__(self, model: Any, picker: Picker) -> None:
        self.model = model
        self.picker = picker
        self.nodes: list[Any] = []
        self.maps: list[tuple[str, int]] = []
        self.flat: list[str] = []
        self.of: list[tuple[str, str, str, bool]] = []

    def add(self, k: int, tensor: str, channels: int, *, low: bool, mean: bool) -> None:
        """The extremes of one tensor, and a number that is NaN if an element is.

        Args:
            k: number of the tensor.
            tensor: its name.
            channels: of a tensor (N, C, H, W) whose C is known, else 0.
            low: the smallest value is wanted too.
            mean: a NaN may show here first; a maximum over elements does not tell.
        """
        names = [f"{MARK}_{kind}_{k}" for kind in ("high", "low", "mean")]
        high, lowest, average = (
            n if wanted else "" for n, wanted in zip(names, (True, low, mean), strict=True)
        )
        if not channels:
            for op, name in (("ReduceMax", high), ("ReduceMin", lowest), ("ReduceMean", average)):
                self._reduced(op, tensor, name)
        else:
            self._pooled("GlobalMaxPool", tensor, high, channels)
            self._pooled("GlobalMaxPool", self._minus(tensor, lowest, channels), lowest, channels)
            self._pooled("GlobalAveragePool", tensor, average, channels)
        self.of.append((high, lowest, average, bool(channels)))

    def _reduced(self, op_type: str, tensor: str, name: str) -> None:
        if name:
            self.nodes.append(node(op_type, [tensor], f"{name}_scalar", keepdims=0))
            self.nodes.append(self.picker.flat(f"{name}_scalar", name))
            self.flat.append(name)

    def _pooled(self, op_type: str, tensor: str, name: str, channels: int) -> None:
        if name:
            self.nodes.append(node(op_type, [tensor], name))
            self.maps.append((name, channels))

    def _minus(self, tensor: str, name: str, channels: int) -> str:
        """The negated tensor, by an operator that the blocked layout knows."""
        import numpy as np

        if not name:
            return ""
        minus = self.picker.constant(
            f"minus_{channels}", np.full((channels, 1, 1, 1), -1, np.float32)
        )
        self.nodes.append(node("Conv", [tensor, minus], f"{name}_negated", group=channels))
        return f"{name}_negated"

    def joined(self) -> list[str]:
        """Adds the joining nodes; the names of their outputs.

        Maps without padding are joined first, in the blocked layout: the runtime would reorder
        every single one if one of them had padding.
        """
        whole = [(n, c) for n, c in self.maps if c % BLOCK == 0]
        self.maps = [*whole, *(m for m in self.maps if m not in whole)]
        maps = [n for n, _ in self.maps]
        if len(whole) > 1:
            maps[: len(whole)] = [f"{MAPS}_whole"]
            self.nodes.append(node("Concat", [n for n, _ in whole], maps[0], axis=1))
        outputs = []
        for name, parts, axis in ((MAPS, maps, 1), (FLAT, self.flat, 0)):
            if parts:
                self.nodes.append(node("Concat", parts, name, axis=axis))
                outputs.append(name)
        return outputs

    def reading(self, tensors: Sequence[str], picked: Sequence[str]) -> Reading:
        """Where each statistic is found."""
        names = [*(name for name, _ in self.maps), *self.flat]
        place = {name: k for k, name in enumerate(names)} | {"": -1}
        return Reading(
            tensors=tuple(tensors),
            sizes=tuple(size for _, size in self.maps),
            high=tuple(place[high] for high, _, _, _ in self.of),
            low=tuple(place[low] for _, low, _, _ in self.of),
            mean=tuple(place[mean] for _, _, mean, _ in self.of),
            negated=tuple(maps for _, _, _, maps in self.of),
            picked=tuple(picked),
            rows=tuple(self.picker.rows.values()),
            scattered=self.picker.scattered,
        )


def may_be_nan(graph: Graph, tensors: Iterable[str]) -> set[str]:
    """The observed tensors in which a NaN may show first.

    The caller looks at every element of the inputs. From finite values the operators of
    :data:`SAFE` make no NaN (a value beyond float32 shows as an infinity in some maximum), so
    NaNs have to be looked for only behind all other operators, up to the next observed tensor.
    """
    wanted = set(tensors)
    guarded: set[str] = set()
    tainted: set[str] = set()
    for each in graph.nodes:
        safe = each.op_type in SAFE and not each.domain
        if safe and not tainted.intersection(reads(each)):
            continue
        for name in each.output:
            (guarded if name in wanted else tainted).add(name)
    return guarded


def _channels(shape: tuple[int | None, ...] | None) -> int:
    return (shape[1] or 0) if shape is not None and len(shape) == 4 else 0
