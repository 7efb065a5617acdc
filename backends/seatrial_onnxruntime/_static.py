"""What the runtime's kernel registry says of each node. Nothing is compiled here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import CheckRequest, Claim, NodeClaim, StaticReport

from . import _model, _ort
from ._registry import Bound, Kernel, Registry, registry
from ._targets import CPU, Provider, provider
from ._types import Type, Typed, Typer, bind, infer

#: How deep calls of functions within functions are followed.
_DEEPEST = 32

#: In these the runtime runs float16 nodes without float16 kernels in float32, casts around them.
_HALF, _FLOAT = "tensor(float16)", "tensor(float)"


@dataclass(frozen=True)
class Answer:
    """A claim and its reason."""

    claim: Claim
    reason: str = ""


LISTED = Answer(Claim.LISTED)


def check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Answer ``seatrial_check_static``."""
    chosen = provider(request.target)
    tables = registry()
    model = _model.read(job.path(request.model))
    source = f"kernel registry of onnxruntime {tables.version} ({chosen.name})"
    typed = infer(model, tables)
    if not tables.has_kernels(chosen.name):
        return StaticReport(claims=_all_unknown(typed, chosen, source), notes=())
    oracle = Oracle(model, tables, chosen)
    claims = []
    for entry in typed:
        answer = oracle.answer(entry)
        claims.append(_claim(entry, answer, source, "high"))
    return StaticReport(claims=tuple(claims), notes=_notes(claims))


def _all_unknown(typed: Sequence[Typed], chosen: Provider, source: str) -> tuple[NodeClaim, ...]:
    reason = _ort.missing(chosen) or f"{chosen.name} compiles partitions and lists no kernels"
    return tuple(_claim(t, Answer(Claim.UNKNOWN, reason), source, "low") for t in typed)


def _claim(entry: Typed, answer: Answer, source: str, confidence: str) -> NodeClaim:
    return NodeClaim(
        node=entry.place.label,
        op_type=entry.place.node.op_type,
        domain=entry.place.domain,
        claim=answer.claim,
        reason=answer.reason,
        source=source,
        confidence=confidence,
    )


def _notes(claims: Sequence[NodeClaim]) -> tuple[str, ...]:
    expanded = sum(c.claim is Claim.LISTED and "decomposed" in c.reason for c in claims)
    cast = sum(c.claim is Claim.LISTED and "float32" in c.reason for c in claims)
    notes = []
    if expanded:
        notes.append(f"{expanded} nodes have no kernel and are decomposed into nodes that have")
    if cast:
        notes.append(f"{cast} float16 nodes have float32 kernels only; casts are inserted")
    return tuple(notes)


