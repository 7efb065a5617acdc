"""How often the accuracy gate ships a model that it must not, and one that it may.

Pairs of models are drawn with a known true drop: each test sample is lost (+1), won (-1) or the
same (0), with the discordance and the drop of the cell. Correlated frames come in groups: a
sample copies its group's draw with probability sqrt(rho), so any two of one group correlate by
rho. The decision is that of the gate: SHIP when the upper end of the interval of
`seatrial.verdict.stats.paired` is at or below the limit. Each rate stands with its 95 % interval
(Clopper-Pearson); the worst cell is drawn again with another seed and ten times the pairs, since
the largest of many noisy rates is too large by itself.

Usage: python benchmarks/verdict.py [--trials N] [--grouped-trials N] [--power-trials N]
                                    [--shares 0.01 ...] [--groups 50 ...] [--seed N]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seatrial.verdict.bootstrap import student_quantile
from seatrial.verdict.proportions import clopper_pearson, tango
from seatrial.verdict.stats import LEAST_DIFFERING, paired

SIZES = (100, 500, 2000, 10_000, 50_000)
DISCORDANCE = (0.005, 0.01, 0.02, 0.05, 0.10)
#: (limit, true drop), both in points. At the limit or beyond it a SHIP is false.
EDGE = ((0.5, 0.5), (1.0, 1.0), (1.0, 1.5))
POWER = ((1.0, 0.0), (1.0, 0.5))
SHARES = (0.01, 0.02, 0.05, 0.10)
RHO = (0.2, 0.5, 0.8)
GROUPS = (50, 100, 400, 1000)
#: Frames of a group; 0: groups of 1 to 40 frames, drawn anew for each pair of models.
FRAMES = (5, 20, 50, 0)
MIXED = 40
#: Numbers drawn at once.
CHUNK = 4_000_000


@dataclasses.dataclass(frozen=True)
class Cell:
    """One kind of test set and pair of models; ``n`` counts samples, or groups of ``frames``."""

    limit: float
    drop: float
    share: float
    n: int
    frames: int = 1
    rho: float = 0.0

    def __str__(self) -> str:
        text = f"limit {self.limit:g}, true drop {self.drop:g}, discordance {100 * self.share:g} %"
        if not self.rho:
            return f"{text}, {self.n:,} samples"
        frames = self.frames or f"1 to {MIXED}"
        return f"{text}, correlation {self.rho:g}, {self.n:,} groups of {frames} frames"

    @property
    def chances(self) -> tuple[float, float, float]:
        """Of a sample to be lost, won, the same."""
        drop = self.drop / 100
        return (self.share + drop) / 2, (self.share - drop) / 2, 1 - self.share


def shipped(rng: Any, cell: Cell, trials: int) -> int:
    """How many of ``trials`` pairs of models the gate ships."""
    if cell.rho:
        step = max(1, CHUNK // cell.n)
        parts = [min(step, trials - k) for k in range(0, trials, step)]
        return sum(_grouped(rng, cell, part) for part in parts)
    drawn = rng.multinomial(cell.n, cell.chances, size=trials)[:, :2]
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    upper = tango(pairs[:, 0], pairs[:, 1], cell.n)[1]
    return int(counts[100 * upper <= cell.limit].sum())


def _grouped(rng: Any, cell: Cell, trials: int) -> int:
    shape = (trials, cell.n)
    sizes = np.full(shape, cell.frames) if cell.frames else rng.integers(1, MIXED + 1, shape)
    copies = rng.binomial(sizes, cell.rho**0.5)
    common = rng.choice([1, -1, 0], p=cell.chances, size=shape)
    lost = rng.binomial(sizes - copies, cell.chances[0])
    won = rng.binomial(sizes - copies - lost, cell.chances[1] / (1 - cell.chances[0]))
    sums = common * copies + lost - won
    left = np.flatnonzero(_may_ship(sums, sizes, cell.limit / 100))
    return sum(_ships(sums[k], sizes[k], cell.limit, int(k)) for k in left)


def _may_ship(sums: Any, sizes: Any, limit: float) -> Any:
    """False where one of the gate's cheap intervals alone forbids it: the widest counts.

    Repeats arithmetic of the gate only to leave out its bootstrap where that cannot matter;
    every pair that ships here was shipped by the gate itself.
    """
    units = sums.shape[1]
    mean = sums.sum(1) / sizes.sum(1)
    rest = (sums - mean[:, None] * sizes) / sizes.mean(1)[:, None]
    half = student_quantile(0.975, units - 1) * np.sqrt((rest**2).sum(1) / (units * (units - 1)))
    differing, largest = (sums != 0).sum(1), sizes.max(1) / sizes.mean(1)
    heavy = (abs(sums / sizes) > 0.5).sum(1)
    none = _most(0, units) * largest
    exact = np.asarray([_most(min(int(k), LEAST_DIFFERING), units) for k in differing]) * largest
    fits = np.where(differing >= LEAST_DIFFERING, mean + half, exact) <= limit
    return fits & ((heavy > 0) | (differing < LEAST_DIFFERING) | (none <= limit))


@functools.cache
def _most(k: int, n: int) -> float:
    return clopper_pearson(k, n)[1]


def _ships(sums: Any, sizes: Any, limit: float, seed: int) -> bool:
    """The gate on frames that add up to these sums; how they lie in a group does not matter."""
    place = np.concatenate([np.arange(size) for size in sizes])
    whole = np.repeat(sums, sizes)
    flat = np.sign(whole) * (place < abs(whole))
    names = np.repeat(np.arange(len(sums)), sizes).astype(str)
    found = paired(
        (flat >= 0).astype(float), (flat <= 0).astype(float), groups=names, margin=limit, seed=seed
    )
    return found.ci95 is not None and found.ci95[1] <= limit


def _text(count: int, trials: int) -> str:
    low, high = clopper_pearson(count, trials)
    return f"{100 * count / trials:.2f} ({100 * low:.1f}-{100 * high:.1f})"


class Table:
    """Prints rows of rates and keeps the false SHIP rates."""

    def __init__(self, seed: int, columns: Iterable[str], heads: str) -> None:
        self.seed = seed
        self.false: list[tuple[float, int, int, Cell]] = []
        columns = list(columns)
        print(f"| {heads} | " + " | ".join(columns) + " |")
        print("|" + "---|" * (heads.count("|") + 1 + len(columns)))

    def row(self, head: str, cells: Iterable[Cell], trials: int) -> None:
        """One row; each cell has random numbers of its own, so that it can be repeated alone."""
        texts = []
        for cell in cells:
            count = shipped(_rng(self.seed, cell), cell, trials)
            texts.append(_text(count, trials))
            if cell.drop >= cell.limit:
                self.false.append((count / trials, count, trials, cell))
        print(f"| {head} | " + " | ".join(texts) + " |", flush=True)

    def worst(self, kind: str, again: int) -> None:
        """The worst cell, and the same cell drawn again."""
        _, count, trials, cell = max(self.false, key=lambda f: f[0])
        beyond = sum(clopper_pearson(c, t)[0] > 0.05 for _, c, t, _ in self.false)
        print(
            f"\n{kind}: {len(self.false)} cells at or beyond the limit, "
            f"{sum(f[0] for f in self.false) / len(self.false):.2%} ship falsely on average, "
            f"{beyond} cells are above 5 % beyond chance (95 %)."
        )
        print(f"Worst cell: {_text(count, trials)} % of {trials:,} ({cell})")
        count = shipped(_rng(self.seed + 1, cell), cell, again)
        print(f"The same cell, drawn again: {_text(count, again)} % of {again:,}", flush=True)


def _rng(seed: int, cell: Cell) -> Any:
    key = [seed, *(round(1000 * abs(v)) for v in dataclasses.astuple(cell))]
    return np.random.default_rng(key)


def independent(trials: int, seed: int) -> None:
    """Lone samples: Tango's interval."""
    print(f"Lone samples, {trials:,} pairs of models per cell: SHIP in % of them (95 % interval)\n")
    table = Table(seed, (f"n={n:,}" for n in SIZES), "limit | true drop | discordance %")
    for (limit, drop), share in itertools.product(EDGE + POWER, DISCORDANCE):
        if drop <= 100 * share:
            cells = [Cell(limit, drop, share, n) for n in SIZES]
            table.row(f"{limit} | {drop} | {100 * share:g}", cells, trials)
    table.worst("Lone samples", 10 * trials)


