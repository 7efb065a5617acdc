"""From what was observed of a tensor to the range that its scale is made from.

One pass collects, any method chooses: nothing here costs anything per sample. No method gives a
range wider than the extremes that were seen. Runs in a child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .histogram import BINS, unpacked
from .types import FROM_EXTREMES, METHODS, RangeTable, TensorRange

#: Levels of an 8-bit activation.
STEPS = 255

#: Fractions of the range tried by the searches, and how often each side is tried anew.
FRACTIONS, ROUNDS = 48, 2

#: Levels, bins and stride of the search by divergence: Migacz, GTC 2017, session 7310 on 8-bit
#: inference, with 2048 bins of magnitude and 128 levels.
KL_LEVELS, KL_BINS, KL_STRIDE = 128, 2048, 16

Range = tuple[float, float]


@dataclass(frozen=True)
class Values:
    """A tensor's distribution as its occupied bins.

    Attributes:
        middle: float64, ascending; 0 for the bin around 0.
        count: float64, same shape.
        width: of a bin.
        lo: smallest value seen (0 for tensors that cannot be negative).
        hi: largest value seen.
    """

    middle: Any
    count: Any
    width: float
    lo: float
    hi: float


def chosen(table: RangeTable, method: str = "", *, symmetric: bool = False) -> dict[str, Range]:
    """Ranges of all tensors of which a finite value was seen.

    Args:
        table: a calibration table.
        method: one of :data:`METHODS`; empty: the table's own.
        symmetric: the range will be widened to [-m, m], so choose m.

    Raises:
        ValueError: an unknown method, or one that needs histograms that the table does not have.
    """
    method = method or table.method
    if method not in METHODS:
        raise ValueError(f"{method!r} is not one of {', '.join(METHODS)}")
    seen = {name: t for name, t in table.tensors.items() if t.count}
    return {name: _chosen(name, t, method, symmetric) for name, t in seen.items()}


def _chosen(name: str, tensor: TensorRange, method: str, symmetric: bool) -> Range:
    if method in FROM_EXTREMES:
        moving = (tensor.lo_moving, tensor.hi_moving)
        return moving if method == "moving-average" else (tensor.lo, tensor.hi)
    if tensor.histogram is None:
        raise ValueError(f"{method} needs histograms, and the table has none of {name}")
    values = distribution(tensor)
    if values.lo >= values.hi or not values.count.any():
        return tensor.lo, tensor.hi
    kind, _, level = method.partition("-")
    if kind == "percentile":
        found = percentile(values, float(level))
    elif kind == "mse":
        found = least_error(values, symmetric=symmetric)
    else:
        found = least_divergence(values)
    return max(found[0], tensor.lo), min(found[1], tensor.hi)


def distribution(tensor: TensorRange) -> Values:
    """The occupied bins of a tensor with a histogram."""
    import numpy as np

    assert tensor.histogram is not None
    dyadic = unpacked(tensor.histogram)
    width = 2.0**dyadic.exponent / BINS
    (index,) = np.nonzero(dyadic.counts)
    bins = index - (BINS - 1)
    middle = (bins + 0.5 * np.sign(bins)) * width
    return Values(middle, dyadic.counts[index].astype(float), width, tensor.lo, tensor.hi)


def percentile(values: Values, level: float) -> Range:
    """The range that leaves (100 - level) / 2 per cent of the values outside on either side.

    Within a bin values are taken as evenly spread.
    """
    total = values.count.sum()
    outside = (100.0 - level) / 200.0 * total
    top = _quantile(values.middle[::-1], values.count[::-1], outside, -values.width)
    bottom = _quantile(values.middle, values.count, outside, values.width)
    return min(bottom, 0.0), max(top, 0.0)


def _quantile(middle: Any, count: Any, outside: float, width: float) -> float:
    """Where ``outside`` values have been passed, coming from the outer end."""
    import numpy as np

    passed = np.cumsum(count)
    k = min(int(np.searchsorted(passed, outside, "right")), len(count) - 1)
    into = (outside - (passed[k] - count[k])) / count[k]
    return float(middle[k] + width * (into - 0.5))


def least_error(values: Values, *, symmetric: bool = False, levels: int = STEPS) -> Range:
    """The range with the least mean squared error of rounding and clipping together.

    Both ends shrink together first, then each alone; every trial quantises the middle of every
    bin as QuantizeLinear would. Cf. Banner et al. 2019, "Post training 4-bit quantization".
    """
    import numpy as np

    lo, hi = min(values.lo, 0.0), max(values.hi, 0.0)
    if symmetric:
        lo, hi = -max(-lo, hi), max(-lo, hi)
    fractions = np.linspace(1, 0, FRACTIONS, endpoint=False)
    start = [(lo * f, hi * f) for f in fractions]
    best = min(start, key=lambda r: _error(values, r, levels))
    if symmetric:
        return best
    for _ in range(ROUNDS if lo < 0 < hi else 0):
        near = np.unique([*(fractions * hi), *np.linspace(0.8, 1.2, 17) * best[1]])
        tops = [(best[0], min(float(t), hi)) for t in near if t > 0]
        best = min([best, *tops], key=lambda r: _error(values, r, levels))
        near = np.unique([*(fractions * lo), *np.linspace(0.8, 1.2, 17) * best[0]])
        bottoms = [(max(float(b), lo), best[1]) for b in near if b < 0]
        best = min([best, *bottoms], key=lambda r: _error(values, r, levels))
    return best


def _error(values: Values, limits: Range, levels: int) -> float:
    import numpy as np

    lo, hi = limits
    scale = (hi - lo) / levels
    if scale <= 0:
        return float("inf")
    zero = np.rint(-lo / scale)
    steps = np.clip(np.rint(values.middle / scale), -zero, levels - zero)
    off = values.middle - steps * scale
    return float(values.count @ (off * off))


def least_divergence(values: Values) -> Range:
    """The magnitude at which clipping and 128 levels change the distribution least.

    KL divergence between the clipped histogram of magnitudes, with what is outside added to its
    last bin, and its 128-level form spread over the bins that are occupied. Zeros are left out:
    they are exact in every scale.
    """
    peak = max(-values.lo, values.hi)
    counts = _magnitudes(values, peak)
    sizes = range(KL_LEVELS, KL_BINS + 1, KL_STRIDE)
    best = min(reversed(sizes), key=lambda n: _divergence(counts, n))
    limit = peak * best / KL_BINS
    return max(values.lo, -limit), min(values.hi, limit)


def _magnitudes(values: Values, peak: float) -> Any:
    """Counts in :data:`KL_BINS` bins of magnitude up to the peak, zeros left out.

    The bins at hand do not fit into these: each is taken as evenly filled. To move them whole
    would make a comb of any smooth distribution, and the search would follow its teeth.
    """
    import numpy as np

    outer = values.middle != 0
    index = (np.abs(values.middle[outer]) / values.width).astype(int)
    counts = np.bincount(index, values.count[outer])
    edges = np.minimum(np.arange(len(counts) + 1) * values.width, peak)
    below = np.interp(np.linspace(0, peak, KL_BINS + 1), edges, np.append(0, np.cumsum(counts)))
    return np.diff(below)


def _divergence(counts: Any, size: int) -> float:
    import numpy as np

    inside = counts[:size]
    clipped = inside.copy()
    clipped[-1] += counts[size:].sum()
    starts = np.arange(KL_LEVELS) * size // KL_LEVELS
    # The last bin counts as occupied by what was clipped into it: whether a single value lies
    # there must not decide.
    occupied = clipped > 0
    sums = np.add.reduceat(inside, starts)
    each = sums / np.maximum(np.add.reduceat(occupied.astype(float), starts), 1)
    spread = np.repeat(each, np.diff([*starts, size])) * occupied
    if not spread.any():
        return float("inf")
    p, q = clipped / clipped.sum(), spread / spread.sum()
    used = p > 0
    # Where a whole level is empty but for what was clipped, a small mass stands in for it.
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))))
