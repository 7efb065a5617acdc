"""The rules on names and calls: who produces, who reads, and what expands into what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from seatrial.results import node_label

from . import limits
from .model import Function, Graph, Model, Node
from .refusal import Refused, quoted

Key = tuple[str, str, str]

#: Expanded node counts saturate here.
_MANY = 10**12


class Placed(NamedTuple):
    """A node and where it is."""

    node: Node
    position: int
    scope: str
    function: str


def place_nodes(model: Model) -> list[Placed]:
    """Give every node of the model and its functions a label that no other node has.

    Raises:
        Refused: labels beyond any reason, from long names around many nodes.
    """
    labels = _Labels()
    if model.graph:
        labels.place(model.graph, "", "")
    for function in model.functions:
        name = f"{function.domain}::{function.name}"
        function.label = f"{name}:{function.overload}" if function.overload else name
        labels.place(function.body, function.label, function.label)
    return labels.placed


class _Labels:
    def __init__(self) -> None:
        self.placed: list[Placed] = []
        self._taken: set[str] = set()
        self._left = limits.MAX_LABELS

    def place(self, graph: Graph, scope: str, function: str) -> None:
        for index, node in enumerate(graph.nodes):
            label = node_label(node.name, node.op_type, index, scope)
            while label in self._taken:
                label = f"{label}#{index}"
            self._left -= len(label)
            if self._left < 0:
                raise Refused("has many nodes inside nodes of long names")
            self._taken.add(label)
            node.label = label
            self.placed.append(Placed(node, index, scope, function))
            for attribute, inner in node.graphs:
                self.place(inner, f"{label}/{attribute}", function)


class Wiring:
    """Checks that every name has one producer and no node waits for itself.

    Attributes:
        unsorted: label of a node that stands before one whose output it reads, or ``""``.
    """

    def __init__(self) -> None:
        self.unsorted = ""

    def check(self, model: Model, called: set[Key]) -> None:
        """Check the graph and the functions that are called.

        Raises:
            Refused: naming nodes and values.
        """
        assert model.graph is not None
        known = self._defined(model.graph)
        for value in model.graph.outputs:
            if value.name and value.name not in known:
                raise Refused("no node produces this output of the model", place=value.name)
        self._closed(model.graph)
        for function in model.functions:
            if function.key in called:
                self._closed(function.body)

    def _closed(self, graph: Graph) -> None:
        for name, label in self._open_names(graph).items():
            raise Refused(f"reads {quoted(name)}, which nothing produces", place=label)

    def _defined(self, graph: Graph) -> dict[str, int]:
        """Index of the producer per name; -1 for inputs and initializers."""
        defined: dict[str, int] = {}
        for value in graph.inputs:
            if value.name in defined and value.name:
                raise Refused("is the name of two inputs", place=value.name)
            defined[value.name] = -1
        seen: set[str] = set()
        for name in (t.name for t in (*graph.initializers, *(s[0] for s in graph.sparse))):
            if name in seen and name:
                raise Refused("is the name of two initializers", place=name)
            seen.add(name)
            defined[name] = -1
        for index, node in enumerate(graph.nodes):
            for name in node.outputs:
                if name and name in defined:
                    self._twice(graph, name, defined[name], node)
                defined[name] = index
        defined.pop("", None)
        return defined

    def _twice(self, graph: Graph, name: str, first: int, node: Node) -> None:
        other = graph.nodes[first].label if first >= 0 else "an input or initializer"
        raise Refused(f"is produced twice: by {quoted(other)} and {quoted(node.label)}", place=name)

    def _open_names(self, graph: Graph) -> dict[str, str]:
        """Names that the graph takes from outside, each with the label of a reader."""
        defined = self._defined(graph)
        missing: dict[str, str] = {}
        needs: list[list[int]] = []
        late = False
        for index, node in enumerate(graph.nodes):
            producers = []
            for name, label in self._reads(node):
                producer = defined.get(name)
                if producer is None:
                    missing.setdefault(name, label)
                elif producer >= 0:
                    producers.append(producer)
                    if producer >= index:
                        late = True
                        self.unsorted = self.unsorted or node.label
            needs.append(producers)
        if late:
            graph.order = _order(graph, needs)
        for value in graph.outputs:
            if value.name and value.name not in defined:
                missing.setdefault(value.name, f"output of {graph.name}")
        return missing

    def _reads(self, node: Node) -> Iterator[tuple[str, str]]:
        for name in node.inputs:
            if name:
                yield name, node.label
        for _, inner in node.graphs:
            yield from self._open_names(inner).items()


def _order(graph: Graph, needs: list[list[int]]) -> list[int]:
    """Positions with producers first (Kahn's algorithm); refuses a cycle.

    Args:
        graph: for the labels.
        needs: positions of the producers that each node reads.
    """
    waiting = [len(set(n)) for n in needs]
    readers: list[list[int]] = [[] for _ in needs]
    for index, producers in enumerate(needs):
        for producer in set(producers):
            readers[producer].append(index)
    order = [i for i, count in enumerate(waiting) if not count]
    for ready in order:
        for reader in readers[ready]:
            waiting[reader] -= 1
            if not waiting[reader]:
                order.append(reader)
    if len(order) < len(needs):
        _refuse_cycle(graph, needs, waiting)
    return order


def _refuse_cycle(graph: Graph, needs: list[list[int]], waiting: list[int]) -> NoReturn:
    """Name a circle; a node that still waits lies on one or behind one."""
    at = next(i for i, count in enumerate(waiting) if count)
    path: dict[int, None] = {}
    while at not in path:
        path[at] = None
        at = next(p for p in needs[at] if waiting[p])
    steps = list(path)
    loop = [graph.nodes[i].label for i in steps[steps.index(at) :]]
    rest = f" and {len(loop) - 3} more" if len(loop) > 3 else ""
    names = ", ".join(quoted(label, 24) for label in loop[:3])
    raise Refused(f"nodes wait for each other in a circle: {names}{rest}", place=loop[0])


# --- functions ----------------------------------------------------------------------------------


def check_functions(model: Model) -> set[Key]:
    """Bound what the calls of model-local functions expand to.

    Returns:
        The functions that the graph reaches.

    Raises:
        Refused: recursion, calls too deep, too many nodes after expansion, a double definition.
    """
    bodies: dict[Key, Function] = {}
    for function in model.functions:
        if function.key in bodies:
            raise Refused("is defined twice", place=f"function {function.label}")
        bodies[function.key] = function
    if not bodies:
        return set()
    calls = {key: list(_calls(f.body, bodies)) for key, f in bodies.items()}
    sizes = {key: sum(1 for _ in _nodes(f.body)) for key, f in bodies.items()}
    cost: dict[Key, tuple[int, int]] = {}
    for key in bodies:
        _expand(key, bodies, calls, sizes, cost)
    assert model.graph is not None
    entry = list(_calls(model.graph, bodies))
    total = sum(1 for _ in _nodes(model.graph)) + sum(cost[key][1] for key in entry)
    if total > limits.MAX_EXPANDED_NODES:
        raise Refused(f"its functions expand to {_about(total)} nodes", place="functions")
    reached: set[Key] = set()
    while entry:
        key = entry.pop()
        if key not in reached:
            reached.add(key)
            entry.extend(calls[key])
    return reached


def _expand(
    root: Key,
    bodies: dict[Key, Function],
    calls: dict[Key, list[Key]],
    sizes: dict[Key, int],
    cost: dict[Key, tuple[int, int]],
) -> None:
    """Depth and expanded size of a function and of all it calls, without recursion."""
    active: dict[Key, Iterator[Key]] = {}
    stack = [root]
    while stack:
        key = stack[-1]
        if key in cost:
            stack.pop()
            continue
        pending = active.setdefault(key, iter(calls[key]))
        callee = next((c for c in pending if c not in cost), None)
        if callee is None:
            depth = 1 + max((cost[c][0] for c in calls[key]), default=0)
            size = min(_MANY, sizes[key] + sum(cost[c][1] for c in calls[key]))
            if depth > limits.MAX_CALL_DEPTH:
                place = f"function {bodies[key].label}"
                raise Refused(
                    f"calls functions more than {limits.MAX_CALL_DEPTH} deep", place=place
                )
            cost[key] = depth, size
            del active[key]
            stack.pop()
        elif callee in active:
            label = bodies[callee].label
            raise Refused("calls itself, directly or through others", place=f"function {label}")
        else:
            stack.append(callee)


def _nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _, inner in node.graphs:
            yield from _nodes(inner)


def _calls(graph: Graph, bodies: dict[Key, Function]) -> Iterator[Key]:
    for node in _nodes(graph):
        key = (node.domain, node.op_type, node.overload)
        if key in bodies:
            yield key


def _about(count: int) -> str:
    return f"more than 10^{len(str(_MANY)) - 1}" if count >= _MANY else str(count)
