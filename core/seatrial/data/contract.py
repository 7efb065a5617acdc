"""The input contract: how a picture or a stored array becomes what one model input is fed.

One contract serves calibration, test and device alike. For every element

    value = ((x - zero_point) * scale - mean) / std

computed in float64 and rounded once to ``dtype``; ``x`` is a pixel of 0 to 255 (after resizing and
colour conversion) or an element of a stored array. ``mean`` and ``std`` hold one number, or one
per channel in the order of ``color``.
Standard library only: the parent process reads and checks contracts, it never applies them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.results import TensorIO

MODES = ("image", "tensor", "constant", "state")
RESIZES = ("none", "stretch", "crop", "letterbox")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "area", "hamming")
COLORS: Mapping[str, int] = {"RGB": 3, "BGR": 3, "GRAY": 1}
LAYOUTS = ("NCHW", "NHWC", "CHW", "HWC", "NHW", "HW")
PAD_SIDES = ("center", "topleft")
DTYPES = ("float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")
#: Shape of an input whose rank the model does not state.
UNKNOWN_RANK = ("...",)
#: dtypes of tensors only: no picture becomes these.
TENSOR_DTYPES = (*DTYPES, "uint32", "uint64", "bool")


@record
class InputContract:
    """How samples become what one input is fed.

    Attributes:
        mode: ``image`` (pictures, or uint8 arrays N,H,W,C in RGB order), ``tensor`` (arrays),
            ``constant`` (``value`` every time) or ``state`` (what the step before gave as
            ``output``; zeros before the first step).
        value: of a ``constant``: one number, or one per element.
        output: of a ``state``: the model's output that is fed back.
        size: (height, width) in pixels; empty: the model's own.
        resize: ``none`` (must fit already; the default), ``stretch``, ``crop`` (short side to
            ``resize_to``, then the centre) or ``letterbox`` (whole picture, rest padded).
        resize_to: short side before a crop, pixels; 0: just large enough to cover ``size``.
        interpolation: Pillow's filters, which smooth when they shrink; ``area`` is ``box``.
        pad_value: 0 to 255, for a letterbox's rest: one number or one per channel.
        pad_side: where the picture sits: ``center``, or ``topleft`` (rest below and right).
        exif: turn the picture as its EXIF orientation says.
        color: channel order as fed.
        zero_point: see the formula; for arrays stored as quantised integers.
        scale: see the formula.
        mean: see the formula.
        std: see the formula; no element is 0.
        layout: axes of a picture as fed; for ``tensor``: ``""``, ``N...`` (samples are stacked
            along a batch axis) or ``...`` (a sample is the whole feed).
        dtype: numpy name; empty: the model's own. A ``tensor`` contract that writes it allows
            whole numbers to feed a float input as they are.
        reshape: shape of one sample before it is fed (``tensor`` only); empty: as stored.
    """

    mode: str = "image"
    size: tuple[int, ...] = ()
    resize: str = ""
    resize_to: int = 0
    interpolation: str = "bilinear"
    pad_value: tuple[float, ...] = (114.0,)
    pad_side: str = "center"
    exif: bool = True
    color: str = "RGB"
    zero_point: float = 0.0
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = ""
    dtype: str = ""
    reshape: tuple[int, ...] = ()
    value: tuple[float, ...] = ()
    output: str = ""

    @property
    def made(self) -> bool:
        """Whether the core makes what is fed, and no source holds it."""
        return self.mode in ("constant", "state")

    @property
    def identity(self) -> bool:
        """Whether the formula changes nothing."""
        return (
            self.zero_point == 0.0
            and self.scale == 1.0
            and not any(self.mean)
            and all(s == 1.0 for s in self.std)
        )

    @property
    def channels(self) -> int:
        """Channels of a picture as fed."""
        return COLORS[self.color]

    @property
    def batch_axis(self) -> bool:
        """Whether a picture's layout has a batch axis."""
        return self.layout.startswith("N")


