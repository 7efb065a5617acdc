"""Why there is no engine: what the logger said, and which nodes it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from seatrial.results import Finding, Placement

from ._model import FUNCTION, Prepared
from ._trt import Toolkit

_LONGEST = 400


@dataclass(frozen=True)
class Refusal:
    """Why there is no engine.

    Attributes:
        parsed: the parser took the model; the builder refused it.
        findings: at least one error.
        open: nobody refused anything: sizes are missing.
    """

    parsed: bool
    findings: tuple[Finding, ...]
    open: bool = False


def nodes_of(text: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Labels of the nodes that a text of TensorRT names.

    Layers carry ``[ONNX Layer: NAME | Local Function: NAME]``, one after the other; errors and
    older names have plain names, joined by `` + ``, or as the first and last of
    ``{ForeignNode[FIRST...LAST]}``.
    """
    found = re.findall(r"\[ONNX Layer: ([^\]]+)\]", text)
    # After the name may stand the function that the node is in, for which the call counts.
    parts = [(name, rest) for name, _, rest in (f.partition(" | ") for f in found)]
    names = [rest if rest.startswith(FUNCTION) else name for name, rest in parts]
    if not names:
        words = re.split(r"\s\+\s|\s|\.\.\.|ForeignNode\[|[{}(),;'\"]", text)
        # a name at the end of a sentence, or of a ForeignNode
        names = [w if w in labels else w.rstrip(".:]") for w in words]
    return tuple(dict.fromkeys(label for n in names if (label := labels.get(n))))


def open_sizes(prepared: Prepared) -> tuple[Finding, ...]:
    """What is asked for when a model leaves sizes open."""
    return tuple(
        Finding(
            reason=f"axes {', '.join(map(str, axes))} of input {name} are free: an engine is built "
            "for given sizes",
            advice=f"give them: --shape {name}=1x...",
            placement=Placement.UNKNOWN,
        )
        for name, axes in prepared.open.items()
    )


def no_engine(toolkit: Toolkit, prepared: Prepared) -> tuple[Finding, ...]:
    """The builder gave nothing: only the logger knows why.

    Raises:
        MemoryError: it ran out of memory.
        RuntimeError: CUDA failed.
    """
    errors = toolkit.log.errors()
    text = " ".join(errors)
    if re.search(r"OutOfMemory|out of memory|[Cc]annot allocate|std::bad_alloc", text):
        raise MemoryError(text[:_LONGEST])
    if re.search(r"CUDA initialization failure|Cuda Runtime|CUDA error", text):
        raise RuntimeError(f"CUDA failed while the engine was built: {text[:_LONGEST]}")
    labels = nodes_of(text, prepared.labels)
    reason = last_words(toolkit)
    nodes = {n.label: n for n in prepared.graph.nodes}
    return tuple(
        Finding(
            node=label,
            op_type=nodes[label].op_type,
            domain=nodes[label].domain,
            reason=reason,
            placement=Placement.NOWHERE,
        )
        for label in labels
    ) or (whole(toolkit, "the builder gave no reason"),)


def whole(toolkit: Toolkit, otherwise: str) -> Finding:
    """A finding about the model as a whole."""
    return Finding(reason=last_words(toolkit) or otherwise, placement=Placement.NOWHERE)


def last_words(toolkit: Toolkit) -> str:
    """The last errors of the logger, which are nearest to the end."""
    return "; ".join(toolkit.log.errors()[-2:])[:_LONGEST]
