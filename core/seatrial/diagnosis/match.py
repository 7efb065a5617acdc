"""Which weight of the float model a quantised constant was made from. Runs in a child only."""

from __future__ import annotations

from typing import Any

from seatrial.quantize import ops
from seatrial.quantize.graph import Graph

from .pairs import Quantisers
from .parameters import QUANTIZE, Parameter, Weights, kind_of

#: Slot of the bias of a heavy node.
BIAS = 2

#: Prefix of the switches of corrections.
CORRECTION = "c:"

#: An integer bias further off than this share of its size was corrected; a factor further off than
#: the second was not: its scale is wrong.
CORRECTED, WRONG = 0.02, 0.3


def put_back(quantised: Graph, model: Graph) -> dict[str, str]:
    """Put activations back that a quantizer took out because its ranges do their work.

    A ReLU before a range that begins at 0 changes nothing, so some quantizers drop it; without the
    quantiser it is missed. The tensor keeps the activation's name, which tells.

    Args:
        quantised: the prepared Q/DQ graph; changed in place.
        model: the prepared float graph.

    Returns:
        The tensors behind them -> what the candidate quantises in truth, without the activation.
    """
    theirs, ours = model.producers(), quantised.producers()
    taken = quantised.names()
    nodes: list[Any] = []
    bare: dict[str, str] = {}
    lost = {}
    for node in quantised.nodes:
        name = node.input[0] if node.op_type == QUANTIZE else ""
        before, here = theirs.get(name), ours.get(name)
        if before is None or here is None or before.op_type not in ops.FUSED:
            continue
        limits = [n for n in before.input[1:] if n]
        if here.op_type != before.op_type and all(model.constant(n) is not None for n in limits):
            lost[name] = before
    for node in quantised.nodes:
        nodes.append(node)
        for slot, name in enumerate(node.output):
            if name not in lost:
                continue
            copy = type(node)()
            copy.CopyFrom(lost.pop(name))
            node.output[slot] = copy.input[0] = quantised.unique(f"{name}_bare", taken)
            bare[name] = copy.input[0]
            copy.name = quantised.unique(copy.name, taken)
            for k, limit in enumerate(copy.input[1:], 1):
                if limit:
                    copy.input[k] = quantised.set_constant(limit, model.constant(limit))
            nodes.append(copy)
    quantised.set_nodes(nodes)
    return bare


def originals(found: Quantisers, quantised: Graph, model: Graph) -> int:
    """Give every quantised constant the values of the float model.

    A node is recognised by its name, else by the tensor it writes, else by its place among the
    nodes of its operator with weights of the same shapes, if there are equally many.

    Args:
        found: quantisers of the Q/DQ graph; changed in place.
        quantised: the prepared Q/DQ graph.
        model: the prepared float graph.

    Returns:
        How many nodes with quantised constants have no counterpart.
    """
    names = {n.name: n for n in model.nodes}
    writers = model.producers()
    own = {n.name: n for n in quantised.nodes}
    places = _places(found, quantised, model)
    missing = 0
    for entry in found.weights.values():
        node = own[entry.node]
        options = [names.get(entry.node), writers.get(node.output[0]), places.get(entry.node)]
        missing += not any(_take(entry, node, other, model) for other in options)
    for node in quantised.nodes:
        options = [names.get(node.name), writers.get(node.output[0]), places.get(node.name)]
        other = next((o for o in options if o is not None and o.op_type == node.op_type), None)
        if other is not None and node.op_type in ops.HEAVY | {"Add"}:
            _take_changed(found, node, other, quantised, model)
            _set_apart(found, node, other, quantised)
    return missing


def _take_changed(found: Quantisers, node: Any, other: Any, quantised: Graph, model: Graph) -> None:
    """Note float constants that a quantizer changed: biases that it corrected or added."""
    import numpy as np

    for slot, name in enumerate(node.input):
        value = quantised.constant(name) if name else None
        if value is None or value.dtype != np.float32:
            continue
        there = other.input[slot] if slot < len(other.input) else ""
        original = model.constant(there) if there else None
        if original is None and not there and slot == BIAS:
            original = np.zeros_like(value)
        if original is None or original.size != value.size:
            continue
        original = original.reshape(value.shape)
        if np.array_equal(original, value):
            continue
        entry = _correction(found, node, quantised)
        entry.slots[slot] = Parameter(
            name=name,
            value=value,
            scale=np.float32(1),
            axis=0,
            limits=(0, 1),
            zero=0,
            original=original,
            kept=True,
        )


def _correction(found: Quantisers, node: Any, quantised: Graph) -> Weights:
    """The entry of a node's corrected constants: they make up for others, and cost nothing."""
    new = Weights(node.name, kind_of(node, quantised))
    return found.weights.setdefault(f"{CORRECTION}{node.name}", new)


def _set_apart(found: Quantisers, node: Any, other: Any, quantised: Graph) -> None:
    """Take an integer bias that was corrected or added out of the node's weights."""
    import numpy as np

    entry = found.weights.get(f"w:{node.name}")
    parameter = entry.slots.get(BIAS) if entry is not None else None
    if entry is None or parameter is None or len(entry.slots) < 2:
        return
    if parameter.original is None and len(other.input) <= BIAS:
        parameter.original = np.zeros_like(parameter.value)
    if parameter.original is None:
        return
    size = float(np.linalg.norm(parameter.original))
    off = float(np.linalg.norm(parameter.value - parameter.original))
    slope = float((parameter.value * parameter.original).sum()) / size**2 if size > 0 else 1.0
    # A scale that is wrong changes the whole bias by one factor; a correction does not.
    damaged = abs(slope - 1) > WRONG and off > WRONG * size
    if off > CORRECTED * size and not damaged:
        parameter.kept = True
        _correction(found, node, quantised).slots[BIAS] = entry.slots.pop(BIAS)


def _take(entry: Weights, node: Any, other: Any, model: Graph) -> bool:
    if other is None or other.op_type != node.op_type:
        return False
    values = {}
    for slot, parameter in entry.slots.items():
        name = other.input[slot] if slot < len(other.input) else ""
        value = model.constant(name) if name else None
        if value is not None and value.size == parameter.value.size:
            values[slot] = value.reshape(parameter.value.shape).astype("float32")
    if min(entry.slots) not in values:
        return False
    for slot, value in values.items():
        entry.slots[slot].original = value
    return True


def _places(found: Quantisers, quantised: Graph, model: Graph) -> dict[str, Any]:
    """Counterparts by order among nodes of one operator, where their shapes agree throughout."""
    result: dict[str, Any] = {}
    for op_type in sorted(ops.HEAVY):
        ours = [
            found.weights[f"w:{n.name}"]
            for n in quantised.nodes
            if n.op_type == op_type and f"w:{n.name}" in found.weights
        ]
        theirs = [
            n
            for n in model.nodes
            if n.op_type == op_type and any(model.constant_info(i) for i in n.input if i)
        ]
        if len(ours) != len(theirs):
            continue
        pairs = list(zip(ours, theirs, strict=True))
        if all(_fits(entry, node, model) for entry, node in pairs):
            result |= {entry.node: node for entry, node in pairs}
    return result


def _fits(entry: Weights, node: Any, model: Graph) -> bool:
    slot = min(entry.slots)
    info = model.constant_info(node.input[slot]) if slot < len(node.input) else None
    return info is not None and tuple(info[1]) == tuple(entry.slots[slot].value.shape)
