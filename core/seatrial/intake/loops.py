"""Loops that can never end."""

from __future__ import annotations

from collections.abc import Callable

from . import limits
from .model import Graph, Node, Tensor
from .size_rules import Fact

#: More iterations than any network makes.
_MANY_TRIPS = 2**31


def endless(
    node: Node,
    inputs: list[Fact],
    tensor: Callable[[Tensor], Fact],
    constant: Callable[[Node], Fact],
) -> bool | None:
    """Whether a Loop never ends once it has begun.

    Args:
        node: the Loop.
        inputs: what is known of its inputs: trip count, condition, carried values.
        tensor: facts of a constant tensor.
        constant: facts of a Constant node.

    Returns:
        ``True``: it begins and never ends. ``None``: it never ends if it begins, which is decided
        by an input. ``False``: it ends, or its condition is computed, so that nobody can tell.
    """
    body = next((inner for _, inner in node.graphs if inner.outputs), None)
    if body is None or _trips(node, inputs) <= _MANY_TRIPS:
        return False
    given = len(node.inputs) > 1 and bool(node.inputs[1])
    begins = _truth(inputs[1]) if given else True
    name = _origin(body)
    if len(body.inputs) > 1 and name == body.inputs[1].name:
        return begins
    goes_on = _truth(_known(body, name, tensor, constant))
    if begins is False or goes_on is not True:
        return False
    return begins


def _trips(node: Node, inputs: list[Fact]) -> float:
    """A Loop's trip count: infinite when none is given, 0 when it is not a constant."""
    if not node.inputs or not node.inputs[0]:
        return float("inf")
    return inputs[0].values[0] if inputs[0].values else 0


def _origin(body: Graph) -> str:
    """The value that a body hands on as its condition, seen through Identity nodes."""
    made_by = {name: inner for inner in body.nodes for name in inner.outputs}
    name = body.outputs[0].name
    for _ in range(limits.MAX_GRAPH_DEPTH):
        maker = made_by.get(name)
        if maker is None or maker.op_type != "Identity" or not maker.inputs:
            break
        name = maker.inputs[0]
    return name


def _known(
    body: Graph,
    name: str,
    tensor: Callable[[Tensor], Fact],
    constant: Callable[[Node], Fact],
) -> Fact:
    """Facts of a value that is a constant of the body."""
    for initializer in body.initializers:
        if initializer.name == name:
            return tensor(initializer)
    maker = next((inner for inner in body.nodes if name in inner.outputs), None)
    return constant(maker) if maker is not None and maker.op_type == "Constant" else Fact()


def _truth(fact: Fact) -> bool | None:
    """The value of a condition, as far as it is known."""
    return bool(fact.values[0]) if fact.values else None
