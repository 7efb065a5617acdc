"""From the walked model to :class:`~seatrial.intake.facts.ModelFacts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..results import TensorIO
from ..text import clean
from . import limits
from .facts import QUANTIZABLE, ModelFacts, NodeFact
from .model import Graph, Model, Node, Tensor, Value
from .rules import Screened, note
from .sizes import Facts
from .structure import Placed, shown
from .tensors import elements, graph_tensors
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
    nodes = tuple(_node_fact(p, found.values) for p in found.placed)
    own = [n for n in nodes if not n.function]
    given = {tensor.name for tensor in graph.initializers}
    inputs = tuple(_io(value) for value in graph.inputs if value.name not in given)
    every = [t for t in _initializers(model)]
    bad = _judge_weights(model, weights, found)
    return ModelFacts(
        ir_version=model.ir_version,
        producer=clean(shown(f"{model.producer} {model.producer_version}".strip())),
        opsets={shown(d): v for d, v in model.opsets},
        inputs=inputs,
        outputs=tuple(_io(value) for value in graph.outputs),
        nodes=nodes,
        op_types=dict(Counter(_full_op(n) for n in own).most_common()),
        domains=tuple(sorted({n.domain for n in nodes})),
        functions=tuple(f.label for f in model.functions),
        initializers=len(every),
        parameters=sum(elements(t) for t in every),
        control_flow=tuple(p.node.label for p in found.placed if p.node.graphs),
        has_qdq=any(n.op_type in _QUANTIZED for n in nodes),
        quantizable=dict(Counter(n.op_type for n in nodes if n.constant_weights)),
        metadata={
            clean(shown(k)): clean(shown(v), 256) for k, v in model.metadata[: limits.MAX_LISTED]
        },
        nonfinite_weights=tuple(map(shown, bad)),
        constant_weights=tuple(shown(name) for name, _ in weights.zero),
        weights_screened=weights.complete,
        batch=_batch(inputs),
        **identity,
    )


def screen_weights(model: Model, found: Screened, screen: Screen) -> Weights:
    """Look at every float initializer of the model's graphs."""
    for tensor in _initializers(model):
        screen.look(tensor, found.pieces.get(id(tensor)))
    return screen.found


def _initializers(model: Model) -> Iterable[Tensor]:
    """Initializers of the graph and of the graphs inside it, without constants of nodes."""
    assert model.graph is not None
    in_nodes = {id(t) for t in _node_constants(model.graph)}
    return [t for t, _ in graph_tensors(model.graph) if id(t) not in in_nodes]


def _node_constants(graph: Graph) -> Iterable[Tensor]:
    for node in graph.nodes:
        yield from node.tensors
        for _, inner in node.graphs:
            yield from _node_constants(inner)


def _node_fact(placed: Placed, values: Facts) -> NodeFact:
    node = placed.node
    return NodeFact(
        label=node.label,
        op_type=shown(node.op_type),
        domain=shown(node.domain),
        index=placed.index,
        scope=placed.scope,
        inputs=tuple(map(shown, node.inputs)),
        outputs=tuple(map(shown, node.outputs)),
        function=placed.function,
        depthwise=_depthwise(node, values),
        constant_weights=_constant_weights(node, values),
    )


def _constant_weights(node: Node, values: Facts) -> bool:
    if node.domain or node.op_type not in QUANTIZABLE:
        return False
    operands = node.inputs[:2] if node.op_type == "MatMul" else node.inputs[1:2]
    return any(name in values and values[name].constant for name in operands)


def _depthwise(node: Node, values: Facts) -> bool:
    """A group per input channel, and a filter that sees one channel."""
    group = node.attributes.get("group")
    if node.domain or node.op_type not in ("Conv", "ConvTranspose") or len(node.inputs) < 2:
        return False
    if not isinstance(group, int) or group < 2:
        return False
    fact = values.get(node.inputs[1])
    if fact is None or not fact.shape or len(fact.shape) < 2:
        return False
    return fact.shape[1] == 1 if node.op_type == "Conv" else fact.shape[0] == group


def _io(value: Value) -> TensorIO:
    shape = ("...",) if value.shape is None else value.shape
    dims = tuple(d if isinstance(d, int) else shown(d) for d in shape)
    return TensorIO(name=shown(value.name), dtype=value.dtype, shape=dims)


def _batch(inputs: tuple[TensorIO, ...]) -> str:
    if not inputs or not inputs[0].shape or inputs[0].shape == ("...",):
        return "none"
    first = inputs[0].shape[0]
    return f"fixed:{first}" if isinstance(first, int) else "free"


def _full_op(node: NodeFact) -> str:
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type


def _judge_weights(model: Model, weights: Weights, found: Screened) -> list[str]:
    """Write the notes on weights; give the names of those that can only be broken."""
    masks = set(weights.infinite) - _read_as_weights(found.placed)
    broken = [*weights.nan, *(name for name in weights.infinite if name not in masks)]
    for code, text, names in (
        ("weights-nan", "holds NaN", weights.nan),
        ("weights-infinite", "holds an infinity", [n for n in weights.infinite if n not in masks]),
        ("weights-zero", "is zero throughout", [n for n, rank in weights.zero if rank > 1]),
    ):
        for name in names[: limits.MAX_LISTED]:
            found.warn(code, f"the weight {text}", name)
    for name in sorted(masks)[: limits.MAX_LISTED]:
        found.notes.append(note("infinite-constant", "holds an infinity", name, "info"))
    if not weights.complete:
        found.warn("weights-unscreened", "too large to look at every weight for NaN")
    return broken


def _read_as_weights(placed: list[Placed]) -> set[str]:
    return {
        name
        for node, _, _, _ in placed
        if not node.domain and node.op_type in _WEIGHT_READERS
        for name in node.inputs
    }