class Oracle:
    """Looks nodes up in the registry, following functions.

    Args:
        model: the ModelProto.
        tables: the runtime's registry.
        chosen: whose kernels to look at.
    """

    def __init__(self, model: Any, tables: Registry, chosen: Provider) -> None:
        self.tables = tables
        self.chosen = chosen
        self.typer = Typer(model, tables)
        self._memo: dict[tuple[str, bytes, tuple[Type, ...]], Answer] = {}

    def answer(self, entry: Typed, depth: int = 0) -> Answer:
        """What the registry says of one typed node."""
        node, domain = entry.place.node, entry.place.domain
        name = f"{domain}:{node.op_type}" if domain else node.op_type
        function = self.typer.functions.get((domain, node.op_type))
        if function is not None:
            return self._expanded(name, function, entry, depth)
        absent = self._absent(name, entry)
        if absent is not None or entry.schema is None:
            return absent or LISTED
        if name == "Constant":
            return Answer(Claim.LISTED, "becomes an initializer")
        bound = bind(entry.schema, entry.inputs, entry.outputs)
        found = self._kernels(name, entry, bound)
        return self._or_body(name, entry, found, depth)

    def _or_body(self, name: str, entry: Typed, found: Answer, depth: int) -> Answer:
        """The answer for a node without a kernel of its own: what its body needs, if it has one."""
        if found.claim is not Claim.UNSUPPORTED:
            return found
        opset = self.typer.opsets.get(entry.place.domain, 0)
        body = _schema_function(entry, opset)
        if body is not None:
            inner = self._expanded(name, body, entry, depth)
            both = Answer(Claim.UNSUPPORTED, f"{found.reason}; decomposed: {inner.reason}")
            return both if inner.claim is Claim.UNSUPPORTED else inner
        if entry.place.domain.startswith("com.microsoft"):
            # Some of these are functions too, and the runtime does not list their bodies.
            return Answer(Claim.UNKNOWN, found.reason)
        if _depends(entry, opset):
            # The body is made from types that are not looked into here: those of sequences.
            return Answer(Claim.UNKNOWN, f"{found.reason}; it may be decomposed")
        return found

    def _absent(self, name: str, entry: Typed) -> Answer | None:
        """A refusal when the runtime has no such operator, or none in that opset."""
        domain = entry.place.domain
        if (domain, entry.place.node.op_type) not in self.tables.schemas:
            return Answer(Claim.UNSUPPORTED, f"operator {name} is not known to the runtime")
        imported = self.typer.opsets.get(domain, 0)
        newest = self.tables.newest(domain)
        if imported > newest and not domain:
            reason = f"opset {imported} is newer than any that the runtime knows ({newest})"
            return Answer(Claim.UNSUPPORTED, reason)
        if entry.schema is None or entry.schema.deprecated:
            reason = f"operator {name} does not exist in the opset that the model imports"
            return Answer(Claim.UNSUPPORTED, reason)
        return None

    def _kernels(self, name: str, entry: Typed, bound: Bound) -> Answer:
        place, since = entry.place, entry.schema.since if entry.schema else 0
        kernels = self.tables.of(self.chosen.name, place.domain, place.node.op_type)
        fitting = [k for k in kernels if k.covers(since)]
        if not kernels:
            return Answer(Claim.UNSUPPORTED, f"{self.chosen.name} has no kernel for {name}")
        if not fitting:
            have = ", ".join(sorted({_range(k.start, k.end) for k in kernels}))
            reason = f"no kernel for opset version {since} of {name}, only for {have}"
            return Answer(Claim.UNSUPPORTED, reason)
        return self._by_type(name, fitting, bound)

    def _by_type(self, name: str, fitting: Sequence[Kernel], bound: Bound) -> Answer:
        possible = [k for k in fitting if k.misfit(bound) is None]
        if any(not k.undecided(bound) for k in possible):
            return LISTED
        if possible:
            return Answer(Claim.UNKNOWN, f"{name} is listed, but a type it depends on is not known")
        if self.chosen.name == CPU and _HALF in _types_of(bound):
            wider = {k: frozenset(_FLOAT if t == _HALF else t for t in v) for k, v in bound.items()}
            if any(k.misfit(wider) is None for k in fitting):
                return Answer(Claim.LISTED, "runs in float32: no float16 kernel")
        parameter, actual = fitting[0].misfit(bound) or ("", "")
        takes = sorted({t for k in fitting for t in k.types.get(parameter, ())})
        reason = f"no kernel of {name} takes {actual} for {parameter}, only {_short(takes)}"
        if actual in takes:
            kinds = ", ".join(sorted({t for t in _types_of(bound) if t}))
            reason = f"no kernel of {name} takes {kinds} together"
        return Answer(Claim.UNSUPPORTED, reason)

    def _expanded(self, name: str, function: Any, entry: Typed, depth: int) -> Answer:
        """Follow a function: it is listed when all nodes of its body are."""
        attributes = b"".join(a.SerializeToString() for a in entry.place.node.attribute)
        key = (name, attributes, entry.inputs)
        if key not in self._memo:
            # A function that calls itself meets this answer.
            self._memo[key] = Answer(Claim.UNSUPPORTED, f"function {name} calls itself")
            self._memo[key] = self._follow(name, function, entry, depth)
        return self._memo[key]

    def _follow(self, name: str, function: Any, entry: Typed, depth: int) -> Answer:
        if depth >= _DEEPEST or self.typer.left <= 0:
            return Answer(Claim.UNKNOWN, f"function {name} is nested too deeply to follow")
        inside, _ = self.typer.body(function, entry.inputs)
        answers = [(t, self.answer(t, depth + 1)) for t in inside]
        for wanted in (Claim.UNSUPPORTED, Claim.UNKNOWN):
            for typed, answer in answers:
                if answer.claim is wanted:
                    return Answer(wanted, f"{typed.place.label}: {answer.reason}")
        parts = sorted({t.place.node.op_type for t in inside})
        return Answer(Claim.LISTED, f"decomposed into {_short(parts)}")


def _schema_function(entry: Typed, opset: int) -> Any | None:
    """The body that ONNX defines for an operator within an opset, or ``None``.

    A body written for a later opset than the model's does not count: the runtime does not
    expand those.
    """
    import onnx
    from onnx import defs

    node, domain = entry.place.node, entry.place.domain
    since = entry.schema.since if entry.schema else 0
    try:
        schema = defs.get_schema(node.op_type, since, domain)
    except defs.SchemaError:
        return None
    function = onnx.FunctionProto()
    plain = [v for v in schema.function_opset_versions if v <= opset]
    depending = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if plain:
        function.ParseFromString(schema.get_function_with_opset_version(max(plain)))
        return function
    kinds = [_type_proto(kind) for kind in entry.inputs]
    if not depending or any(k is None for k in kinds):
        return None
    types = [k.SerializeToString() for k in kinds if k is not None]
    function.ParseFromString(
        schema.get_context_dependent_function_with_opset_version(
            max(depending), node.SerializeToString(), types
        )
    )
    return function if function.node else None


def _depends(entry: Typed, opset: int) -> bool:
    """Whether ONNX defines a body that is made for the node's types, which are none we can name."""
    from onnx import defs

    if all(_type_proto(kind) is not None for kind in entry.inputs):
        return False

    since = entry.schema.since if entry.schema else 0
    try:
        schema = defs.get_schema(entry.place.node.op_type, since, entry.place.domain)
    except defs.SchemaError:
        return False
    return any(v <= opset for v in schema.context_dependent_function_opset_versions)


def _type_proto(kind: Type) -> Any | None:
    import onnx

    from ._types import ELEMENTS

    proto = onnx.TypeProto()
    if kind == "":
        return proto
    numbers = {f"tensor({name})": number for number, name in ELEMENTS.items()}
    if kind not in numbers:
        return None
    proto.tensor_type.elem_type = numbers[kind]
    return proto


def _types_of(bound: Bound) -> set[Type]:
    return {t for kinds in bound.values() for t in kinds}


def _range(start: int, end: int) -> str:
    if end == start:
        return str(start)
    return f"{start}+" if end >= 2**31 - 1 else f"{start}-{end}"


def _short(words: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(words[:most])
    return shown + (f" and {len(words) - most} more" if len(words) > most else "")
