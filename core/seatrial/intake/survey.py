"""From the walked model to :class:`~seatrial.intake.facts.ModelFacts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from seatrial.results import TensorIO
from seatrial.text import clean

from . import limits
from .facts import QUANTIZABLE, ModelFacts, NodeFact
from .model import Graph, Model, Node, Tensor, Value
from .rules import Screened
from .size_rules import Fact
from .structure import Placed
from .tensors import elements
from .weights import Screen, Weights

_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
              "MatMulInteger", "DynamicQuantizeLinear"}  # fmt: skip

#: Operators that multiply by their second operand or use it as it is: an infinity there is an
#: accident. In an Add or a Where it may be a mask.
_WEIGHT_READERS = {*QUANTIZABLE, "BatchNormalization", "InstanceNormalization", "LSTM", "GRU",
                   "RNN", "LayerNormalization", "GroupNormalization", "PRelu", "Mul",
                   "QuantizeLinear", "DequantizeLinear"}  # fmt: skip


def survey(model: Model, found: Screened, weights: Weights, **identity: Any) -> ModelFacts:
    """Collect the facts.

    Args:
        model: as walked.
        found: what the rules found; notes on weights are added to it.
        weights: what the screen of the weights found.
        identity: path, hashes, sizes and external files, as :class:`ModelFacts` names them.
    """
    graph = model.graph
    assert graph is not None
    nodes = tuple(_node_fact(p, found.weights.get(p.node.label)) for p in found.placed)
    own = [n for n in nodes if not n.function]
    given = {tensor.name for tensor in graph.initializers}
    inputs = tuple(_io(value) for value in graph.inputs if value.name not in given)
    constants = list(model_constants(model))
    bad = _judge_weights(weights, found)
    return ModelFacts(
        ir_version=model.ir_version,
        producer=clean(f"{model.producer} {model.producer_version}".strip()),
        opsets=dict(model.opsets),
        inputs=inputs,
        outputs=tuple(_io(value) for value in graph.outputs),
        nodes=nodes,
        op_types=dict(Counter(_full_op(n) for n in own).most_common()),
        domains=tuple(sorted({n.domain for n in nodes})),
        functions=tuple(f.label for f in model.functions),
        initializers=sum(1 for _, named in constants if named),
        parameters=sum(elements(t) for t, _ in constants),
        control_flow=tuple(p.node.label for p in found.placed if p.node.graphs),
        has_qdq=any(n.op_type in _QUANTIZED for n in nodes),
        quantizable=dict(Counter(n.op_type for n in own if n.constant_weights and not n.scope)),
        metadata={clean(k): clean(v, 256) for k, v in model.metadata[: limits.MAX_LISTED]},
        nonfinite_weights=tuple(bad),
        constant_weights=tuple(weights.zero),
        weights_screened=weights.complete,
        batch=_batch(inputs),
        **identity,
    )


def screen_weights(model: Model, found: Screened, screen: Screen) -> Weights:
    """Look at every float constant of the model's graphs."""
    for tensor, _ in model_constants(model):
        screen.look(tensor, found.pieces.get(id(tensor)))
    return screen.found


def model_constants(model: Model) -> Iterator[tuple[Tensor, bool]]:
    """Initializers (true) and tensors of Constant nodes (false) of the model's graphs.

    Some exporters write all weights as Constant nodes. Such a tensor goes by the node's output.
    """
    assert model.graph is not None
    yield from _graph_constants(model.graph)


def _graph_constants(graph: Graph) -> Iterator[tuple[Tensor, bool]]:
    for tensor in graph.initializers:
        yield tensor, True
    for values, _, _ in graph.sparse:
        yield values, True
    for node in graph.nodes:
        value = node.attributes.get("value") if node.op_type == "Constant" else None
        if isinstance(value, Tensor):
            value.name = node.outputs[0] if node.outputs else value.name
            yield value, False
        for _, inner in node.graphs:
            yield from _graph_constants(inner)


def _node_fact(placed: Placed, weight: Fact | None) -> NodeFact:
    node = placed.node
    return NodeFact(
        label=node.label,
        op_type=node.op_type,
        domain=node.domain,
        index=placed.position,
        scope=placed.scope,
        inputs=node.inputs,
        outputs=node.outputs,
        function=placed.function,
        depthwise=weight is not None and _depthwise(node, weight),
        constant_weights=weight is not None,
    )


def _depthwise(node: Node, weight: Fact) -> bool:
    """More than one group, and a filter that sees one channel."""
    group = node.attributes.get("group")
    if not isinstance(group, int) or group < 2 or not weight.shape or len(weight.shape) < 2:
        return False
    return weight.shape[1 if node.op_type == "Conv" else 0] == (
        1 if node.op_type == "Conv" else group
    )


def _io(value: Value) -> TensorIO:
    shape = ("...",) if value.shape is None else value.shape
    return TensorIO(name=value.name, dtype=value.dtype, shape=shape)


def _batch(inputs: tuple[TensorIO, ...]) -> str:
    if not inputs or not inputs[0].shape or inputs[0].shape == ("...",):
        return "none"
    first = inputs[0].shape[0]
    return f"fixed:{first}" if isinstance(first, int) else "free"


def _full_op(node: NodeFact) -> str:
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type


def _judge_weights(weights: Weights, found: Screened) -> list[str]:
    """Write the notes on weights; give the names of those that can only be broken."""
    operands, filters = _read_as_weights(found.placed)
    broken = [name for name in weights.infinite if name in operands]
    zero = [name for name in weights.zero if name in filters]
    for code, text, names in (
        ("weights-nan", "holds NaN", weights.nan),
        ("weights-infinite", "holds an infinity", broken),
        ("weights-zero", "is zero throughout", zero),
    ):
        for name in names:
            found.warn(code, f"the weight {text}", name)
    for name in weights.infinite:
        if name not in operands:
            found.warn("infinite-constant", "holds an infinity", name, "info")
    if not weights.complete:
        found.warn("weights-unscreened", "too large to look at every weight for NaN")
    return [*weights.nan, *broken]


def _read_as_weights(placed: list[Placed]) -> tuple[set[str], set[str]]:
    """Names that operators with weights read, and those among them read as the filter."""
    operands: set[str] = set()
    filters: set[str] = set()
    for node, _, _, _ in placed:
        if not node.domain and node.op_type in _WEIGHT_READERS:
            operands.update(node.inputs)
            if node.op_type in QUANTIZABLE:
                filters.update(node.inputs[:2])
    return operands, filters
