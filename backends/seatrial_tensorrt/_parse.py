"""What the ONNX parser says: its errors by node, and which nodes it covers."""

from __future__ import annotations

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
        index: the node's position, as the parser counts.
        nested: the node stands in a branch or a body.
        input: name of the input that failed, where it was none of the nodes.
    """

    label: str
    op_type: str
    code: str
    text: str
    index: int = -1
    nested: bool = False
    input: str = ""


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

    As the source for TensorRT 10.1 reads: whether a part is supported says nothing once anything
    fails, so only the lists of nodes count. Left out of them are the node of the last error (by its
    index, also where that counts in a branch or a body), nodes that read an input which failed, and
    nodes whose output size depends on values, although they parse. The nodes of other errors are
    added here.
    """
    everything = bool(parser.supports_model_v2(prepared.data, str(prepared.path)))
    covered: set[int] = set()
    for k in range(parser.num_subgraphs):
        covered.update(parser.get_subgraph_nodes(k))
    told = faults(parser, prepared)
    blamed = {f.label for f in told if f.label}
    fed = {f.input for f in told if f.input}
    miscounted = {f.index for f in told if f.nested}
    refused: list[str] = []
    sized: list[str] = []
    for node in prepared.top():
        if node.label in blamed or any(label.startswith(f"{node.label}/") for label in blamed):
            refused.append(node.label)
        elif node.op_type in DATA_DEPENDENT and not node.domain:
            sized.append(node.label)
        elif node.index not in covered and (covered or not told):
            innocent = node.index in miscounted or fed.intersection(node.node.input)
            refused += [] if innocent else [node.label]
    # Where all is taken, a node that no part names was folded away.
    return Coverage(everything, () if not told else tuple(refused), tuple(sized), told)


def faults(parser: Any, prepared: Prepared) -> tuple[Fault, ...]:
    """The errors that a parser holds, each once."""
    found: dict[Fault, None] = {}
    for k in range(parser.num_errors):
        raw = parser.get_error(k)
        text = _line(str(raw.desc()))
        code = raw.code()
        name = str(getattr(code, "name", code)).rpartition(".")[2]
        index = int(raw.node())
        # Of an input that failed the index is -1, and its name stands where a file's would.
        given = str(raw.file()) if index < 0 else ""
        if given in prepared.inputs:
            fault = Fault("", "", name, f"input {given}: {text}", input=given)
        else:
            at = _blamed(raw, prepared)
            op_type = at.op_type if at is not None else str(raw.node_operator())
            nested = at is not None and bool(at.scope)
            fault = Fault(at.label if at is not None else "", op_type, name, text, index, nested)
        found[fault] = None
    return tuple(found)


def _blamed(raw: Any, prepared: Prepared) -> Seen | None:
    """The node of the model that an error is about.

    Inside a local function the index is that of the call, and the stack names the functions; in a
    branch or a body it counts there, so that only the node's name tells.
    """
    top = {n.index: n for n in prepared.top()}
    at = top.get(int(raw.node()))
    stack = [str(text) for text in raw.local_function_stack() or ()]
    if stack:
        calls = [n for n in prepared.graph.nodes if n.op_type == stack[0]]
        return at if at in calls else next(iter(calls), None)
    label = prepared.label(str(raw.node_name()))
    named = [n for n in prepared.graph.nodes if n.label == label] if label else []
    if named:
        return named[0]
    return at if at is not None and str(raw.node_operator()) in ("", at.op_type) else None


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
