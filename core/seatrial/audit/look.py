"""One pass over a store: a small picture and a row of statistics for every sample.

Memory does not grow with the samples' size: the store is memory-mapped, one sample is in work at
a time, and what is kept of each is a few hundred numbers and a thumbnail in a mapped file.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.data.checks import as_picture
from seatrial.samples import Samples

#: The maps of a store are closed after this many samples.
REOPEN = 32
#: Side of the small pictures, pixels.
SIDE = 64
#: Elements of a sample that is no picture which are kept for comparison.
ELEMENTS = 2048
#: Pictures larger than this are looked at with a stride, and in their middle.
SIDE_MAX = 128


@dataclass
class Look:
    """What was seen of a set.

    Attributes:
        role: ``calibration``, ``test`` or ``train``.
        ids: of the samples.
        groups: of the samples, ``""`` where one has none.
        hashes: sha256 of each sample.
        meta: further columns.
        names: of the statistics.
        stats: (samples, names), float32.
        small: (samples, side, side) grey pictures, or (samples, elements); memory-mapped.
        pictures: whether ``small`` holds pictures.
        limits: per model input, (samples, 2): smallest and largest value.
        steps: samples are steps of sequences, alike by nature.
    """

    role: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    hashes: tuple[str, ...]
    meta: tuple[dict[str, str], ...]
    names: tuple[str, ...]
    stats: Any
    small: Any
    pictures: bool
    limits: dict[str, Any] = field(default_factory=dict)
    steps: bool = False

    @property
    def count(self) -> int:
        """Samples."""
        return len(self.ids)

    def column(self, name: str) -> Any:
        """One statistic of all samples; float32."""
        return self.stats[:, self.names.index(name)]


def look(samples: Samples, role: str, scratch: Path, tick: Callable[[int], None]) -> Look:
    """Look at every sample of a store once.

    Args:
        samples: the store.
        role: what to call it.
        scratch: where the small pictures go.
        tick: is called with the number of samples done.
    """
    import numpy as np

    rows: list[list[float]] = []
    names: tuple[str, ...] = ()
    small: Any = None
    pictures = False
    limits = {name: np.zeros((samples.count, 2), np.float64) for name in samples.names}
    for i in range(samples.count):
        if i % REOPEN == 0:
            samples.forget()
            tick(i)
        values = {n: np.asarray(samples.one(n, i)) for n in samples.names}
        own = {n: v for n, v in values.items() if n not in samples.made}
        stats = statistics(own)
        names = names or tuple(stats)
        rows.append([stats.get(n, 0.0) for n in names])
        for name, value in values.items():
            if value.size and value.dtype.kind in "fiub":
                finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value
                limits[name][i] = (finite.min(), finite.max()) if finite.size else (0, 0)
        shot = shrink(own)
        if small is None:
            pictures = shot.ndim == 2
            file = scratch / f"small-{role}.npy"
            shape = (samples.count, *shot.shape)
            small = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
        if shot.shape == small.shape[1:]:
            small[i] = shot
    index = samples.index["samples"]
    return Look(
        role=role,
        ids=samples.ids,
        groups=tuple(s.get("group") or "" for s in index),
        hashes=samples.hashes,
        meta=tuple(s.get("meta") or {} for s in index),
        names=names,
        stats=np.array(rows, np.float32).reshape(samples.count, -1),
        small=small,
        pictures=pictures,
        limits=limits,
        steps=bool(samples.state),
    )


def picture_of(values: dict[str, Any]) -> Any | None:
    """The first input that is a picture, as (H, W, C) float32, or ``None``."""
    import numpy as np

    for value in values.values():
        if value.dtype.kind in "fiu":
            picture = as_picture(value)
            if picture is not None:
                return np.nan_to_num(picture.astype(np.float32), posinf=0.0, neginf=0.0)
    return None


def elements(values: dict[str, Any]) -> Any:
    """The elements of a sample in a row, :data:`ELEMENTS` of them at most, evenly spaced."""
    import numpy as np

    flat = np.concatenate([np.ravel(v).astype(np.float64) for v in values.values()])
    flat = np.nan_to_num(flat, posinf=0.0, neginf=0.0)
    return flat[:: max(1, -(-flat.size // ELEMENTS))]


def shrink(values: dict[str, Any]) -> Any:
    """The sample in small: a grey picture with mean 0 and deviation 1, or its elements so."""
    picture = picture_of(values)
    if picture is None:
        return _standard(elements(values))
    grey = _scaled(picture).mean(axis=2)
    return _standard(resize(grey, SIDE if min(grey.shape) >= 48 else SIDE // 2))


def _scaled(picture: Any) -> Any:
    """Channels with one deviation, so that none is lost in the grey."""
    import numpy as np

    spread = picture.std(axis=(0, 1))
    return picture / np.where(spread > 1e-12, spread, 1.0)


def resize(grey: Any, side: int) -> Any:
    """A plane at (side, side), by area."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _standard(values: Any) -> Any:
    """Mean 0, deviation 1; a constant becomes 0."""
    values = values - values.mean()
    spread = values.std()
    return values / spread if spread > 1e-9 else values * 0


