"""One layer of a small net damaged on purpose: INT8 breaks, float is (nearly) the same.

The author of this module had not seen the checks that are tried on it. Each plant is a cause known
from practice; the ones in the float model change its numbers by rounding alone (a factor put into
one layer is taken out of the next, an offset is cancelled, a dead channel stays dead), the ones in
the file are what a converter's bug leaves behind in a finished Q/DQ model.

`plants()` gives them all; `int8` quantises with ONNX Runtime as the self-check does. A diagnosis is
right when it ranks one of `nodes` or `tensors` first and its text says one of `words`.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blind_nets import INPUT, Floats, Net, build, drawn
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from qdq_edits import (
    Array,
    Edit,
    change_integers,
    change_weight_scale,
    mismatch_zero_point,
    scale_activation,
    shift_zero_point,
    swap_axis,
)


@dataclass(frozen=True)
class Plant:
    """A fault in one place.

    Attributes:
        name: Name of the plant.
        net: Which of `blind_nets.NETS`.
        sound: The float model without the fault.
        damaged: The float model to quantise; equal to `sound` where the file is edited.
        edit: Applied to the Q/DQ file of `damaged`, or None.
        samples: Inputs called `image`, float32 N x 3 x 48 x 48; the first half calibrates.
        labels: Class per sample.
        nodes: The guilty node, and those beside it that a fair reader would accept.
        tensors: The guilty tensor first, then those that carry the same fault.
        part: "weights", "activations" or "file".
        cause: What is wrong, in plain words.
        words: A diagnosis that says it holds one of these (lower case).
    """

    name: str
    net: str
    sound: bytes
    damaged: bytes
    edit: Edit | None
    samples: Floats
    labels: tuple[int, ...]
    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    part: str
    cause: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    net: str
    prepare: Callable[[Net, np.random.Generator], None] | None
    damage: Callable[[Net, np.random.Generator], None] | None
    edit: Edit | None
    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    part: str
    cause: str
    words: tuple[str, ...]


@functools.cache
def _net(kind: str, seed: int) -> Net:
    x, labels = drawn(100 + seed, 300)
    return build(kind, seed, x, labels, 6)


def _scale(net: Net, maker: str, readers: tuple[str, ...], pick: Array, factor: Array) -> None:
    """Multiply output channels of `maker`, divide the readers' inputs: exact through a ReLU."""
    shape = (-1, 1, 1, 1)
    net.weights[f"{maker}.weight"][pick] *= factor.reshape(shape)
    net.weights[f"{maker}.bias"][pick] *= factor
    for reader in readers:
        weight = net.weights[f"{reader}.weight"]
        if weight.ndim == 2:
            weight[pick] /= factor[:, None]
        elif weight.shape[1] == 1 and weight.shape[0] > 1:  # depthwise: one filter per channel
            weight[pick] /= factor.reshape(shape)
        else:
            weight[:, pick] /= factor.reshape(1, -1, 1, 1)


def _pick(rng: np.random.Generator, n: int, count: int = 1) -> Array:
    return rng.permutation(n)[:count]


def _one_loud(maker: str, reader: str, count: int, factor: float) -> Callable[..., None]:
    def damage(net: Net, rng: np.random.Generator) -> None:
        n = len(net.weights[f"{maker}.bias"])
        _scale(net, maker, (reader,), _pick(rng, n, count), np.full(count, factor, np.float32))

    return damage


def _spread(maker: str, reader: str, octaves: float) -> Callable[..., None]:
    def damage(net: Net, rng: np.random.Generator) -> None:
        n = len(net.weights[f"{maker}.bias"])
        factor = np.exp2(rng.uniform(-octaves, octaves, n)).astype(np.float32)
        _scale(net, maker, (reader,), np.arange(n), factor)

    return damage


def _dead(maker: str) -> Callable[..., None]:
    """Channel 3 of `maker` is off for every input, in the sound model as well."""

    def prepare(net: Net, rng: np.random.Generator) -> None:
        del rng
        net.weights[f"{maker}.weight"][3] = 0
        net.weights[f"{maker}.bias"][3] = -1

    return prepare


def _rows_of_dead(reader: str, factor: float) -> Callable[..., None]:
    """The weights that read the dead channel grow, as nothing holds them back in training."""

    def damage(net: Net, rng: np.random.Generator) -> None:
        weight = net.weights[f"{reader}.weight"]
        shape = weight[:, 3].shape
        weight[:, 3] = rng.choice([-1.0, 1.0], shape) * np.abs(weight).max() * factor

    return damage


