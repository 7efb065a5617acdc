"""Element types of every value of a model, in plain Python.

The native shape inference dies or runs for ever on some small models, and types are all that a
kernel is chosen by. Types are written as the runtime writes them: ``tensor(float)``.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.results import node_label

from ._model import Place, domain_of, in_order, opsets, subgraphs
from ._registry import Parameter, Registry, Schema

#: A type, or ``None`` when it is not known.
Type = str | None
Scope = MutableMapping[str, Type]

#: Numbers of ONNX's TensorProto.DataType -> the runtime's names.
_NAMES = (
    "float uint8 int8 uint16 int16 int32 int64 string bool float16 double uint32 uint64 "
    "complex64 complex128 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz "
    "uint4 int4 float4e2m1 float8e8m0 uint2 int2"
)
ELEMENTS: Mapping[int, str] = dict(enumerate(_NAMES.split(), start=1))

#: How deep calls of functions are followed.
_DEEPEST = 32

#: Operators whose output type stands in an attribute, and what it is without the attribute
#: (``None``: the type of the first input).
_BY_ATTRIBUTE: Mapping[str, tuple[str, str | None]] = {
    "Cast": ("to", ""),
    "BitCast": ("to", ""),
    "EyeLike": ("dtype", None),
    "Bernoulli": ("dtype", None),
    "RandomNormalLike": ("dtype", None),
    "RandomUniformLike": ("dtype", None),
    "RandomNormal": ("dtype", "tensor(float)"),
    "RandomUniform": ("dtype", "tensor(float)"),
    "Multinomial": ("dtype", "tensor(int32)"),
    "QuantizeLinear": ("output_dtype", "tensor(uint8)"),
    "BlackmanWindow": ("output_datatype", "tensor(float)"),
    "HammingWindow": ("output_datatype", "tensor(float)"),
    "HannWindow": ("output_datatype", "tensor(float)"),
    "MelWeightMatrix": ("output_datatype", "tensor(float)"),
}

#: Operators that wrap or unwrap the type of their first input.
_REWRAP: Mapping[str, Callable[[str], str]] = {
    "SequenceConstruct": lambda t: f"seq({t})",
    "SplitToSequence": lambda t: f"seq({t})",
    "SequenceAt": lambda t: _inside(t, "seq("),
    "ConcatFromSequence": lambda t: _inside(t, "seq("),
    "Optional": lambda t: f"optional({t})",
    "OptionalGetElement": lambda t: _inside(t, "optional("),
}

_NEWEST = 2**31 - 1

_CONSTANT_ATTRIBUTES: Mapping[str, str] = {
    "value_float": "tensor(float)",
    "value_floats": "tensor(float)",
    "value_int": "tensor(int64)",
    "value_ints": "tensor(int64)",
    "value_string": "tensor(string)",
    "value_strings": "tensor(string)",
}


@dataclass(frozen=True)
class Typed:
    """A node with the types of its inputs and outputs; a missing optional input is ``""``."""

    place: Place
    inputs: tuple[Type, ...]
    outputs: tuple[Type, ...]
    schema: Schema | None


def infer(model: Any, registry: Registry) -> list[Typed]:
    """Types of all nodes, in the order of :func:`_model.nodes`."""
    typer = Typer(model, registry)
    scope: Scope = {}
    typer.graph(model.graph, scope, "", ())
    return sorted(typer.found, key=lambda t: t.place.path)


def proto_type(proto: Any) -> Type:
    """A TypeProto in the runtime's words."""
    kind = proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        element = ELEMENTS.get(getattr(proto, kind).elem_type)
        return f"{kind.removesuffix('_type')}({element})" if element else None
    if kind == "sequence_type":
        inner = proto_type(proto.sequence_type.elem_type)
        return f"seq({inner})" if inner else None
    if kind == "optional_type":
        inner = proto_type(proto.optional_type.elem_type)
        return f"optional({inner})" if inner else None
    if kind == "map_type":
        key = ELEMENTS.get(proto.map_type.key_type)
        inner = proto_type(proto.map_type.value_type)
        return f"map({key},{inner})" if key and inner else None
    return None


