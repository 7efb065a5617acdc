"""The bake-off: which samples judge, and which candidate wins. Pure; standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .types import Score

#: The last quarter of the calibration samples judges, within these bounds.
SHARE, FEWEST, MOST = 0.25, 16, 64


@dataclass(frozen=True)
class Entry:
    """One candidate of the bake-off.

    Attributes:
        name: unique among the entries.
        score: ``None`` when the candidate gave no result.
        fault: why it gave none.
    """

    name: str
    score: Score | None = None
    fault: str = ""


@dataclass(frozen=True)
class Choice:
    """The winner.

    Attributes:
        name: of the winner, ``""`` when there is none.
        rule: by which figure it was chosen: ``kl`` or ``sqnr``.
        reason: one line.
        reasons: for every entry, why it won or lost.
    """

    name: str
    rule: str
    reason: str
    reasons: Mapping[str, str] = field(default_factory=dict)


def held_out(count: int, groups: Sequence[str] = ()) -> tuple[int, ...]:
    """Samples that judge the candidates; all others collect ranges.

    The last quarter, at least 16 and at most 64, but never more than half. With groups, whole
    groups are taken from the end, so that no group is on both sides.

    Args:
        count: samples in the store.
        groups: one name per sample (:attr:`seatrial.samples.Samples.groups`); empty: no groups.

    Returns:
        Indices in order; empty when the samples cannot be divided.
    """
    wanted = min(max(math.ceil(count * SHARE), FEWEST), MOST, count // 2)
    names = list(groups) or [str(i) for i in range(count)]
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(name, []).append(i)
    chosen: list[int] = []
    for name in dict.fromkeys(reversed(names)):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(members[name]) <= max(wanted, count // 2):
            chosen += members[name]
    return tuple(sorted(chosen))


def choose(entries: Sequence[Entry]) -> Choice:
    """Choose by the mean loss on held-out samples, the first within one standard error.

    The loss of a sample is KL(float || candidate) of the class probabilities where every
    candidate looks like a classifier, else error power over signal power. Entries come in order
    of preference: a later one wins only if it is better by more than the standard error of the
    paired difference (the one-standard-error rule, Breiman et al. 1984, section 3.4.3).
    Candidates with a NaN or an infinity in any output lose.
    """
    reasons = {e.name: _disqualified(e) for e in entries}
    able = [(e.name, e.score) for e in entries if e.score is not None and not reasons[e.name]]
    if not able:
        why = "; ".join(f"{n}: {r}" for n, r in reasons.items()) or "no candidates"
        return Choice("", "", f"no candidate can be used ({why})", reasons)
    rule = "kl" if all(s.classification for _, s in able) else "sqnr"
    losses = {name: _losses(score, rule) for name, score in able}
    means = {name: math.fsum(x) / len(x) for name, x in losses.items()}
    best = min(means, key=lambda name: means[name])
    winner = next(n for n in means if means[n] - means[best] <= _error(losses[n], losses[best]))
    for name, mean in means.items():
        reasons[name] = _verdict(name, mean, winner, means[winner], rule)
    n = len(losses[winner])
    what = "KL to the float model" if rule == "kl" else "relative error power"
    text = f"{what} {means[winner]:.4g} on {n} held-out calibration samples"
    if winner != best:
        text += f"; {best} ({means[best]:.4g}) is not better by more than one standard error"
    return Choice(winner, rule, text, reasons)


def _disqualified(entry: Entry) -> str:
    score = entry.score
    if score is None:
        return entry.fault or "gave no result"
    if score.nonfinite:
        return f"NaN or infinity in the outputs of {score.nonfinite} of {score.n} samples"
    if score.stopped:
        figure = f"KL {score.kl:.4g}" if score.kl is not None else "error"
        return f"stopped after {score.n} samples: {figure} there is far behind the best"
    if not score.losses or not all(math.isfinite(x) for x in score.losses):
        return "its loss is not a number"
    return ""


def _losses(score: Score, rule: str) -> tuple[float, ...]:
    """The losses by which all entries can be compared."""
    if rule == "kl" or not score.classification:
        return score.losses
    return score.errors


def _error(a: Sequence[float], b: Sequence[float]) -> float:
    """Standard error of the mean paired difference."""
    n = min(len(a), len(b))
    if n < 2:
        return 0.0
    differences = [x - y for x, y in zip(a, b, strict=False)]
    mean = math.fsum(differences) / n
    return math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n)


def _verdict(name: str, mean: float, winner: str, best: float, rule: str) -> str:
    what = "KL" if rule == "kl" else "relative error"
    if name == winner:
        return f"chosen: {what} {mean:.4g}"
    if mean < best:
        return "not better than the chosen one by more than one standard error"
    return f"{mean / best:.3g} times the chosen one's {what}" if best > 0 else f"{what} {mean:.4g}"
