"""Conditions of the operator table that can be read off a node, each as a function.

A rule answers with a reason why the parser would refuse the node, or with an :class:`Open` when
the model does not tell. The conditions stand in ``operators.json``; operators without a function
here show theirs as a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ._graph import Seen
from ._table import Version


@dataclass(frozen=True)
class Refused:
    """The condition is not met."""

    reason: str


@dataclass(frozen=True)
class Open:
    """The condition cannot be judged from the model."""

    reason: str


Answer = Refused | Open
Rule = Callable[[Seen, Version], Iterator[Answer]]

#: TopK selects fewer than this.
_TOPK_LIMIT = 3840

_PREFER_FLOOR = "round_prefer_floor"

#: What an equation of Einsum may hold.
_SUBSCRIPTS = frozenset("abcdefghijklmnopqrstuvwxyz->., ")

_COORDINATES = frozenset(
    {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
)


def judge(seen: Seen, version: Version) -> Answer | None:
    """The first refusal, else the first open question, else ``None``."""
    rule = RULES.get(seen.op_type)
    answers = list(rule(seen, version)) if rule is not None else []
    refused = [a for a in answers if isinstance(a, Refused)]
    return next(iter(refused or answers), None)


def _pool(seen: Seen, _: Version) -> Iterator[Answer]:
    if any(d != 1 for d in seen.attribute("dilations", [])):
        yield Refused(f"{seen.op_type} with dilations")
    if len(seen.attribute("kernel_shape", [])) > 3:
        yield Refused(f"{seen.op_type} over more than three spatial axes")


def _max_pool(seen: Seen, version: Version) -> Iterator[Answer]:
    yield from _pool(seen, version)
    if seen.used(1):
        yield Refused("the output Indices of MaxPool")


def _lp_pool(seen: Seen, version: Version) -> Iterator[Answer]:
    yield from _pool(seen, version)
    if seen.attribute("p", 2) not in (1, 2):
        yield Refused("LpPool with p other than 1 and 2")


def _constant(seen: Seen, _: Version) -> Iterator[Answer]:
    for name in ("sparse_value", "value_string", "value_strings"):
        if any(a.name == name for a in seen.node.attribute):
            yield Refused(f"Constant with {name}")


def _dropout(seen: Seen, _: Version) -> Iterator[Answer]:
    if not seen.given(2):
        return
    training = seen.constant(2)
    if training is None:
        yield Open("training_mode of Dropout is not constant")
    elif training.size and bool(training.reshape(-1)[0]):
        yield Refused("Dropout in training mode")


def _recurrent(seen: Seen, _: Version) -> Iterator[Answer]:
    if seen.attribute("direction", "forward") == "bidirectional":
        names = [str(a) for a in seen.attribute("activations", [])]
        half = len(names) // 2
        if names[:half] != names[half:]:
            yield Refused(f"bidirectional {seen.op_type} with activations that differ")
    if seen.op_type == "LSTM":
        for name in ("input_forget", "layout"):
            if seen.attribute(name, 0):
                yield Refused(f"LSTM with {name} 1")


def _grid_sample(seen: Seen, version: Version) -> Iterator[Answer]:
    shape = seen.inputs[0].shape if seen.inputs else None
    if shape is not None and len(shape) != 4 and version < (11, 2):
        yield Refused(f"GridSample of rank {len(shape)} (rank 5 from 11.2 on)")


def _only_first_output(seen: Seen, _: Version) -> Iterator[Answer]:
    if any(seen.used(k) for k in range(1, len(seen.node.output))):
        yield Refused(f"outputs of {seen.op_type} other than the first")


def _attention(seen: Seen, version: Version) -> Iterator[Answer]:
    yield from _only_first_output(seen, version)
    for position, what in ((4, "past_key"), (5, "past_value"), (6, "nonpad_kv_seqlen")):
        if seen.given(position):
            yield Refused(f"Attention with {what}")
    if seen.attribute("softcap", 0.0):
        yield Refused("Attention with softcap")
    for position in range(min(4, len(seen.inputs))):
        shape = seen.inputs[position].shape
        if seen.given(position) and shape is not None and len(shape) != 4:
            yield Refused(f"Attention over inputs of rank {len(shape)}")


def _known(position: int, what: str, *, strict: bool) -> Rule:
    """An input that has to be known when the engine is built."""

    def rule(seen: Seen, _: Version) -> Iterator[Answer]:
        if seen.given(position) and seen.inputs[position].constant is None:
            text = f"{what} of {seen.op_type} is not constant"
            yield Refused(text) if strict else Open(text)

    return rule


def _resize(seen: Seen, _: Version) -> Iterator[Answer]:
    how = seen.attribute("coordinate_transformation_mode", "half_pixel")
    if how not in _COORDINATES:
        yield Refused(f"Resize with coordinates {how}")
    if (
        how == "tf_half_pixel_for_nn"
        and seen.attribute("nearest_mode", _PREFER_FLOOR) != _PREFER_FLOOR
    ):
        yield Refused(f"Resize with coordinates {how} and other rounding than {_PREFER_FLOOR}")
    mode = seen.attribute("mode", "nearest")
    if mode == "cubic":
        yield Open(
            "Resize with mode cubic: the table does not list it, the importer's source has it"
        )
    elif mode not in ("nearest", "linear"):
        yield Refused(f"Resize with mode {mode}")
    if seen.attribute("antialias", 0):
        yield Refused("Resize with antialias")
    policy = seen.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        yield Refused(f"Resize that keeps the aspect ratio ({policy})")
    axes = list(seen.attribute("axes", []))
    if axes and seen.given(2) and axes != list(range(len(axes))):
        yield Refused("Resize by scales over some of the axes")


def _normalization(seen: Seen, _: Version) -> Iterator[Answer]:
    if seen.attribute("training_mode", 0):
        yield Refused("BatchNormalization in training mode")


def _lp_normalization(seen: Seen, _: Version) -> Iterator[Answer]:
    if seen.attribute("p", 2) not in (1, 2):
        yield Refused("LpNormalization with p other than 1 and 2")


def _einsum(seen: Seen, _: Version) -> Iterator[Answer]:
    other = set(str(seen.attribute("equation", ""))) - _SUBSCRIPTS
    if other:
        yield Refused(f"Einsum with {', '.join(sorted(other))} in its equation")


def _scatter_nd(seen: Seen, _: Version) -> Iterator[Answer]:
    reduction = seen.attribute("reduction", "none")
    if reduction != "none":
        yield Refused(f"ScatterND with reduction {reduction}")


def _stft(seen: Seen, _: Version) -> Iterator[Answer]:
    for position, what in ((1, "frame_step"), (2, "window")):
        if seen.given(position) and seen.inputs[position].constant is None:
            yield Refused(f"{what} of STFT is not constant")
    shape = seen.inputs[0].shape if seen.inputs else None
    if shape and len(shape) == 3 and shape[-1] == 2:
        yield Refused("STFT of a complex signal")


def _top_k(seen: Seen, _: Version) -> Iterator[Answer]:
    if not seen.attribute("sorted", 1):
        yield Refused("TopK with sorted 0")
    k = seen.constant(1)
    if k is not None and k.size and int(k.reshape(-1)[0]) >= _TOPK_LIMIT:
        yield Refused(f"TopK with k {int(k.reshape(-1)[0])}: it has to be below {_TOPK_LIMIT}")


def _tensor_scatter(seen: Seen, _: Version) -> Iterator[Answer]:
    if seen.attribute("axis", -2) != -2:
        yield Refused("TensorScatter along another axis than -2")
    for position in (0, 1):
        shape = seen.inputs[position].shape if position < len(seen.inputs) else None
        if shape is not None and len(shape) != 4:
            yield Refused(f"TensorScatter of rank {len(shape)}")


def _deform_conv(seen: Seen, _: Version) -> Iterator[Answer]:
    pads = list(seen.attribute("pads", []))
    half = len(pads) // 2
    if half > 2:
        yield Refused("DeformConv over more than two spatial axes")
    if pads[:half] != pads[half:]:
        yield Refused("DeformConv with pads that differ at begin and end")


_AXES = _known(1, "axes", strict=True)

RULES: Mapping[str, Rule] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "BatchNormalization": _normalization,
    "Constant": _constant,
    "CumSum": _known(1, "axis", strict=False),
    "DeformConv": _deform_conv,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "GridSample": _grid_sample,
    "LSTM": _recurrent,
    "LayerNormalization": _only_first_output,
    "LpNormalization": _lp_normalization,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "OneHot": _known(1, "depth", strict=False),
    "RNN": _recurrent,
    "Resize": _resize,
    "STFT": _stft,
    "ScatterND": _scatter_nd,
    "Squeeze": _AXES,
    "TensorScatter": _tensor_scatter,
    "TopK": _top_k,
    "Unsqueeze": _AXES,
    **{
        f"Reduce{kind}": _AXES
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")
    },
    "ReduceSumSquare": _AXES,
}
