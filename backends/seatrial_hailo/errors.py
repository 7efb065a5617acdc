"""The compiler's words, turned into findings.

The parser raises one exception with one line per node and, at its end, the nodes where it would
have the model cut; the mapper and the optimiser raise plain text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from seatrial.results import Finding, Placement

from .graph import Graph

#: `` UnsupportedOperationError in op /head/TopK: TopK operation is unsupported``
_LINE = re.compile(r"(\w+Error) in op ([^:\n]+): ([^\n]+)")
_ENDS = re.compile(r"end node names: ([^\n]+)")
_STARTS = re.compile(r"start node names: ([^\n]+)")
#: Longest reason, in characters.
LONGEST = 300

#: What to do about a kind of refusal.
ADVICE = {
    "UnsupportedOperationError": "cut the graph before it, and run the rest on the host",
    "UnsupportedShuffleLayerError": "no known pattern of Reshape or Transpose: cut before it",
    "UnsupportedReduceMaxLayerError": "reduce over channels with keepdims=1, or on the host",
    "UnsupportedSliceLayerError": "slice on another axis, or on the host",
    "UnsupportedGatherLayerError": "only indices that fold away: export them as constants",
    "UnsupportedLSTMLayerError": "use the default activations (sigmoid, tanh, tanh)",
    "UnsupportedActivationLayerError": "write it in activations that are taken; Erf only in GELU",
}


class Refusal(NamedTuple):
    """What the parser said.

    Attributes:
        findings: one per node that it named, or one for the model.
        ends: names of the nodes where it would have the model end.
        starts: likewise where it would have it begin.
    """

    findings: tuple[Finding, ...]
    ends: tuple[str, ...]
    starts: tuple[str, ...] = ()


def refusal(error: BaseException, graph: Graph) -> Refusal:
    """Read an exception of the parser.

    Args:
        error: what it raised; any type, for plain ``IndexError`` and ``KeyError`` occur.
        graph: the model, to name nodes as everybody names them.
    """
    text = str(error)
    ends = _names(getattr(error, "recommended_end_node_names", None), _ENDS, text)
    starts = _names(getattr(error, "recommended_start_node_names", None), _STARTS, text)
    advice = f"it would parse up to {', '.join(ends)}" if ends else ""
    found = tuple(
        _finding(kind, node.strip(), said, graph, advice)
        for kind, node, said in dict.fromkeys(_LINE.findall(text))
    )
    whole = Finding(
        reason=sentence(error),
        placement=Placement.NOWHERE,
        advice=advice or "see the log for the parser's own words",
    )
    return Refusal(found or (whole,), ends, starts)


def _finding(kind: str, name: str, said: str, graph: Graph, cut: str) -> Finding:
    node = graph.find(name)
    known = ADVICE.get(kind, "")
    return Finding(
        node=node.label if node else name,
        op_type=node.op_type if node else "",
        domain=node.domain if node else "",
        reason=f"{kind}: {said.strip()}"[:LONGEST],
        placement=Placement.NOWHERE,
        advice="; ".join(part for part in (known, cut) if part),
    )


def _names(given: object, pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The attribute where the exception has it, else what its text lists."""
    if isinstance(given, (list, tuple)) and given:
        return tuple(str(name) for name in given)
    match = pattern.search(text)
    names = match.group(1).split(",") if match else ()
    return tuple(name.strip().strip("'\"[].") for name in names if name.strip())


def sentence(error: BaseException) -> str:
    """One line of any exception."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"[:LONGEST]
