"""What the ONNX parser of TensorRT asks of Q/DQ pairs.

As the importer's source reads in its version for TensorRT 10.1: zero points all 0 and as many as
there are scales, scales above 0, no uint8, no int32 (a bias stays float), per channel only with
one scale per output channel of a weight.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._dtypes import INT8, INT32, UINT8, onnx_name, trt_name
from ._graph import Seen
from ._rules import Answer, Open, Refused

PAIR = ("QuantizeLinear", "DequantizeLinear")

#: Names of sources, for claims.
IMPORTER = "the importer's source, TensorRT 10.1"
SOURCE = "Q/DQ rules of the importer's source, TensorRT 10.1"

#: First opset whose pairs have an axis.
_PER_AXIS_SINCE = 13

#: Operator -> axis of its weight that counts output channels.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1}

_QUANTISED = ("INT8", "FP8", "FP4", "INT4")


def judge(seen: Seen, opset: int, *, dla: bool) -> Answer | None:
    """What stands against one Q or DQ node; the first refusal counts.

    Args:
        seen: the node.
        opset: of ai.onnx.
        dla: a DLA may be told to take uint8 and asymmetric pairs, so these stay open.
    """
    answers = list(_answers(seen, opset))
    refused = [a for a in answers if isinstance(a, Refused)]
    if refused and dla:
        return Open(f"{refused[0].reason}; a DLA may take it")
    return next(iter(refused or answers), None)


def _answers(seen: Seen, opset: int) -> Iterator[Answer]:
    yield from _type(seen)
    yield from _zero_point(seen)
    yield from _scale(seen, opset)


def _type(seen: Seen) -> Iterator[Answer]:
    """The quantised type: input of a DQ, output of a Q."""
    if seen.op_type == "DequantizeLinear":
        element = seen.inputs[0].element if seen.inputs else None
    else:
        element = seen.elements[0] if seen.elements else None
        if not seen.given(2) and not seen.attribute("output_dtype", 0):
            yield Open("no zero point: ONNX quantises to uint8, the parser to int8; give one, int8")
            return
    if element is None:
        yield Open("the quantised type is not known")
    elif element == INT32:
        yield Refused("a DequantizeLinear of int32, as on a bias: leave the bias in float")
    elif element == UINT8:
        yield Refused("pairs in uint8: int8 with zero point 0 is wanted")
    elif trt_name(element) not in _QUANTISED:
        yield Refused(f"pairs in {onnx_name(element)}: int8 with zero point 0 is wanted")


def _zero_point(seen: Seen) -> Iterator[Answer]:
    if not seen.given(2):
        return
    zero = seen.constant(2)
    if zero is None:
        known = seen.inputs[2].constant is not None
        yield Open("the zero point is kept in another file" if known else "no constant zero point")
        return
    if (zero != 0).any():
        yield Refused("a zero point other than 0: only symmetric pairs are taken")
    scale = seen.constant(1)
    if scale is not None and scale.size != zero.size:
        yield Refused(f"{zero.size} zero points for {scale.size} scales")


def _scale(seen: Seen, opset: int) -> Iterator[Answer]:
    import numpy as np

    scale = seen.constant(1)
    if scale is None:
        yield Open("the scale is not constant, or kept in another file")
        return
    if seen.attribute("block_size", 0):
        yield Open("scales per block")
        return
    values = np.asarray(scale, np.float32)
    if not (np.isfinite(values) & (values > 0)).all():
        yield Refused("a scale that is not above 0")
    if scale.size > 1:
        yield from _per_axis(seen, opset, int(scale.size))


def _per_axis(seen: Seen, opset: int, scales: int) -> Iterator[Answer]:
    if opset < _PER_AXIS_SINCE:
        yield Refused(f"one scale per channel in opset {opset}: from {_PER_AXIS_SINCE} on")
        return
    source = seen.inputs[0]
    axis = int(seen.attribute("axis", 1))
    if source.shape is not None:
        rank = len(source.shape)
        axis += rank if axis < 0 else 0
        size = source.shape[axis] if 0 <= axis < rank else None
        if not 0 <= axis < rank or (size is not None and size != scales):
            yield Refused(f"{scales} scales along axis {axis} of a tensor of shape {source.shape}")
            return
    if seen.op_type == "DequantizeLinear" and source.element == INT8 and source.constant is None:
        yield Open("one scale per channel on an activation")
    for op, position in seen.users:
        wanted = _CHANNELS.get(op)
        if position == 1 and wanted is not None and axis != wanted:
            yield Open(f"scales of a {op} weight along axis {axis}, not its output channels")
