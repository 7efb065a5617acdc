"""The paired drop of a metric of a whole data set, from what each sample contributes to it.

Every rung is evaluated on the same resampled test sets (whole units: samples, or groups), so that
differences are paired. As for means (:mod:`seatrial.verdict.stats`), an interval is the wider of a
BCa bootstrap and a t interval, here over the jackknife's pseudo-values, and its upper end is never
below what single units that are lost whole could cost although none was drawn; what a unit loses
is told by the metric of that unit alone.

Sources: B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical
Association 82 (1987) 171-185; for the jackknife's variance and for leaving out blocks of units,
B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 11.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

from .bootstrap import student_quantile
from .proportions import CONFIDENCE, clopper_pearson
from .stats import LEAST_DIFFERING, SEEN_ENOUGH, SURE, Paired

#: Resamples; the Monte-Carlo error of a 2.5 % limit is then about 0.35 % of coverage.
RESAMPLES = 2000
#: Fewest resamples, for metrics that cost much; the Monte-Carlo error of a 2.5 % limit is then
#: about 0.5 % of coverage.
LEAST_RESAMPLES = 1000
#: Numbers that all resamples of one rung may touch before fewer are drawn.
WORK = 2_000_000_000
#: Units are left out one by one up to this number, in so many equal blocks above.
BLOCKS = 400
#: A metric that is undefined on more than this share of resampled sets has no interval.
UNDEFINED = 0.02

Metric = Callable[[Any], float]


@dataclasses.dataclass(frozen=True)
class Draws:
    """One rung's metric over all that is drawn.

    Attributes:
        value: on the test set itself.
        resampled: on each resampled set, shape (resamples,).
        without: with each block of units left out, shape (blocks,).
        alone: of each unit alone, shape (units,); NaN where it defines none.
    """

    value: float
    resampled: Any
    without: Any
    alone: Any


class Resampling:
    """The sets that every rung is evaluated on.

    Args:
        groups: a key per sample; samples with one key are drawn together.
        kept: positions of the samples that count (the first of each content).
        seed: of the drawing.
        cost: numbers that one evaluation of the metric touches.
        name: of the units, ``samples`` or ``distinct samples``, when no two share a key.
    """

    def __init__(
        self,
        groups: Sequence[str],
        kept: Sequence[int],
        *,
        seed: int = 0,
        cost: int = 0,
        name: str = "samples",
    ) -> None:
        import numpy as np

        self.samples = len(groups)
        self.kept = np.asarray(kept, dtype=np.int64)
        keys = np.asarray([groups[i] for i in kept], dtype=str)
        _, self.unit = np.unique(keys, return_inverse=True)
        self.units = int(self.unit.max(initial=-1)) + 1
        self.name = "groups" if self.units < len(kept) else name
        self.seed = seed
        self.count = max(LEAST_RESAMPLES, min(RESAMPLES, WORK // max(cost, 1)))

    def weights(self, per_unit: Any) -> Any:
        """Weights of samples from those of their units, shape (samples,)."""
        import numpy as np

        weights = np.zeros(self.samples)
        weights[self.kept] = np.asarray(per_unit, float)[self.unit]
        return weights

    def draws(self, metric: Metric) -> Draws:
        """Evaluate one rung on the test set, on every resampled set and without each block."""
        import numpy as np

        rng = np.random.default_rng(self.seed)
        n = self.units
        whole = np.ones(n)
        resampled = np.empty(self.count)
        for i in range(self.count):
            counts = np.bincount(rng.integers(0, n, n), minlength=n)
            resampled[i] = metric(self.weights(counts))
        without, alone = [], []
        for block in self.blocks():
            rest = whole.copy()
            rest[block] = 0
            without.append(metric(self.weights(rest)) if rest.any() else math.nan)
        for unit in range(n):
            only = np.zeros(n)
            only[unit] = 1
            alone.append(metric(self.weights(only)))
        value = metric(self.weights(whole))
        return Draws(value, resampled, np.asarray(without), np.asarray(alone))

    def blocks(self) -> list[Any]:
        """Units that are left out together: one by one, or a fixed random order in equal parts."""
        import numpy as np

        order = np.random.default_rng(self.seed + 1).permutation(self.units)
        return list(np.array_split(order, min(self.units, BLOCKS)))

    def sizes(self) -> Any:
        """Samples per unit."""
        import numpy as np

        return np.bincount(self.unit, minlength=self.units)

    def changed(self, same: Sequence[bool]) -> int:
        """Units of which some sample's statistics differ.

        Args:
            same: per sample, whether both rungs contribute alike.
        """
        import numpy as np

        apart = ~np.asarray(same, bool)[self.kept]
        return len(np.unique(self.unit[apart]))


def interval(resampled: Any, without: Any, value: float) -> tuple[float, float] | None:
    """The wider of a BCa and a jackknife t interval; ``None`` where the metric is undefined.

    Args:
        resampled: the statistic on resampled sets.
        without: with each of a number of equal blocks left out.
        value: on the set itself.
    """
    import numpy as np

    known = resampled[~np.isnan(resampled)]
    rest = without[~np.isnan(without)]
    if len(known) < (1 - UNDEFINED) * len(resampled) or len(rest) < 2 or math.isnan(value):
        return None
    influence = rest.mean() - rest
    power = float((influence**2).sum())
    if power == 0 or np.ptp(known) == 0:
        # Whatever is drawn gives the same: only units that were not seen could differ.
        same = power == 0 and np.ptp(known) == 0 and known[0] == value
        return (value, value) if same else None
    normal = NormalDist()
    below = (np.sum(known < value) + np.sum(known == value) / 2) / len(known)
    z0 = normal.inv_cdf(float(np.clip(below, 0.5 / len(known), 1 - 0.5 / len(known))))
    acceleration = float((influence**3).sum() / (6 * power**1.5))
    ends = []
    for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        z = z0 + normal.inv_cdf(share)
        level = normal.cdf(z0 + z / (1 - acceleration * z))
        ends.append(float(np.quantile(known, level)))
    blocks = len(rest)
    half = student_quantile((1 + CONFIDENCE) / 2, blocks - 1)
    half *= math.sqrt(power * (blocks - 1) / blocks)
    return min(ends[0], value - half), max(ends[1], value + half)


def compared(
    reference: Draws,
    candidate: Draws,
    same: Sequence[bool],
    over: Resampling,
    *,
    scale: float = 1.0,
    higher_is_better: bool = True,
    bounds: tuple[float, float] | None = None,
    margin: float | None = None,
) -> Paired:
    """The drop from one rung to another.

    Args:
        reference: draws of one rung.
        candidate: draws of the other, over the same sets.
        same: per sample, whether both contribute alike.
        over: the sets.
        scale: what turns the metric into its unit.
        higher_is_better: else the sign of the drop is turned.
        bounds: least and largest value, before ``scale``, when known.
        margin: the limit, in the metric's unit, for ``needed``.
    """
    sign = 1.0 if higher_is_better else -1.0
    drop = sign * (reference.value - candidate.value)
    differing = over.changed(same)
    found, method = None, ""
    if differing >= LEAST_DIFFERING:
        resampled = sign * (reference.resampled - candidate.resampled)
        found = interval(resampled, sign * (reference.without - candidate.without), drop)
        method = f"BCa bootstrap and jackknife t interval over {over.name}, the wider of both"
    rare = -math.inf
    if bounds is not None:
        reach = (bounds[1] - bounds[0]) * float(over.sizes().max() / over.sizes().mean())
        if found is None and not math.isnan(drop):
            limit = clopper_pearson(differing, over.units)[1] * reach
            found, method = (-limit, limit), f"exact limit of the share of {over.name} that differ"
        else:
            rare = _rare(sign * (reference.alone - candidate.alone), reach, bounds)
    if found is not None and rare > found[1]:
        method += f", raised to what rare {over.name} could still cost"
    ci95 = None if found is None else (scale * found[0], scale * max(found[1], rare))
    reason = ""
    if found is None:
        reason = f"only {differing} {over.name} differ, {LEAST_DIFFERING} are needed"
        if differing >= LEAST_DIFFERING:
            reason = "the metric is not defined on resampled test sets"
    asked = (
        None if ci95 is None or margin is None else (scale * drop, ci95[1], rare * scale, margin)
    )
    return Paired(
        drop=scale * drop,
        ci95=ci95,
        n=over.units,
        samples=len(over.kept),
        unit=over.name,
        differing=differing,
        method=method if found is not None else "",
        reason=reason,
        needed=_wanted(asked, over.units) if asked else 0,
        needed_sure=_wanted(asked, over.units, SURE) if asked else 0,
    )


def _rare(lost: Any, reach: float, bounds: tuple[float, float]) -> float:
    """What units that are mostly lost could cost, as for means: too rare to be drawn."""
    import numpy as np

    shares = lost[~np.isnan(lost)] / (bounds[1] - bounds[0])
    if int((abs(shares) > 0.5).sum()) >= SEEN_ENOUGH:
        return -math.inf
    heavy = shares > 0.5
    each = float(shares[heavy].mean()) if heavy.any() else 1.0
    return clopper_pearson(int(heavy.sum()), len(lost))[1] * each * reach


def _wanted(asked: tuple[float, float, float, float], n: int, wider: float = 1.0) -> int:
    """Units needed if the half-width shrinks with the square root of their number; -1: never."""
    drop, high, rare, margin = asked
    if drop >= margin:
        return -1
    wide = math.ceil(n * (wider * (high - drop) / (margin - drop)) ** 2)
    return max(wide, math.ceil(n * rare / margin)) if rare > margin > 0 else wide


def alike(first: Any, second: Any) -> bool:
    """Whether two samples' statistics are equal, whatever they are made of."""
    import numpy as np

    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [f.name for f in dataclasses.fields(first)]
        return type(first) is type(second) and all(
            alike(getattr(first, n), getattr(second, n)) for n in names
        )
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(np.asarray(first), np.asarray(second))
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(alike, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(alike(first[k], second[k]) for k in first)
    return bool(first == second)
