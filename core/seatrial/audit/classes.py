"""Which classes calibrate: by label where labels are given, else as the model sees them.

Labels of the test set are never opened: it is compared by what the model says. Runs in a child.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from seatrial.audit.coverage import EXPECTED, _rarely
from seatrial.audit.rules import RED, YELLOW, Finding, finding, named


def classes(
    labels: Sequence[Any] | None, own: Any, test: Any, ids: Sequence[str]
) -> tuple[dict[str, int], str, list[Finding]]:
    """Count and judge.

    Args:
        labels: of the calibration samples.
        own: class probabilities (samples, classes) of the calibration set; ``None``: not known.
        test: the same of the test set.
        ids: of the calibration samples.

    Returns:
        Samples per class, what the classes come from, and findings.
    """
    given = labels is not None and all(
        isinstance(v, int) and not isinstance(v, bool) for v in labels
    )
    if given and labels is not None:
        counts = Counter(str(v) for v in labels)
        total = own.shape[1] if own is not None else len(counts)
        found = _labelled(counts, total, len(labels), ids)
        if own is not None and test is not None and not found:
            found = _predicted(own, test)
        return dict(counts), "labels", found
    if own is None:
        return {}, "", []
    said = Counter(str(int(c)) for c in own.argmax(axis=1))
    found = _predicted(own, test) if test is not None else _alone(said, len(own), own.shape[1], ids)
    return dict(said), "predictions", found


def _labelled(counts: Counter[str], total: int, n: int, ids: Sequence[str]) -> list[Finding]:
    if len(counts) == 1 and n > 1:
        label = next(iter(counts))
        text = f"all {n} calibration samples have the label {label}"
        return [_one(text, ids)]
    found = []
    expected = n / max(total, 1)
    if expected >= EXPECTED and len(counts) < total:
        missing = [str(c) for c in range(total) if str(c) not in counts]
        if 0 < len(missing) < total:
            text = (
                f"{len(missing)} of {total} classes have no calibration sample: {named(missing, 8)}"
            )
            level = RED if len(missing) > 0.3 * total else YELLOW
            found.append(
                finding("missing-classes", level, text, count=0, score=len(missing) / total,
                        advice="add samples of these classes")
            )  # fmt: skip
    most, least = max(counts.values()), min(counts.values())
    if most >= 20 and most >= 10 * least and expected >= EXPECTED:
        text = f"classes are unbalanced: {least} to {most} calibration samples each"
        found.append(finding("unbalanced", YELLOW, text, count=0, score=1 - least / most))
    return found


def _one(text: str, ids: Sequence[str]) -> Finding:
    advice = "take samples of every class that occurs"
    return finding("one-class", RED, text, samples=ids, advice=advice, score=1.0)


def _alone(said: Counter[str], n: int, total: int, ids: Sequence[str]) -> list[Finding]:
    most, count = said.most_common(1)[0]
    if n >= 32 and total > 2 and count > 0.9 * n:
        text = f"the model sees class {most} in {count} of {n} calibration samples"
        return [_one(text, ids)]
    return []


def _predicted(own: Any, test: Any) -> list[Finding]:
    """Classes that the model sees in the test set and not in calibration."""
    mine, theirs = (Counter(int(c) for c in p.argmax(axis=1)) for p in (own, test))
    n, m = len(own), len(test)
    absent = []
    for label, count in theirs.items():
        expected = count * n / m
        have = mine[label]
        if expected >= EXPECTED and have < 0.25 * expected and _rarely(have, expected) < 1e-4:
            absent.append((count, label, have, expected))
    if not absent:
        return []
    absent.sort(reverse=True)
    share = sum(a[0] for a in absent) / m
    names = [str(a[1]) for a in absent]
    text = (
        f"the model sees {len(absent)} classes in {share:.0%} of the test set and in "
        f"{sum(a[2] for a in absent)} calibration samples where {sum(a[3] for a in absent):.0f} "
        f"would be their share: {named(names, 8)}"
    )
    level = RED if share > 0.3 else YELLOW
    code = "one-class" if len(mine) == 1 else "missing-classes"
    advice = "add samples of these classes"
    return [finding(code, level, text, count=0, advice=advice, score=share)]
