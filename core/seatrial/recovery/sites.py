"""Where a channel's scale can be moved from one operator's constants into the next one's.

If f(s x) = s f(x) for every s > 0 and every channel on its own, then what writes x may be divided
by s_j in channel j and what reads f(x) multiplied by s_j: the function stays, the range of the
tensors between changes. The rule, in full:

* writers: Conv; BatchNormalization that could not be folded; for matrix products
  LayerNormalization, and a Mul by a constant, alone or followed by an Add of one;
* on the way: Relu, LeakyRelu, PRelu, a Clip at 0 without an upper limit, and pooling. A Clip with
  an upper limit (ReLU6) is no such operator and data cannot prove that it never acts: never;
* readers: Conv, grouped and depthwise ones too; for matrix products MatMul and Gemm by a constant;
* nobody else reads a tensor on the way, and all constants are float32 initializers.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seatrial.quantize.graph import FLOAT, Graph, attribute

#: Operators f with f(s x) = s f(x) for every channel on its own and s > 0.
HOMOGENEOUS = frozenset(
    {
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "LeakyRelu",
        "MaxPool",
        "PRelu",
        "Relu",
    }
)


@dataclass(frozen=True)
class Slot:
    """A constant input of a node, with the axis of the channels.

    Attributes:
        groups: of a grouped convolution's input channels.
    """

    node: Any
    slot: int
    axis: int
    groups: int = 1

    @property
    def name(self) -> str:
        """The constant."""
        return str(self.node.input[self.slot])

    def value(self, graph: Graph) -> Any:
        """Its value; every site was found by its constants."""
        return graph.constant(self.name)


@dataclass(frozen=True)
class Site:
    """One place where channels can be scaled.

    Attributes:
        tensor: what the readers read.
        channels: how many.
        writers: constants that are divided by the scales; the first one is the weight.
        readers: constants that are multiplied.
    """

    tensor: str
    channels: int
    writers: tuple[Slot, ...]
    readers: tuple[Slot, ...]


class Sites:
    """Finds the sites of a prepared graph.

    Args:
        graph: prepared; not edited.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers, self.all_readers = graph.producers(), graph.readers()
        self.pinned = graph.pinned()

    def convolutions(self) -> Iterator[Site]:
        """Conv or BatchNormalization -> homogeneous operators -> one Conv."""
        for node in self.graph.nodes:
            reads = self._conv_reads(node)
            first = self._back(node.input[0]) if reads is not None else None
            writers = self._channel_writers(first) if first is not None else ()
            if reads is None or not writers:
                continue
            channels = self._length(writers[0])
            weight = self._shape(reads.name)
            if weight is not None and channels == weight[1] * reads.groups:
                yield Site(node.input[0], channels, writers, (reads,))

    def products(self) -> Iterator[Site]:
        """A normalisation's scale, or a Mul by a constant -> matrix products by constants."""
        for tensor in list(self.all_readers):
            readers = self.all_readers[tensor]
            if tensor in self.pinned or not all(self._is_product(n, tensor) for n in readers):
                continue
            reads = tuple(
                Slot(n, 1, 1 if n.op_type == "Gemm" and attribute(n, "transB", 0) else 0)
                for n in readers
            )
            writers = self._last_axis_writers(tensor)
            if not writers:
                continue
            channels = self._length(writers[0])
            if all(self._length(slot) == channels for slot in reads):
                yield Site(tensor, channels, writers, reads)

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a float32 initializer."""
        info = self.graph.constant_info(name) if name else None
        return info[1] if info is not None and info[0] == FLOAT else None

    def _length(self, slot: Slot) -> int:
        shape = self._shape(slot.name)
        return shape[slot.axis] if shape else 0

    def _alone(self, tensor: str) -> bool:
        return len(self.all_readers.get(tensor, ())) == 1 and tensor not in self.pinned

    def _conv_reads(self, node: Any) -> Slot | None:
        if node.op_type != "Conv" or node.domain or self._shape(node.input[1]) is None:
            return None
        return Slot(node, 1, 1, attribute(node, "group", 1))

    def _back(self, tensor: str) -> Any | None:
        """The node that writes what homogeneous operators turn into a tensor."""
        while self._alone(tensor):
            node = self.makers.get(tensor)
            if node is None or node.domain:
                return None
            if not self._passes(node):
                return node
            tensor = node.input[0]
        return None

    def _passes(self, node: Any) -> bool:
        if node.op_type == "PRelu":
            return self._shape(node.input[1]) is not None
        if node.op_type != "Clip":
            return node.op_type in HOMOGENEOUS and len([o for o in node.output if o]) == 1
        limits = [*node.input[1:], "", ""][:2]
        low = self.graph.constant(limits[0]) if limits[0] else None
        return not limits[1] and low is not None and not low.any()

    def _channel_writers(self, node: Any) -> tuple[Slot, ...]:
        if node.op_type == "Conv":
            slots = [Slot(node, 1, 0)]
            slots += [Slot(node, 2, 0)] if len(node.input) > 2 and node.input[2] else []
        elif node.op_type == "BatchNormalization" and not attribute(node, "training_mode"):
            slots = [Slot(node, 1, 0), Slot(node, 2, 0)]
        else:
            return ()
        return tuple(slots) if all(self._shape(s.name) is not None for s in slots) else ()

    def _is_product(self, node: Any, tensor: str) -> bool:
        if node.op_type not in ("MatMul", "Gemm") or node.domain:
            return False
        shape = self._shape(node.input[1])
        if shape is None or len(shape) != 2 or node.input[0] != tensor:
            return False
        return not attribute(node, "transA", 0)

    def _last_axis_writers(self, tensor: str) -> tuple[Slot, ...]:
        node = self.makers.get(tensor)
        if node is None or node.domain or len([o for o in node.output if o]) != 1:
            return ()
        if node.op_type == "LayerNormalization":
            scale = self._shape(node.input[1])
            shape = self.graph.shape(node.input[0])
            last = attribute(node, "axis", -1)
            if scale is None or len(scale) != 1 or last not in (-1, len(shape or ()) - 1):
                return ()
            slots = [Slot(node, 1, 0)]
            slots += [Slot(node, 2, 0)] if len(node.input) > 2 and node.input[2] else []
            return tuple(slots) if all(self._vector(s) for s in slots) else ()
        shift: tuple[Slot, ...] = ()
        if node.op_type == "Add":
            found = self._constant_slot(node)
            if found is None or not self._alone(node.input[1 - found.slot]):
                return ()
            shift, node = (found,), self.makers.get(node.input[1 - found.slot])
        if node is None or node.op_type != "Mul" or node.domain:
            return ()
        scales = self._constant_slot(node)
        return (scales, *shift) if scales is not None else ()

    def _constant_slot(self, node: Any) -> Slot | None:
        """The one constant operand of Add or Mul, if it is a value per channel of the last axis."""
        slots = [Slot(node, k, -1) for k in range(2) if self._shape(node.input[k]) is not None]
        return slots[0] if len(slots) == 1 and self._vector(slots[0]) else None

    def _vector(self, slot: Slot) -> bool:
        shape = self._shape(slot.name)
        return bool(shape) and all(d == 1 for d in (shape or ())[:-1])


def apply(graph: Graph, site: Site, scales: Any) -> None:
    """Move scales: writers / s, readers x s. New constants: shared ones stay for the others.

    Args:
        graph: edited in place.
        site: of this graph.
        scales: float64, positive, shape (channels,).
    """
    taken = graph.names() | set(graph.initializers)
    for slots, factors in ((site.writers, 1 / scales), (site.readers, scales)):
        for slot in slots:
            value = slot.value(graph).astype("float64")
            scaled = (value * along(factors, slot, value.shape)).astype("float32")
            name = graph.unique(f"{slot.node.name}_{slot.slot}_scaled", taken)
            slot.node.input[slot.slot] = graph.set_constant(name, scaled)


def along(factors: Any, slot: Slot, shape: tuple[int, ...]) -> Any:
    """Factors per channel in a shape that multiplies a constant.

    A grouped convolution's weight (out, in / groups, ...) holds input channel
    g (in / groups) + i at [out of group g, i].
    """
    import numpy as np

    if slot.groups == 1:
        wanted = [1] * len(shape)
        wanted[slot.axis] = -1
        return np.asarray(factors).reshape(wanted)
    per_group = np.asarray(factors).reshape(slot.groups, -1)
    rows = np.repeat(per_group, shape[0] // slot.groups, axis=0)
    return rows.reshape(*rows.shape, *[1] * (len(shape) - 2))


def magnitudes(value: Any, slot: Slot) -> Any:
    """Largest magnitude per channel of a constant, float64, shape (channels,)."""
    import numpy as np

    size = np.abs(np.asarray(value, np.float64))
    if slot.groups == 1:
        return size.max(axis=tuple(a for a in range(size.ndim) if a != slot.axis % size.ndim))
    grouped = size.reshape(slot.groups, size.shape[0] // slot.groups, size.shape[1], -1)
    return grouped.max(axis=(1, 3)).reshape(-1)
