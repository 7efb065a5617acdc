"""Blocks of a graph that post-training quantisation is said to hurt. Pure; standard library only.

The list is the practitioners' rule of thumb: inverted residuals, squeeze and excitation, swish and
its hard form, depthwise convolutions, attention, layer norm, GELU and cosine heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from seatrial.intake.facts import ModelFacts, NodeFact

OFTEN, NEARLY_ALWAYS = "qat often", "qat nearly always"

#: What each kind of block is called, and what the rule of thumb says of it.
KINDS: Mapping[str, tuple[str, str]] = {
    "inverted-residual": ("inverted residuals", OFTEN),
    "depthwise": ("depthwise convolutions", OFTEN),
    "squeeze-excite": ("squeeze-and-excitation gates", OFTEN),
    "swish": ("swish or SiLU activations", OFTEN),
    "hard-swish": ("hard-swish activations", OFTEN),
    "attention": ("attention", NEARLY_ALWAYS),
    "layer-norm": ("layer normalisations", NEARLY_ALWAYS),
    "gelu": ("GELU activations", NEARLY_ALWAYS),
    "cosine-head": ("a cosine head (scores of normalised vectors)", NEARLY_ALWAYS),
}

_POOLS = frozenset({"GlobalAveragePool", "ReduceMean"})
_GATES = frozenset({"Sigmoid", "HardSigmoid"})
_MOVES = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Clip", "Relu", "Cast"}
)
#: How many nodes back a pattern may reach.
_REACH = 8


@dataclass(frozen=True)
class Block:
    """Blocks of one kind.

    Attributes:
        kind: a key of :data:`KINDS`.
        nodes: a label of each.
    """

    kind: str
    nodes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is called."""
        return KINDS[self.kind][0]

    @property
    def rule(self) -> str:
        """What the rule of thumb says."""
        return KINDS[self.kind][1]


class _Graph:
    """Who writes and who reads each tensor."""

    def __init__(self, facts: ModelFacts) -> None:
        self.nodes = [n for n in facts.nodes if not n.function]
        self.writer = {o: n for n in self.nodes for o in n.outputs if o}
        self.readers: dict[str, list[NodeFact]] = defaultdict(list)
        for node in self.nodes:
            for name in node.inputs:
                self.readers[name].append(node)

    def before(self, node: NodeFact, slot: int | None = None) -> list[NodeFact]:
        """Nodes that write a node's inputs (or one of them)."""
        names = node.inputs if slot is None else node.inputs[slot : slot + 1]
        return [self.writer[n] for n in names if n in self.writer]

    def after(self, node: NodeFact) -> list[NodeFact]:
        """Nodes that read a node's outputs."""
        return [r for o in node.outputs for r in self.readers[o]]

    def back(self, node: NodeFact) -> Iterator[NodeFact]:
        """Everything a few steps before a node, nearest first."""
        seen, edge = {node.label}, [node]
        for _ in range(_REACH):
            edge = [b for n in edge for b in self.before(n) if b.label not in seen]
            seen |= {n.label for n in edge}
            yield from edge


def blocks(facts: ModelFacts) -> list[Block]:
    """The sensitive blocks of a model, in the order of :data:`KINDS`."""
    graph = _Graph(facts)
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for node in graph.nodes:
        for kind, test in _TESTS.items():
            if test(node, graph):
                found[kind].append(node.label)
    return [Block(kind, tuple(labels)) for kind, labels in found.items() if labels]


def _pointwise_before(node: NodeFact, graph: _Graph) -> bool:
    near = list(graph.back(node))[:4]
    return any(n.op_type == "Conv" and not n.depthwise for n in near)


def _inverted(node: NodeFact, graph: _Graph) -> bool:
    """A depthwise convolution between two others, inside a sum with the block's own input."""
    if not node.depthwise or not _pointwise_before(node, graph):
        return False
    edge = [node]
    for _ in range(_REACH):
        edge = [r for n in edge for r in graph.after(n)]
        sums = [n for n in edge if n.op_type == "Add" and len(graph.before(n)) == 2]
        if any(_narrowed(node, s, graph) for s in sums):
            return True
        edge = [n for n in edge if not n.depthwise]
    return False


