"""What the operator table says of each node. Nothing is compiled, TensorRT is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.hookspecs import Job
from seatrial.results import CheckRequest, Claim, NodeClaim, StaticReport

from . import _graph, _qdq, _rules
from ._dtypes import DOUBLE, onnx_name, schema_of, trt_name
from ._graph import Graph, Seen
from ._plugins import NEEDED
from ._table import NEWEST, Row, Table, table
from ._targets import core, options
from ._versions import installed

#: Position of the input whose type the table speaks of, where that is not the first; ``None``:
#: the first output.
_TYPED_BY: dict[str, int | None] = {
    "Where": 1,
    "OneHot": 2,
    "Constant": None,
    "ConstantOfShape": None,
    "EyeLike": None,
    "RandomNormal": None,
    "RandomUniform": None,
    "BlackmanWindow": None,
    "HammingWindow": None,
    "HannWindow": None,
}
#: The nodes inside are judged by themselves.
_CONTROL = frozenset({"If", "Loop", "Scan"})

#: Operators whose output size depends on values.
DATA_DEPENDENT = frozenset({"NonMaxSuppression", "NonZero", "RoiAlign"})


@dataclass(frozen=True)
class Said:
    """What the table says of a node."""

    claim: Claim
    reason: str = ""
    source: str = ""


def check_static(request: CheckRequest, job: Job) -> StaticReport:
    """Answer ``seatrial_check_static``."""
    here = installed()
    chosen = table(here or NEWEST)
    oracle = Oracle(
        _graph.read(job.path(request.model)),
        chosen,
        dla=core(request.target) is not None,
        plugins=bool(options(request.options).plugins),
    )
    claims = tuple(_node_claim(s, oracle.answer(s), chosen) for s in oracle.graph.nodes)
    return StaticReport(claims=claims, notes=_notes(oracle, claims, assumed=here is None))


def _node_claim(seen: Seen, said: Said, chosen: Table) -> NodeClaim:
    return NodeClaim(
        node=seen.label,
        op_type=seen.op_type,
        domain=seen.domain,
        claim=said.claim,
        reason=said.reason,
        source=said.source or chosen.source,
        confidence="low" if said.claim is Claim.UNKNOWN else "medium",
    )


def _notes(oracle: Oracle, claims: Sequence[NodeClaim], *, assumed: bool) -> tuple[str, ...]:
    major, minor = oracle.table.version
    notes = [f"the table is read for TensorRT {major}.{minor}"]
    if assumed:
        notes[0] += ", since none is installed"
    pairs = [c for c in claims if c.op_type in _qdq.PAIR and not c.domain]
    refused = sum(c.claim is Claim.UNSUPPORTED for c in pairs)
    if refused:
        notes.append(
            f"{refused} of {len(pairs)} Q/DQ nodes are in a form that is refused; wanted: int8, "
            "zero points 0, float biases, one scale per output channel of a weight"
        )
    sized = [s.label for s in oracle.graph.nodes if s.op_type in DATA_DEPENDENT and not s.domain]
    if sized:
        notes.append(f"the size of an output depends on values at {', '.join(sized[:4])}")
    return tuple(notes)


class Oracle:
    """Reads the table for the nodes of one model.

    Args:
        graph: the model.
        table: the rows for one version.
        dla: the target is a DLA, which takes an unknown part of what the parser takes.
        plugins: the user brings plugins, whose names are not known.
    """

    def __init__(self, graph: Graph, table: Table, *, dla: bool, plugins: bool) -> None:
        self.graph = graph
        self.table = table
        self.dla = dla
        self.plugins = plugins

    def answer(self, seen: Seen) -> Said:
        """What is said of one node."""
        # The importer looks for an operator of its own by name first, then for a function.
        row = self.table.row(seen.op_type)
        if seen.label in self.graph.bodies and (row is None or not row.listed):
            return self._function(seen)
        said = self._foreign(seen) if seen.domain else self._own(seen)
        low, high = self.table.opsets
        if said.claim is Claim.LISTED and not seen.domain and not low <= self.graph.opset <= high:
            reason = f"listed for opsets {low} to {high}; the model has {self.graph.opset}"
            return Said(Claim.UNKNOWN, reason, said.source)
        if said.claim is Claim.LISTED and self.dla:
            return Said(Claim.UNKNOWN, "the parser takes it; what a DLA takes only a build tells")
        return said

    def _function(self, seen: Seen) -> Said:
        """A call of a local function: as good as the worst node of its body."""
        function = self.graph.function(seen)
        if function is not None and len(seen.node.input) != len(function.input):
            return Said(Claim.UNSUPPORTED, "a local function that is not given all of its inputs")
        answers = [(s, self.answer(s)) for s in self.graph.bodies[seen.label]]
        for wanted in (Claim.UNSUPPORTED, Claim.UNKNOWN):
            for inner, said in answers:
                if said.claim is wanted:
                    return Said(wanted, f"{inner.op_type} in its body: {said.reason}", said.source)
        if not answers:
            return Said(Claim.UNKNOWN, "a local function that could not be followed")
        return Said(Claim.LISTED, "a local function, all of whose nodes are listed")

    def _foreign(self, seen: Seen) -> Said:
        """A node outside ai.onnx: the parser looks for a plugin of its name."""
        name = seen.op_type
        row = self.table.row(name)
        if name.startswith("TRT_") and row is not None:
            return self._since(row)
        if row is not None and row.listed:
            return self._by_name(seen)
        if name in NEEDED:
            return Said(Claim.UNKNOWN, f"needs the plugin {name} of TensorRT's plugin library")
        text = f"{seen.domain}:{name} is no operator of the parser, it needs a plugin named {name}"
        if self.plugins:
            return Said(Claim.UNKNOWN, f"{text}; whether yours has it only a build tells")
        return Said(Claim.UNSUPPORTED, f"{text} (option plugins)")

    def _by_name(self, seen: Seen) -> Said:
        """A foreign operator with the name of a listed one: the domain is not looked at."""
        if seen.op_type in _qdq.PAIR:
            said = _said(_qdq.judge(seen, self.graph.opset, dla=self.dla), _qdq.SOURCE)
            if said.claim is Claim.UNSUPPORTED:
                return said
        reason = f"the parser goes by the name alone and reads it as ONNX's own {seen.op_type}"
        return Said(Claim.UNKNOWN, reason, _qdq.IMPORTER)

    def _own(self, seen: Seen) -> Said:
        row = self.table.row(seen.op_type)
        if row is None or seen.op_type.startswith("TRT_"):
            if schema_of(seen.op_type, "", max(self.graph.opset, 1)) is None:
                return Said(Claim.UNSUPPORTED, f"{seen.op_type} is no operator of ONNX here")
            return Said(Claim.UNKNOWN, f"the table does not know {seen.op_type}")
        if row.listed and seen.op_type in _qdq.PAIR:
            return _said(_qdq.judge(seen, self.graph.opset, dla=self.dla), _qdq.SOURCE)
        return self._listed(seen, row) if row.listed else self._since(row)

    def _listed(self, seen: Seen, row: Row) -> Said:
        """A listed operator: its type first, then its conditions."""
        typed = self._typed(seen, row)
        if typed is not None and typed.claim is Claim.UNSUPPORTED:
            return typed
        judged = _rules.judge(seen, self.table.version)
        if judged is not None:
            return _said(judged)
        if typed is not None:
            return typed
        open_ = row.condition and seen.op_type not in _rules.RULES
        return Said(Claim.LISTED, f"if: {row.condition}" if open_ else "")

    def _since(self, row: Row) -> Said:
        if row.listed:
            return Said(Claim.LISTED, f"if: {row.condition}" if row.condition else "")
        if row.since != (0, 0):
            major, minor = row.since
            return Said(Claim.UNSUPPORTED, f"listed from TensorRT {major}.{minor} on")
        more = f" ({row.condition})" if row.condition else ""
        return Said(Claim.UNSUPPORTED, f"the table lists it as not supported{more}")

    def _typed(self, seen: Seen, row: Row) -> Said | None:
        """What stands against the type of a node, ``None`` when it is taken."""
        if not row.types or seen.op_type in _CONTROL:
            return None
        at = _TYPED_BY.get(seen.op_type, 0)
        if at is None:
            element = seen.elements[0] if seen.elements else None
        else:
            element = seen.inputs[at].element if at < len(seen.inputs) else None
        if element is None:
            return Said(Claim.UNKNOWN, "its type is not known")
        kinds = [element]
        if seen.op_type in ("Cast", "CastLike") and seen.elements:
            kinds += [seen.elements[0]] if seen.elements[0] is not None else []
        for kind in kinds:
            if trt_name(kind) not in row.types:
                reason = f"{seen.op_type} of {onnx_name(kind)}: taken are {', '.join(row.types)}"
                folds = bool(seen.inputs) and all(v.constant is not None for v in seen.inputs)
                if folds:
                    return Said(Claim.UNKNOWN, f"{reason}; of constants it may be folded away")
                return Said(Claim.UNSUPPORTED, reason)
        if DOUBLE in kinds:
            return Said(Claim.LISTED, "double is narrowed to FP32")
        return None


def _said(judged: _rules.Answer | None, source: str = "") -> Said:
    if judged is None:
        return Said(Claim.LISTED, source=source)
    refused = isinstance(judged, _rules.Refused)
    return Said(Claim.UNSUPPORTED if refused else Claim.UNKNOWN, judged.reason, source)
