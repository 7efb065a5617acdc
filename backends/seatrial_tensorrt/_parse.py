"""What the ONNX parser says: its errors by node, and which nodes it covers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from seatrial.results import Finding, Placement

from ._graph import Seen
from ._model import Prepared
from ._static import DATA_DEPENDENT
from ._trt import Toolkit

_LONGEST = 300


@dataclass(frozen=True)
class Fault:
    """One error of the parser.

    Attributes:
        label: label of the node, ``""`` for the model as a whole.
        op_type: its operator.
        code: name of the parser's error code.
        text: the parser's description, on one line.
    """

    label: str
    op_type: str
    code: str
    text: str


@dataclass(frozen=True)
class Coverage:
    """What ``supports_model_v2`` tells.

    Attributes:
        everything: the parser takes the whole model.
        refused: labels of nodes of the main graph that it does not take.
        data_dependent: labels of nodes that it takes, whose output sizes depend on values.
        faults: its errors.
    """

    everything: bool
    refused: tuple[str, ...]
    data_dependent: tuple[str, ...]
    faults: tuple[Fault, ...]


def new_network(toolkit: Toolkit, *, strong: bool) -> Any:
    """An empty network; types as the model has them (``strong``), or as flags allow.

    From 11 on every network is strongly typed, and the flag has no effect.
    """
    trt = toolkit.trt
    flags = 0
    if strong and toolkit.major < 11:
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return toolkit.builder.create_network(flags)


def new_parser(toolkit: Toolkit, network: Any) -> Any:
    """A parser into a network; for a DLA it is told so."""
    trt = toolkit.trt
    parser = trt.OnnxParser(network, toolkit.logger)
    if toolkit.core is not None:
        for flag in (
            getattr(trt.OnnxParserFlag, "ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA", None),
            getattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA", None),
        ):
            if flag is not None:
                parser.set_flag(flag)
    return parser


def parse(parser: Any, prepared: Prepared) -> tuple[bool, tuple[Fault, ...]]:
    """Parse; gives whether it worked, and the errors."""
    ok = parser.parse(prepared.data, str(prepared.path))
    return bool(ok), faults(parser, prepared)


def coverage(parser: Any, prepared: Prepared) -> Coverage:
    """Ask a parser that has parsed nothing yet which nodes it covers.

    Whether a subgraph is supported says nothing once anything fails, so only the lists of nodes
    count. Only the node of the last error is cut out of them: the nodes of the others are added.
    Nodes whose output size depends on values are left out although they parse.
    """
    everything = bool(parser.supports_model_v2(prepared.data, str(prepared.path)))
    covered: set[int] = set()
    for k in range(parser.num_subgraphs):
        covered.update(parser.get_subgraph_nodes(k))
    told = faults(parser, prepared)
    blamed = {f.label for f in told if f.label}
    refused: list[str] = []
    sized: list[str] = []
    for node in prepared.top():
        inside = any(label.startswith(f"{node.label}/") for label in blamed)
        if node.label in blamed or inside:
            refused.append(node.label)
        elif not covered and told:
            continue  # it fell over the model as a whole, no part was made
        elif node.index not in covered:
            known = node.op_type in DATA_DEPENDENT and not node.domain
            (sized if known else refused).append(node.label)
        elif node.op_type in DATA_DEPENDENT and not node.domain:
            sized.append(node.label)
    # Where all is taken, a node that no part names was folded away.
    return Coverage(everything, () if everything else tuple(refused), tuple(sized), told)


def faults(parser: Any, prepared: Prepared) -> tuple[Fault, ...]:
    """The errors that a parser holds, each once."""
    top = {n.index: n for n in prepared.top()}
    found: dict[Fault, None] = {}
    for k in range(parser.num_errors):
        raw = parser.get_error(k)
        label = prepared.label(str(raw.node_name()))
        op_type = str(raw.node_operator())
        stack = [str(text) for text in raw.local_function_stack() or ()]
        at = top.get(int(raw.node())) if not stack else _caller(prepared, stack)
        if not label and at is not None and (stack or op_type in ("", at.op_type)):
            label, op_type = at.label, at.op_type
        code = raw.code()
        name = str(getattr(code, "name", code)).rpartition(".")[2]
        found[Fault(label, op_type, name, _line(str(raw.desc())))] = None
    return tuple(found)


def _caller(prepared: Prepared, stack: list[str]) -> Seen | None:
    """The node of the model that calls the function in which an error is."""
    words = {word for text in stack for word in re.split(r"[\s(),\[\]]+", text)} | {*stack}
    calls = [n for n in prepared.graph.nodes if n.label in prepared.graph.bodies]
    named = [n for n in calls if prepared.label(n.node.name) and n.node.name in words]
    return next(iter(named or [n for n in calls if n.op_type in words]), None)


def findings(
    prepared: Prepared, told: tuple[Fault, ...], refused: tuple[str, ...] = ()
) -> tuple[Finding, ...]:
    """A finding for every error, and for every node that is refused without one."""
    nodes = {n.label: n for n in prepared.graph.nodes}
    made = []
    for fault in told:
        node = nodes.get(fault.label)
        made.append(
            Finding(
                node=fault.label if node is not None else "",
                op_type=node.op_type if node is not None else fault.op_type,
                domain=node.domain if node is not None else "",
                reason=f"{fault.code}: {fault.text}" if fault.text else fault.code,
                placement=Placement.NOWHERE,
                advice=_advice(fault),
            )
        )
    named = {f.node for f in made}
    for label in refused:
        if label not in named and not any(n.startswith(f"{label}/") for n in named if n):
            node = nodes[label]
            made.append(
                Finding(
                    node=label,
                    op_type=node.op_type,
                    domain=node.domain,
                    reason="the parser leaves it out of every part that it takes",
                    placement=Placement.NOWHERE,
                )
            )
    return tuple(made)


def sized_by_values(prepared: Prepared, labels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Nodes that are taken, but whose output sizes are known only after a run."""
    nodes = {n.label: n for n in prepared.graph.nodes}
    return tuple(
        Finding(
            node=label,
            op_type=nodes[label].op_type,
            reason="taken, but values decide the size of its output: the engine is not static here",
            placement=Placement.TARGET,
            on="GPU",
            severity="warning",
        )
        for label in labels
    )


def _advice(fault: Fault) -> str:
    text = fault.text.lower()
    if "plugin not found" in text:
        return "give the library with its plugin: option plugins of this target"
    if "activation types" in text and fault.op_type == "DequantizeLinear":
        return "leave the bias in float: no Q/DQ pair on it"
    if "symmetric quantization" in text:
        return "quantise with zero points 0 (int8)"
    return ""


def _line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else joined[: _LONGEST - 3] + "..."
