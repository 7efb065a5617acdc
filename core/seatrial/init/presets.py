"""Usual ways to prepare pictures, and what the model itself says about its own.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from seatrial.codec import record
from seatrial.data.contract import UNKNOWN_RANK, InputContract
from seatrial.intake import ModelFacts
from seatrial.results import TensorIO


@record
class Preset:
    """A way to prepare pixels: the keys of the contract that it sets, and where it is usual."""

    name: str
    contract: InputContract
    usual: str

    def over(self, base: InputContract) -> InputContract:
        """The preset's numbers in a contract whose geometry is settled."""
        c = self.contract
        return dataclasses.replace(base, color=c.color, scale=c.scale, mean=c.mean, std=c.std)


def _preset(
    name: str,
    usual: str,
    *,
    color: str = "RGB",
    scale: float = 1.0,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
) -> Preset:
    contract = InputContract(color=color, scale=scale, mean=mean, std=std)
    return Preset(name=name, contract=contract, usual=usual)


PRESETS = (
    _preset(
        "imagenet",
        "torchvision, timm: RGB / 255, ImageNet mean and std",
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    _preset("unit", "YOLO and many small models: RGB / 255", scale=1 / 255),
    _preset("signed", "TensorFlow: RGB / 127.5 - 1", scale=1 / 127.5, mean=(1.0,)),
    _preset("raw", "normalised inside the model, or not at all: RGB 0-255"),
    _preset("caffe", "Caffe: BGR 0-255 minus the mean", color="BGR", mean=(104.0, 117.0, 123.0)),
)
BY_NAME: Mapping[str, Preset] = {p.name: p for p in PRESETS}


def swapped(preset: Preset) -> Preset:
    """A preset with the colour order turned round, mean and std along with it."""
    c = preset.contract
    contract = dataclasses.replace(
        c,
        color="BGR" if c.color == "RGB" else "RGB",
        mean=tuple(reversed(c.mean)),
        std=tuple(reversed(c.std)),
    )
    other = "BGR" if c.color == "RGB" else "RGB"
    name = f"{preset.name}-{other.lower()}"
    return Preset(name=name, contract=contract, usual=f"{preset.name} with {other} order")


def is_picture(model_input: TensorIO) -> bool:
    """Whether an input's shape is a picture's: three or four axes, one of them colour."""
    shape = model_input.shape
    if shape == UNKNOWN_RANK or len(shape) not in (3, 4):
        return False
    first, last = shape[-3], shape[-1]
    sides = (shape[-2], shape[-1]) if first in (1, 3) else (shape[-3], shape[-2])
    small = any(isinstance(s, int) and s < 8 for s in sides)
    return (first in (1, 3)) != (last in (1, 3)) and not small


@record
class Hint:
    """What the model says about one input.

    Attributes:
        preset: name of the preset it points to, ``""`` for none.
        why: the evidence, one sentence.
        resize: the resize mode it points to, ``""`` for none.
    """

    preset: str = ""
    why: str = ""
    resize: str = ""


_ARITHMETIC = ("Sub", "Div", "Mul", "Add", "BatchNormalization", "ImageScaler", "Normalizer")
_PASSING = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Pad", "Resize")


def hint(facts: ModelFacts, model_input: TensorIO) -> Hint:
    """What names, types, metadata and the first nodes say about an image input."""
    from_metadata = _metadata_hint(facts.metadata)
    if from_metadata is not None:
        return from_metadata
    if model_input.dtype in ("uint8", "int8"):
        why = f"the model takes {model_input.dtype}, so it is fed pixels as they are"
        return Hint(preset="raw", why=why)
    before = _nodes_before_weights(facts, model_input.name)
    if before:
        ops = ", ".join(before)
        why = f"the first nodes are {ops}: the model seems to normalise by itself"
        return Hint(preset="raw", why=why)
    if model_input.name == "data_0" or facts.producer.lower().startswith("caffe"):
        why = f"the input is called {model_input.name!r}, as Caffe models have it"
        return Hint(preset="caffe", why=why)
    return Hint()


def _metadata_hint(metadata: Mapping[str, str]) -> Hint | None:
    lower = {key.lower(): value.lower() for key, value in metadata.items()}
    if {"stride", "names"} <= set(lower) or "ultralytics" in lower.get("author", ""):
        why = "the metadata is that of a YOLO export"
        return Hint(preset="unit", why=why, resize="letterbox")
    pixels = lower.get("image.bitmappixelformat", "")
    span = lower.get("image.nominalpixelrange", "")
    if pixels or span:
        preset = {"nominalrange_0_255": "raw", "normalized_0_1": "unit", "normalized_1_1": "signed"}
        name = preset.get(span, "raw")
        name = f"{name}-bgr" if pixels.startswith("bgr") else name
        why = f"the metadata says {pixels or 'nothing of colour'}, {span or 'nothing of range'}"
        return Hint(preset=name, why=why)
    return None


def _nodes_before_weights(facts: ModelFacts, name: str) -> list[str]:
    """Arithmetic that a picture meets before the first convolution, at most six nodes deep."""
    found: list[str] = []
    nodes = [n for n in facts.nodes if not n.scope and not n.function]
    for _ in range(6):
        users = [n for n in nodes if name in n.inputs]
        if len(users) != 1 or users[0].op_type not in (*_ARITHMETIC, *_PASSING):
            return found
        if users[0].op_type in _ARITHMETIC:
            found.append(users[0].op_type)
        if not users[0].outputs:
            return found
        name = users[0].outputs[0]
    return found


def classes_of(facts: ModelFacts) -> int:
    """Length of the class vector, if the model looks like a classifier; else 0."""
    if len(facts.outputs) != 1:
        return 0
    shape = facts.outputs[0].shape
    rest = [d for d in shape[1:] if d != 1]
    if len(shape) in (2, 4) and len(rest) == 1 and isinstance(rest[0], int):
        return rest[0]
    return 0


def find(name: str) -> Preset:
    """A preset by name, ``raw-bgr`` and its like included."""
    if name in BY_NAME:
        return BY_NAME[name]
    return swapped(BY_NAME[name.rpartition("-")[0]])
