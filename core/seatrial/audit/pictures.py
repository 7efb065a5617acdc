"""What the report's pictures are made from: small copies of samples, and coarse histograms.

Runs in a child: it decodes nothing that the user gave, only the sample stores and tables of the
core, but needs Pillow. Thumbnails are made from the samples *as fed*, so that they show what the
network sees, and work alike for folders, arrays and code.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping
from typing import Any

from seatrial.calibration.choose import Values, chosen, distribution
from seatrial.calibration.table import load
from seatrial.codec import record
from seatrial.data.contract import InputContract
from seatrial.hookspecs import Job
from seatrial.results import Ref, TensorIO
from seatrial.samples import Samples

#: Longer side of a thumbnail, pixels, and characters that one may have as text.
SIDE, MOST_TEXT = 72, 3200

#: Bins of a histogram in the report.
BINS = 64


@record
class PicturesRequest:
    """Ask for thumbnails of samples and for coarse histograms of tensors.

    Attributes:
        stores: sample stores by role (``calibration``, ``test``, ``train``).
        samples: ids of the samples to show, by role.
        input: the input that is shown.
        contract: how it was made from a picture; ``None``: it is drawn in grey.
        table: the calibration table that was used; ``None``: no histograms.
        method: how ranges were chosen from it.
        symmetric: the ranges were widened to [-m, m].
        tensors: whose histograms to give.
    """

    stores: Mapping[str, Ref]
    samples: Mapping[str, tuple[str, ...]]
    input: TensorIO
    contract: InputContract | None = None
    table: Ref | None = None
    method: str = ""
    symmetric: bool = False
    tensors: tuple[str, ...] = ()


@record
class Thumbnail:
    """A small copy of one sample; ``picture`` is a PNG or JPEG in base64."""

    role: str
    id: str
    type: str
    picture: str


@record
class CoarseHistogram:
    """The values of one tensor over the calibration samples, and where its range ends.

    Attributes:
        tensor: its name.
        lo: smallest value seen, the left edge of the first bin.
        hi: largest value seen, the right edge of the last bin.
        counts: per bin of equal width, as shares of all values.
        range_lo: lower end of the chosen range; values below become the smallest integer.
        range_hi: upper end.
        below: share of the values below the range.
        above: share of the values above it.
    """

    tensor: str
    lo: float
    hi: float
    counts: tuple[float, ...]
    range_lo: float
    range_hi: float
    below: float
    above: float


@record
class Pictures:
    """What could be made."""

    thumbnails: tuple[Thumbnail, ...] = ()
    histograms: tuple[CoarseHistogram, ...] = ()


def pictures(request: PicturesRequest, job: Job) -> Pictures:
    """Thumbnails and histograms, as far as there is something to make them from."""
    made: list[Thumbnail] = []
    for role, ids in request.samples.items():
        store = Samples(job.path(request.stores[role]))
        if request.input.name in store.names:
            made += _of_store(store, role, ids, request)
    return Pictures(thumbnails=tuple(made), histograms=_histograms(request, job))


def _of_store(
    store: Samples, role: str, ids: tuple[str, ...], request: PicturesRequest
) -> list[Thumbnail]:
    from seatrial.init.sheet_child import as_seen

    where = {name: i for i, name in enumerate(store.ids)}
    found = []
    for name in ids:
        if name not in where:
            continue
        tensor = store.one(request.input.name, where[name])
        if tensor.ndim < 2 or min(tensor.shape[-2:]) < 2:
            continue
        kind, text = small(as_seen(tensor, request.contract))
        if text:
            found.append(Thumbnail(role=role, id=name, type=kind, picture=text))
    return found


def small(pixels: Any) -> tuple[str, str]:
    """A thumbnail of uint8 pixels (H, W, 3): type and base64; empty where none is small enough."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    ratio = SIDE / max(picture.size)
    if ratio < 1:
        size = tuple(max(1, round(s * ratio)) for s in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.BOX)
    for kind, options in (("png", {"optimize": True}), *_JPEGS):
        if kind == "png" and max(picture.size) > 40:
            continue  # photographs: JPEG is a third of it
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        text = base64.b64encode(buffer.getvalue()).decode()
        if len(text) <= MOST_TEXT:
            return kind, text
    return "", ""


_JPEGS: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    ("jpeg", {"quality": quality, "optimize": True}) for quality in (70, 50, 30, 15)
)


def _histograms(request: PicturesRequest, job: Job) -> tuple[CoarseHistogram, ...]:
    if request.table is None or not request.tensors:
        return ()
    table = load(job.path(request.table))
    wanted = {
        name: tensor
        for name in request.tensors
        if (tensor := table.tensors.get(name)) is not None and tensor.histogram is not None
    }
    kept = dataclasses.replace(table, tensors=wanted)
    ranges = chosen(kept, request.method, symmetric=request.symmetric)
    found = []
    for name, (lo, hi) in ranges.items():
        peak = max(-lo, hi)
        limits = (-peak, peak) if request.symmetric else (lo, hi)
        found.append(_coarse(name, distribution(wanted[name]), *limits))
    return tuple(found)


def _coarse(name: str, values: Values, range_lo: float, range_hi: float) -> CoarseHistogram:
    """Occupied fine bins counted into few; clipping is counted from the fine ones."""
    import numpy as np

    lo, hi = values.lo, values.hi if values.hi > values.lo else values.lo + 1.0
    # The middle of an outermost bin may lie beyond the extremes, no value does.
    middle = np.clip(values.middle, lo, hi)
    total = float(values.count.sum()) or 1.0
    counts, _ = np.histogram(middle, BINS, (lo, hi), weights=values.count)
    return CoarseHistogram(
        tensor=name,
        lo=lo,
        hi=hi,
        counts=tuple(round(float(c) / total, 7) for c in counts),
        range_lo=range_lo,
        range_hi=range_hi,
        below=float(values.count[middle < range_lo].sum()) / total,
        above=float(values.count[middle > range_hi].sum()) / total,
    )