@record
class Geometry:
    """Where a picture's pixels went: ``x_fed = x * scale_x + offset_x``, and so for y.

    Coordinates are continuous with 0 at the picture's left (top) edge, so that a pixel's centre
    is at its index + 0.5.

    Attributes:
        size: (height, width) of the picture, after its EXIF orientation.
        fed: (height, width) as fed.
        scale: (y, x).
        offset: (y, x), fed pixels; negative when the picture was cropped.
    """

    size: tuple[int, ...]
    fed: tuple[int, ...]
    scale: tuple[float, ...] = (1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0)

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        """A point of the fed picture in the original's pixels."""
        return (x - self.offset[1]) / self.scale[1], (y - self.offset[0]) / self.scale[0]

    def to_fed(self, x: float, y: float) -> tuple[float, float]:
        """A point of the original picture in the fed one's pixels."""
        return x * self.scale[1] + self.offset[1], y * self.scale[0] + self.offset[0]

    def box_to_original(
        self, box: Sequence[float], *, clip: bool = True
    ) -> tuple[float, float, float, float]:
        """A box (x0, y0, x1, y1) of the fed picture in the original's pixels.

        Args:
            box: two corners.
            clip: keep it inside the original picture.
        """
        x0, y0 = self.to_original(box[0], box[1])
        x1, y1 = self.to_original(box[2], box[3])
        if clip:
            h, w = self.size
            x0, x1 = (min(max(x, 0.0), float(w)) for x in (x0, x1))
            y0, y1 = (min(max(y, 0.0), float(h)) for y in (y0, y1))
        return x0, y0, x1, y1

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the fed picture that shows the original, not padding.

        A mask is cut to it, then resized to the part of the original that :attr:`visible` names.
        """
        x0, y0 = self.to_fed(0.0, 0.0)
        x1, y1 = self.to_fed(float(self.size[1]), float(self.size[0]))
        h, w = self.fed
        rounded = [round(v) for v in (y0, x0, y1, x1)]
        top, left, bottom, right = (
            min(max(v, 0), side) for v, side in zip(rounded, (h, w, h, w), strict=True)
        )
        return top, left, bottom, right

    @property
    def visible(self) -> tuple[float, float, float, float]:
        """The part (x0, y0, x1, y1) of the original that the network sees."""
        return self.box_to_original((0.0, 0.0, float(self.fed[1]), float(self.fed[0])))


def check(contract: InputContract, name: str) -> None:
    """Refuse a contract that contradicts itself.

    Args:
        contract: as written by the user.
        name: the model input, for the message.

    Raises:
        UserError: naming the input and the key.
    """
    for key, known in _choices(contract).items():
        value = getattr(contract, key)
        if value not in known:
            raise _wrong(
                name, key, f"{value!r} is none of {', '.join(k or '(empty)' for k in known)}"
            )
    for key, mode in (("value", "constant"), ("output", "state")):
        if bool(getattr(contract, key)) != (contract.mode == mode):
            raise _wrong(name, key, f'belongs to mode = "{mode}", which needs it')
    if len(contract.size) not in (0, 2) or any(v < 1 for v in contract.size):
        raise _wrong(name, "size", "write two numbers above 0: [height, width]")
    if any(v == 0.0 for v in contract.std):
        raise _wrong(name, "std", "0 cannot be divided by")
    if contract.scale == 0.0:
        raise _wrong(name, "scale", "0 would make every sample the same")
    if contract.resize_to < 0:
        raise _wrong(name, "resize_to", "a side has at least 1 pixel")
    if contract.mode == "image":
        _check_picture(contract, name)
    if any(not 0 <= v <= 255 for v in contract.pad_value):
        raise _wrong(name, "pad_value", "pixels go from 0 to 255")


def _check_picture(contract: InputContract, name: str) -> None:
    for key in ("mean", "std", "pad_value"):
        if len(getattr(contract, key)) not in (1, contract.channels):
            reason = f"write 1 number or {contract.channels}, one per {contract.color} channel"
            raise _wrong(name, key, reason)
    if contract.reshape:
        raise _wrong(name, "reshape", 'only for mode = "tensor"')


def _choices(contract: InputContract) -> dict[str, tuple[str, ...]]:
    if contract.made:
        return {"dtype": ("", *TENSOR_DTYPES)}
    if contract.mode == "tensor":
        return {"layout": ("", "N...", "..."), "dtype": ("", *TENSOR_DTYPES)}
    return {
        "mode": MODES,
        "resize": ("", *RESIZES),
        "interpolation": INTERPOLATIONS,
        "color": tuple(COLORS),
        "layout": ("", *LAYOUTS),
        "pad_side": PAD_SIDES,
        "dtype": ("", *DTYPES),
    }


def _wrong(name: str, key: str, reason: str) -> UserError:
    return UserError("input contract", reason, place=f'[input."{name}"] {key}')


def complete(contract: InputContract, model_input: TensorIO) -> InputContract:
    """Fill what the contract leaves out from the model's input, and check that both agree.

    Args:
        contract: as written by the user.
        model_input: name, dtype and shape; free dimensions are texts.

    Returns:
        A contract with dtype, and for pictures also size, layout and resize mode.

    Raises:
        UserError: naming the input, with the contract's shape and the model's.
    """
    name = model_input.name
    check(contract, name)
    dtype = contract.dtype or model_input.dtype
    if model_input.dtype and dtype != model_input.dtype:
        raise _wrong(name, "dtype", f"is {dtype}, but the model takes {model_input.dtype}")
    if contract.mode != "image":
        return contract  # its dtype stays as written: writing it permits int to float
    contract = dataclasses.replace(contract, dtype=dtype)
    _must_say(contract, model_input)
    layout = contract.layout or guess_layout(model_input, contract)
    axes = dict(zip(layout, model_input.shape, strict=False))
    if model_input.shape == UNKNOWN_RANK:
        axes = dict.fromkeys(layout, "?")
    elif len(layout) != len(model_input.shape):
        raise _shape_clash(model_input, layout, f"has {len(layout)} axes")
    size = contract.size or tuple(v for v in (axes["H"], axes["W"]) if isinstance(v, int) and v > 0)
    if len(size) != 2:
        raise _wrong(
            name, "size", f"the model leaves it free ({_text(model_input.shape)}): write it"
        )
    fed = {"H": size[0], "W": size[1], "C": contract.channels}
    for axis, value in fed.items():
        have = axes.get(axis)
        if isinstance(have, int) and have > 0 and have != value:
            shape = [str(fed.get(a, a)) for a in layout]
            raise _shape_clash(model_input, layout, f"gives {'x'.join(shape)}")
    resize = contract.resize or ("crop" if contract.resize_to else "none")
    return dataclasses.replace(contract, layout=layout, size=size, resize=resize)


def _must_say(contract: InputContract, model_input: TensorIO) -> None:
    """Refuse a picture's contract that leaves out what no model tells."""
    wanted = {"dtype": '"float32"'}
    if model_input.shape == UNKNOWN_RANK:
        wanted = {"size": "[224, 224]", "layout": '"NCHW"', **wanted}
    missing = {k: v for k, v in wanted.items() if not getattr(contract, k)}
    if missing:
        raise UserError(
            "input contract",
            f"a PyTorch module does not say what it takes, and the contract lacks "
            f"{', '.join(missing)}",
            place=f'[input."{model_input.name}"]',
            advice=f"as it was trained: {', '.join(f'{k} = {v}' for k, v in missing.items())}",
        )


