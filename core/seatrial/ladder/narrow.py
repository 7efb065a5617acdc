"""Weights of a Q/DQ model in 7 bits. Runs in a child only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.diagnosis.parameters import DEQUANTIZE, QUANTIZE, spread
from seatrial.quantize import ops
from seatrial.quantize.graph import Graph, attribute

#: ``onnx.TensorProto.UINT8``: what a QuantizeLinear without zero point gives.
UINT8 = 2


def drop_casts(graph: Graph) -> None:
    """Take out casts of what a QuantizeLinear gave to the type that it has already."""
    producers, same = graph.producers(), {}
    for node in graph.nodes:
        source = producers.get(node.input[0]) if node.op_type == "Cast" else None
        if source is None or source.op_type != QUANTIZE or node.output[0] in graph.outputs:
            continue
        zero = source.input[2] if len(source.input) > 2 else ""
        kind = (graph.constant_info(zero) or (0, ()))[0] if zero else UINT8
        if attribute(node, "to") == kind:
            same[node.output[0]] = node.input[0]
    for node in graph.nodes:
        for slot, name in enumerate(node.input):
            node.input[slot] = same.get(name, name)
    graph.set_nodes(n for n in graph.nodes if not n.output or n.output[0] not in same)


def is_constant(graph: Graph, node: Any) -> bool:
    """Whether all that a node reads are initializers."""
    return all(name in graph.initializers for name in node.input if name)


def narrow_weights(graph: Graph) -> set[str]:
    """Give the weights of heavy nodes 7 bits: half the integers, twice the scale.

    Two products of 8 and 7 bits add up to at most 2 * 255 * 64 = 32,640, which 16 bits hold.

    Returns:
        Labels of the nodes whose weights were narrowed: signed 8 bits with zero point 0.
    """
    import numpy as np

    producers, narrowed = graph.producers(), set()
    done: set[str] = set()
    for node in graph.nodes:
        if node.op_type not in ops.HEAVY or len(node.input) < 2:
            continue
        restoring = producers.get(node.input[1])
        if (
            restoring is None
            or restoring.op_type != DEQUANTIZE
            or not is_constant(graph, restoring)
        ):
            continue
        stored: Any = graph.constant(restoring.input[0])
        scale: Any = graph.constant(restoring.input[1])
        zero = graph.constant(restoring.input[2]) if len(restoring.input) > 2 else None
        if stored.dtype != np.int8 or (zero is not None and np.any(zero)):
            continue
        if restoring.name not in done:
            done.add(restoring.name)
            half = np.rint(stored.astype(np.float32) / 2).astype(np.int8)
            restoring.input[0] = graph.set_constant(f"{restoring.name}_7_bits", half)
            restoring.input[1] = graph.set_constant(f"{restoring.name}_scale", scale * 2)
        narrowed.add(node.name)
    for node in graph.nodes:
        if node.name in narrowed and len(node.input) > 2:
            _restore_bias(graph, node, producers)
    graph.drop_unused()
    return narrowed


def _restore_bias(graph: Graph, node: Any, producers: Mapping[str, Any]) -> None:
    """Quantise the bias anew: kernels expect its scale to be that of input times weights."""
    import numpy as np

    bias, weights = producers.get(node.input[2]), producers[node.input[1]]
    feed = producers.get(node.input[0])
    if bias is None or bias.op_type != DEQUANTIZE or not is_constant(graph, bias):
        return
    if feed is None or feed.op_type != DEQUANTIZE:
        return
    stored, scale = graph.constant(bias.input[0]), graph.constant(bias.input[1])
    unit: Any = np.asarray(graph.constant(feed.input[1]), np.float64)
    unit = unit * np.asarray(graph.constant(weights.input[1]), np.float64)
    axis = attribute(bias, "axis", 1)
    spread_scale = spread(np.asarray(scale, np.float64), stored, axis, 0)
    value = np.asarray(stored, np.float64) * spread_scale
    unit = unit.reshape(-1) if unit.size > 1 else unit.reshape(())
    bounds = np.iinfo(np.int32)
    again = np.clip(np.rint(value / unit), bounds.min, bounds.max).astype(np.int32)
    if unit.ndim and not any(a.name == "axis" for a in bias.attribute):
        bias.attribute.add(name="axis", type=2, i=0)
    for a in bias.attribute:
        if a.name == "axis":
            a.i = 0
    bias.input[0] = graph.set_constant(f"{bias.name}_again", again)
    bias.input[1] = graph.set_constant(f"{bias.name}_scale", unit.astype(np.float32))
