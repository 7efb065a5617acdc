"""All nodes that the runtime refuses, where it names the first one only.

The nodes that the kernel registry does not cover are cut out, and the runtime is asked again,
until it accepts the rest or names no further node. A node is only reported when the runtime
refused it itself, alone or in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.results import Claim, Finding, Placement

from . import _model, _ort
from ._model import Place
from ._registry import registry
from ._static import Answer, Oracle
from ._targets import Provider
from ._types import ELEMENTS, Type, Typed, infer

_NO_KERNEL = re.compile(
    r"Could not find an implementation for (\S+?)\(\d+\) node with name '(.*?)'"
)
_NOT_REGISTERED = re.compile(r"(\S*?):([^\s:()]+)\(-?\d+\) is not a registered function/op")
_NO_SCHEMA = re.compile(r"No Op registered for (\S+) with domain_version")
_NO_IMPORT = re.compile(r"No opset import for domain '(.*?)'")
_OPSET = re.compile(r"[Oo]pset \d+|opset_import|opset version|domain_version")

#: How often the runtime is asked again after cutting nodes out.
_ROUNDS = 40


@dataclass
class Refusals:
    """What was found.

    Attributes:
        findings: one per refused node, and one for the model where no node is named.
        notes: whether the rest was accepted.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def refusals(model: Any, chosen: Provider, error: Exception, folder: Path) -> Refusals:
    """Find every node that the runtime refuses.

    Args:
        model: the refused ModelProto.
        chosen: the provider (with the CPU behind it).
        error: what the runtime said of the whole model.
        folder: where external data lie.
    """
    search = _Search(model, chosen, folder)
    accepted, last = search.run(error)
    if not search.found:
        return Refusals((model_finding(error),))
    findings = tuple(search.found[k] for k in sorted(search.found))
    count = len(findings)
    without = f"without {'this node' if count == 1 else f'these {count} nodes'} the runtime"
    if accepted:
        return Refusals(findings, (f"{without} accepts the model",))
    said = _model.unmark(_ort.plain(last), search.places)
    rest = f"{without} still refuses the rest, so more nodes may be concerned: {said}"
    return Refusals(findings, (rest,))


def model_finding(error: Exception) -> Finding:
    """A finding about the model as a whole."""
    return Finding(
        reason=_ort.plain(error), placement=Placement.NOWHERE, advice=_advice_for(str(error))
    )


def _advice_for(text: str) -> str:
    if "xternal data" in text or "NO_SUCHFILE" in text:
        return "keep the external data files beside the model, under the names it states"
    if _OPSET.search(text):
        return "export or convert the model to an opset that this runtime has released"
    if "Protobuf parsing failed" in text:
        return "the file is damaged or not an ONNX model: export it again"
    return ""


class _Search:
    def __init__(self, model: Any, chosen: Provider, folder: Path) -> None:
        self.chosen = chosen
        self.folder = folder
        self.marked, self.places = _model.marked(model)
        self.typed = infer(model, registry())
        self.oracle = Oracle(model, registry(), chosen)
        self.found: dict[int, Finding] = {}
        self._alone: dict[tuple[Any, ...], str] = {}

    def run(self, error: Exception) -> tuple[bool, Exception]:
        """Cut and ask until accepted; gives whether it was, and the last error."""
        last = self._ask() or error
        if not self._blamed(last):
            return False, last
        for k, typed in enumerate(self.typed):
            reason = self._refused_alone(typed)
            if reason:
                self._blame(k, reason)
        for _ in range(_ROUNDS):
            again = self._ask()
            if again is None:
                return True, last
            last = again
            named = [k for k in self._blamed(last) if k not in self.found]
            if not named or self._guessed(last, named):
                return False, last
            for k in named:
                self._blame(k, _ort.plain(last))
        return False, last

    def _guessed(self, error: Exception, named: list[int]) -> bool:
        """Whether an error may come from the types that stand in for those of removed nodes."""
        if not any(None in self.typed[k].outputs for k in self.found):
            return False
        text = str(error)
        if _NOT_REGISTERED.search(text) or _NO_SCHEMA.search(text) or _NO_IMPORT.search(text):
            return False
        return not _NO_KERNEL.search(text) or any(None in self.typed[k].inputs for k in named)

    def _ask(self) -> Exception | None:
        """Create a session without the nodes found so far; the error, or ``None``."""
        rest = cut(self.marked, self.typed, set(self.found))
        try:
            self._open(rest)
        except _ort.errors() as error:
            return error
        return None

    def _open(self, model: Any) -> None:
        setup = _ort.Setup(provider=self.chosen, level="none")
        _ort.open_session(model.SerializeToString(), setup, self.folder)

    def _blamed(self, error: Exception) -> list[int]:
        """Nodes that an error names, as far as it names any."""
        text = str(error)
        unregistered = _NOT_REGISTERED.search(text)
        if unregistered:
            domain, op_type = unregistered.groups()
            return self._of(lambda p: p.node.op_type == op_type and p.domain == domain)
        not_imported = _NO_IMPORT.search(text)
        if not_imported:
            return self._of(lambda p: p.domain == not_imported.group(1))
        mark = _model.mark_of(text)
        if mark is not None:
            return [mark]
        no_kernel = _NO_KERNEL.search(text)
        if no_kernel:
            return self._callers(no_kernel.group(1))
        no_schema = _NO_SCHEMA.search(text)
        return self._of(lambda p: p.node.op_type == no_schema.group(1)) if no_schema else []

    def _of(self, wanted: Callable[[Place], bool]) -> list[int]:
        return [k for k, p in enumerate(self.places) if wanted(p)]

    def _callers(self, op_type: str) -> list[int]:
        """Nodes whose decomposition holds an operator; the registry tells."""
        answers = [(k, self.oracle.answer(t)) for k, t in enumerate(self.typed)]
        return [k for k, a in answers if a.claim is Claim.UNSUPPORTED and op_type in a.reason]

    def _blame(self, k: int, reason: str) -> None:
        typed = self.typed[k]
        answer = self.oracle.answer(typed)
        known = answer.reason if answer.claim is Claim.UNSUPPORTED else ""
        missing = bool(known or _NO_KERNEL.search(reason))
        self.found[k] = Finding(
            node=typed.place.label,
            op_type=typed.place.node.op_type,
            domain=typed.place.domain,
            reason=known or _model.unmark(reason, self.places),
            placement=Placement.NOWHERE,
            advice=advice(typed, answer) if missing else "",
        )

    def _refused_alone(self, typed: Typed) -> str:
        """The runtime's reason for refusing a node as a model of its own, ``""`` if it does not.

        Only missing operators and kernels count: a node alone may miss its surroundings.
        """
        node = typed.place.node
        if _model.captured(node) - set(node.input) or None in typed.inputs:
            answer = self.oracle.answer(typed)
            unknown = (typed.place.domain, node.op_type) not in registry().schemas
            called = (typed.place.domain, node.op_type) in self.oracle.typer.functions
            return answer.reason if unknown and not called else ""
        attributes = tuple(a.SerializeToString() for a in node.attribute)
        key = (typed.place.domain, node.op_type, typed.inputs, typed.outputs, attributes)
        if key not in self._alone:
            self._alone[key] = self._try_alone(typed)
        return self._alone[key]

    def _try_alone(self, typed: Typed) -> str:
        try:
            self._open(alone(self.marked, typed))
        except _ort.errors() as error:
            text = str(error)
            named = _NO_KERNEL.search(text) or _NOT_REGISTERED.search(text)
            return _ort.plain(error) if named or _NO_SCHEMA.search(text) else ""
        return ""


