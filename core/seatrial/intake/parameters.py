"""Parameters that no call of an operator allows: refused before a runtime divides by them.

Compilers take many of them in silence, above all where shapes are not declared, and then crash,
hang or give memory that nobody wrote when the model runs. Only what the operator's definition
rules out for every input is refused here; all else is for compilers to judge.
"""

from __future__ import annotations

from collections.abc import Iterator

from .model import Node
from .refusal import Refused
from .size_rules import Fact

_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv")
_POOLS = ("MaxPool", "AveragePool", "LpPool", "MaxUnpool")
_WINDOW = ("kernel_shape", "strides", "dilations")

#: Attributes that count something: each number in them is 1 or more.
_COUNTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_CONVOLUTIONS, ("group", "offset_group", *_WINDOW)),
    **dict.fromkeys(_POOLS, (*_WINDOW, "p")),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), ("blocksize",)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("hidden_size",)),
    "Col2Im": ("strides", "dilations"),
    "GlobalLpPool": ("p",),
    "LRN": ("size",),
    "Split": ("num_outputs",),
}

#: Operators that find elements of their first input by numbers in their second.
_INDEXED = ("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter")

_ADVICE = "repair the exporter or the model"


def check(node: Node, inputs: list[Fact], *, outermost: bool) -> None:
    """Look at one call of a standard operator.

    Args:
        node: the call.
        inputs: what is known of each of its inputs.
        outermost: it stands in the main graph; shapes declared further in bind nobody, and what
            is there may never run.

    Raises:
        Refused: naming attribute or index.
    """
    for name in _COUNTS.get(node.op_type, ()):
        value = node.attributes.get(name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and number < 1:
                _refuse(node, f"{name} is {number:g}, it must be 1 or more")
    if node.op_type == "Transpose":
        _check_permutation(node)
    elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        _check_blocks(node, inputs)
    elif node.op_type in _INDEXED and outermost:
        for index, size, axis in _indices(node, inputs):
            if not -size <= index < size:
                _refuse(node, f"index {int(index)} is outside of axis {axis}, which has {size}")


def _refuse(node: Node, reason: str) -> None:
    raise Refused(f"{node.op_type}: {reason}", place=node.label, advice=_ADVICE)


def _check_permutation(node: Node) -> None:
    perm = node.attributes.get("perm")
    if isinstance(perm, tuple) and sorted(perm) != list(range(len(perm))):
        shown = ", ".join(f"{p:g}" for p in perm[:8])
        _refuse(node, f"perm ({shown}) is no order of {len(perm)} axes")


def _check_blocks(node: Node, inputs: list[Fact]) -> None:
    """One scale per block needs a size of the blocks; one per channel is a vector."""
    if len(inputs) < 2 or node.attributes.get("block_size", 0) != 0:
        return
    shape = inputs[1].shape
    if inputs[1].constant and shape is not None and len(shape) > 1 and inputs[1].least > 1:
        _refuse(node, f"its scale has {len(shape)} dimensions, but block_size is 0")


def _indices(node: Node, inputs: list[Fact]) -> Iterator[tuple[float, int, int]]:
    """Each constant index with the size of the axis that it is for, and that axis."""
    if len(inputs) < 2 or inputs[0].shape is None or inputs[1].values is None:
        return
    data, numbers = inputs[0].shape, inputs[1].values
    if node.op_type in ("GatherND", "ScatterND"):
        shape = inputs[1].shape or (1,)
        batch = node.attributes.get("batch_dims", 0)
        first, width = (batch if isinstance(batch, int) else 0), shape[-1] or 1
    else:
        axis = node.attributes.get("axis", 0)
        first, width = (axis if isinstance(axis, int) else 0), 1
        first += len(data) if first < 0 else 0
    for at, number in enumerate(numbers):
        axis = first + at % width
        size = data[axis] if 0 <= axis < len(data) else None
        if size is not None:
            yield number, size, axis
