"""Would more calibration samples lower the INT8 loss? From losses at n/4, n/2 and n samples.

The samples that collect ranges are dealt into four parts; a quarter is one part, a half two, and
their tables are added up, so that all sizes together cost one pass. The loss is that of the Q/DQ
model on held-out samples, the same for every size, so that differences are paired. Standard
library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seatrial.audit.growth_records import Growth, GrowthPoint
from seatrial.audit.rules import YELLOW, Finding, finding

#: Parts that the samples are dealt into.
PARTS = 4

#: Which parts each model is calibrated on, in the order in which they are made: what time does not
#: allow is left out from the end.
PLAN = ((0, 1, 2, 3), (0, 1), (2, 3), (0,), (1,), (2,), (3,))

#: Differences of the mean loss below these are nothing to anybody: nats of divergence, and error
#: power over signal power. A tenth of the loss itself is nothing either.
KL_NOTHING, ERROR_NOTHING, SHARE = 0.002, 0.0015, 0.1

#: Fewest samples that collect ranges, and that judge.
FEWEST, JUDGES = 48, 8

SAME, FALLING, OPEN = "same", "falling", "open"


def parts(indices: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Deal samples out like cards: neighbours, which may be alike, go to different parts."""
    return tuple(tuple(indices[k::PARTS]) for k in range(PARTS))


def judge(
    losses: Sequence[tuple[tuple[int, ...], Sequence[float]]],
    count: int,
    rule: str,
    method: str,
    seconds: float = 0.0,
) -> Growth:
    """Judge the losses.

    Args:
        losses: for each model, the parts that it was calibrated on and its loss on each held-out
            sample; the first one is calibrated on all parts.
        count: samples in all parts.
        rule: ``kl`` or ``error``, what the losses are.
        method: how ranges were chosen.
        seconds: what it took.
    """
    whole = losses[0][1]
    points, verdict, low, high, half = [], OPEN, 0.0, 0.0, math.nan
    for size in (1, 2):
        rows = [x for used, x in losses[1:] if len(used) == size]
        if rows:
            mean = [math.fsum(values) / len(rows) for values in zip(*rows, strict=True)]
            difference, low, high = paired(mean, whole)
            spread = [math.fsum(x) / len(x) for x in rows]
            points.append(
                GrowthPoint(
                    n=count * size // PARTS,
                    loss=math.fsum(mean) / len(mean),
                    more=difference,
                    ci95=(low, high),
                    draws=len(rows),
                    spread=max(spread) - min(spread),
                )
            )
            half = difference
    final = math.fsum(whole) / len(whole)
    points.append(GrowthPoint(n=count, loss=final, draws=1))
    nothing = max(KL_NOTHING if rule == "kl" else ERROR_NOTHING, SHARE * final)
    if not math.isnan(half):
        verdict = SAME if high <= nothing else FALLING if low > 0 and half > nothing else OPEN
    return Growth(
        rule=rule,
        method=method,
        curve=tuple(points),
        held_out=len(whole),
        verdict=verdict,
        nothing=nothing,
        text=_said(verdict, points, rule, nothing),
        seconds=seconds,
    )


def judge_growth(found: Growth) -> list[Finding]:
    """A finding when the loss still falls."""
    if found.verdict != FALLING:
        return []
    advice = "add samples from production, and look again"
    return [finding("falling-loss", YELLOW, found.text, advice=advice)]


def paired(less: Sequence[float], more: Sequence[float]) -> tuple[float, float, float]:
    """Mean of ``less - more`` over samples, and its 95 % interval.

    Student's t on the paired differences; with few samples its quantile is taken from the
    expansion of Abramowitz and Stegun 26.7.5.
    """
    differences = [a - b for a, b in zip(less, more, strict=True)]
    n = len(differences)
    mean = math.fsum(differences) / n
    if n < 2:
        return mean, -math.inf, math.inf
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    z, v = 1.959964, n - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    reach = t * math.sqrt(variance / n)
    return mean, mean - reach, mean + reach


def _said(verdict: str, points: Sequence[GrowthPoint], rule: str, nothing: float) -> str:
    what = "KL to float" if rule == "kl" else "relative error"
    whole = points[-1]
    half = next((p for p in points[:-1] if p.n == whole.n // 2), None)
    if half is None:
        return "too little time to calibrate on half of the samples"
    low, high = half.ci95
    figures = (
        f"{what} {half.loss:.3g} with {half.n}, {whole.loss:.3g} with {whole.n}; "
        f"difference {half.more:+.2g} [{low:+.2g}, {high:+.2g}]"
    )
    if verdict == SAME:
        return (
            f"{half.n} of the {whole.n} samples that set ranges give the same INT8 loss: more "
            f"would not help ({figures})"
        )
    if verdict == FALLING:
        return f"the INT8 loss is still falling: more samples would help ({figures})"
    return (
        f"whether more samples would lower the INT8 loss cannot be told from these "
        f"({figures}; below {nothing:.2g} is nothing)"
    )
