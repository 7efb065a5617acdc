"""An ONNX graph that can be edited: who writes and reads what, and what is constant.

Weights stay in their external files until somebody asks for one. Runs in a child only.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seatrial.results import node_label

#: Above this many bytes of weights they are written to a file of their own: protobuf ends at 2 GiB.
EXTERNAL_ABOVE = 1 << 30

#: File that takes weights of at least this many bytes while they are not needed in memory, and
#: what its offsets are multiples of.
ASIDE, ASIDE_FROM, ALIGNMENT = "weights.aside", 4096, 64

#: ``onnx.TensorProto.FLOAT``.
FLOAT = 1


class Graph:
    """The main graph of a model.

    Nodes get their label as their name, so that labels survive every edit and reappear in what
    toolchains say of the edited model. A name that occurs twice is made unique.

    Args:
        model: the ``ModelProto``; edited in place.
        folder: where its external data lies.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self.model = model
        self.folder = folder
        self.proto = model.graph
        seen: set[str] = set()
        for i, node in enumerate(self.proto.node):
            node.name = self.unique(node_label(node.name, node.op_type, i), seen)
        self.initializers: dict[str, Any] = {t.name: t for t in self.proto.initializer}
        self.types: dict[str, tuple[int, tuple[int | None, ...] | None]] = {}

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read a model, without its external data."""
        import onnx

        return cls(onnx.load(path, load_external_data=False), path.parent)

    @property
    def opset(self) -> int:
        """Version of the default domain, 0 when the model does not import it."""
        versions = [o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")]
        return max(versions, default=0)

    @property
    def nodes(self) -> list[Any]:
        """The nodes in the order of the file, which is topological."""
        return list(self.proto.node)

    def set_nodes(self, nodes: Iterable[Any]) -> None:
        """Replace all nodes."""
        kept = list(nodes)
        del self.proto.node[:]
        self.proto.node.extend(kept)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that a caller must feed."""
        return tuple(i.name for i in self.proto.input if i.name not in self.initializers)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs."""
        return tuple(o.name for o in self.proto.output)

    def producers(self) -> dict[str, Any]:
        """The node that writes each tensor."""
        return {name: node for node in self.proto.node for name in node.output if name}

    def readers(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor, with a node once per input slot."""
        readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.proto.node:
            for name in node.input:
                if name:
                    readers[name].append(node)
        return readers

    def pinned(self) -> set[str]:
        """Tensors that somebody outside the node list reads: outputs and captures of subgraphs."""
        names = set(self.outputs)
        for node in self.proto.node:
            for graph in subgraphs(node):
                names |= set(captured(graph))
        return names

    def constant(self, name: str) -> Any | None:
        """Value of an initializer, else ``None``."""
        import onnx

        tensor = self.initializers.get(name)
        return None if tensor is None else onnx.numpy_helper.to_array(tensor, str(self.folder))

    def constant_info(self, name: str) -> tuple[int, tuple[int, ...]] | None:
        """Element type and shape of an initializer, without reading it."""
        tensor = self.initializers.get(name)
        return None if tensor is None else (tensor.data_type, tuple(tensor.dims))

    def set_constant(self, name: str, value: Any) -> str:
        """Add or replace an initializer."""
        import onnx

        tensor = onnx.numpy_helper.from_array(value, name)
        if name in self.initializers:
            self.initializers[name].CopyFrom(tensor)
        else:
            self.initializers[name] = self.proto.initializer.add()
            self.initializers[name].CopyFrom(tensor)
        return name

    def unique(self, name: str, taken: set[str]) -> str:
        """``name``, or ``name_1`` ... when it is taken; the result is added to ``taken``."""
        result, k = name, 0
        while result in taken:
            k += 1
            result = f"{name}_{k}"
        taken.add(result)
        return result

    def names(self) -> set[str]:
        """Every tensor and node name of the model, subgraphs included."""
        return set(_all_names(self.proto))

    def use_domain(self, domain: str, version: int = 1) -> None:
        """Import an operator domain unless the model does already."""
        if all(o.domain != domain for o in self.model.opset_import):
            self.model.opset_import.add(domain=domain, version=version)

    def infer(self) -> None:
        """Fill ``types`` with what shape inference knows: element type and shape."""
        import onnx

        inferred = self.model
        failures = (onnx.shape_inference.InferenceError, ValueError, RuntimeError)
        with contextlib.suppress(*failures):  # then what the file itself says must do
            inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True)
        graph = inferred.graph
        for info in (*graph.value_info, *graph.input, *graph.output):
            tensor = info.type.tensor_type
            if info.type.WhichOneof("value") == "tensor_type":
                self.types[info.name] = (tensor.elem_type, _shape(tensor))

    def is_float(self, name: str) -> bool | None:
        """Whether a tensor is float32; ``None``: unknown."""
        if name in self.initializers:
            return bool(self.initializers[name].data_type == FLOAT)
        kind = self.types.get(name, (0, None))[0]
        return None if kind == 0 else kind == FLOAT

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Shape of a tensor as far as it is known."""
        return self.types.get(name, (0, None))[1]

    def drop_unused(self) -> None:
        """Remove initializers that nothing reads, and what was said of tensors that are gone."""
        used = self.pinned() | {n for node in self.proto.node for n in node.input}
        _keep(self.proto.initializer, lambda tensor: tensor.name in used)
        self.initializers = {t.name: t for t in self.proto.initializer}
        alive = used | {n for node in self.proto.node for n in node.output}
        _keep(self.proto.value_info, lambda info: info.name in alive)

    def freeze_initializers(self) -> int:
        """Take initializers off the list of inputs: here they are constants.

        Returns:
            How many a caller could have overridden.
        """
        before = len(self.proto.input)
        _keep(self.proto.input, lambda i: i.name not in self.initializers)
        return before - len(self.proto.input)

    def external_files(self) -> tuple[str, ...]:
        """Files of external data, relative to the model."""
        entries = (e for t in self.proto.initializer for e in t.external_data)
        return tuple(dict.fromkeys(e.value for e in entries if e.key == "location"))

    def set_aside(self, folder: Path) -> None:
        """Move large inline weights into a file in ``folder``, where they take no memory.

        A model whose weights lie in files already keeps them there.
        """
        own = folder / ASIDE
        if self.folder != folder and self.external_files():
            return
        self.folder = folder
        with own.open("ab") as file:
            for tensor in self.proto.initializer:
                if tensor.external_data:
                    tensor.ClearField("raw_data")  # somebody has read it
                elif len(tensor.raw_data) >= ASIDE_FROM:
                    _move(tensor, file)

    def serialised(self) -> bytes:
        """The model as bytes; external data is still referred to relative to ``folder``."""
        return bytes(self.model.SerializeToString())

    def write(self, target: Path) -> tuple[str, ...]:
        """Write the model with all its data beside it.

        Returns:
            The names of the files, ``target`` first.
        """
        import onnx

        onnx.external_data_helper.load_external_data_for_model(self.model, str(self.folder))
        size = sum(len(t.raw_data) for t in self.proto.initializer)
        if size <= EXTERNAL_ABOVE:
            onnx.save_model(self.model, target)
            return (target.name,)
        data = f"{target.name}.data"
        onnx.save_model(self.model, target, save_as_external_data=True, location=data)
        return (target.name, data)


def _move(tensor: Any, file: BinaryIO) -> None:
    """Write a tensor's data to the end of a file and make the tensor refer to it."""
    import onnx

    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    place = {"location": ASIDE, "offset": str(file.tell()), "length": str(len(tensor.raw_data))}
    file.write(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Value of an attribute of a node."""
    import onnx

    for a in node.attribute:
        if a.name == name:
            return onnx.helper.get_attribute_value(a)
    return default


def subgraphs(node: Any) -> Iterator[Any]:
    """Graphs held in a node's attributes."""
    for a in node.attribute:
        if a.HasField("g"):
            yield a.g
        yield from a.graphs


def captured(graph: Any) -> Iterator[str]:
    """Names that a subgraph takes from outside."""
    own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    own |= {n for node in graph.node for n in node.output}
    for node in graph.node:
        yield from (n for n in node.input if n and n not in own)
        for inner in subgraphs(node):
            yield from (n for n in captured(inner) if n not in own)
    yield from (o.name for o in graph.output if o.name not in own)


def count_ops(nodes: Sequence[Any]) -> Counter[str]:
    """How often each operator occurs."""
    return Counter(n.op_type for n in nodes)


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Filter a repeated field in place."""
    kept = [item for item in field if wanted(item)]
    if len(kept) != len(field):
        del field[:]
        field.extend(kept)


def _all_names(graph: Any) -> Iterator[str]:
    for part in (graph.input, graph.output, graph.initializer, graph.value_info):
        yield from (p.name for p in part)
    for node in graph.node:
        yield node.name
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from _all_names(inner)


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
