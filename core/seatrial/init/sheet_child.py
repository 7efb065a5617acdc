"""Core task: a contact sheet of samples as the network sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from seatrial.data.contract import InputContract
from seatrial.data.feeder import Feeder
from seatrial.data.listing import select
from seatrial.data.pictures import Oddities
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.init.child import reading
from seatrial.init.records import SheetRequest, SheetResult
from seatrial.refusal import Refusal
from seatrial.text import clean

_TILE = 208
_TEXT = 46
_GAP = 10
_TOP = 44
FILE = "contact-sheet.png"


def draw(request: SheetRequest, job: Job) -> SheetResult:
    """Prepare a few samples by their contracts, turn them back into pictures, and lay them out."""
    try:
        return _draw(request, job)
    except UserError as error:
        return SheetResult(refused=Refusal.of(error))


def _draw(request: SheetRequest, job: Job) -> SheetResult:
    opened, reader = reading(request.source, request.inputs, request.contracts, job)
    source = dataclasses.replace(opened.source, limit=request.count)
    chosen, _ = select(source, reader.listing, source.text)
    feeder = Feeder(opened, Oddities())
    shown = _shown(request)
    tiles, values = [], []
    for i in chosen:
        name = reader.listing.ids[i]
        fed, _, _ = feeder.feed(reader.read(i), name)
        tensor = fed[shown]
        values.append(channels(tensor, request.contracts.get(shown)))
        tiles.append((as_seen(tensor, request.contracts.get(shown)), name, values[-1]))
    _compose(tiles, request.title).save(job.out / FILE)
    return SheetResult(file=FILE, ranges=_ranges(shown, values))


def _shown(request: SheetRequest) -> str:
    """The input that is drawn: the first picture, else the first with two axes or more."""
    for model_input in request.inputs:
        contract = request.contracts.get(model_input.name)
        if contract is not None and contract.mode == "image":
            return model_input.name
    flat = [i for i in request.inputs if len(i.shape) >= 2]
    return (flat or list(request.inputs))[0].name


def as_seen(tensor: Any, contract: InputContract | None) -> Any:
    """A fed tensor as a uint8 picture (H, W, 3): a picture's own pixels, other tensors in grey.

    For pictures the contract's formula is undone and the channels are put in RGB order, so a
    sheet looks natural exactly when the stored pixels and the geometry are right; a wrong scale
    shows in the ranges below each tile.
    """
    import numpy as np

    if contract is None or contract.mode != "image":
        return _grey(tensor)
    layout = contract.layout.removeprefix("N")
    pixels = np.asarray(tensor, dtype=np.float64)
    pixels = pixels[:, :, None] if layout == "HW" else pixels
    pixels = pixels.transpose(1, 2, 0) if layout == "CHW" else pixels
    pixels = pixels * np.array(contract.std) + np.array(contract.mean)
    pixels = pixels / contract.scale + contract.zero_point
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if contract.color == "BGR":
        pixels = pixels[:, :, ::-1]
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _grey(tensor: Any) -> Any:
    import numpy as np

    values = np.atleast_2d(np.asarray(tensor, dtype=np.float64))
    while values.ndim > 2:
        values = values.mean(axis=0)
    low, high = float(values.min()), float(values.max())
    span = high - low if high > low else 1.0
    grey = ((values - low) / span * 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def channels(tensor: Any, contract: InputContract | None) -> list[tuple[float, float]]:
    """(least, greatest) value per channel of a picture, or of a whole other tensor."""
    import numpy as np

    if contract is None or contract.mode != "image":
        return [(float(np.min(tensor)), float(np.max(tensor)))]
    layout = contract.layout.removeprefix("N")
    axis = layout.find("C")
    planes = np.moveaxis(tensor, axis, 0) if axis >= 0 else tensor[None]
    return [(float(p.min()), float(p.max())) for p in planes]


def _ranges(name: str, values: Sequence[Sequence[tuple[float, float]]]) -> tuple[str, ...]:
    lines = []
    for c in range(len(values[0])):
        low, high = min(v[c][0] for v in values), max(v[c][1] for v in values)
        lines.append(f"{clean(name)} channel {c}: {low:.4g} to {high:.4g}")
    return tuple(lines)


def _compose(tiles: Sequence[tuple[Any, str, list[tuple[float, float]]]], title: str) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    columns = min(3, len(tiles))
    rows = -(-len(tiles) // columns)
    width = max(columns * (_TILE + _GAP) + _GAP, 3 * (_TILE + _GAP) + _GAP)
    height = _TOP + rows * (_TILE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for line, text in enumerate(_wrap(title, 104)[:2]):
        pen.text((_GAP, 8 + 15 * line), text, fill="black", font=font)
    for k, (pixels, name, ranges) in enumerate(tiles):
        left = _GAP + (k % columns) * (_TILE + _GAP)
        top = _TOP + (k // columns) * (_TILE + _TEXT + _GAP)
        picture = Image.fromarray(pixels)
        ratio = _TILE / max(picture.size)
        size = tuple(max(1, round(s * ratio)) for s in picture.size)
        enlarge = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.BOX
        sheet.paste(picture.resize((size[0], size[1]), enlarge), (left, top))
        below = top + _TILE + 2
        pen.text((left, below), _ascii(name)[-34:], fill="black", font=font)
        for line, text in enumerate(_wrap(_range_text(ranges), 36)[:2]):
            pen.text((left, below + 14 * (line + 1)), text, fill="#404040", font=font)
    return sheet


def _range_text(ranges: Sequence[tuple[float, float]]) -> str:
    return "  ".join(f"{low:.3g}..{high:.3g}" for low, high in ranges)


def _ascii(text: str) -> str:
    """Text that the built-in font can draw."""
    return clean(text).encode("ascii", "replace").decode()


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(_ascii(text) if len(text) <= 120 else text, width) or [""]
