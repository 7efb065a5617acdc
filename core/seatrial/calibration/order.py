"""The order in which the observed graph runs, and in which form its large outputs come out.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from seatrial.quantize.graph import attribute, captured, subgraphs

#: Blocks of the runtime's blocked layout hold 8 or 16 channels: a multiple of this has no padding.
BLOCK = 16


def needed(nodes: Sequence[Any], outputs: Iterable[str]) -> list[Any]:
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


def eager(nodes: Sequence[Any], outputs: Iterable[str], mark: str) -> list[Any]:
    """Move each node that only statistics read to right behind what it reads.

    Args:
        nodes: in a valid order.
        outputs: of the graph.
        mark: how the names of statistics begin.
    """
    marked = {o for o in outputs if o.startswith(mark)}
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


def in_place(nodes: Sequence[Any], picked: Iterable[str], flat: str) -> dict[str, str]:
    """Let picking nodes read tensors as they lie in memory, where no channel is padding.

    Counting does not care about the order of elements, so nothing is reordered for it.

    Args:
        nodes: of the optimised graph; those that pick rows are edited.
        picked: outputs that hold elements.
        flat: name of the shape (-1,).

    Returns:
        For each output that only repeats a tensor in another form: the tensor.
    """
    writers = {o: node for node in nodes for o in node.output if o}

    def source(name: str) -> str:
        node = writers.get(name)
        reordered = node is not None and node.op_type == "ReorderOutput"
        whole = reordered and attribute(node, "channels", 1) % BLOCK == 0
        return str(node.input[0]) if node is not None and whole else name

    found = {}
    for name in picked:
        node, given = writers.get(name), name
        if node is not None and node.op_type == "GatherND":
            node.input[0] = source(node.input[0])
            continue
        if node is not None and node.op_type == "Reshape" and node.input[1] == flat:
            given = node.input[0]
        if source(given) in writers:
            found[name] = source(given)
    return found
