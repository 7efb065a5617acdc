"""Where the nodes of a model's graph go: layers from top to bottom, folded into columns.

networkx gives the layers (generations of a topological order); nets are long and thin, so the
layers are broken into columns that are read like those of a newspaper. Pure Python, no native
library: a net of 3,000 nodes takes about a tenth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

#: Size of a node, and room for it with the gap to the next, in pixels.
BOX = (96.0, 26.0)
CELL = (112.0, 46.0)
#: Width over height that the whole picture should come near to.
SHAPE = 1.7
#: Sweeps that order the nodes within layers.
SWEEPS = 2


@dataclass(frozen=True)
class Layout:
    """Centres of the nodes in pixels, in the order given, and the size of the picture.

    Attributes:
        column: which column each node is in.
    """

    centres: list[tuple[float, float]]
    column: list[int]
    width: float
    height: float


def place(reads: Sequence[Sequence[int]]) -> Layout:
    """Lay a graph out.

    Args:
        reads: for each node the positions of those it reads; positions that do not exist are
            left out, and so is what would close a cycle.
    """
    edges = [(a, b) for b, many in enumerate(reads) for a in many if 0 <= a < len(reads) and a != b]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(reads)))
    graph.add_edges_from(edges)
    if not nx.is_directed_acyclic_graph(graph):
        graph.remove_edges_from([(a, b) for a, b in edges if a > b])
    layers = _layers(graph)
    _order(graph, layers)
    return _fold(layers, _spread(graph, layers), len(reads))


def _layers(graph: nx.DiGraph) -> list[list[int]]:
    """Nodes by their longest way from a source; sources move down to their first reader."""
    level = {node: i for i, some in enumerate(nx.topological_generations(graph)) for node in some}
    for node in sorted(level, key=lambda n: -level[n]):
        if graph.in_degree(node) == 0 and graph.out_degree(node):
            level[node] = min(level[s] for s in graph.successors(node)) - 1
    made: list[list[int]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for node in sorted(level):
        made[level[node]].append(node)
    return [layer for layer in made if layer]


def _order(graph: nx.DiGraph, layers: list[list[int]]) -> None:
    """Order each layer by where its neighbours stand: their mean position, down and up again."""
    place_of = {node: float(i) for layer in layers for i, node in enumerate(layer)}
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        near = graph.predecessors if down else graph.successors
        for layer in layers if down else reversed(layers):
            if len(layer) == 1:
                continue
            wish = {}
            for node in layer:
                around = [place_of[n] for n in near(node)]
                wish[node] = sum(around) / len(around) if around else place_of[node]
            layer.sort(key=lambda n: (wish[n], n))
            place_of.update({node: float(i) for i, node in enumerate(layer)})


def _spread(graph: nx.DiGraph, layers: list[list[int]]) -> dict[int, float]:
    """Places across, in cells: beneath what a node reads, never nearer than one cell."""
    across: dict[int, float] = {}
    for layer in layers:
        wish = []
        for i, node in enumerate(layer):
            above = [across[n] for n in graph.predecessors(node) if n in across]
            wish.append(sum(above) / len(above) if above else i - (len(layer) - 1) / 2)
        at = list(wish)
        for i in range(1, len(at)):
            at[i] = max(at[i], at[i - 1] + 1)
        off = sum(a - w for a, w in zip(at, wish, strict=True)) / len(at)
        across.update({node: a - off for node, a in zip(layer, at, strict=True)})
    return across


def _fold(layers: list[list[int]], across: dict[int, float], count: int) -> Layout:
    """Break the layers into columns so that the whole has about the wanted shape."""
    widths = [(min(across[n] for n in layer), max(across[n] for n in layer)) for layer in layers]
    best = min(_heights(len(layers)), key=lambda rows: abs(math.log(_shape(widths, rows) / SHAPE)))
    centres = [(0.0, 0.0)] * count
    column = [0] * count
    left = 0.0
    for k, start in enumerate(range(0, len(layers), best)):
        part = widths[start : start + best]
        low, high = min(w[0] for w in part), max(w[1] for w in part)
        for row, layer in enumerate(layers[start : start + best]):
            for node in layer:
                x = left + (across[node] - low + 0.5) * CELL[0]
                centres[node] = (x, (row + 0.5) * CELL[1])
                column[node] = k
        left += (high - low + 1.35) * CELL[0]
    return Layout(centres, column, left, min(best, len(layers)) * CELL[1])


def _heights(layers: int) -> list[int]:
    """Rows per column to try."""
    return sorted({max(1, -(-layers // columns)) for columns in range(1, min(layers, 90) + 1)}) or [
        1
    ]


def _shape(widths: list[tuple[float, float]], rows: int) -> float:
    parts = [widths[i : i + rows] for i in range(0, len(widths), rows)]
    wide = sum(max(w[1] for w in p) - min(w[0] for w in p) + 1.35 for p in parts)
    return max(wide, 0.1) * CELL[0] / (rows * CELL[1])
