"""How far apart two sets of vectors lie, and where one leaves holes in the other.

Runs in a child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Vectors compared at most, of each set.
MOST = 512
#: Random divisions that say what distance is usual.
DRAWS = 200
#: Axes kept of long vectors.
AXES = 24
#: A standardised value beyond this counts as this: one wild statistic must not hide all others.
FAR = 8.0


@dataclass(frozen=True)
class Distance:
    """Between two sets.

    Attributes:
        value: energy distance over twice the mean distance between the sets: 0 for equal
            distributions, 1 for two points (Szekely and Rizzo 2013, the coefficient H).
        usual: the 95th percentile of the value when samples are dealt to both sets at random.
        high: the highest of :data:`DRAWS` such values.
    """

    value: float
    usual: float
    high: float

    @property
    def real(self) -> bool:
        """Whether no random division came near it."""
        return self.value > 1.5 * self.high and self.value > self.high + 0.005


def thinned(values: Any, most: int = MOST) -> Any:
    """Every k-th row, so that at most ``most`` are left."""
    return values[:: -(-len(values) // most)] if len(values) > most else values


def standard(values: Any, reference: Any) -> Any:
    """Values in standard deviations of the reference, limited to :data:`FAR`."""
    import numpy as np

    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    floor = 1e-3 * np.abs(mean) + 1e-6
    return np.clip((values - mean) / np.maximum(spread, floor), -FAR, FAR)


class Space:
    """Principal axes of a reference set, in which others are seen.

    Args:
        reference: (samples, features).
        axes: at most so many.
    """

    def __init__(self, reference: Any, axes: int = AXES) -> None:
        import numpy as np

        self.reference = reference.astype(np.float64)
        unit = standard(self.reference, self.reference)
        self.middle = unit.mean(axis=0)
        unit = unit - self.middle
        tall = unit.shape[0] >= unit.shape[1]
        # Eigenvectors of the smaller product; of the rows' product they are mapped to axes.
        sizes, found = np.linalg.eigh(unit.T @ unit if tall else unit @ unit.T)
        keep = max(1, min(axes, int((sizes > 1e-9 * (sizes[-1] + 1e-12)).sum())))
        found = found[:, ::-1][:, :keep]
        if not tall:
            found = unit.T @ found
            found = found / np.maximum(np.linalg.norm(found, axis=0), 1e-12)
        self.directions: Any = found

    def __call__(self, values: Any) -> Any:
        """(samples, axes)."""
        import numpy as np

        unit = standard(values.astype(np.float64), self.reference)
        return (unit - self.middle) @ self.directions


def between(one: Any, two: Any, seed: int, draws: int = DRAWS) -> Distance:
    """Energy distance of two sets of vectors, and what is usual for sets of their sizes."""
    import numpy as np

    one, two = thinned(one), thinned(two)
    both = np.concatenate([one, two])
    gaps = pairwise(both, both)
    n = len(one)
    first = np.zeros(len(both), bool)
    first[:n] = True
    value = float(_energy(gaps, first[:, None])[0])
    if not draws:
        return Distance(value, 0.0, 0.0)
    draw = np.random.default_rng(seed)
    usual = _energy(gaps, np.stack([draw.permutation(first) for _ in range(draws)], axis=1))
    return Distance(value, float(np.percentile(usual, 95)), float(usual.max()))


def pairwise(one: Any, two: Any) -> Any:
    """Euclidean distances, (len(one), len(two))."""
    import numpy as np

    squares = (one * one).sum(1)[:, None] + (two * two).sum(1)[None] - 2 * one @ two.T
    return np.sqrt(np.maximum(squares, 0))


def _energy(gaps: Any, first: Any) -> Any:
    """The coefficient H, without bias: pairs of a sample with itself do not count.

    Args:
        gaps: distances, (samples, samples).
        first: which samples are the first set's, (samples, divisions): all in one product.

    Returns:
        (divisions,).
    """
    import numpy as np

    a = first.astype(float)
    b = 1 - a
    n, m = a.sum(0), b.sum(0)
    ga = gaps @ a
    gb = gaps.sum(1)[:, None] - ga
    across = (a * gb).sum(0) / (n * m)
    within_a = (a * ga).sum(0) / (n * np.maximum(n - 1, 1))
    within_b = (b * gb).sum(0) / (m * np.maximum(m - 1, 1))
    return (2 * across - within_a - within_b) / (2 * across + 1e-12)


def k_means(values: Any, k: int, seed: int, rounds: int = 15) -> tuple[Any, Any]:
    """Lloyd's algorithm from k-means++ centres: (cluster of each row, centres)."""
    import numpy as np

    draw = np.random.default_rng(seed)
    centres = values[draw.integers(len(values))][None]
    while len(centres) < k:
        gaps = pairwise(values, centres).min(axis=1) ** 2
        if gaps.sum() <= 0:
            break
        centres = np.concatenate(
            [centres, values[draw.choice(len(values), p=gaps / gaps.sum())][None]]
        )
    labels = np.zeros(len(values), int)
    for _ in range(rounds):
        labels = pairwise(values, centres).argmin(axis=1)
        moved = [
            values[labels == c].mean(axis=0) if (labels == c).any() else centres[c]
            for c in range(len(centres))
        ]
        centres = np.array(moved)
    return labels, centres


def far_share(calibration: Any, test: Any) -> tuple[float, Any]:
    """Share of test rows far from all calibration rows, and their positions, farthest first.

    Far: farther from the nearest calibration row than 99 % of the calibration rows are from their
    nearest other one.
    """
    import numpy as np

    own = pairwise(calibration, calibration)
    np.fill_diagonal(own, np.inf)
    limit = float(np.percentile(own.min(axis=1), 99))
    gaps = pairwise(test, calibration).min(axis=1)
    far = np.flatnonzero(gaps > limit * 1.0001)
    return len(far) / max(len(test), 1), far[np.argsort(-gaps[far])]
