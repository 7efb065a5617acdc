"""Which original nodes became which nodes of the graph that the runtime really executes.

The runtime fuses, renames and folds. Nodes are followed by marks in their names
(:func:`_model.marked`), by the names of the tensors they make, and by walking back through the
original graph from a fused node's outputs to its inputs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import _model
from ._model import Place
from ._registry import registry
from ._types import infer

_EIGHT_BITS = ("tensor(int8)", "tensor(uint8)")
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")

#: Kernels that compute in 8-bit integers whatever type they give.
INTEGER_KERNELS = re.compile(r"QLinear|^QGemm$|^QAttention$|Integer|^DynamicQuantize(MatMul|LSTM)")

#: What the runtime puts before or behind a tensor's name to name a new node.
_DECORATION = re.compile(r"^(InsertedPrecisionFreeCast_)+|(_nchwc)$")


@dataclass
class Group:
    """One executed node, and the original nodes in it (indices into the list of places)."""

    name: str
    op_type: str
    domain: str
    int8: bool
    layout: str
    members: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """The executed graph beside the original one.

    Attributes:
        places: original nodes, in order.
        groups: executed nodes.
        kinds: output type of each original node.
    """

    places: list[Place]
    groups: list[Group]
    kinds: list[str | None]

    def owner(self) -> dict[int, Group]:
        """The executed node of each original one; folded ones are missing."""
        return {k: group for group in self.groups for k in group.members}

    def int8_and_float(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels of the nodes that run in INT8 kernels, and of those that compute in float.

        Quantizers themselves, folded nodes and nodes on integers are in neither.
        """
        owner = self.owner()
        eight, floating = [], []
        for index, place in enumerate(self.places):
            group = owner.get(index)
            if group is None or place.node.op_type in (*_QUANTIZERS, "Constant"):
                continue
            if group.int8:
                eight.append(place.label)
            elif self.kinds[index] in _FLOATS:
                floating.append(place.label)
        return tuple(eight), tuple(floating)

    def notes(self) -> tuple[str, ...]:
        """Fusions and folds in a line or two."""
        owned = self.owner()
        folded = [p.label for k, p in enumerate(self.places) if k not in owned]
        fused = Counter(
            "+".join(self.places[k].node.op_type for k in sorted(g.members))
            for g in self.groups
            if 1 < len(g.members) <= 4
        )
        notes = [f"{len(self.places)} nodes became {len(self.groups)}: {_counts(self.groups)}"]
        if fused:
            notes.append("fused: " + ", ".join(f"{n} x {k}" for k, n in fused.most_common(6)))
        if folded:
            more = f" and {len(folded) - 5} more" if len(folded) > 5 else ""
            notes.append(f"folded or removed: {', '.join(folded[:5])}{more}")
        return tuple(notes)


def _counts(groups: list[Group]) -> str:
    counts = Counter(f"{g.domain}:{g.op_type}" if g.domain else g.op_type for g in groups)
    return ", ".join(f"{n} {k}" for k, n in counts.most_common(8))


def survey(original: Any, optimised: Any) -> Survey:
    """Compare an original model with the optimised graph of its marked copy.

    Args:
        original: the ModelProto as it came.
        optimised: what the runtime wrote for ``marked(original)``.
    """
    places = list(_model.nodes(original.graph))
    kinds = [t.outputs[0] if t.outputs else None for t in infer(original, registry())]
    groups = [
        Group(
            name=t.place.node.name,
            op_type=t.place.node.op_type,
            domain=t.place.domain,
            int8=_is_int8(t.place.node.op_type, t.outputs),
            layout=_layout(t.place),
        )
        for t in infer(optimised, registry())
    ]
    executed = [p.node for p in _model.nodes(optimised.graph)]
    _assign(places, executed, groups)
    return Survey(places, groups, kinds)


def _is_int8(op_type: str, outputs: tuple[str | None, ...]) -> bool:
    if INTEGER_KERNELS.search(op_type):
        return True
    moved = bool(outputs) and outputs[0] in _EIGHT_BITS
    return moved and op_type not in (*_QUANTIZERS, "Cast")


def _layout(place: Place) -> str:
    if place.domain == "com.microsoft.nchwc":
        return "NCHWc"
    last = any(a.name == "channels_last" and a.i for a in place.node.attribute)
    return "NHWC" if last else ""


def _assign(places: list[Place], executed: list[Any], groups: list[Group]) -> None:
    """Fill the members of each group."""
    maker = {name: k for k, p in enumerate(places) for name in p.node.output if name}
    border = {name for node in executed for name in (*node.input, *node.output) if name}
    readers: dict[str, list[int]] = {}
    for k, place in enumerate(places):
        for name in place.node.input:
            readers.setdefault(name, []).append(k)
    taken: set[int] = set()
    # A node of the same kind comes first: what the runtime adds around it (a bias dequantised,
    # a cast) is named after it as well.
    for alike in (True, False):
        for node, group in zip(executed, groups, strict=True):
            for k in _anchors(node, maker, len(places)):
                same = places[k].node.op_type in node.op_type
                if k not in taken and (same or not alike):
                    taken.add(k)
                    group.members.append(k)
    for group in groups:
        if group.int8:
            for k in tuple(group.members):
                found = _to_quantizer(k, places, readers, taken)
                taken.update(found)
                group.members += found
        stack = list(group.members)
        while stack:
            for name in places[stack.pop()].node.input:
                before = maker.get(name)
                if name not in border and before is not None and before not in taken:
                    taken.add(before)
                    group.members.append(before)
                    stack.append(before)
        group.members.sort()


def _anchors(node: Any, maker: dict[str, int], count: int) -> Iterator[int]:
    """Original nodes that certainly are in an executed node."""
    mark = _model.mark_of(node.name)
    if mark is not None and mark < count:
        yield mark
    for name in (*node.output, _DECORATION.sub("", node.name)):
        if name in maker:
            yield maker[name]


def _to_quantizer(
    start: int, places: list[Place], readers: dict[str, list[int]], taken: set[int]
) -> list[int]:
    """The free nodes from an integer kernel's node to the quantizer that follows it.

    The kernel gives what that quantizer gave. Empty when the way there forks.
    """
    chain: list[int] = []
    step = start
    while places[step].node.op_type != "QuantizeLinear":
        following = readers.get(places[step].node.output[0], [])
        if len(following) != 1 or following[0] in taken:
            return []
        step = following[0]
        chain.append(step)
    return chain