def _narrowed(node: NodeFact, total: NodeFact, graph: _Graph) -> bool:
    """Whether a convolution stands between a depthwise one and the sum."""
    between = (n for n in graph.back(total) if n.op_type == "Conv" and not n.depthwise)
    return any(node in list(graph.back(n)) for n in between)


def _excite(node: NodeFact, graph: _Graph) -> bool:
    """A gate that comes from a pool and multiplies."""
    if node.op_type not in _GATES or not any(n.op_type == "Mul" for n in graph.after(node)):
        return False
    behind = list(graph.back(node))
    layers = [n for n in behind if n.constant_weights]
    return len(layers) >= 2 and any(n.op_type in _POOLS for n in behind)


def _times_own_input(node: NodeFact, gate: str, graph: _Graph) -> bool:
    """``x * gate(x)``."""
    if node.op_type != "Mul":
        return False
    gates = [n for n in graph.before(node) if n.op_type == gate]
    return any(g.inputs and g.inputs[0] in node.inputs for g in gates)


def _swish(node: NodeFact, graph: _Graph) -> bool:
    return node.op_type == "Swish" or _times_own_input(node, "Sigmoid", graph)


def _hard_swish(node: NodeFact, graph: _Graph) -> bool:
    return node.op_type == "HardSwish" or _times_own_input(node, "HardSigmoid", graph)


def _attention(node: NodeFact, graph: _Graph) -> bool:
    """A softmax whose input comes from a product of two activations and whose output meets one."""
    if node.op_type in ("Attention", "MultiHeadAttention"):
        return True
    if node.op_type != "Softmax":
        return False
    near = list(graph.back(node))[:4]
    product = any(n.op_type == "MatMul" and not n.constant_weights for n in near)
    readers = [r for n in (node, *graph.after(node)) for r in graph.after(n)]
    return product and any(r.op_type == "MatMul" and not r.constant_weights for r in readers)


def _layer_norm(node: NodeFact, graph: _Graph) -> bool:
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        return True
    # Written out: (x - mean) / sqrt(mean((x - mean)^2) + eps).
    if node.op_type != "Div" or len(node.inputs) != 2:
        return False
    below = graph.before(node, 1)
    return (
        bool(below)
        and below[0].op_type == "Sqrt"
        and any(n.op_type == "ReduceMean" for n in list(graph.back(below[0]))[:3])
    )


def _gelu(node: NodeFact, graph: _Graph) -> bool:
    return node.op_type in ("Gelu", "Erf")


def _cosine(node: NodeFact, graph: _Graph) -> bool:
    """A division by an L2 norm (or LpNormalization) that a product reads."""
    normal = node.op_type == "LpNormalization"
    if node.op_type == "Div" and len(node.inputs) == 2:
        behind = graph.before(node, 1)
        behind += [
            b for n in behind if n.op_type in (*_MOVES, "Max", "Expand") for b in graph.before(n)
        ]
        normal = any(n.op_type in ("ReduceL2",) for n in behind)
    if not normal:
        return False
    edge = graph.after(node)
    edge += [r for n in edge if n.op_type in (*_MOVES, "Mul") for r in graph.after(n)]
    return any(n.op_type in ("MatMul", "Gemm") for n in edge)


_TESTS: Mapping[str, Callable[[NodeFact, _Graph], bool]] = {
    "inverted-residual": _inverted,
    "depthwise": lambda node, _: node.depthwise,
    "squeeze-excite": _excite,
    "swish": _swish,
    "hard-swish": _hard_swish,
    "attention": _attention,
    "layer-norm": _layer_norm,
    "gelu": _gelu,
    "cosine-head": _cosine,
}
