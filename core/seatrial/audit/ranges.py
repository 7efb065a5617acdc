"""What ranges the samples give: stable or not, set by one sample alone, clipping held-out data.

Works on the smallest and largest value of each tensor in each sample. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.audit.records import CurvePoint, RangeRow, Stability
from seatrial.audit.rules import RED, YELLOW, Finding, finding, named

#: Random draws per point of the curve.
DRAWS = 12
#: Ranges that half of the samples leave this much narrower (median over tensors) still grow.
GROWING = 0.10
#: One sample that reaches this many times as far as the next one sets the range by itself.
STRETCH = 2.0
#: Tensors listed.
LISTED = 20


def stability(low: Mapping[str, Any], high: Mapping[str, Any], source: str, seed: int) -> Stability:
    """How wide ranges from fewer samples are, against those from all.

    Args:
        low: per tensor, smallest value of each sample.
        high: per tensor, largest value.
        source: ``activations`` or ``inputs``.
        seed: of the draws.
    """
    import numpy as np

    names = [n for n in low if len(low[n]) and np.ptp(np.r_[low[n], high[n]]) > 0]
    if not names or len(low[names[0]]) < 4:
        return Stability(source=source, text="too few samples to say")
    lows, highs = (np.array([v[n] for n in names]) for v in (low, high))
    count = lows.shape[1]
    whole = np.maximum(highs.max(1), 0) - np.minimum(lows.min(1), 0)
    draw = np.random.default_rng(seed)
    curve, half = [], np.ones(len(names))
    sizes = [n for n in (8, 16, 32, 64, 128, 256, 512, 1024, 2048) if n < count // 2]
    for n in [*sizes, count // 2]:
        shares = []
        for _ in range(DRAWS):
            rows = draw.choice(count, n, replace=False)
            width = np.maximum(highs[:, rows].max(1), 0) - np.minimum(lows[:, rows].min(1), 0)
            shares.append(width / whole)
        half = np.mean(shares, axis=0)
        point = CurvePoint(n=n, median=float(np.median(half)), worst=float(half.min()))
        curve.append(point)
    lost = 1 - half
    return Stability(
        source=source,
        curve=tuple(curve),
        half_median=float(np.median(lost)),
        half_worst=float(np.percentile(lost, 90)),
        tensor=names[int(lost.argmax())],
        text=_said(float(np.median(lost)), count),
    )


def _said(lost: float, count: int) -> str:
    if lost > GROWING:
        return f"ranges still grow: {count // 2} of {count} samples give {lost:.0%} narrower ones"
    if lost > 0.03:
        return (
            f"{count // 2} of {count} samples give {lost:.1%} narrower ranges (median): more would "
            "move the extremes a little"
        )
    return f"{count // 2} of {count} samples give the same ranges within {lost:.1%}: enough"


def judge_stability(found: Stability) -> list[Finding]:
    """A finding when the ranges still grow."""
    if found.half_median <= GROWING:
        return []
    text = f"{found.text}; most in {found.tensor}"
    advice = "add samples, or choose ranges by percentile"
    return [
        finding("unstable", YELLOW, text, tensors=[found.tensor], advice=advice,
                score=found.half_median)
    ]  # fmt: skip


def judge_shape(
    low: Mapping[str, Any], high: Mapping[str, Any], ids: Sequence[str]
) -> list[Finding]:
    """Dead tensors, and samples that alone stretch ranges far beyond all others."""
    import numpy as np

    dead = [n for n in low if len(low[n]) > 1 and low[n].min() == high[n].max()]
    found = []
    if dead:
        text = f"{len(dead)} tensors have one value on all samples: {named(dead)}"
        found.append(finding("zero-range", YELLOW, text, tensors=dead, count=0))
    culprits: dict[str, list[str]] = {}
    worst: dict[str, float] = {}
    for name in low:
        if len(low[name]) < 8:
            continue
        for reach in (np.maximum(high[name], 0), np.maximum(-low[name], 0)):
            first, second = np.argsort(reach)[::-1][:2]
            if reach[second] > 0 and reach[first] > STRETCH * reach[second]:
                sample = ids[int(first)]
                culprits.setdefault(sample, []).append(name)
                ratio = float(reach[first] / reach[second])
                worst[sample] = max(worst.get(sample, 0.0), ratio)
    few = max(1, round(0.03 * len(low)))
    kept = {s: t for s, t in culprits.items() if len(t) >= few or worst[s] > 5}
    if kept:
        first_id = max(kept, key=lambda s: (len(kept[s]), worst[s]))
        tensors = [t for names in kept.values() for t in names]
        many = "1 sample stretches" if len(kept) == 1 else f"{len(kept)} samples alone stretch"
        text = (
            f"{many} the range of {len(set(tensors))} of {len(low)} tensors to more than "
            f"{STRETCH:g} times what all others need, up to {max(worst[s] for s in kept):.3g} "
            f"times: {named(list(kept))}"
        )
        level = RED if len(kept[first_id]) > 0.2 * len(low) and worst[first_id] > 4 else YELLOW
        advice = "look at it; leave it out if it is broken, else choose ranges by percentile"
        found.append(
            finding("outlier-sample", level, text, samples=kept, tensors=tensors, advice=advice)
        )
    return found


def clipping(
    own: tuple[Mapping[str, Any], Mapping[str, Any]],
    held_out: tuple[Mapping[str, Any], Mapping[str, Any]],
    outside: Mapping[str, float],
    ids: Sequence[str],
) -> tuple[list[RangeRow], list[Finding]]:
    """Held-out data against the extremes of the calibration samples.

    Args:
        own: smallest and largest value per tensor and calibration sample.
        held_out: the same of the held-out samples.
        outside: per tensor, share of the held-out elements outside the extremes.
        ids: of the held-out samples.
    """
    import numpy as np

    rows = []
    for name in own[0]:
        if name not in held_out[0] or not len(own[0][name]):
            continue
        lo, hi = float(own[0][name].min()), float(own[1][name].max())
        low, high = held_out[0][name], held_out[1][name]
        over = np.maximum(high - hi, lo - low)
        n = len(own[0][name])
        sides = int((own[0][name] < 0).any()) + 1
        rows.append(
            RangeRow(
                tensor=name,
                lo=lo,
                hi=hi,
                seen_lo=float(low.min()),
                seen_hi=float(high.max()),
                clipped=outside.get(name),
                beyond=float((over > 1e-6 * max(hi - lo, 1e-12)).mean()),
                usual=sides / (n + 1),
                sample=ids[int(over.argmax())] if over.max() > 0 else "",
            )
        )
    rows.sort(key=lambda r: -r.beyond)
    return rows[:LISTED], _judge_clipping(rows, len(ids))


def _judge_clipping(rows: Sequence[RangeRow], count: int) -> list[Finding]:
    """Tensors that clip far more often than sets of one kind do."""
    heavy = [r for r in rows if r.beyond > 0.08 + 4 * r.usual and r.beyond * count >= 5]
    if len(heavy) < max(1, 0.1 * len(rows)):
        return []
    first = heavy[0]
    share = f" and {first.clipped:.2%} of its elements" if first.clipped else ""
    text = (
        f"{len(heavy)} of {len(rows)} tensors clip the test set far more often than chance: "
        f"{first.beyond:.0%} of the test samples{share} lie outside the range of {first.tensor} "
        f"({first.lo:.4g} to {first.hi:.4g}; the test set reaches {first.seen_lo:.4g} to "
        f"{first.seen_hi:.4g}; by chance {first.usual:.1%})"
    )
    level = RED if first.beyond > 0.5 and len(heavy) > 0.3 * len(rows) else YELLOW
    worst = sorted(r.beyond for r in rows)[len(rows) // 2]
    advice = "add calibration samples like the test samples named in the ranges"
    return [
        finding("clipping", level, text, tensors=[r.tensor for r in heavy], count=0,
                advice=advice, score=worst)
    ]  # fmt: skip
