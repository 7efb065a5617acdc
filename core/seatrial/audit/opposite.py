"""Channels or axes the other way round, read off the pictures themselves.

Colours and directions of a scene are not symmetric: the sky is above, and bluer than the ground.
So the difference between the statistics of a picture and of the same picture reversed has a mean
of its own, and a set that was reversed has the opposite one. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seatrial.audit.look import statistics
from seatrial.audit.rules import RED, YELLOW, Finding, finding
from seatrial.data.checks import as_picture
from seatrial.samples import Samples

#: Samples of each set that are looked at, at most, and at least.
MOST, LEAST = 256, 32
#: Deviations of Hotelling's statistic from its mean: beyond the first two sets differ certainly,
#: beyond the second probably, within the third they do not.
CERTAIN, APART, ALIKE = 15.0, 5.0, 5.0
#: How many times farther off the set lies as it is than reversed.
TIMES = 3.0

#: Each is its own inverse.
WAYS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "channels": (
        lambda p: p[:, :, ::-1],
        "with channels in reverse order (BGR for RGB): their colours are the test set's reversed",
    ),
    "axes": (
        lambda p: p.transpose(1, 0, 2),
        "with rows and columns exchanged: they are transposed, or turned by 90 degrees; their "
        "orientation is not the test set's",
    ),
    "rows": (
        lambda p: p[::-1],
        "upside down: their orientation is the opposite of the test set's",
    ),
}


def layout(samples: Samples, test: Samples) -> list[Finding]:
    """Samples whose shape is the test set's with its axes in another order."""
    found = []
    for name in samples.names:
        if name not in test.names:
            continue
        own, other = (_shape(s, name) for s in (samples, test))
        if not own or not other or own == other or sorted(own) != sorted(other):
            continue
        text = (
            f"{name}: the shape of the calibration samples is {_said(own)}, the test set's is "
            f"{_said(other)}: another layout (channels first, channels last)"
        )
        advice = "transpose them (do not reshape) to the layout that the model takes"
        found.append(
            finding(
                "layout", RED, text, tensors=[name], count=samples.count, advice=advice, score=1
            )
        )
    return found


def _shape(samples: Samples, name: str) -> tuple[int, ...]:
    """The one shape of three samples, or ``()``."""
    import numpy as np

    rows = {0, samples.count // 2, samples.count - 1}
    shapes = {tuple(np.asarray(samples.one(name, i)).shape) for i in rows}
    return shapes.pop() if len(shapes) == 1 else ()


def _said(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def opposite(samples: Samples, test: Samples) -> list[Finding]:
    """Whether the calibration pictures look like the test set's only when they are reversed."""
    if min(samples.count, test.count) < LEAST or len(samples.names) != 1:
        return []
    name = samples.names[0]
    own, other = _differences(samples, name), _differences(test, name)
    best: tuple[float, str, float, str] | None = None
    for way in own:
        if way not in other or own[way].shape[1] != other[way].shape[1]:
            continue
        as_is, reversed_, axes = _hotelling(own[way], other[way])
        if not axes:
            continue
        spread = (2 * axes) ** 0.5
        if as_is < axes + APART * spread or reversed_ > axes + ALIKE * spread:
            continue
        if as_is > TIMES * max(reversed_, axes) and (best is None or as_is > best[0]):
            level = RED if as_is > axes + CERTAIN * spread else YELLOW
            best = (as_is, way, reversed_, level)
    if best is None:
        return []
    text = (
        f"the calibration pictures fit when they are fed {WAYS[best[1]][1]} (Hotelling's T2 "
        f"{best[0]:.0f} as they are, {best[2]:.0f} reversed)"
    )
    advice = "look at the pictures as the network sees them, and correct colour order or layout"
    return [
        finding("preprocessing", best[3], text, tensors=[name], count=samples.count, advice=advice,
                score=1.0)
    ]  # fmt: skip


def _differences(samples: Samples, name: str) -> dict[str, Any]:
    """Per way, (samples, statistics): of each picture, less those of the picture reversed."""
    import numpy as np

    count = min(MOST, samples.count)
    rows: dict[str, list[list[float]]] = {}
    for k in range(count):
        value = np.asarray(samples.one(name, k * samples.count // count))
        picture = as_picture(value) if value.dtype.kind in "fiu" else None
        if picture is None:
            return {}
        plain = statistics({name: value})
        for way, (change, _) in WAYS.items():
            if way == "axes" and picture.shape[0] != picture.shape[1]:
                continue
            if way == "channels" and picture.shape[2] != 3:
                continue
            other = change(picture)
            back = other.transpose(2, 0, 1) if value.shape[0] in (1, 3) else other
            moved = statistics({name: np.ascontiguousarray(back)})
            rows.setdefault(way, []).append([plain[n] - moved[n] for n in plain])
    samples.forget()
    return {way: np.array(r) for way, r in rows.items() if len(r) == count}


def _hotelling(one: Any, two: Any) -> tuple[float, float, int]:
    """Hotelling's T2 of the means, of ``one`` as it is and of ``-one``; and its dimensions.

    Values are standardised by both sets' spread about zero, limited to 4 of it, and only the
    principal axes that hold something are kept, at most a fifth of the smaller set.
    """
    import numpy as np

    scale = np.sqrt(((one**2).mean(axis=0) + (two**2).mean(axis=0)) / 2)
    used = scale > 1e-5
    if not used.any():
        return 0.0, 0.0, 0
    one, two = (np.clip(v[:, used] / scale[used], -4, 4) for v in (one, two))
    n, m = len(one), len(two)
    # Deviations of each set from its own mean: their mean may well be opposite.
    within = np.concatenate([one - one.mean(axis=0), two - two.mean(axis=0)])
    sizes, axes = np.linalg.eigh(within.T @ within / (n + m - 2))
    keep = np.flatnonzero(sizes > 0.02)[::-1][: max(1, min(n, m) // 5)]
    if not len(keep):
        return 0.0, 0.0, 0
    spread = np.sqrt(sizes[keep] * (1 / n + 1 / m))
    a, b = (v.mean(axis=0) @ axes[:, keep] for v in (one, two))
    return (
        float((((a - b) / spread) ** 2).sum()),
        float((((-a - b) / spread) ** 2).sum()),
        len(keep),
    )
