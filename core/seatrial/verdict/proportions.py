"""Intervals for proportions: Tango's for a paired difference, Clopper-Pearson's for one share.

Sources: T. Tango, "Equivalence test and confidence interval for the difference in proportions for
the paired-sample design", Statistics in Medicine 17 (1998) 891-908; C. J. Clopper and E. S.
Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26 (1934) 404-413.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

#: Two-sided confidence of every interval in a report.
CONFIDENCE = 0.95

#: Quantile of the standard normal distribution for that confidence (1.959964).
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

#: Bisection steps: the bracket [-1, 1] shrinks below the spacing of doubles around 0.01.
_STEPS = 60

#: More samples than this is "never" for anybody who has to label them.
_MOST = 100_000_000


def tango(b: Any, c: Any, n: Any, z: float = Z) -> tuple[Any, Any]:
    """Score interval of the paired difference (b - c) / n.

    The limits are the differences D at which the score statistic
    (b - c - n D) / sqrt(n (2 q + D (1 - D))) equals +z and -z, where q is the maximum-likelihood
    estimate of P(only the candidate is right) under that D. Found by bisection, so b = c = 0 and
    b = n need no special case: for b = c = 0 the limits are +-z^2 / (n + z^2).

    Args:
        b: samples that only the reference gets right; number or array, may be fractional.
        c: samples that only the candidate gets right.
        n: all samples, n >= b + c and n > 0.
        z: standard normal quantile.

    Returns:
        (lower, upper), both in [-1, 1], in the shape of the arguments.

    Raises:
        ValueError: the counts do not describe n samples.
    """
    import numpy as np

    b, c, n = np.broadcast_arrays(
        np.asarray(b, dtype=float), np.asarray(c, dtype=float), np.asarray(n, dtype=float)
    )
    if (n <= 0).any() or (b < 0).any() or (c < 0).any() or (b + c > n * (1 + 1e-12)).any():
        raise ValueError("counts must satisfy 0 <= b, 0 <= c, 0 < b + c <= n, 0 < n")
    upper, lower = _upper(b, c, n, z), -_upper(c, b, n, z)
    if b.ndim == 0:
        return float(lower), float(upper)
    return lower, upper


def _upper(b: Any, c: Any, n: Any, z: float) -> Any:
    """The largest difference D in [estimate, 1] whose score statistic is still above -z."""
    import numpy as np

    low, high = (b - c) / n, np.ones_like(n)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        inside = b - c - n * middle + z * _null_deviation(b, c, n, middle) >= 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def _null_deviation(b: Any, c: Any, n: Any, delta: Any) -> Any:
    """Standard deviation of b - c if the true difference is delta (Tango 1998, section 2)."""
    import numpy as np

    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    root = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0.0))
    # Of the two ways to write the root, take the one that does not cancel.
    with np.errstate(divide="ignore", invalid="ignore"):
        stable = np.where(linear + root > 0, -2 * constant / (linear + root), 0.0)
    q = np.where(linear >= 0, stable, (root - linear) / (4 * n))
    return np.sqrt(np.maximum(n * (2 * q + delta * (1 - delta)), 0.0))


def needed(b: float, c: float, n: int, margin: float, power: float | None = None) -> int | None:
    """How many samples would show a drop of at most ``margin``, were the observed rates the truth.

    Without ``power`` it is the smallest n at which Tango's upper limit comes down to the margin
    with b and c scaled along (half of all repetitions would then succeed). With ``power`` it is
    the usual approximation ((z + z_power) / (margin - d))^2 (p - d^2) on top of that, with
    p = (b + c) / n and d = (b - c) / n.

    Args:
        b: samples that only the reference gets right.
        c: samples that only the candidate gets right.
        n: all samples.
        margin: the largest drop allowed, as a share (0.01 is one point).
        power: wanted chance of success, for instance 0.8.

    Returns:
        The number, or ``None``: no number would do, for the observed drop is not below the margin.
    """
    drop, discordant = (b - c) / n, (b + c) / n
    if drop >= margin:
        return None

    def enough(size: float) -> bool:
        # The upper limit is not above the margin where the score statistic there is below -z.
        more, fewer = b / n * size, c / n * size
        return bool(
            more - fewer - size * margin + Z * _null_deviation(more, fewer, size, margin) < 0
        )

    high = 16
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    if power is None:
        return high
    reach = (Z + NormalDist().inv_cdf(power)) / (margin - drop)
    return max(high, math.ceil(reach**2 * (discordant - drop**2)))


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a share k / n.

    Raises:
        ValueError: not 0 <= k <= n with n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no share")
    tail = (1 - confidence) / 2
    lower = 0.0 if k == 0 else _bisect(lambda p: binomial_tail(k, n, p) < tail)
    upper = 1.0 if k == n else _bisect(lambda p: 1 - binomial_tail(k + 1, n, p) > tail)
    return lower, upper


def _bisect(below: Any) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p), summed from exact logarithms of the terms."""
    if k <= 0:
        return 1.0
    if p <= 0.0 or k > n:
        return 0.0
    if p >= 1.0:
        return 1.0
    total = 0.0
    # Sum the shorter side; terms far below the largest add nothing and are skipped.
    upper_side = k > n * p
    terms = range(k, n + 1) if upper_side else range(k - 1, -1, -1)
    log_p, log_q, whole = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    for i in terms:
        log_term = whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q
        term = math.exp(log_term)
        total += term
        if term < total * 1e-17:
            break
    return min(1.0, total) if upper_side else max(0.0, 1.0 - total)
