"""The best answer that never looks at the input, and how far the float baseline is above it.

A limit on the drop says something only if an answer that has learnt nothing does not meet it: it
must lie below what the float model is proven to be ahead of such an answer. Clinical trials of
non-inferiority call this assay sensitivity; source: ICH topic E10, "Choice of control group in
clinical trials" (2000), section 1.5.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seatrial.tasks.base import Sample, Task, measure
from seatrial.tasks.classify import Classify
from seatrial.verdict.stats import paired

from .records import ANOTHERS, Blind, RungFacts
from .sweep import Sweep


def blind(
    first: Sweep | None,
    facts: RungFacts | None,
    task: Task,
    labels: Sequence[Any] | None,
    *,
    distinct: Sequence[int],
    groups: Sequence[str],
) -> Blind | None:
    """How the float baseline compares with it; ``None`` where the task does not tell, or no metric.

    Args:
        first: the baseline's sweep.
        facts: its facts: the metric and its interval.
        task: of the trial.
        labels: one per sample.
        distinct: samples that are not copies of others.
        groups: one per sample.
    """
    if first is None or facts is None or labels is None or facts.value is None:
        return None
    if isinstance(task, Classify):
        return _constant(first, task, labels, distinct, groups) if first.scores else None
    best = getattr(task, "blind", None)
    found = best(labels) if best is not None else None
    if found is None or not math.isfinite(found[0]):
        return None
    value = getattr(task, "scale", 1.0) * found[0]
    sign = 1.0 if facts.higher_is_better else -1.0
    least = None
    if facts.value_ci95 is not None:
        low, high = facts.value_ci95
        least = low - value if facts.higher_is_better else value - high
    return Blind(answer=found[1], value=value, ahead=sign * (facts.value - value), least=least)


def _constant(
    first: Sweep,
    task: Classify,
    labels: Sequence[Any],
    distinct: Sequence[int],
    groups: Sequence[str],
) -> Blind:
    """Always the most frequent classes, set beside the float model sample by sample."""
    targets = [task.target(label) for label in labels]
    common = [c for c, _ in Counter(targets).most_common(task.top)]
    named = f"class {common[0]}" if len(common) == 1 else f"the {len(common)} commonest classes"
    scores = [float(t in common) for t in targets]
    found = paired(
        [scores[i] for i in distinct],
        [first.scores[i] for i in distinct],
        groups=[groups[i] for i in distinct],
        bounds=task.bounds,
    )
    return Blind(
        answer=f"always {named}",
        value=100.0 * sum(scores) / len(scores),
        ahead=-found.drop,
        least=None if found.ci95 is None else -found.ci95[1],
    )


def others(
    first: Sweep | None,
    task: Task,
    labels: Sequence[Any] | None,
    *,
    samples: Sequence[Sample],
    distinct: Sequence[int],
    groups: Sequence[str],
) -> Blind | None:
    """How the float baseline compares with itself when each sample gets another one's answer.

    For metrics of the user's own, which nothing else is known of: one that does not follow the
    outputs, or whose better direction is the other one, does not tell the two apart. ``None`` for
    pooled metrics, and for one that refuses such answers.
    """
    if first is None or labels is None or not first.scores or first.bad_scores:
        return None
    scores = []
    for place, i in enumerate(distinct):
        # Half the way round: neighbours are often of one group, or of one class.
        other = distinct[(place + max(1, len(distinct) // 2)) % len(distinct)]
        outputs = {first.names.get(n, n): first.samples.one(n, other) for n in first.samples.names}
        try:
            scores.append(float(measure(task, outputs, labels[i], samples[i])))
        except Exception:  # noqa: BLE001 - the user's own code, asked for what it never promised
            return None
    if not all(map(math.isfinite, scores)):
        return None
    found = paired(
        scores,
        [first.scores[i] for i in distinct],
        groups=[groups[i] for i in distinct],
        scale=getattr(task, "scale", 1.0),
        higher_is_better=task.higher_is_better,
        bounds=getattr(task, "bounds", None),
    )
    return Blind(
        answer=ANOTHERS,
        value=getattr(task, "scale", 1.0) * math.fsum(scores) / len(scores),
        ahead=-found.drop,
        least=None if found.ci95 is None else -found.ci95[1],
    )
