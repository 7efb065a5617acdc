"""Rules, as in :mod:`size_rules`, of operators whose output is as large as a parameter says."""

from __future__ import annotations

import math
from collections.abc import Callable

from .model import Node
from .size_rules import Fact, Inputs, known_shape

_FLOAT_BITS = 32


def _whole(values: object) -> tuple[int, ...]:
    """Dimensions that are given as numbers; ValueError when they are not."""
    if not isinstance(values, tuple) or any(v < 0 for v in values):
        raise ValueError(values)
    return tuple(int(v) for v in values)


def _by_attribute(node: Node, _: Inputs) -> Fact:
    """RandomNormal and RandomUniform."""
    return known_shape(_whole(node.attributes.get("shape")), _FLOAT_BITS)


def _window(_: Node, inputs: Inputs) -> Fact:
    """HannWindow and its kind: a vector of the given length."""
    (size,) = _whole(inputs[0].values)
    return known_shape((size,), _FLOAT_BITS)


def _spectrum(_: Node, inputs: Inputs) -> Fact:
    """DFT: one axis gets the given length (half of it, but of complex numbers, if one-sided)."""
    (length,) = _whole(inputs[1].values)
    return Fact(None, length, inputs[0].bits)


def _image(_: Node, inputs: Inputs) -> Fact:
    """Col2Im: an image of the given size, once at least."""
    return Fact(None, math.prod(_whole(inputs[1].values)), inputs[0].bits)


def _unpooled(_: Node, inputs: Inputs) -> Fact:
    """MaxUnpool with its output shape given."""
    return known_shape(_whole(inputs[2].values), inputs[0].bits)


def _grid(_: Node, inputs: Inputs) -> Fact:
    """AffineGrid: for N, C, H, W a grid of N, H, W, 2, and likewise in three dimensions."""
    batch, _channels, *space = _whole(inputs[1].values)
    return known_shape((batch, *space, len(space)), inputs[0].bits)


def _cropped(_: Node, inputs: Inputs) -> Fact:
    """CenterCropPad: the given sizes on some of the axes."""
    return Fact(None, math.prod(_whole(inputs[1].values)), inputs[0].bits)


RULES: dict[str, Callable[[Node, Inputs], Fact]] = {
    **dict.fromkeys(("RandomNormal", "RandomUniform"), _by_attribute),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _window),
    "DFT": _spectrum,
    "Col2Im": _image,
    "MaxUnpool": _unpooled,
    "AffineGrid": _grid,
    "CenterCropPad": _cropped,
}