def _loud_branch(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["conv6.weight"] *= np.float32(300)
    net.weights["conv6.bias"] *= np.float32(300)
    net.weights["conv7.weight"][:, 48:] /= np.float32(300)


def _unread(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["conv8.weight"][:, 5] = 0


def _loud_unread(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["conv7.weight"][5] *= np.float32(400)
    net.weights["conv7.bias"][5] *= np.float32(400)


def _offset(net: Net, rng: np.random.Generator) -> None:
    """A constant rides on one channel of a linear bottleneck; both readers subtract it."""
    channel, size = int(rng.integers(48)), np.float32(300)
    net.weights["b2_project.bias"][channel] += size
    for reader in ("b3_expand", "last"):
        net.weights[f"{reader}.bias"] -= net.weights[f"{reader}.weight"][:, channel, 0, 0] * size


def _norm_gain(net: Net, rng: np.random.Generator) -> None:
    pick = _pick(rng, 64, 2)
    net.weights["l0_norm2.weight"][pick] *= np.float32(150)
    net.weights["l0_norm2.bias"][pick] *= np.float32(150)
    net.weights["l0_fc1.weight"][pick] /= np.float32(150)


def _key_offset(net: Net, rng: np.random.Generator) -> None:
    """All keys share a huge offset: softmax does not see it, the range of the scores does."""
    net.weights["l0_k.bias"] += (rng.choice([-1.0, 1.0], 64) * 120).astype(np.float32)


def _unread_unit(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["l1_fc2.weight"][7] = 0


def _loud_unread_unit(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["l1_fc1.weight"][:, 7] *= np.float32(400)


def _dead_unit(net: Net, rng: np.random.Generator) -> None:
    del rng
    net.weights["l0_fc1.weight"][:, 7] = 0
    net.weights["l0_fc1.bias"][7] = -12


def _rows_of_dead_unit(net: Net, rng: np.random.Generator) -> None:
    weight = net.weights["l0_fc2.weight"]
    weight[7] = rng.choice([-1.0, 1.0], weight.shape[1]) * np.abs(weight).max() * 60


def _loud_value(net: Net, rng: np.random.Generator) -> None:
    pick = _pick(rng, 64, 2)
    net.weights["l1_v.weight"][:, pick] *= np.float32(300)
    net.weights["l1_v.bias"][pick] *= np.float32(300)
    net.weights["l1_proj.weight"][pick] /= np.float32(300)


def _wrap(v: Array) -> Array:
    """Every fourth bias beyond 32 bits: what is left after the overflow."""
    out = v.copy()
    wide = out[::4].astype(np.int64) + (1 << 31) + (1 << 20)
    out[::4] = ((wide + (1 << 31)) % (1 << 32) - (1 << 31)).astype(v.dtype)
    return out


_LOUD = ("outlier", "channel", "range", "spread", "larger", "dominat")
_HEAVY = ("weight", "outlier", "range", "channel")
_SCALE = ("scale", "range", "step", "coarse", "resolution")
_CLIP = ("clip", "satur", "range", "narrow", "scale", "cut")
_FILE_W = ("weight", "scale", "axis", "channel")


def _float_cases() -> dict[str, _Case]:
    """Faults inside the float model."""
    c, i, t = "convnet", "inverted", "transformer"
    return {
        "loud_channel": _Case(
            c,
            None,
            _one_loud("conv3", "conv4", 1, 300),
            None,
            ("conv3", "relu3", "conv4"),
            ("relu3_out", "conv3_out"),
            "activations",
            "one channel of relu3 is 300 times as large as the others, one scale serves all",
            _LOUD,
        ),
        "loud_branch": _Case(
            c,
            None,
            _loud_branch,
            None,
            ("concat", "conv6", "relu6", "conv7"),
            ("concat_out", "relu6_out", "conv6_out"),
            "activations",
            "one of two concatenated branches is 300 times as large, they share one scale",
            (*_LOUD, "concat", "branch"),
        ),
        "loud_feature": _Case(
            c,
            None,
            _one_loud("conv8", "head", 2, 400),
            None,
            ("conv8", "relu8", "pool", "flatten", "head"),
            ("relu8_out", "pool_out", "flatten_out", "conv8_out"),
            "activations",
            "two features before the classifier are 400 times as large as the others",
            _LOUD,
        ),
        "loud_unread_channel": _Case(
            c,
            _unread,
            _loud_unread,
            None,
            ("conv7", "relu7", "conv8"),
            ("relu7_out", "conv7_out"),
            "activations",
            "a channel that nothing reads is 400 times as large and sets the scale for the others",
            _LOUD,
        ),
        "heavy_weights_of_dead_channel": _Case(
            c,
            _dead("conv3"),
            _rows_of_dead("conv4", 60),
            None,
            ("conv4",),
            ("conv4.weight", "conv4_out"),
            "weights",
            "weights that read a dead channel are 60 times the largest other: every weight scale "
            "of conv4 is ruined",
            _HEAVY,
        ),
        "depthwise_input_spread": _Case(
            i,
            None,
            _spread("b1_expand", "b1_dw", 6),
            None,
            ("b1_expand", "b1_relu1", "b1_dw"),
            ("b1_relu1_out", "b1_expand_out", "b1_dw.weight"),
            "activations",
            "channels before a depthwise layer differ in range by up to 4,000 to 1",
            (*_LOUD, "depthwise"),
        ),
        "depthwise_output_spread": _Case(
            i,
            None,
            _spread("b2_dw", "b2_project", 6),
            None,
            ("b2_dw", "b2_relu2", "b2_project"),
            ("b2_relu2_out", "b2_dw_out", "b2_dw.weight"),
            "activations",
            "output channels of a depthwise layer differ in range by up to 4,000 to 1",
            (*_LOUD, "depthwise"),
        ),
        "bottleneck_offset": _Case(
            i,
            None,
            _offset,
            None,
            ("b2_project", "b3_expand", "b3_join", "last"),
            ("b2_project_out", "b3_join_out"),
            "activations",
            "a constant of 300 rides on one channel of a linear bottleneck",
            (*_LOUD, "offset", "mean", "bias", "constant"),
        ),
        "heavy_weights_in_projection": _Case(
            i,
            _dead("b1_dw"),
            _rows_of_dead("b1_project", 60),
            None,
            ("b1_project",),
            ("b1_project.weight", "b1_project_out"),
            "weights",
            "weights that read a dead depthwise channel are 60 times the largest other",
            _HEAVY,
        ),
        "norm_gain": _Case(
            t,
            None,
            _norm_gain,
            None,
            ("l0_norm2", "l0_fc1"),
            ("l0_norm2_out",),
            "activations",
            "two gains of a layer norm are 150 times the others: outlier channels at its output",
            (*_LOUD, "norm"),
        ),
        "key_offset": _Case(
            t,
            None,
            _key_offset,
            None,
            ("l0_k_add", "l0_score", "l0_scaled", "l0_k", "l0_softmax", "l0_k_heads"),
            ("l0_k_add_out", "l0_k_split_out", "l0_k_heads_out", "l0_score_out", "l0_scaled_out"),
            "activations",
            "all keys share an offset of 120 that softmax cancels: the score's range explodes",
            ("softmax", "score", "range", "outlier", "offset", "attention", "bias", "mean"),
        ),
        "loud_unread_unit": _Case(
            t,
            _unread_unit,
            _loud_unread_unit,
            None,
            ("l1_gelu", "l1_fc1", "l1_fc1_add", "l1_fc2"),
            ("l1_gelu_out", "l1_fc1_add_out", "l1_fc1_out"),
            "activations",
            "a hidden unit that nothing reads is 400 times as large and sets the scale",
            (*_LOUD, "gelu"),
        ),
        "heavy_weights_of_dead_unit": _Case(
            t,
            _dead_unit,
            _rows_of_dead_unit,
            None,
            ("l0_fc2",),
            ("l0_fc2.weight", "l0_fc2_out"),
            "weights",
            "the row of fc2 that reads a dead unit is 60 times the largest other weight",
            _HEAVY,
        ),
        "loud_value": _Case(
            t,
            None,
            _loud_value,
            None,
            ("l1_v", "l1_v_add", "l1_mix", "l1_proj", "l1_v_heads", "l1_v_split"),
            ("l1_v_add_out", "l1_v_out", "l1_mix_out", "l1_v_split_out", "l1_v_heads_out"),
            "activations",
            "two value channels of an attention are 300 times as large as the others",
            (*_LOUD, "attention"),
        ),
    }


def _file_cases() -> dict[str, _Case]:
    """Faults inside the Q/DQ file."""
    rows: tuple[tuple[str, str, Edit, tuple[str, ...], str, str, tuple[str, ...]], ...] = (
        (
            "coarse_scale",
            "convnet",
            scale_activation("relu4_out", 24),
            ("relu4", "join", "conv5", "conv6"),
            "relu4_out",
            "the scale of one activation is 24 times too large: ten steps are left",
            _SCALE,
        ),
        (
            "clipped_range",
            "convnet",
            scale_activation("relu2_out", 1 / 8),
            ("relu2", "conv2", "conv3"),
            "relu2_out",
            "the scale of one activation is 8 times too small: most values are clipped",
            _CLIP,
        ),
        (
            "input_in_bytes",
            "convnet",
            scale_activation(INPUT, 255),
            ("conv1",),
            INPUT,
            "the input's scale is for 0 to 255, the input is 0 to 1: it becomes 0 or 1",
            (*_SCALE, "input"),
        ),
        (
            "rolled_weight_scales",
            "convnet",
            change_weight_scale("conv5", lambda v: np.roll(v, 1)),
            ("conv5",),
            "conv5.weight",
            "each channel of one weight is dequantised with its neighbour's scale",
            _FILE_W,
        ),
        (
            "swapped_axis",
            "convnet",
            swap_axis("conv3"),
            ("conv3",),
            "conv3.weight",
            "per-channel scales are applied along the input channels",
            _FILE_W,
        ),
        (
            "four_bits_left",
            "convnet",
            change_integers("conv7", 1, lambda v: (v.astype(np.int16) // 32 * 32).astype(v.dtype)),
            ("conv7",),
            "conv7.weight",
            "the low five bits of one weight were lost",
            (*_FILE_W, "bits", "precision", "resolution"),
        ),
        (
            "shifted_zero_point",
            "inverted",
            shift_zero_point("b1_relu2_out", 190),
            ("b1_relu2", "b1_dw", "b1_project"),
            "b1_relu2_out",
            "the zero point of one activation is far off: the upper three quarters are clipped",
            (*_CLIP, "zero point", "zero-point"),
        ),
        (
            "mismatched_zero_point",
            "inverted",
            mismatch_zero_point("b2_relu1_out", 40),
            ("b2_relu1", "b2_expand", "b2_dw"),
            "b2_relu1_out",
            "quantised with one zero point, dequantised with another",
            ("zero point", "zero-point", "offset", "mean", "bias", "shift"),
        ),
        (
            "stale_weight_scale",
            "inverted",
            change_weight_scale("b2_dw", lambda v: (v * np.float32(3)).astype(v.dtype)),
            ("b2_dw",),
            "b2_dw.weight",
            "the weight scales of one layer are three times too large (from an older training)",
            _FILE_W,
        ),
        (
            "bias_overflow",
            "inverted",
            change_integers("b3_expand", 2, _wrap),
            ("b3_expand",),
            "b3_expand.bias",
            "every fourth bias of one layer overflowed 32 bits and wrapped round",
            ("bias", "overflow", "wrap", "int32"),
        ),
        (
            "clipped_softmax",
            "transformer",
            scale_activation("l1_softmax_out", 1 / 60),
            ("l1_softmax", "l1_mix"),
            "l1_softmax_out",
            "the range of a softmax output is clipped to a 60th: attention becomes flat",
            (*_CLIP, "softmax", "attention"),
        ),
        (
            "clipped_norm",
            "transformer",
            scale_activation("l0_norm1_out", 1 / 12),
            ("l0_norm1", "l0_q", "l0_k", "l0_v"),
            "l0_norm1_out",
            "the output of a layer norm is clipped to a twelfth of its range",
            (*_CLIP, "norm"),
        ),
        (
            "coarse_residual",
            "transformer",
            scale_activation("l0_join2_out", 40),
            ("l0_join2", "l1_norm1", "l1_join1"),
            "l0_join2_out",
            "the scale of the residual stream is 40 times too large: six steps are left",
            _SCALE,
        ),
    )
    return {
        name: _Case(net, None, None, edit, nodes, (tensor,), "file", cause, words)
        for name, net, edit, nodes, tensor, cause, words in rows
    }


CASES = {**_float_cases(), **_file_cases()}


def plant(name: str, seed: int = 0) -> Plant:
    """Make one plant of `CASES`."""
    case = CASES[name]
    net = copy.deepcopy(_net(case.net, seed))
    rng = np.random.default_rng([seed, sorted(CASES).index(name)])
    if case.prepare:
        case.prepare(net, rng)
    sound = net.model()
    if case.damage:
        case.damage(net, rng)
    x, labels = drawn(200 + seed, 192)
    return Plant(
        name,
        case.net,
        sound,
        net.model(),
        case.edit,
        x,
        labels,
        case.nodes,
        case.tensors,
        case.part,
        case.cause,
        case.words,
    )


def plants(seed: int = 0) -> Iterator[Plant]:
    """All plants of one seed, float ones first."""
    for name in CASES:
        yield plant(name, seed)


class _Reader:
    """Feeds samples in batches of 16."""

    def __init__(self, samples: Floats) -> None:
        self.batches = iter([samples[i : i + 16] for i in range(0, len(samples), 16)])

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def int8(model: bytes, samples: Floats) -> bytes:
    """ONNX Runtime's own static Q/DQ: min-max, uint8 activations, int8 weights per channel."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model)
        quantize_static(
            source,
            target,
            _Reader(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return target.read_bytes()
