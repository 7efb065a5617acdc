"""How often the accuracy gate ships a model that it must not, and one that it may.

Pairs of models are drawn with a known true drop: each test sample is lost (+1), won (-1) or the
same (0), with the discordance and the drop of the cell. Correlated frames come in groups: a
sample copies its group's draw with probability sqrt(rho), so any two of one group correlate by
rho. The decision is that of the gate: SHIP when the upper end of the interval of
`seatrial.verdict.stats.paired` is at or below the limit.

Usage: python benchmarks/verdict.py [--trials N] [--grouped-trials N] [--seed N]
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

from seatrial.verdict.bootstrap import student
from seatrial.verdict.proportions import tango
from seatrial.verdict.stats import LEAST_DIFFERING, paired

SIZES = (100, 500, 2000, 10_000, 50_000)
DISCORDANCE = (0.005, 0.01, 0.02, 0.05, 0.10)
#: (limit, true drop), both in points. At the limit or beyond it a SHIP is false.
EDGE = ((0.5, 0.5), (1.0, 1.0), (1.0, 1.5))
POWER = ((1.0, 0.0), (1.0, 0.5))
CORRELATED = ((1.0, 1.0), (1.0, 0.0))
SHARES = (0.01, 0.02, 0.05, 0.10)
RHO = (0.2, 0.5, 0.8)
GROUPS = (50, 100, 400, 1000)
FRAMES = (5, 20, 50)


def main() -> None:
    """Both tables and the worst cells."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--grouped-trials", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    worst = {"independent": independent(rng, args.trials)}
    worst["correlated"] = correlated(rng, args.grouped_trials)
    for kind, (share, cell) in worst.items():
        print(f"\nworst false SHIP rate, {kind}: {100 * share:.2f} % ({cell})")


def independent(rng: Any, trials: int) -> tuple[float, str]:
    """Lone samples: Tango's interval. Returns the worst false SHIP rate and its cell."""
    print(f"Independent samples, {trials:,} pairs of models per cell: SHIP in % of them")
    print("| limit | true drop | discordance % | " + " | ".join(f"n={n:,}" for n in SIZES) + " |")
    print("|---|---|---|" + "---|" * len(SIZES))
    worst = (0.0, "none")
    for (limit, drop), share in itertools.product(EDGE + POWER, DISCORDANCE):
        if drop > 100 * share:
            continue
        rates = [_shipped(rng, trials, n, share, drop / 100, limit / 100) for n in SIZES]
        if drop >= limit:
            top = max(range(len(SIZES)), key=lambda i: rates[i])
            cell = f"limit {limit}, drop {drop}, discordance {100 * share} %, n {SIZES[top]:,}"
            worst = max(worst, (rates[top], cell))
        cells = " | ".join(f"{100 * r:.2f}" for r in rates)
        print(f"| {limit} | {drop} | {100 * share:g} | {cells} |", flush=True)
    return worst


def _shipped(rng: Any, trials: int, n: int, share: float, drop: float, limit: float) -> float:
    chances = [(share + drop) / 2, (share - drop) / 2, 1 - share]
    pairs, counts = np.unique(
        rng.multinomial(n, chances, size=trials)[:, :2], axis=0, return_counts=True
    )
    upper = tango(pairs[:, 0], pairs[:, 1], n)[1]
    return float(counts[upper <= limit].sum() / trials)


def correlated(rng: Any, trials: int) -> tuple[float, str]:
    """Frames in groups: the resampling intervals."""
    print(f"\nGroups of correlated frames, {trials:,} pairs of models per cell: SHIP in % of them")
    head = " | ".join(f"{g} groups" for g in GROUPS)
    print(f"| limit | true drop | discordance % | correlation | frames | {head} |")
    print("|---|---|---|---|---|" + "---|" * len(GROUPS))
    worst = (0.0, "none")
    cells = itertools.product(CORRELATED, SHARES, RHO, FRAMES)
    for (limit, drop), share, rho, frames in cells:
        rates = [
            _grouped(rng, trials, (g, frames), (share, drop / 100, rho), limit) for g in GROUPS
        ]
        if drop >= limit:
            top = max(range(len(GROUPS)), key=lambda i: rates[i])
            cell = f"discordance {100 * share:g} %, correlation {rho}, {GROUPS[top]} x {frames}"
            worst = max(worst, (rates[top], cell))
        text = " | ".join(f"{100 * r:.2f}" for r in rates)
        print(f"| {limit} | {drop} | {100 * share:g} | {rho} | {frames} | {text} |", flush=True)
    return worst


def _grouped(
    rng: Any,
    trials: int,
    shape: tuple[int, int],
    cell: tuple[float, float, float],
    limit: float,
) -> float:
    share, drop, rho = cell
    values, chances = [1, -1, 0], [(share + drop) / 2, (share - drop) / 2, 1 - share]
    names = [str(i) for i in range(shape[0]) for _ in range(shape[1])]
    shipped = 0
    for trial in range(trials):
        own = rng.choice(values, p=chances, size=shape)
        common = rng.choice(values, p=chances, size=(shape[0], 1))
        drawn = np.where(rng.random(shape) < rho**0.5, common, own)
        shipped += _ships(drawn, names, limit, trial)
    return shipped / trials


def _ships(drawn: Any, names: list[str], limit: float, seed: int) -> bool:
    sums = drawn.sum(axis=1).astype(float)
    # The gate takes the widest of three intervals: where the cheapest fails, so does the gate.
    if (sums != 0).sum() >= LEAST_DIFFERING:
        upper = student(sums, np.full(len(sums), float(drawn.shape[1])))[1]
        if 100 * upper > limit:
            return False
    flat = drawn.reshape(-1)
    result = paired(
        (flat >= 0).astype(float), (flat <= 0).astype(float), groups=names, margin=limit, seed=seed
    )
    return result.ci95 is not None and result.ci95[1] <= limit


if __name__ == "__main__":
    main()
