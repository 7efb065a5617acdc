"""ONNX operators in torch: convolutions, products, pools, norms and interpolation.

See :mod:`seatrial.qat.operators` for the form of these functions. Batch normalisation runs with
its stored statistics whatever is trained: they are frozen. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from .operators import Attributes, NotOffered, Operator

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _window(
    a: Attributes, x: Any, kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Strides, dilations, and padding before and after each spatial axis."""
    rank = len(kernel)
    strides = list(a.get("strides", [1] * rank))
    dilations = list(a.get("dilations", [1] * rank))
    automatic = a.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        before, after = [], []
        for k in range(rank):
            size, extent = x.shape[2 + k], dilations[k] * (kernel[k] - 1) + 1
            total = max((-(-size // strides[k]) - 1) * strides[k] + extent - size, 0)
            small = total // 2
            before.append(small if automatic == b"SAME_UPPER" else total - small)
            after.append(total - before[-1])
        return strides, dilations, before, after
    pads = list(a.get("pads", [0] * (2 * rank))) if automatic == b"NOTSET" else [0] * (2 * rank)
    return strides, dilations, pads[:rank], pads[rank:]


def _padded(x: Any, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Any:
    flat = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return F.pad(x, flat, value=value) if any(flat) else x


def conv(a: Attributes, x: Any, weight: Any, bias: Any = None) -> Any:
    """Conv."""
    strides, dilations, before, after = _window(a, x, weight.shape[2:])
    padding: Any = before
    if before != after:
        x, padding = _padded(x, before, after), 0
    return _CONV[weight.ndim - 2](x, weight, bias, strides, padding, dilations, a.get("group", 1))


def conv_transpose(a: Attributes, x: Any, weight: Any, bias: Any = None) -> Any:
    """ConvTranspose with explicit padding."""
    rank = weight.ndim - 2
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in a:
        raise NotOffered("automatic padding")
    _, dilations, before, after = _window(a, x, weight.shape[2:])
    strides = list(a.get("strides", [1] * rank))
    # torch pads both sides alike; what ONNX cuts off less at the end is padding of the output.
    extra = list(a.get("output_padding", [0] * rank))
    extra = [e + b - f for e, b, f in zip(extra, before, after, strict=True)]
    if min(extra) < 0:
        raise NotOffered("padding that is larger at the end")
    return _CONV_TRANSPOSE[rank](
        x, weight, bias, strides, before, extra, a.get("group", 1), dilations
    )


def gemm(a: Attributes, left: Any, right: Any, bias: Any = None) -> Any:
    """Gemm."""
    left = left.t() if a.get("transA", 0) else left
    right = right.t() if a.get("transB", 0) else right
    y = left @ right
    y = y * a["alpha"] if a.get("alpha", 1.0) != 1.0 else y
    if bias is None:
        return y
    return y + (bias * a["beta"] if a.get("beta", 1.0) != 1.0 else bias)


def max_pool(a: Attributes, x: Any) -> Any:
    """MaxPool."""
    kernel = list(a["kernel_shape"])
    strides, dilations, before, after = _window(a, x, kernel)
    x = _padded(x, before, after, float("-inf"))
    return _MAX[len(kernel)](x, kernel, strides, 0, dilations, bool(a.get("ceil_mode", 0)))


def average_pool(a: Attributes, x: Any) -> Any:
    """AveragePool."""
    kernel = list(a["kernel_shape"])
    strides, dilations, before, after = _window(a, x, kernel)
    if any(d != 1 for d in dilations):
        raise NotOffered("dilation")
    pool, ceil = _AVERAGE[len(kernel)], bool(a.get("ceil_mode", 0))
    if before == after:
        whole = bool(a.get("count_include_pad", 0))
        return pool(x, kernel, strides, before, ceil, whole)
    total = pool(_padded(x, before, after), kernel, strides, 0, ceil)
    if a.get("count_include_pad", 0):
        return total
    return total / pool(
        _padded(torch.ones_like(x[:1, :1]), before, after), kernel, strides, 0, ceil
    )


def batch_normalization(a: Attributes, x: Any, gain: Any, shift: Any, *stored: Any) -> Any:
    """BatchNormalization with frozen statistics."""
    mean, variance = stored
    if a.get("training_mode", 0):
        raise NotOffered("training mode")
    return F.batch_norm(x, mean, variance, gain, shift, False, 0.0, a.get("epsilon", 1e-5))


def layer_normalization(a: Attributes, x: Any, gain: Any, shift: Any = None) -> Any:
    """LayerNormalization, first output."""
    axis = a.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    gain = gain.expand(shape)
    shift = shift.expand(shape) if shift is not None else None
    return F.layer_norm(x, shape, gain, shift, a.get("epsilon", 1e-5))


def instance_normalization(a: Attributes, x: Any, gain: Any, shift: Any) -> Any:
    """InstanceNormalization."""
    return F.instance_norm(x, None, None, gain, shift, True, 0.0, a.get("epsilon", 1e-5))


def global_pool(how: str) -> Any:
    """GlobalAveragePool or GlobalMaxPool."""

    def run(a: Attributes, x: Any) -> Any:
        axes = list(range(2, x.ndim))
        return x.mean(axes, True) if how == "mean" else x.amax(axes, True)

    return run


def resize(a: Attributes, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """Resize of the spatial axes, in the forms that torch has."""
    where = a.get("coordinate_transformation_mode", b"half_pixel")
    mode = a.get("mode", b"nearest")
    if sizes is not None and sizes.numel():
        wanted = [int(v) for v in sizes.tolist()[-(x.ndim - 2) :]]
    elif scales is not None and scales.numel():
        factors = scales.tolist()[-(x.ndim - 2) :]
        wanted = [int(d * f) for d, f in zip(x.shape[2:], factors, strict=True)]
    else:
        raise NotOffered("neither scales nor sizes")
    if mode == b"nearest":
        plain = where == b"asymmetric" and a.get("nearest_mode", b"") == b"floor"
        return F.interpolate(x, wanted, mode="nearest" if plain else "nearest-exact")
    if mode != b"linear" or where not in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        raise NotOffered(f"mode {mode.decode()} with {where.decode()}")
    names = {3: "linear", 4: "bilinear", 5: "trilinear"}
    return F.interpolate(x, wanted, mode=names[x.ndim], align_corners=where == b"align_corners")


def depth_to_space(a: Attributes, x: Any) -> Any:
    """DepthToSpace."""
    n, c, h, w = x.shape
    b = a["blocksize"]
    if a.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, b)
    x = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(a: Attributes, x: Any) -> Any:
    """SpaceToDepth."""
    n, c, h, w = x.shape
    b = a["blocksize"]
    x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * b**2, h // b, w // b)


LAYERS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool("mean"),
    "GlobalMaxPool": global_pool("max"),
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "MaxPool": max_pool,
    "Resize": resize,
    "SpaceToDepth": space_to_depth,
}
