"""What is wrong with a set of samples: broken numbers, empty pictures, repeats, noise.

Statistics are gathered while the samples pass by; nothing is read twice.
Runs in a child only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.data.records import INFO, REFUSE, WARNING, DataFinding
from seatrial.report.numbers import plural

_SHOWN = 20
#: Share of noise-like pictures from which a set is called synthetic.
NOISE_SHARE = 0.9
_MIN_SIDE = 16


def neighbour_correlation(picture: Any) -> float | None:
    """Highest correlation of a picture's pixels with their right or lower neighbours.

    Photographs are far above 0.5, white noise is within a few 1/sqrt(pixels) of 0.

    Args:
        picture: (H, W) or (H, W, C), any dtype.

    Returns:
        ``None`` for a picture without contrast or smaller than 16 x 16.
    """
    import numpy as np

    pixels = np.asarray(picture)[..., None] if np.ndim(picture) == 2 else np.asarray(picture)
    h, w = pixels.shape[:2]
    if min(h, w) < _MIN_SIDE:
        return None
    top, left = max(0, (h - 256) // 2), max(0, (w - 256) // 2)
    grey = pixels[top : top + 256, left : left + 256].astype(np.float64)
    best: float | None = None
    for c in range(grey.shape[2]):
        plane = grey[:, :, c] - grey[:, :, c].mean()
        power = float((plane * plane).mean())
        if not math.isfinite(power) or power < 1e-12:
            continue
        across = float((plane[:, 1:] * plane[:, :-1]).mean()) / power
        down = float((plane[1:] * plane[:-1]).mean()) / power
        best = max(across, down, -1.0 if best is None else best)
    return best


def noise_like(picture: Any) -> bool:
    """Whether a picture looks like white noise: no correlation between neighbours.

    The bound is five standard deviations of the estimate (1/sqrt(pixels)), at least 0.05.
    """
    correlation = neighbour_correlation(picture)
    if correlation is None:
        return False
    h, w = (min(side, 256) for side in picture.shape[:2])
    return correlation < max(0.05, 5.0 / math.sqrt(h * w))


def as_picture(value: Any) -> Any | None:
    """A fed tensor as (H, W, C) if its shape is a picture's, else ``None``."""
    if value.ndim != 3 or min(sorted(value.shape)[1:]) < _MIN_SIDE:
        return None
    if value.shape[0] in (1, 3):
        return value.transpose(1, 2, 0)
    return value if value.shape[2] in (1, 3) else None


class Checks:
    """Collects what the findings need, one sample at a time."""

    def __init__(self) -> None:
        self.broken: dict[str, list[str]] = {}
        self.constant: dict[str, list[str]] = {}
        self.zero: dict[str, list[str]] = {}
        self.noise: list[str] = []
        self.judged = 0
        self.count = 0

    def see(self, sample: str, tensors: Mapping[str, Any], pictures: Sequence[Any]) -> None:
        """Look at one sample.

        Args:
            sample: its id.
            tensors: as fed.
            pictures: the pixels behind them before resizing, as far as there are any.
        """
        import numpy as np

        self.count += 1
        for name, value in tensors.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                self.broken.setdefault(name, []).append(sample)
            elif value.size > 1 and (value == value.flat[0]).all():
                kind = self.zero if value.flat[0] == 0 else self.constant
                kind.setdefault(name, []).append(sample)
        planes = pictures or [p for p in map(as_picture, tensors.values()) if p is not None]
        if planes:
            self.judged += 1
            if all(noise_like(p) for p in planes):
                self.noise.append(sample)

    @property
    def synthetic(self) -> bool:
        """Whether the set looks like random data."""
        return bool(self.noise) and len(self.noise) >= NOISE_SHARE * self.judged

    def findings(self) -> list[DataFinding]:
        """What was found, worst first."""
        found = []
        for name, ids in self.broken.items():
            many = plural(len(ids), "sample holds", "samples hold")
            text = f"{many} NaN or Inf in {name!r}, first {ids[0]}"
            found.append(_finding("non-finite", REFUSE, text, ids, name))
        for what, kinds in (("all zero", self.zero), ("one constant value", self.constant)):
            for name, ids in kinds.items():
                code = "all-zero" if kinds is self.zero else "constant"
                every = len(ids) == self.count
                text = f"{len(ids)} of {self.count} samples of {name!r} are {what}"
                text += (
                    ": there is no range to calibrate or judge" if every else f", first {ids[0]}"
                )
                found.append(_finding(code, REFUSE if every else WARNING, text, ids, name))
        if self.synthetic:
            text = (
                f"{len(self.noise)} of {self.judged} samples are noise (neighbouring pixels are "
                "not correlated): random data neither calibrates nor tests a model"
            )
            found.append(_finding("synthetic", REFUSE, text, self.noise))
        return found


def repeats(ids: Sequence[str], hashes: Sequence[str]) -> list[DataFinding]:
    """Samples of one set that are fed exactly the same numbers."""
    first: dict[str, str] = {}
    again: list[str] = []
    for name, digest in zip(ids, hashes, strict=True):
        if digest in first:
            again.append(name)
        else:
            first[digest] = name
    if not again:
        return []
    text = f"{len(again)} of {len(ids)} samples repeat another one exactly, first {again[0]}"
    level = REFUSE if len(ids) > 1 and len(first) == 1 else WARNING
    return [_finding("duplicate", level, text, again)]


def balance(labels: Sequence[Any]) -> tuple[dict[str, int], list[DataFinding]]:
    """Samples per class, and what stands out; nothing for labels that are no whole numbers."""
    if not labels or not all(isinstance(v, int) and not isinstance(v, bool) for v in labels):
        return {}, []
    counts = Counter(labels)
    found = []
    most, least = max(counts.values()), min(counts.values())
    if len(counts) == 1 and len(labels) > 1:
        text = f"all {len(labels)} samples have the label {labels[0]}"
        found.append(DataFinding(code="one-class", level=WARNING, text=text, count=len(labels)))
    elif most >= 10 and most >= 10 * least:
        text = f"classes are unbalanced: {least} to {most} samples each"
        found.append(DataFinding(code="unbalanced", level=WARNING, text=text, count=len(counts)))
    return {str(k): counts[k] for k in sorted(counts)}, found


def oddities(seen: Mapping[str, Sequence[str]]) -> list[DataFinding]:
    """What was unusual about picture files and was read nevertheless."""
    found = []
    for what, ids in seen.items():
        text = f"{len(ids)} pictures have {what}"
        found.append(_finding("picture-format", INFO, text, ids))
    return found


def _finding(code: str, level: str, text: str, ids: Sequence[str], tensor: str = "") -> DataFinding:
    return DataFinding(
        code=code,
        level=level,
        text=text,
        samples=tuple(ids[:_SHOWN]),
        tensors=(tensor,) if tensor else (),
        count=len(ids),
    )
