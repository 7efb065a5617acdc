"""What accuracy by class tells: a baseline at chance level, shifted labels, a class that vanished.

Source of the chance-level test: J. L. Fleiss, J. Cohen and B. S. Everitt, "Large sample standard
errors of kappa and weighted kappa", Psychological Bulletin 72 (1969) 323-327.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seatrial.tasks.base import ClassValue, Task
from seatrial.tasks.classify import Classify
from seatrial.verdict.proportions import Z

from .records import Baseline, ClassDrop
from .sweep import SHIFTS, Sweep

#: A class needs this many cases, of which the reference got ``LEAST_RIGHT`` right, to vanish.
LEAST_SAMPLES, LEAST_RIGHT = 5, 4

#: It has vanished when at most this share of what was right still is. Were each right answer
#: lost with a probability of 10 %, four of four would go in one of 10,000 such classes.
VANISHED = 0.1

#: Labels are called shifted when the shift makes at least this many points more right ...
SHIFT_POINTS = 10.0
#: ... and that is beyond chance by this many standard deviations.
SHIFT_SIGMAS = 4.0


#: A class that is missing from a test set of this many samples per class is a hole in it.
PER_CLASS = 30
#: A class that is answered less often may be a slip, or a slot of the output that nobody uses.
ANSWERED = 2


def class_drops(targets: Sequence[int], before: Sweep, after: Sweep) -> tuple[ClassDrop, ...]:
    """Right answers per class in both rungs, the largest loss first."""
    n: Counter[int] = Counter(targets)
    first: Counter[int] = Counter()
    second: Counter[int] = Counter()
    for target, old, new in zip(targets, before.classes, after.classes, strict=True):
        first[target] += old == target
        second[target] += new == target
    drops = [
        ClassDrop(index=c, n=n[c], before=first[c] / n[c], after=second[c] / n[c])
        for c in sorted(n)
    ]
    return tuple(sorted(drops, key=lambda d: d.n * (d.after - d.before)))


def value_drops(before: Sequence[ClassValue], after: Sequence[ClassValue]) -> tuple[ClassDrop, ...]:
    """A pooled metric by class in both rungs, the largest loss first; undefined ones left out."""
    second = {v.index: v.value for v in after}
    drops = [
        ClassDrop(index=v.index, n=v.n, before=v.value, after=second[v.index])
        for v in before
        if math.isfinite(v.value) and math.isfinite(second.get(v.index, math.nan))
    ]
    return tuple(sorted(drops, key=lambda d: d.after - d.before))


def vanished(
    drops: Sequence[ClassDrop], *, share: float = 0.5, least_right: float = LEAST_RIGHT
) -> tuple[ClassDrop, ...]:
    """Classes that the reference recognises and the candidate no longer does.

    Args:
        drops: of all classes.
        share: what the reference reaches at least, to be said to recognise a class.
        least_right: cases that it then gets right.
    """
    return tuple(
        d
        for d in drops
        if d.n >= LEAST_SAMPLES
        and d.n * d.before >= least_right
        and d.before >= share
        and d.after <= VANISHED * d.before
    )


def baseline(
    sweep: Sweep | None,
    task: Task,
    labels: Sequence[Any] | None,
    *,
    known: bool = False,
    every: bool = True,
) -> Baseline | None:
    """Whether the float baseline knows anything, and whether the labels fit it.

    Args:
        sweep: of the baseline.
        task: of the trial.
        labels: one per sample.
        known: the user said what the model reaches.
        every: single classes matter.
    """
    if sweep is None or labels is None or not isinstance(task, Classify) or not sweep.classes:
        return None
    n = len(labels)
    targets = [task.target(label) for label in labels]
    expected, excess, kappa = _chance(targets, sweep.classes)
    shift = max(SHIFTS, key=lambda s: sweep.shifted[s])
    old, new = sweep.shifted[0], sweep.shifted[shift]
    off = 100.0 * (new - old) / n >= SHIFT_POINTS and new - old >= SHIFT_SIGMAS * math.sqrt(
        new + old
    )
    untested = _untested(targets, sweep, task) if every else None
    return Baseline(
        rung=sweep.rung.rung,
        expected=100.0 * expected,
        excess=excess,
        kappa_high=kappa,
        classes=len(set(targets)),
        shift=shift if off else 0,
        shifted=100.0 * new / n if off else 100.0 * old / n,
        known=known,
        untested=untested[0] if untested else -1,
        answered=untested[1] if untested else 0,
        swapped=_swapped(targets, sweep.classes),
    )


def _untested(targets: Sequence[int], sweep: Sweep, task: Classify) -> tuple[int, int] | None:
    """The class that is answered most of those that no sample of a large test set has."""
    named = {sweep.names.get(n, n): sweep.samples.one(n, 0) for n in sweep.samples.names}
    if len(targets) < PER_CLASS * len(task.vector(named)):
        return None
    known = set(targets)
    found = Counter(c for c in sweep.classes if c >= 0 and c not in known).most_common(1)
    return found[0] if found and found[0][1] >= ANSWERED else None


def _swapped(targets: Sequence[int], predicted: Sequence[int]) -> tuple[int, ...]:
    """Two classes of which each is mostly answered for the other; beyond chance as for a shift."""
    pairs = Counter(zip(targets, predicted, strict=True))
    n = Counter(targets)

    def crossed(a: int, b: int) -> bool:
        right, other = pairs[a, a], pairs[a, b]
        return other - right >= SHIFT_SIGMAS * math.sqrt(right + other) and other > n[a] / 2

    for (a, b), count in pairs.most_common():
        if 0 <= a < b and count and crossed(a, b) and crossed(b, a):
            return a, b, n[a], pairs[a, b], n[b], pairs[b, a]
    return ()


def _chance(targets: Sequence[int], predicted: Sequence[int]) -> tuple[float, float, float]:
    """Accuracy expected of guesses with the same class shares, and how far above it we are.

    With one class in labels or predictions nothing varies; then nothing can be told, and the
    accuracy counts as 0 standard deviations above chance.

    Returns:
        (expected share, excess in standard deviations under independence, upper 95 % limit of
        Cohen's kappa: the share of what guessing leaves open that the model gets right)
    """
    n = len(targets)
    p, q = Counter(targets), Counter(predicted)
    expected = sum(p[c] * q[c] for c in p) / n**2
    spread = sum(p[c] * q[c] * (p[c] + q[c]) for c in p) / n**3
    variance = (expected + expected**2 - spread) / n
    observed = sum(t == c for t, c in zip(targets, predicted, strict=True)) / n
    if variance <= 1e-15:
        return expected, 0.0, 0.0
    deviation = math.sqrt(variance)
    kappa = (observed + Z * deviation - expected) / (1 - expected)
    return expected, (observed - expected) / deviation, kappa
