"""A model as the walk sees it: names, types and places of data, never the data itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Bytes per element of the typed data fields of fixed size.
FIXED = {"float": 4, "double": 8}

#: A dimension: its size, or its name (``"?"`` when it is free and has none).
Dim = int | str


@dataclass(slots=True)
class Tensor:
    """A ``TensorProto``.

    Attributes:
        dtype: number of the ONNX element type.
        fields: names of the data fields that are present (``raw``, ``float``, ``int32`` ...).
        spans: (start, stop) in the file of raw or packed data.
        loose: data written unpacked, one field per element (rare), joined.
        strings: number of text elements.
        external: entries of ``external_data`` when the data lies outside; else ``None``.
    """

    name: str = ""
    dtype: int = 0
    dims: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    loose: bytearray = field(default_factory=bytearray)
    strings: int = 0
    external: dict[str, str] | None = None


#: The value of an attribute; ``None``: of another kind, or too long to keep.
Attribute = int | float | bytes | tuple[int, ...] | tuple[float, ...] | Tensor | None


@dataclass(slots=True)
class Value:
    """A ``ValueInfoProto``; ``shape`` is ``None`` when it has none."""

    name: str = ""
    dtype: str = ""
    shape: tuple[Dim, ...] | None = None


@dataclass(slots=True)
class Node:
    """A ``NodeProto``; ``label`` is unique in the model and set once by the parser's owner."""

    name: str = ""
    op_type: str = ""
    domain: str = ""
    overload: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    graphs: tuple[tuple[str, Graph], ...] = ()
    tensors: tuple[Tensor, ...] = ()
    label: str = ""


@dataclass(slots=True)
class Graph:
    """A ``GraphProto``, or the body of a function.

    Attributes:
        order: positions of the nodes, producers first, when the file has them otherwise.
    """

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    initializers: list[Tensor] = field(default_factory=list)
    sparse: list[tuple[Tensor, Tensor, tuple[int, ...]]] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    order: list[int] = field(default_factory=list)

    def ordered(self) -> Iterable[Node]:
        """The nodes, producers before readers (once the wiring was checked)."""
        return (self.nodes[i] for i in self.order) if self.order else self.nodes


@dataclass(slots=True)
class Function:
    """A ``FunctionProto``."""

    name: str = ""
    domain: str = ""
    overload: str = ""
    body: Graph = field(default_factory=Graph)
    opsets: list[tuple[str, int]] = field(default_factory=list)
    label: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a node must say to call it."""
        return self.domain, self.name, self.overload


@dataclass(slots=True)
class Model:
    """A ``ModelProto``."""

    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    graph: Graph | None = None
    opsets: list[tuple[str, int]] = field(default_factory=list)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    training: list[Graph] = field(default_factory=list)


def plain_domain(domain: str) -> str:
    """The operator domain, with the long name of the default one shortened to ``""``."""
    return "" if domain == "ai.onnx" else domain
