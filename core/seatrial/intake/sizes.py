"""Sizes that follow from the model's own constants: tensors of terabytes from a file of bytes.

A light abstract evaluation over the nodes. Per value it knows, as far as anything is known: the
shape (a free dimension counts as 1), a lower bound of the element count, and the numbers in it
when it is a small constant. Whatever it does not understand it calls unknown, so it never
refuses a model that is merely unusual; the memory ceiling of the children is behind it.
"""

from __future__ import annotations

from . import dtypes, generators, limits, loops, parameters
from .facts import QUANTIZABLE
from .model import Graph, Node, Tensor
from .refusal import Refused
from .size_rules import RANDOM, RULES, UNKNOWN, Fact, Facts, known_shape
from .tensors import elements, small_values
from .wire import Buffer


class Sizes:
    """Evaluates one model.

    Args:
        buffer: the file, for small constants.

    Attributes:
        weights: what is known of the weight operand, by label of the nodes that have a constant
            one (:data:`~.facts.QUANTIZABLE` operators only).
        endless: labels of loops that may never be entered, but if so never end: their condition
            cannot turn false, and their trip count is missing or absurd.
        flat: labels of QuantizeLinear nodes with a scale of 0.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.weights: dict[str, Fact] = {}
        self.endless: list[str] = []
        self.flat: list[str] = []
        self._buffer = buffer

    def graph(self, graph: Graph, outer: tuple[Facts, ...] = ()) -> None:
        """Evaluate a graph and those inside it.

        Args:
            graph: to evaluate; its ``order`` counts.
            outer: facts of the enclosing graphs, outermost first.

        Raises:
            Refused: a value of more than :data:`limits.MAX_TENSOR_BYTES`, a parameter that an
                operator rules out, or a loop that never ends.
        """
        facts: Facts = {}
        for value in graph.inputs:
            if value.shape is None:
                facts[value.name] = Fact(bits=dtypes.bits(value.dtype))
            else:
                shape = tuple(d if isinstance(d, int) else None for d in value.shape)
                facts[value.name] = known_shape(shape, dtypes.bits(value.dtype))
        for tensor in graph.initializers:
            facts[tensor.name] = self.tensor(tensor)
        for values, _, dims in graph.sparse:
            bits = dtypes.bits(dtypes.numpy_name(values.dtype))
            facts[values.name] = known_shape(dims, bits, constant=True)
        scopes = (*outer, facts)
        for node in graph.ordered():
            self._node(node, scopes)

    def tensor(self, tensor: Tensor) -> Fact:
        """Facts of a constant."""
        if not dtypes.known(tensor.dtype):
            return Fact(constant=True)
        bits = dtypes.bits(dtypes.numpy_name(tensor.dtype))
        values = small_values(tensor, self._buffer)
        least = elements(tensor)
        return Fact(shape=tensor.dims, least=least, bits=bits, values=values, constant=True)

    def _node(self, node: Node, scopes: tuple[Facts, ...]) -> None:
        for _, inner in node.graphs:
            self.graph(inner, scopes)
        inputs = [_find(name, scopes) for name in node.inputs]
        if not node.domain:
            parameters.check(node, inputs, outermost=len(scopes) == 1)
        fact = self._result(node, inputs)
        size = fact.least * fact.bits // 8
        if size > limits.MAX_TENSOR_BYTES:
            raise Refused(f"{node.op_type} makes a tensor of {_size(size)}", place=node.label)
        constant = not node.graphs and node.op_type not in RANDOM
        constant = constant and all(
            f.constant for f, n in zip(inputs, node.inputs, strict=True) if n
        )
        if constant and not fact.constant:
            fact = Fact(fact.shape, fact.least, fact.bits, fact.values, True)
        for i, name in enumerate(node.outputs):
            if name:
                scopes[-1][name] = fact if i == 0 else Fact(constant=constant)
        if not node.domain:
            self._remember(node, inputs, outermost=len(scopes) == 1)

    def _result(self, node: Node, inputs: list[Fact]) -> Fact:
        if node.domain:
            return UNKNOWN
        if node.op_type == "Constant":
            return self._constant(node)
        rule = RULES.get(node.op_type) or generators.RULES.get(node.op_type)
        if rule is None:
            return UNKNOWN
        try:
            return rule(node, inputs)
        except (IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError):
            return UNKNOWN

    def _constant(self, node: Node) -> Fact:
        value = node.attributes.get("value")
        if isinstance(value, Tensor):
            return self.tensor(value)
        for name in ("value_int", "value_float"):
            number = node.attributes.get(name)
            if isinstance(number, (int, float)):
                return Fact((), 1, 64, (number,), True)
        for name in ("value_ints", "value_floats"):
            numbers = node.attributes.get(name)
            if isinstance(numbers, tuple):
                few = len(numbers) <= limits.MAX_KNOWN_VALUES
                return Fact((len(numbers),), len(numbers), 64, numbers if few else None, True)
        return Fact(constant=True)

    def _remember(self, node: Node, inputs: list[Fact], *, outermost: bool) -> None:
        if node.op_type in QUANTIZABLE:
            operands = inputs[:2] if node.op_type == "MatMul" else inputs[1:2]
            known = next((fact for fact in reversed(operands) if fact.constant), None)
            if known is not None:
                self.weights[node.label] = known
        elif node.op_type == "QuantizeLinear" and len(inputs) > 1 and 0 in (inputs[1].values or ()):
            self.flat.append(node.label)
        elif node.op_type == "Loop":
            self._remember_loop(node, inputs, outermost=outermost)

    def _remember_loop(self, node: Node, inputs: list[Fact], *, outermost: bool) -> None:
        never_ends = loops.endless(node, inputs, self.tensor, self._constant)
        if never_ends and outermost:
            reason = "this Loop never ends: its condition never changes"
            raise Refused(reason, place=node.label, advice="give it a trip count")
        if never_ends is not False:
            self.endless.append(node.label)


def _find(name: str, scopes: tuple[Facts, ...]) -> Fact:
    for facts in reversed(scopes):
        fact = facts.get(name)
        if fact is not None:
            return fact
    return UNKNOWN


def _size(size: int) -> str:
    power = len(str(min(size, 10**40))) - 1
    return f"{size / 2**30:.0f} GiB" if power < 15 else f"at least 10^{power} bytes"
