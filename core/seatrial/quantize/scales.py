"""From a range to a scale and a zero point, and from float weights to integers.

Formulas: the ONNX definition of QuantizeLinear, q = saturate(round_half_even(x / scale) + zero).
Ranges always hold 0, so that padding and ReLU are exact. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatrial.results import QdqDialect

#: Smallest scale given out. The product of two (a bias scale) is still a normal float32.
SCALE_MIN = 2.0**-60

#: Largest magnitude of a bias after quantisation; a margin below 2**31 keeps sums in range.
BIAS_MAX = 2**30

#: Integer limits by type name.
LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
}


@dataclass(frozen=True)
class Scale:
    """Scale and zero point of an activation (scalars) or a weight (scale per channel).

    Attributes:
        scale: float32, shape () or (channels,).
        zero: of the quantised type, same shape.
    """

    scale: Any
    zero: Any

    @property
    def per_channel(self) -> bool:
        """One scale per channel rather than one in all."""
        return bool(self.scale.ndim)


def activation_scale(lo: float, hi: float, dialect: QdqDialect) -> Scale:
    """Scale of an activation whose values lie in [lo, hi].

    Symmetric: scale = max(-lo, hi) / 127 and the zero point is 0 (int8) or 128 (uint8).
    Otherwise scale = (hi - lo) / 255 and the zero point is where 0.0 falls. With 16 bits the same
    with 32767, 32768 and 65535.
    """
    import numpy as np

    lo, hi = min(lo, 0.0), max(hi, 0.0)
    low, high = LIMITS[dialect.activations]
    steps = high - low
    middle = low + steps // 2 + 1
    if dialect.symmetric:
        scale, zero = max(-lo, hi) / (steps // 2), middle
    else:
        scale, zero = (hi - lo) / steps, 0
    scale32 = np.float32(1.0) if scale == 0 else np.float32(max(scale, SCALE_MIN))
    if not dialect.symmetric:
        zero = int(np.clip(np.rint(low - lo / float(scale32)), low, high))
    return Scale(np.asarray(scale32), np.asarray(zero, dialect.activations))


def weight_scale(
    weight: Any, axis: int | None, dialect: QdqDialect, bias: Any = None, input_scale: float = 0.0
) -> Scale:
    """Symmetric scale of a weight: absolute maximum / 127, or / 63 for ``reduce_range``.

    Args:
        weight: float array.
        axis: the channel axis; ``None``: one scale for all.
        dialect: the form of the weights.
        bias: if it will be int32 with scale input x weight: shape (channels,).
        input_scale: scale of the activation that meets the weight.

    Where a channel's weights are so small that its bias would leave int32, the scale is raised
    until the bias fits; a channel of zeros takes the largest scale of the others.
    """
    import numpy as np

    others = tuple(k for k in range(weight.ndim) if k != axis) if axis is not None else None
    peak = np.maximum(weight.max(axis=others), -weight.min(axis=others)).astype(np.float64)
    scale = peak / (63 if dialect.reduce_range else 127)
    scale = np.where(scale > 0, scale, scale.max() or 1.0)
    if bias is not None and input_scale > 0:
        need = np.abs(bias.astype(np.float64)) / (BIAS_MAX * input_scale)
        scale = np.maximum(scale, need if axis is not None else need.max(initial=0.0))
    scale32 = np.maximum(scale, SCALE_MIN).astype(np.float32)
    zero = np.full(scale32.shape, 128 if dialect.weights == "uint8" else 0, dialect.weights)
    return Scale(scale32, zero)


def quantize_weight(weight: Any, scale: Scale, axis: int | None, dialect: QdqDialect) -> Any:
    """Integers of a weight, within +-127 (+-63 for ``reduce_range``) of the zero point."""
    import numpy as np

    shape = [1] * weight.ndim
    if axis is not None and scale.per_channel:
        shape[axis] = -1
    step = scale.scale.astype(np.float64).reshape(shape if scale.per_channel else ())
    step = np.broadcast_to(step, weight.shape)
    limit = 63 if dialect.reduce_range else 127
    middle = 128 if dialect.weights == "uint8" else 0
    integers = np.empty(weight.shape, dialect.weights)
    for row in range(len(weight)):  # large weights are not doubled in memory
        steps = np.rint(weight[row].astype(np.float64) / step[row])
        integers[row] = np.clip(steps, -limit, limit) + middle
    return integers


def bias_scale(input_scale: float, weight: Scale) -> Scale:
    """Scale of an int32 bias: input x weight, in the shape of the weight's; zero point 0."""
    import numpy as np

    scale = np.asarray(np.float32(input_scale) * weight.scale, np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32))


def quantize_bias(bias: Any, scale: Scale) -> Any:
    """int32 integers of a bias; its scale was chosen such that they fit."""
    import numpy as np

    steps = np.rint(bias.astype(np.float64) / scale.scale.astype(np.float64))
    return np.clip(steps, -(2**31) + 1, 2**31 - 1).astype(np.int32)


def fake_quantize(x: Any, scale: Scale) -> Any:
    """QuantizeLinear then DequantizeLinear, in numpy, for a scalar scale; float32."""
    import numpy as np

    low, high = LIMITS[str(scale.zero.dtype)]
    zero = int(scale.zero)
    steps = np.rint(np.asarray(x, np.float32) / scale.scale) + zero
    return ((np.clip(steps, low, high) - zero) * scale.scale).astype(np.float32)