def alone(model: Any, typed: Typed) -> Any:
    """A model of one node, its inputs as graph inputs of the same type and of any shape."""
    single = type(model)()
    single.ir_version = model.ir_version
    single.opset_import.extend(model.opset_import)
    single.functions.extend(model.functions)
    graph = single.graph
    graph.name = "one"
    node = typed.place.node
    graph.node.add().CopyFrom(node)
    seen = set()
    for name, kind in zip(node.input, typed.inputs, strict=True):
        if name and name not in seen:
            seen.add(name)
            declare(graph.input.add(), name, kind)
    for name in node.output:
        if name:
            graph.output.add().name = name
    return single


def cut(model: Any, typed: list[Typed], gone: set[int]) -> Any:
    """A copy without some nodes: what they gave comes in through new graph inputs.

    An Identity stands in for each output, so that nested graphs keep a producer of their own.
    """
    rest = type(model)()
    rest.CopyFrom(model)
    holes: dict[tuple[int, ...], dict[int, int]] = {}
    places = list(_model.nodes(rest.graph))
    for k in gone:
        *graph_path, at = places[k].path
        holes.setdefault(tuple(graph_path), {})[at] = k
    # Nested graphs first: filling a graph anew copies the nodes that hold them.
    for path in sorted(holes, key=len, reverse=True):
        here = holes[path]
        graph = places[next(iter(here.values()))].graph
        filled = []
        for at, node in enumerate(graph.node):
            filled += _stand_ins(rest, typed, here[at]) if at in here else [node]
        del graph.node[:]
        graph.node.extend(filled)
    return rest


def _stand_ins(rest: Any, typed: list[Typed], k: int) -> list[Any]:
    """Identity nodes for the outputs of a removed node, each fed by a new graph input."""
    node = typed[k].place.node
    made = []
    for name, kind in zip(node.output, typed[k].outputs, strict=True):
        if name:
            stand_in = f"seatrial.cut.{k}.{name}"
            declare(rest.graph.input.add(), stand_in, kind)
            identity = type(node)()
            identity.op_type = "Identity"
            identity.input.append(stand_in)
            identity.output.append(name)
            made.append(identity)
    return made


def declare(value: Any, name: str, kind: Type) -> None:
    """Give a graph input a name and a type; an unknown type is taken for float."""
    value.name = name
    numbers = {f"tensor({word})": number for number, word in ELEMENTS.items()}
    target = value.type
    while kind and kind.startswith("seq("):
        target, kind = target.sequence_type.elem_type, kind[4:-1]
    while kind and kind.startswith("optional("):
        target, kind = target.optional_type.elem_type, kind[9:-1]
    target.tensor_type.elem_type = numbers.get(kind or "", 1)


def advice(typed: Typed, answer: Answer) -> str:
    """What to change in the model for one refused node."""
    domain, op_type = typed.place.domain, typed.place.node.op_type
    if (domain, op_type) not in registry().schemas:
        if domain:
            return f"replace {op_type} by standard operators, or leave it out of the exported part"
        return f"{op_type} is no ONNX operator: replace it by standard ones"
    if "opset" in answer.reason:
        return "convert the model to an opset for which there is a kernel"
    if "together" in answer.reason:
        return f"give the inputs of this {op_type} one type"
    if "takes" in answer.reason:
        return f"cast the inputs of this {op_type} to float32 (or export it so)"
    return f"replace {op_type} by operators that this provider runs"
