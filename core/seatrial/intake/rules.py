"""The rules that look at a whole model: versions, tensors, wiring, sizes, odd operators."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from seatrial.text import clean

from . import limits
from .external import Piece, piece
from .facts import Note
from .model import Model, Node
from .refusal import Refused, quoted
from .size_rules import Facts
from .sizes import Sizes
from .structure import Placed, Wiring, check_functions, place_nodes
from .tensors import all_tensors, check
from .wire import Buffer

_RE_EXPORT = "export the model again"


@dataclass(slots=True)
class Screened:
    """What the rules found out on the way.

    Attributes:
        placed: every node with its label.
        pieces: external data by ``id`` of the tensor.
        weights: what is known of constant weight operands, by node label.
        notes: what is odd but legal, at most :data:`limits.MAX_LISTED` of one code.
    """

    placed: list[Placed] = field(default_factory=list)
    pieces: dict[int, Piece] = field(default_factory=dict)
    weights: Facts = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def warn(self, code: str, text: str, place: str = "", level: str = "warning") -> None:
        """Add a note, cleaned, unless there are enough of its kind."""
        self.counts[code] += 1
        if self.counts[code] <= limits.MAX_LISTED:
            note = Note(code=code, level=level, place=clean(place), text=clean(text, 200))
            self.notes.append(note)


def screen(model: Model, buffer: Buffer) -> Screened:
    """Apply every rule that needs no other file.

    Raises:
        Refused: broken, hostile, or beyond what is known.
    """
    found = Screened()
    _check_versions(model, found)
    assert model.graph is not None
    found.placed = place_nodes(model)
    _check_tensors(model, buffer, found)
    called = check_functions(model)
    wiring = Wiring()
    wiring.check(model, called)
    if wiring.unsorted:
        text = "stands before a node whose output it reads: some tools refuse that"
        found.warn("unsorted", text, wiring.unsorted)
    sizes = Sizes(buffer)
    sizes.graph(model.graph)
    for function in model.functions:
        if function.key in called:
            sizes.graph(function.body)
    found.weights = sizes.weights
    for label in sizes.endless:
        text = "this Loop never ends once it has begun: its condition never changes"
        found.warn("loop-unbounded", text, label)
    for label in sizes.flat:
        found.warn("scale-zero", "its scale is 0: what it quantizes is lost", label)
    for placed in found.placed:
        _check_node(placed.node, found)
    _check_domains(model, found)
    _check_shape_of_model(model, found)
    return found


def _check_versions(model: Model, found: Screened) -> None:
    if model.graph is None:
        raise Refused("holds no network graph", advice="is it an ONNX model, complete?")
    if model.ir_version <= 0:
        raise Refused("has no ONNX file version (ir_version)", advice=_RE_EXPORT)
    if model.ir_version > limits.MAX_IR:
        reason = f"says ir_version {model.ir_version}, known are 1 to {limits.KNOWN_IR}"
        raise Refused(reason, advice=_RE_EXPORT)
    if model.ir_version > limits.KNOWN_IR:
        text = f"ir_version {model.ir_version} is newer than {limits.KNOWN_IR}"
        found.warn("newer-ir", text)
    if not model.opsets and model.ir_version >= 3:
        raise Refused("imports no operator set (opset_import)", advice=_RE_EXPORT)
    seen: set[str] = set()
    for domain, version in model.opsets:
        if domain in seen:
            found.warn("opset-twice", f"imports the operator set {quoted(domain)} twice")
        seen.add(domain)
        if not domain and not 1 <= version <= limits.MAX_OPSET:
            reason = f"asks for opset {version}, known are 1 to {limits.KNOWN_OPSET}"
            raise Refused(reason, place="opset_import", advice=_RE_EXPORT)
        if not domain and version > limits.KNOWN_OPSET:
            found.warn("newer-opset", f"opset {version} is newer than {limits.KNOWN_OPSET}")


def _check_tensors(model: Model, buffer: Buffer, found: Screened) -> None:
    newer = model.ir_version > limits.KNOWN_IR
    for tensor, place in all_tensors(model):
        remark = check(tensor, place, buffer, newer)
        if remark:
            found.warn("tensor-data", remark, place)
        if tensor.external is not None:
            found.pieces[id(tensor)], unknown = piece(tensor, place)
            if unknown:
                keys = ", ".join(quoted(key) for key in unknown[:4])
                found.warn("external-keys", f"external data has unknown keys {keys}", place)


def _check_node(node: Node, found: Screened) -> None:
    if node.op_type == "EPContext":
        embedded = node.attributes.get("embed_mode", 1)
        if embedded != 1:
            context = node.attributes.get("ep_cache_context")
            name = context.decode("utf-8", "replace") if isinstance(context, bytes) else "a file"
            reason = f"EPContext names a compiled file outside the model: {quoted(name)}"
            raise Refused(reason, place=node.label, advice="give the model before compilation")
        found.warn("compiled-inside", "holds code compiled for one device", node.label)


def _check_domains(model: Model, found: Screened) -> None:
    imported = {domain for domain, _ in model.opsets}
    own = {(f.domain, f.name) for f in model.functions}
    missing: dict[str, str] = {}
    for node, _, _, function in found.placed:
        known = node.domain in imported or (node.domain, node.op_type) in own
        if not function and not known:
            missing.setdefault(node.domain, node.label)
    for domain, label in missing.items():
        found.warn("opset-missing", f"no operator set is imported for {quoted(domain)}", label)


def _check_shape_of_model(model: Model, found: Screened) -> None:
    graph = model.graph
    assert graph is not None
    if not graph.nodes:
        found.warn("no-nodes", "the graph has no nodes")
    if not graph.outputs:
        found.warn("no-outputs", "the model has no outputs: nothing can be compared")
    given = {tensor.name for tensor in graph.initializers}
    if all(value.name in given for value in graph.inputs):
        found.warn("no-inputs", "the model has no inputs", level="info")
    for value in graph.inputs:
        if value.shape is None and value.name not in given:
            found.warn("rank-unknown", "the input declares no shape", value.name)
        elif value.shape and 0 in value.shape:
            found.warn("empty-input", "the input has a dimension of 0", value.name)
    if any(key == "ort_config" for key, _ in model.metadata):
        text = "metadata carries settings that a runtime may follow"
        found.warn("runtime-settings", text, "ort_config")