class Typer:
    """Walks graphs and function bodies in order.

    Args:
        model: the ModelProto; its functions are followed.
        registry: the runtime's schemas.
        limit: how many nodes are visited before the walk gives up: function calls can multiply
            a small file beyond measure.
    """

    def __init__(self, model: Any, registry: Registry, limit: int = 200_000) -> None:
        self.registry = registry
        self.opsets = opsets(model)
        self.functions = {(domain_of(f.domain), f.name): f for f in model.functions}
        self.found: list[Typed] = []
        self.left = limit
        self._deep = 0
        self._results: dict[tuple[str, str, tuple[Type, ...]], tuple[Type, ...]] = {}

    def graph(
        self, graph: Any, scope: Scope, label: str, path: tuple[int, ...]
    ) -> tuple[Type, ...]:
        """Type a graph whose outer names are in ``scope``; gives the types of its outputs."""
        declared = {v.name: proto_type(v.type) for v in (*graph.value_info, *graph.output)}
        for value in graph.input:
            scope[value.name] = proto_type(value.type)
        for tensor in graph.initializer:
            scope[tensor.name] = _tensor(tensor.data_type)
        for tensor in graph.sparse_initializer:
            scope[tensor.values.name] = _tensor(tensor.values.data_type)
        self._walk(graph, scope, (label, path), declared, self.opsets)
        return tuple(scope.get(v.name) or proto_type(v.type) for v in graph.output)

    def _walk(
        self,
        graph: Any,
        scope: Scope,
        where: tuple[str, tuple[int, ...]],
        declared: Mapping[str, Type],
        imported: Mapping[str, int],
    ) -> None:
        label, path = where
        for index in in_order(graph.node):
            node = graph.node[index]
            own = node_label(node.name, node.op_type, index, label)
            at = (*path, index)
            place = Place(node, own, graph, domain_of(node.domain), len(at) // 2, at)
            self.found.append(self.node(place, scope, declared, imported))

    def node(
        self, place: Place, scope: Scope, declared: Mapping[str, Type], imported: Mapping[str, int]
    ) -> Typed:
        """Type one node and put its outputs into the scope."""
        node = place.node
        self.left -= 1
        inputs = tuple(scope.get(name) if name else "" for name in node.input)
        # The runtime reads a domain that is not imported at its newest version, ai.onnx apart.
        opset = imported.get(place.domain, _NEWEST if place.domain else 0)
        schema = self.registry.schema(place.domain, node.op_type, opset)
        inner = [
            self.graph(g, ChainMap({}, scope), f"{place.label}/{a}", (*place.path, branch))
            for branch, (a, g) in enumerate(subgraphs(node))
        ]
        outputs = self._outputs(place, inputs, schema, inner)
        known = [
            (t or declared.get(n)) if n else "" for n, t in zip(node.output, outputs, strict=True)
        ]
        scope.update({n: t for n, t in zip(node.output, known, strict=True) if n})
        return Typed(place, inputs, tuple(known), schema)

    def _outputs(
        self,
        place: Place,
        inputs: tuple[Type, ...],
        schema: Schema | None,
        inner: Sequence[tuple[Type, ...]],
    ) -> tuple[Type, ...]:
        node, count = place.node, len(place.node.output)
        function = self.functions.get((place.domain, node.op_type))
        if function is not None:
            return _padded(self._call(function, inputs), count)
        if inner and node.op_type in ("If", "Loop", "Scan"):
            # A loop's body gives its condition first.
            return _padded(inner[0][1 if node.op_type == "Loop" else 0 :], count)
        special = _special(node, inputs) if place.domain == "" else _class_label(node)
        if schema is None:
            return _padded((special,), count)
        bound = bind(schema, inputs, ())
        rest = [_output(schema, k, bound) for k in range(count)]
        return (special, *rest[1:]) if special else tuple(rest)

    def _call(self, function: Any, inputs: tuple[Type, ...]) -> tuple[Type, ...]:
        """Types of a function's outputs, computed once for each list of input types."""
        key = (function.domain, function.name, inputs)
        if key not in self._results:
            # A function that calls itself meets this: nothing is known.
            self._results[key] = ()
            self._results[key] = self.body(function, inputs)[1]
        return self._results[key]

    def body(self, function: Any, inputs: Sequence[Type]) -> tuple[list[Typed], tuple[Type, ...]]:
        """Type a function's body for given inputs: its nodes, and the types of its outputs."""
        if self.left <= 0 or self._deep >= _DEEPEST:
            return [], ()
        scope: Scope = dict(zip(function.input, inputs, strict=False))
        declared = {v.name: proto_type(v.type) for v in function.value_info}
        imported = {domain_of(o.domain): o.version for o in function.opset_import}
        outside, self.found = self.found, []
        self._deep += 1
        self._walk(function, scope, (function.name, ()), declared, imported or self.opsets)
        self._deep -= 1
        inside, self.found = self.found, outside
        return inside, tuple(scope.get(name) for name in function.output)


def bind(
    schema: Schema, inputs: Iterable[Type], outputs: Iterable[Type]
) -> dict[str, frozenset[str | None]]:
    """Bind type parameters, and the names of inputs and outputs, to actual types.

    Kernels name their constraints by either.
    """
    bound: dict[str, set[str | None]] = {}
    pairs = ((schema.inputs, inputs), (schema.outputs, outputs))
    for formal, actual in pairs:
        for index, kind in enumerate(actual):
            parameter = schema.parameter(formal, index)
            if parameter is None or kind == "":
                continue
            for key in (parameter.type, parameter.name):
                bound.setdefault(key, set()).add(kind)
    # One known type settles a parameter that all its users share.
    return {k: frozenset(v - {None} or v) for k, v in bound.items()}


def _output(schema: Schema, index: int, bound: Mapping[str, frozenset[str | None]]) -> Type:
    parameter: Parameter | None = schema.parameter(schema.outputs, index)
    if parameter is None:
        return None
    if "(" in parameter.type:
        return parameter.type
    kinds = bound.get(parameter.type, frozenset())
    if len(kinds) == 1:
        return next(iter(kinds))
    allowed = schema.allowed.get(parameter.type, ())
    return allowed[0] if len(allowed) == 1 and not kinds else None


def _special(node: Any, inputs: tuple[Type, ...]) -> Type:
    """Output type of operators where the schema does not tell it."""
    if node.op_type in _FROM_NODE:
        return _FROM_NODE[node.op_type](node, inputs)
    if node.op_type in _REWRAP:
        return _REWRAP[node.op_type](inputs[0]) if inputs and inputs[0] else None
    return _by_attribute(node, inputs) if node.op_type in _BY_ATTRIBUTE else None


def _of_shape(node: Any, _: tuple[Type, ...]) -> Type:
    kinds = [a.t.data_type for a in node.attribute if a.name == "value"]
    return _tensor(kinds[0]) if kinds else "tensor(float)"


def _empty_sequence(node: Any, _: tuple[Type, ...]) -> Type:
    kinds = [a.i for a in node.attribute if a.name == "dtype"]
    return f"seq({_tensor(kinds[0] if kinds else 1)})"


def _dequantised(node: Any, inputs: tuple[Type, ...]) -> Type:
    stated = [a.i for a in node.attribute if a.name == "output_dtype" and a.i]
    return _tensor(stated[0]) if stated else (inputs[1] if len(inputs) > 1 else None)


def _class_label(node: Any) -> Type:
    """Type of a classifier's first output (ai.onnx.ml): that of its class labels."""
    if not node.op_type.endswith("Classifier"):
        return None
    texts = any(a.strings for a in node.attribute if a.name.startswith("classlabels"))
    return "tensor(string)" if texts else "tensor(int64)"


def _by_attribute(node: Any, inputs: tuple[Type, ...]) -> Type:
    if node.op_type == "QuantizeLinear" and len(inputs) > 2 and inputs[2]:
        return inputs[2]
    attribute, default = _BY_ATTRIBUTE[node.op_type]
    stated = [a.i for a in node.attribute if a.name == attribute and a.i]
    if stated:
        return _tensor(stated[0])
    return (inputs[0] if inputs else None) if default is None else default or None


def _constant(node: Any, _: tuple[Type, ...]) -> Type:
    for attribute in node.attribute:
        if attribute.name == "value":
            return _tensor(attribute.t.data_type)
        if attribute.name == "sparse_value":
            return _tensor(attribute.sparse_tensor.values.data_type)
        if attribute.name in _CONSTANT_ATTRIBUTES:
            return _CONSTANT_ATTRIBUTES[attribute.name]
    return None


_FROM_NODE: Mapping[str, Callable[[Any, tuple[Type, ...]], Type]] = {
    "Constant": _constant,
    "ConstantOfShape": _of_shape,
    "SequenceEmpty": _empty_sequence,
    "DequantizeLinear": _dequantised,
}


def _tensor(element: int) -> Type:
    name = ELEMENTS.get(element)
    return f"tensor({name})" if name else None


def _inside(kind: str, opening: str) -> str:
    return kind[len(opening) : -1] if kind.startswith(opening) else kind


def _padded(types: Sequence[Type], count: int) -> tuple[Type, ...]:
    return (*types, *(None for _ in range(count)))[:count]
