"""Signal and noise of every layer, and statistics of every quantised tensor, in one pass.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.quantize import ops
from seatrial.reference import open_model

from .pairs import Activation
from .parameters import kind_of
from .stats import Seen, decibel
from .switched import LEVEL, MARK, Switched, constant, rounded
from .types import Layer


@dataclass
class Watched:
    """One layer.

    Attributes:
        node: label of the layer's first node.
        kind: its class.
        chain: labels of its nodes in order, up to the next quantiser.
        tensor: what the last of them writes.
        shown: the same behind its quantiser, if it has one.
        switch: of that quantiser.
        alone: output that holds the error power that the layer adds by itself, or ``""``.
    """

    node: str
    kind: str
    chain: tuple[str, ...]
    tensor: str
    shown: str
    switch: str = ""
    alone: str = ""
    signal: float = 0.0
    error: float = 0.0
    new: float = 0.0


@dataclass
class Observer:
    """Runs the float and the quantised form over samples and keeps sums."""

    switched: Switched
    layers: list[Watched] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph, found = self.switched.graph, self.switched.found
        self.layers = _layers(graph, found.activations)
        for switch, group in found.activations.items():
            self.seen[switch] = Seen(group[0])
        taps = {w.tensor for w in self.layers} | {w.shown for w in self.layers}
        taps |= {one.one.tensor for one in self.seen.values()} - set(graph.inputs)
        both = Switched(graph, found, threads=self.switched.threads, taps=sorted(taps))
        self.quantised = both
        extra, values = self._alone()
        text = both.model((), extra, values, [one.alone for one in self.layers])
        self.plain = open_model(
            text, folder=graph.folder, threads=self.switched.threads, optimize=LEVEL
        )

    def _alone(self) -> tuple[list[Any], dict[str, Any]]:
        """Nodes that run each layer again, on rounded float inputs with quantised weights."""
        import onnx

        found = self.switched.found
        nodes = {n.name: n for n in self.switched.base.graph.node if n.name}
        restored = {n for g in found.activations.values() for one in g for n in one.restored}
        extra: list[Any] = []
        values: dict[str, Any] = {}
        for k, layer in enumerate(self.layers):
            entry = found.weights.get(f"w:{layer.node}")
            renamed: dict[str, str] = {}
            if entry is not None:
                for slot, parameter in entry.slots.items():
                    name = f"{constant(entry, slot)}_on"
                    renamed[constant(entry, slot)] = name
                    values[name] = parameter.value
            copies = []
            for label in layer.chain:
                copy = onnx.NodeProto()
                copy.CopyFrom(nodes[label])
                copy.name = f"{MARK}_{k}_{label}"
                for slot, name in enumerate(copy.input):
                    is_rounded = name in restored
                    copy.input[slot] = rounded(name) if is_rounded else renamed.get(name, name)
                for slot, name in enumerate(copy.output):
                    if name:
                        renamed[name] = f"{MARK}_{k}_{name}"
                        copy.output[slot] = renamed[name]
                copies.append(copy)
            layer.alone = f"{MARK}_alone_{k}"
            extra += copies + _power(renamed[layer.tensor], layer.tensor, layer.alone)
        return extra, values

    def add(self, feeds: Mapping[str, Any]) -> None:
        """Take in one run; memory holds the activations of two."""
        import numpy as np

        flags = {f: np.asarray(False) for f in self.switched.flags.values()}
        plain = self.plain.run({**feeds, **flags})
        names = self.switched.found.names()
        quantised = self.quantised.run(feeds, names)
        for one in self.seen.values():
            tensor = one.one.tensor
            one.add(plain[tensor] if tensor in plain else feeds[tensor])
        for layer in self.layers:
            x, y = plain[layer.shown], quantised[layer.shown]
            if not np.issubdtype(x.dtype, np.floating) or x.shape != y.shape:
                continue
            layer.signal += float(np.square(x, dtype=np.float64).sum())
            layer.error += float(np.square(y.astype(np.float64) - x).sum())
            layer.new += float(plain[layer.alone])
            layer.new += self.seen[layer.switch].last if layer.switch else 0.0

    def table(self) -> tuple[Layer, ...]:
        """The layers in graph order."""
        return tuple(_row(one) for one in self.layers)


def _row(one: Watched) -> Layer:
    inherited = None
    if one.error > 0:
        inherited = min(1.0, max(0.0, 1 - one.new / one.error))
    return Layer(
        node=one.node,
        op_type=one.kind,
        tensor=one.tensor,
        sqnr_db=decibel(one.signal, one.error),
        new_db=decibel(one.signal, one.new),
        inherited=inherited,
    )


def _layers(graph: Any, activations: Mapping[str, list[Activation]]) -> list[Watched]:
    """Every layer that ends in a quantiser, and every other heavy node."""
    place = {n.name: k for k, n in enumerate(graph.nodes)}
    producers = graph.producers()
    found: dict[str, Watched] = {}
    inside: set[str] = set()
    for switch, group in activations.items():
        one = group[0]
        if not one.node:
            continue
        chain = tuple(reversed(one.nodes))
        inside.update(chain)
        found[one.tensor] = Watched(one.node, one.kind, chain, one.tensor, one.restored[0], switch)
    for node in graph.nodes:
        if node.op_type in ops.HEAVY and node.name not in inside:
            name = node.output[0]
            found[name] = Watched(
                node.name, kind_of(node, graph, producers), (node.name,), name, name
            )
    return sorted(found.values(), key=lambda w: place[w.chain[-1]])


def _power(a: str, b: str, result: str) -> list[Any]:
    """Nodes for result = sum of (a - b) squared."""
    from onnx import helper

    off = f"{result}_off"
    return [
        helper.make_node("Sub", [a, b], [off]),
        helper.make_node("ReduceSumSquare", [off], [result], keepdims=0),
    ]
