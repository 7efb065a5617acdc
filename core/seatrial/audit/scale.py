"""What pixels are fed as: read off the values themselves, exactly.

Pixels have 256 values. After (x * scale - mean) / std there are still at most 256 in each channel,
evenly spaced; the first is what a pixel of 0 became, the last what 255 became. Two sets that were
prepared differently differ here, however alike their pictures are.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.audit.records import Scale
from seatrial.audit.rules import RED, YELLOW, Finding, finding
from seatrial.data.checks import as_picture
from seatrial.samples import Samples

#: Pictures that are read, and elements of each channel.
PICTURES, ELEMENTS = 64, 20_000
#: Values agree within this share of the whole range.
CLOSE = 0.004

#: The answer for values that are certainly no pixels through one formula: there are too many.
MIXED: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Usual preparations: what 0 and 255 become, per channel, and how to say it.
USUAL: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0 to 255": ((0.0,), (255.0,)),
    "0 to 1": ((0.0,), (1.0,)),
    "-1 to 1": ((-1.0,), (1.0,)),
    "-128 to 127": ((-128.0,), (127.0,)),
    "-0.5 to 0.5": ((-0.5,), (0.5,)),
    "ImageNet mean and std": (
        tuple(-m / s for m, s in zip(*_IMAGENET, strict=True)),
        tuple((1 - m) / s for m, s in zip(*_IMAGENET, strict=True)),
    ),
    "CIFAR-10 mean and std": (
        tuple(
            -m / s for m, s in zip((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), strict=True)
        ),
        tuple(
            (1 - m) / s
            for m, s in zip((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), strict=True)
        ),
    ),
    "minus 123.68, 116.78, 103.94": (
        (-123.68, -116.78, -103.94),
        (131.32, 138.22, 151.06),
    ),
    "minus 104, 117, 123": ((-104.0, -117.0, -123.0), (151.0, 138.0, 132.0)),
}
#: Preparations that are sometimes applied to what was prepared already: x -> (x - mean) / std.
_AGAIN: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "division by 255": ((0.0,), (255.0,)),
    "x * 2 - 1": ((0.5,), (0.5,)),
    "x / 127.5 - 1": ((127.5,), (127.5,)),
    "ImageNet mean and std": _IMAGENET,
    "CIFAR-10 mean and std": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}


def ends(samples: Samples, name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What 0 and 255 are fed as, per channel.

    ``None`` where the values do not tell, :data:`MIXED` where they are no pixels.
    """
    import numpy as np

    step = max(1, -(-samples.count // PICTURES))
    seen: list[Any] = []
    for i in range(0, samples.count, step):
        value = np.asarray(samples.one(name, i))
        picture = as_picture(value) if value.dtype.kind in "fiu" else None
        if picture is None:
            return None
        flat = picture.reshape(-1, picture.shape[2])
        flat = flat[:: max(1, len(flat) // ELEMENTS)]
        seen = seen or [np.zeros(0, flat.dtype)] * flat.shape[1]
        if flat.shape[1] != len(seen):
            return None
        for c in range(flat.shape[1]):
            seen[c] = np.union1d(seen[c], flat[:, c])
            if len(seen[c]) > 4096:
                samples.forget()
                return MIXED
    samples.forget()
    found = [_ends(np.asarray(values, np.float64)) for values in seen]
    if not found or any(f is None for f in found):
        return None
    low, high = zip(*(f for f in found if f is not None), strict=True)
    return tuple(low), tuple(high)


def _ends(values: Any) -> tuple[float, float] | None:
    """First and last of 256 evenly spaced values, of which nearly all were seen."""
    import numpy as np

    values = values[np.isfinite(values)]
    if len(values) < 200:
        return None
    width = values[-1] - values[0]
    places = (values - values[0]) / width * 255
    # Rounding may have parted what is one value.
    distinct = 1 + int((np.diff(places) > 0.5).sum())
    even = np.abs(places - np.rint(places)).max() < 0.05
    return (float(values[0]), float(values[-1])) if even and 200 <= distinct <= 256 else None


def name_of(low: Sequence[float], high: Sequence[float]) -> tuple[str, bool]:
    """The usual preparation with these ends, and whether it is one applied on top of another."""
    width = max(h - x for x, h in zip(low, high, strict=True))
    for name, (first, last) in USUAL.items():
        if _same(low, first, width) and _same(high, last, width):
            return name, False
    for name, start, end in _twice():
        if _same(low, start, width) and _same(high, end, width):
            return name, True
    return "", False


def _twice() -> Iterator[tuple[str, list[float], list[float]]]:
    for one, (first, last) in USUAL.items():
        for two, (mean, std) in _AGAIN.items():
            if one == "0 to 255":
                continue
            channels = max(len(first), len(mean))
            starts, ends_, m, s = (_wide(v, channels) for v in (first, last, mean, std))
            low = [(x - y) / z for x, y, z in zip(starts, m, s, strict=True)]
            high = [(x - y) / z for x, y, z in zip(ends_, m, s, strict=True)]
            if not (one == "0 to 1" and two != "division by 255"):
                yield f"{one}, then {two}", low, high


def _wide(values: Sequence[float], channels: int) -> list[float]:
    return list(values) if len(values) == channels else [values[0]] * channels


def _same(values: Sequence[float], wanted: Sequence[float], width: float) -> bool:
    wide = _wide(wanted, len(values)) if len(wanted) in (1, len(values)) else []
    return bool(wide) and all(
        abs(a - b) <= CLOSE * width for a, b in zip(values, wide, strict=True)
    )


def scales(calibration: Samples, test: Samples | None) -> tuple[list[Scale], list[Finding]]:
    """Read off both sets and compare."""
    rows, found = [], []
    for name in calibration.names:
        own = ends(calibration, name)
        other = ends(test, name) if test is not None else None
        if (own == MIXED) != (other == MIXED) and own is not None and other is not None:
            which = ("calibration", "test") if own == MIXED else ("test", "calibration")
            text = (
                f"{name}: {which[1]} values are pixels through one formula, {which[0]} values are "
                "not (another scale per sample, or changed after it was applied)"
            )
            advice = "prepare both sets by the same code; without augmentation"
            found.append(finding("scale", YELLOW, text, tensors=[name], advice=advice))
        if own is None or own == MIXED:
            continue
        other = None if other == MIXED else other
        known, twice = name_of(*own)
        rows.append(
            Scale(
                tensor=name,
                low=own[0],
                high=own[1],
                test_low=other[0] if other else (),
                test_high=other[1] if other else (),
                name=known,
            )
        )
        found += _judge(name, own, other, known, twice)
    return rows, found


def _judge(name: str, own: Any, other: Any, known: str, twice: bool) -> list[Finding]:
    found = []
    if twice:
        text = f"{name}: pixels are prepared twice ({known}): {_said(*own)}"
        advice = "normalise once"
        found.append(
            finding("double-normalised", RED, text, tensors=[name], advice=advice, score=1)
        )
    if other is None or len(own[0]) != len(other[0]):
        return found
    width = max(h - x for x, h in zip(*other, strict=True))
    apart = max(
        abs(a - b) for mine, theirs in zip(own, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    ) / width  # fmt: skip
    if apart <= CLOSE:
        return found
    text = (
        f"{name}: a pixel of 0 to 255 is fed as {_said(*own)} in calibration"
        f"{_named(*own)} and as {_said(*other)} in the test set{_named(*other)}"
    )
    turned = all(_same(mine[::-1], theirs, width) for mine, theirs in zip(own, other, strict=True))
    text += "; the channels are in reverse order" if turned else ""
    ratio = (own[1][0] - own[0][0]) / (other[1][0] - other[0][0])
    if ratio < 0.9 and not turned:
        text += f"; ranges would come out {ratio:.2g} times as wide and clip"
    level = RED if apart > 0.02 else YELLOW
    advice = "prepare both sets by the same formula"
    return [*found, finding("scale", level, text, tensors=[name], advice=advice, score=apart)]


def _said(low: Sequence[float], high: Sequence[float]) -> str:
    pairs = [f"{a:.4g}..{b:.4g}" for a, b in zip(low, high, strict=True)]
    return pairs[0] if len(set(pairs)) == 1 else " / ".join(pairs)


def _named(low: Sequence[float], high: Sequence[float]) -> str:
    name = name_of(low, high)[0]
    return f" ({name})" if name else ""
