"""Quantised layers side by side in one model. Runs in a child only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.diagnosis.parameters import DEQUANTIZE, QUANTIZE
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize import ops
from seatrial.quantize.graph import Graph
from seatrial.quantize.prepare import prepare
from seatrial.reference import open_model, with_outputs
from seatrial.results import Artifact
from seatrial.samples import Samples, StoreWriter

from .breaks import Isolated, IsolateRequest, SideBySide
from .narrow import drop_casts, is_constant, narrow_weights

#: Elements of all layer inputs together, for one sample; larger models give their first layers.
MOST_ELEMENTS = 64_000_000


@dataclass
class _Layer:
    """A layer as it is cut out.

    Attributes:
        feed: the restored tensor that it multiplies.
        chain: the node with the weights and what follows it up to the next quantiser.
        pairs: the Q and DQ nodes of the input, and of the output if it is quantised.
        constants: initializers that it needs.
    """

    node: Any
    feed: str
    chain: list[Any]
    before: list[Any]
    after: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    @property
    def tensor(self) -> str:
        """What comes out: restored, where there is a quantiser."""
        return str((self.after or self.chain)[-1].output[0])

    def nodes(self) -> Iterator[Any]:
        """All of it in order."""
        yield from (*self.before, *self.weights, *self.chain, *self.after)


def isolate(request: IsolateRequest, job: Job) -> SideBySide:
    """Cut the layers out, feed each what the reference feeds it, and run them on the reference.

    Raises:
        UserError: the model has no quantised layer.
    """
    import onnx

    graph = prepare(job.path(request.model)).graph
    onnx.external_data_helper.load_external_data_for_model(graph.model, str(graph.folder))
    drop_casts(graph)
    layers = list(_layers(graph))
    if not layers:
        raise UserError("layers", "no quantised layer can be taken out of the model")
    samples = Samples(job.path(request.samples))
    values, kept, notes = _values(graph, layers, samples, request.indices, job)
    narrow = Graph(_copy(graph.model), graph.folder)
    narrowed = narrow_weights(narrow)
    out = job.out
    whole = _write(narrow.model, out / "whole") if narrowed else None
    wide_model = _beside(graph, kept, values)
    narrow_model = _beside(narrow, [_same(narrow, layer) for layer in kept], values)
    count = len(next(iter(values.values())))
    feeds = [{f"in_{k}": values[one.feed][i] for k, one in enumerate(kept)} for i in range(count)]
    return SideBySide(
        layers=tuple(_facts(graph, k, layer, narrowed) for k, layer in enumerate(kept)),
        wide=_write(wide_model, out / "wide"),
        narrow=_write(narrow_model, out / "narrow") if narrowed else None,
        inputs=_store(out / "inputs", feeds),
        expected_wide=_run(wide_model, feeds, out / "expected-wide"),
        expected_narrow=_run(narrow_model, feeds, out / "expected-narrow") if narrowed else None,
        whole=whole,
        notes=tuple(notes),
    )


def _copy(model: Any) -> Any:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _layers(graph: Graph) -> Iterator[_Layer]:
    """Heavy nodes with a quantised input and quantised weights, in the order of the graph."""
    producers, readers = graph.producers(), graph.readers()
    pinned = graph.pinned()
    for node in graph.nodes:
        if node.op_type not in ops.HEAVY or len(node.input) < 2:
            continue
        restored = producers.get(node.input[0])
        weights = [producers.get(name) for name in node.input[1:] if name]
        if restored is None or restored.op_type != DEQUANTIZE:
            continue
        rounded = producers.get(restored.input[0])
        if rounded is None or rounded.op_type != QUANTIZE:
            continue
        known = [w for w in weights if w is not None]
        if not known or any(w.op_type != DEQUANTIZE or not is_constant(graph, w) for w in known):
            continue
        if any(graph.constant(n) is None for q in (rounded, restored) for n in q.input[1:] if n):
            continue
        layer = _Layer(node, node.input[0], [node], [rounded, restored], weights=known)
        _follow(layer, readers, pinned)
        yield layer


def _follow(layer: _Layer, readers: Mapping[str, list[Any]], pinned: set[str]) -> None:
    """Take in activations and the quantiser that end the layer, while nobody else reads on."""
    while True:
        name = layer.chain[-1].output[0]
        following = readers.get(name, [])
        if name in pinned or len(following) != 1:
            return
        node = following[0]
        if node.op_type in ops.FUSED:
            layer.chain.append(node)
            continue
        restorers = readers.get(node.output[0], [])
        if node.op_type == QUANTIZE and restorers and restorers[0].op_type == DEQUANTIZE:
            layer.after = [node, restorers[0]]
        return


def _values(
    graph: Graph, layers: Sequence[_Layer], samples: Samples, indices: Sequence[int], job: Job
) -> tuple[dict[str, list[Any]], list[_Layer], list[str]]:
    """What the reference feeds each layer, per sample; layers that cannot be fed are left out."""
    outside = set(graph.inputs)
    taps = [layer.feed for layer in layers if layer.feed not in outside]
    session = open_model(with_outputs(graph.model, taps), folder=graph.folder, optimize="none")
    values: dict[str, list[Any]] = {}
    kept, notes, room = list(layers), [], MOST_ELEMENTS
    for number, group in enumerate(session.groups(samples, indices)):
        job.progress(f"layer inputs, sample {number + 1}", None)
        found = session.run(samples.feeds(group))
        for layer in list(kept):
            value = found[layer.feed]
            if layer.feed not in values:
                one = value.shape[:1] == (len(group),)
                room -= value.size if one else 0
                if not one or room < 0:
                    kept.remove(layer)
                    why = "the model is too large to look at all" if one else "it has no batch axis"
                    notes.append(f"{layer.node.name} was left out: {why}")
                    continue
            values.setdefault(layer.feed, [])
            if len(values[layer.feed]) <= number:
                values[layer.feed].append(value[:1])
    wanted = {layer.feed for layer in kept}
    return {n: v for n, v in values.items() if n in wanted}, kept, notes


def _beside(graph: Graph, layers: Sequence[_Layer], values: Mapping[str, list[Any]]) -> Any:
    """One model of all layers: inputs ``in_K``, outputs ``out_K``."""
    import onnx
    from onnx import TensorProto, helper

    nodes, inputs, outputs = [], [], []
    needed: set[str] = set()
    for k, layer in enumerate(layers):
        renamed = {layer.before[0].input[0]: f"in_{k}", layer.tensor: f"out_{k}"}
        made = {name for node in layer.nodes() for name in node.output}
        for node in layer.nodes():
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            # The node with the weights keeps its name: it is what toolchains report on.
            copy.name = node.name if node is layer.node else f"layer_{k}_{node.name}"
            for slot, name in enumerate(node.input):
                inner = f"layer_{k}_{name}" if name in made else name
                copy.input[slot] = renamed.get(name, inner)
            for slot, name in enumerate(node.output):
                copy.output[slot] = renamed.get(name, f"layer_{k}_{name}" if name else "")
            needed.update(n for n in copy.input if n in graph.initializers)
            nodes.append(copy)
        shape = list(values[layer.feed][0].shape)
        inputs.append(helper.make_tensor_value_info(f"in_{k}", TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info(f"out_{k}", TensorProto.FLOAT, None))
    constants = [t for t in graph.proto.initializer if t.name in needed]
    made_of = helper.make_graph(nodes, "layers", inputs, outputs, constants)
    model = helper.make_model(
        made_of, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version
    )
    return onnx.shape_inference.infer_shapes(model)


def _same(graph: Graph, layer: _Layer) -> _Layer:
    """The same layer in a copy of the graph, found by the names of its nodes."""
    nodes = {n.name: n for n in graph.nodes}
    parts = (layer.chain, layer.before, layer.after, layer.weights)
    chain, before, after, weights = ([nodes[n.name] for n in part] for part in parts)
    return _Layer(chain[0], layer.feed, chain, before, after, weights)


def _store(folder: Path, values: Sequence[Mapping[str, Any]]) -> Artifact:
    """A store of tensors with a batch axis of one."""
    folder.mkdir()
    writer = StoreWriter(folder, len(values))
    for one in values:
        writer.add({name: value[0] for name, value in one.items()})
    files = writer.close([{"id": str(i), "sha256": ""} for i in range(len(values))])
    return _artifact("samples", folder, files, entry="")


def _run(model: Any, feeds: Sequence[Mapping[str, Any]], folder: Path) -> Artifact:
    """The reference on the side-by-side model, Q and DQ taken literally."""
    session = open_model(model.SerializeToString(), optimize="none")
    return _store(folder, [session.run(one) for one in feeds])


def _write(model: Any, folder: Path) -> Artifact:
    import onnx

    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return _artifact("onnx", folder, ("model.onnx",), entry="model.onnx")


def _artifact(form: str, folder: Path, files: Sequence[str], *, entry: str) -> Artifact:
    prefix = folder.name
    return Artifact(
        format=form,
        entry=f"{prefix}/{entry}" if entry else "",
        files=tuple(f"{prefix}/{name}" for name in files),
    )


def _facts(graph: Graph, k: int, layer: _Layer, narrowed: set[str]) -> Isolated:
    scale = graph.constant(layer.after[1].input[1]) if layer.after else None
    return Isolated(
        node=layer.node.name,
        op_type=layer.node.op_type,
        tensor=layer.tensor,
        output=f"out_{k}",
        step=float(scale.max()) if scale is not None else 0.0,
        narrowed=layer.node.name in narrowed,
    )