def statistics(values: dict[str, Any]) -> dict[str, float]:
    """Numbers that tell how a sample was prepared, by name; all finite.

    Args:
        values: one sample as fed, by model input.
    """
    import numpy as np

    found: dict[str, float] = {}
    for name, value in values.items():
        if value.dtype.kind not in "fiu" or not value.size:
            continue
        picture = picture_of({name: value})
        part = _of_picture(picture) if picture is not None else _of_array(value)
        prefix = f"{name}: " if len(values) > 1 else ""
        found |= {f"{prefix}{k}": float(v) for k, v in part.items()}
    return {k: v if np.isfinite(v) else 0.0 for k, v in found.items()}


def _of_picture(picture: Any) -> dict[str, float]:
    import numpy as np

    h, w, channels = picture.shape
    step = max(1, min(h, w) // SIDE_MAX + (min(h, w) % SIDE_MAX > 0))
    thin = picture[::step, ::step]
    mean, spread = thin.mean(axis=(0, 1)), thin.std(axis=(0, 1))
    total = float(thin.std()) + 1e-9
    found = {f"mean of channel {c}": float(mean[c]) for c in range(channels)}
    found |= {f"contrast of channel {c}": float(spread[c]) for c in range(channels)}
    found["smallest value"], found["largest value"] = float(thin.min()), float(thin.max())
    if channels == 3:
        found["first channel against last"] = float(mean[0] - mean[2]) / total
        found["contrast of first channel against last"] = float(
            np.log((spread[0] + 1e-6) / (spread[2] + 1e-6))
        )
        found |= _colours(thin, mean, spread)
    found |= _texture(picture)
    grey = thin.mean(axis=2)
    half, side = grey.shape[0] // 2, grey.shape[1] // 2
    deviation = float(grey.std()) + 1e-9
    found["upper half against lower"] = float(grey[:half].mean() - grey[half:].mean()) / deviation
    found["left half against right"] = float(grey[:, :side].mean() - grey[:, side:].mean())
    found["left half against right"] /= deviation
    found["share of saturated elements"] = float(
        ((thin == thin.min()) | (thin == thin.max())).mean()
    )
    found["share of whole numbers"] = float((thin == np.rint(thin)).mean())
    return found


def _colours(thin: Any, mean: Any, spread: Any) -> dict[str, float]:
    """How channels go together, and which are strong where: the same in any scale."""
    import numpy as np

    unit = (thin - mean) / np.where(spread > 1e-9, spread, 1.0)
    pairs = {"0 and 1": (0, 1), "1 and 2": (1, 2), "0 and 2": (0, 2)}
    found = {
        f"correlation of channels {n}": float((unit[:, :, a] * unit[:, :, b]).mean())
        for n, (a, b) in pairs.items()
    }
    warm = thin[:, :, 0] - thin[:, :, 2]
    half = thin.shape[0] // 2
    found["first channel against last, upper half against lower"] = float(
        warm[:half].mean() - warm[half:].mean()
    ) / (float(thin.std()) + 1e-9)
    return found


def _texture(picture: Any) -> dict[str, float]:
    """Neighbours, sharpness, flat parts and borders, in the middle of the picture."""
    import numpy as np

    h, w = picture.shape[:2]
    top, left = max(0, (h - SIDE_MAX) // 2), max(0, (w - SIDE_MAX) // 2)
    middle = picture[top : top + SIDE_MAX, left : left + SIDE_MAX]
    grey = middle.mean(axis=2)
    grey = grey - grey.mean()
    power = float((grey * grey).mean()) + 1e-12
    found = {
        f"correlation {k} pixels {way}": float((a * b).mean()) / power
        for k in (1, 3)
        for way, a, b in (
            ("across", grey[:, k:], grey[:, :-k]),
            ("down", grey[k:], grey[:-k]),
        )
    }
    detail = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1]
    detail = detail - grey[1:-1, :-2] - grey[1:-1, 2:]
    found["sharpness"] = float(np.log((detail.std() + 1e-6) / (power**0.5 + 1e-6)))
    flat = (middle[:, 1:] == middle[:, :-1]).all(axis=2)
    found["share of flat parts"] = float(flat.mean())
    found["constant border"] = border(picture)
    return found


def border(picture: Any) -> float:
    """Share of a picture's rows and columns that are constant, counted in from its edges."""
    import numpy as np

    def constant(lines: Any) -> int:
        same = (lines == lines[:, :1]).all(axis=(1, 2))
        return len(same) if same.all() else int(np.argmin(same))

    depth = max(2, min(picture.shape[:2]) // 4)
    turned = picture.transpose(1, 0, 2)
    sides = [picture[:depth], picture[::-1][:depth], turned[:depth], turned[::-1][:depth]]
    found: float = sum(constant(s) for s in sides) / (4 * depth)
    return found


def _of_array(value: Any) -> dict[str, float]:
    import numpy as np

    flat = np.nan_to_num(np.ravel(value).astype(np.float64), posinf=0.0, neginf=0.0)
    mean, spread = flat.mean(), flat.std() + 1e-12
    unit = (flat - mean) / spread
    found = {
        "mean": mean,
        "spread": spread,
        "smallest value": flat.min(),
        "largest value": flat.max(),
        "skew": (unit**3).mean(),
        "tails": np.log1p((unit**4).mean()),
        "share of zeros": (flat == 0).mean(),
        "share of whole numbers": (flat == np.rint(flat)).mean(),
    }
    axes = [a for a, n in enumerate(value.shape) if n > 2]
    shaped = unit.reshape(value.shape)
    for axis in axes[:3]:
        lines = np.moveaxis(shaped, axis, 0)
        found[f"correlation along axis {axis}"] = (lines[1:] * lines[:-1]).mean()
    if axes and value.shape[axes[-1]] <= 64:
        profile = np.moveaxis(flat.reshape(value.shape), axes[-1], 0)
        for k, part in enumerate(profile.reshape(len(profile), -1)):
            found[f"mean of column {k}"] = part.mean()
    return found


def noise_like(stats: Look) -> Sequence[str]:
    """Ids of samples (not pictures) in which no axis shows any correlation.

    Only arrays with two long axes are judged: rows of features may well be independent.
    """
    import numpy as np

    axes = [n for n in stats.names if "correlation along axis" in n]
    if stats.pictures or len(axes) < 2 or stats.small.shape[1] < 128:
        return ()
    highest = np.max([np.abs(stats.column(n)) for n in axes], axis=0)
    return [stats.ids[i] for i in np.flatnonzero(highest < 5 / stats.small.shape[1] ** 0.5)]