def correlated(
    trials: int, power: int, shares: Iterable[float], groups: Sequence[int], seed: int
) -> None:
    """Frames in groups: the resampling intervals."""
    print(
        f"\nGroups of correlated frames, limit 1 point, {trials:,} pairs of models per cell at the "
        f"limit and {power:,} for a true drop of 0: SHIP in % of them (95 % interval)\n"
    )
    heads = "true drop | discordance % | correlation | frames"
    table = Table(seed, (f"{n} groups" for n in groups), heads)
    for drop, share, rho, frames in itertools.product((1.0, 0.0), shares, RHO, FRAMES):
        cells = [Cell(1.0, drop, share, n, frames, rho) for n in groups]
        if not (power or drop):
            continue
        head = f"{drop} | {100 * share:g} | {rho} | {frames or f'1-{MIXED}'}"
        table.row(head, cells, trials if drop else power)
    table.worst("Groups", 10 * trials)


def main() -> None:
    """Both tables and the worst cells."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--grouped-trials", type=int, default=2_000)
    parser.add_argument("--power-trials", type=int, default=200)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES, help="of groups")
    parser.add_argument("--groups", type=int, nargs="*", default=GROUPS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()
    if args.trials:
        independent(args.trials, args.seed)
    if args.grouped_trials:
        correlated(args.grouped_trials, args.power_trials, args.shares, args.groups, args.seed)
    print(f"\n{time.monotonic() - started:.0f} s; seed {args.seed}")


if __name__ == "__main__":
    main()