def fed_shape(contract: InputContract) -> tuple[int, ...]:
    """Shape of one picture as fed, batch 1; empty when the contract does not tell it."""
    if contract.mode != "image" or len(contract.size) != 2 or not contract.layout:
        return ()
    sizes = {"N": 1, "C": contract.channels, "H": contract.size[0], "W": contract.size[1]}
    return tuple(sizes[axis] for axis in contract.layout)


def guess_layout(model_input: TensorIO, contract: InputContract | None = None) -> str:
    """The axes of an image input, from its shape.

    Raises:
        UserError: the shape is not a picture's, or both orders fit.
    """
    shape = model_input.shape
    channels = {contract.channels} if contract else {1, 3, 4}
    if len(shape) not in (3, 4):
        reason = f'the shape {_text(shape)} is not a picture\'s: use mode = "tensor"'
        raise _wrong(model_input.name, "mode", reason)
    first, last = shape[-3] in channels, shape[-1] in channels
    if first == last:
        reason = f"cannot be told from the shape {_text(shape)}: write it (NCHW or NHWC)"
        raise _wrong(model_input.name, "layout", reason)
    order = "CHW" if first else "HWC"
    return "N" + order if len(shape) == 4 else order


def _shape_clash(model_input: TensorIO, layout: str, found: str) -> UserError:
    return UserError(
        "input contract",
        f"the contract {found} ({layout}), but the model takes {_text(model_input.shape)}",
        place=f'[input."{model_input.name}"]',
        advice="correct size, color or layout",
    )


def _text(shape: Sequence[Any]) -> str:
    return "x".join(str(v) if v != "" else "?" for v in shape) or "(none)"
