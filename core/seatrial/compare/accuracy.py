"""Accuracy, rung by rung: paired on the same samples where both reports keep them.

Paired: Tango's score interval (see :mod:`seatrial.verdict.proportions`). Unpaired: the square-and-
add interval of two values with intervals of their own: R. G. Newcombe, "Interval estimation for the
difference between independent proportions", Statistics in Medicine 17 (1998) 873-890, method 10;
G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008) 1693-1702. On the same samples it is wider
than need be, for their results go together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from seatrial.ladder.bits import unpack
from seatrial.ladder.records import DEVICE_INT8
from seatrial.verdict.proportions import Z, tango

from .records import (
    CHANGED,
    IMPROVEMENT,
    REFUSED,
    REGRESSION,
    SAME,
    Change,
    Rung,
    Tolerances,
    Trial,
)

#: Metrics that are a share of samples, in percent, and that are better when higher.
SHARES = ("top-1 accuracy", "top-5 accuracy", "top1", "top5", "agreement", "accuracy")


def changes(old: Trial, new: Trial, tolerances: Tolerances) -> Iterator[Change]:
    """All rungs of both ladders."""
    pairs = list(_matched(_rungs(old), _rungs(new)))
    apart = _other_test(old, new) if pairs else ""
    for before, after in pairs:
        if before is None or after is None:
            yield _alone(before, after)
        elif apart:
            yield _refused(after, before, apart)
        else:
            yield _compared(before, after, (old, new), tolerances.accuracy)


def name(rung: Rung) -> str:
    """A rung in words."""
    if rung.source != "native":
        return rung.rung
    how = "own quantiser" if rung.rung == DEVICE_INT8 else "own precision"
    return f"{rung.rung} ({how})"


def _rungs(trial: Trial) -> list[Rung]:
    """One row per rung: those of single outputs and of further references are left out."""
    found: dict[tuple[str, str | None, str | None], Rung] = {}
    for row in trial.ladder:
        if row.value is not None and row.metric and row.unit:
            found.setdefault((row.rung, row.target, row.source), row)
    return list(found.values())


def _matched(old: Sequence[Rung], new: Sequence[Rung]) -> Iterator[tuple[Rung | None, Rung | None]]:
    """Pairs by rung, target and kind of source: equal sources first, then in order."""
    keys = list(dict.fromkeys(_key(row) for row in (*old, *new)))
    for key in keys:
        first = [row for row in old if _key(row) == key]
        second = [row for row in new if _key(row) == key]
        for row in list(first):
            twin = next((r for r in second if r.source == row.source), None)
            if twin is not None:
                first.remove(row)
                second.remove(twin)
                yield row, twin
        for i in range(max(len(first), len(second))):
            yield (
                first[i] if i < len(first) else None,
                second[i] if i < len(second) else None,
            )


def _key(row: Rung) -> tuple[str, str | None, str]:
    kind = "native" if row.source == "native" else "qdq" if row.source else ""
    return row.rung, row.target, kind


def _other_test(old: Trial, new: Trial) -> str:
    """Why the test sets are not the same, or nothing."""
    if old.test is None or new.test is None or not old.test.sha256 or not new.test.sha256:
        return "a report does not say which test set it used"
    if old.test.sha256 == new.test.sha256:
        return ""
    counts = f"{old.test.count:,} and {new.test.count:,} samples"
    cause = "; the input contract changed" if old.contract != new.contract else ""
    return f"another test set, as the network sees it ({counts}){cause}"


def _alone(old: Rung | None, new: Rung | None) -> Change:
    row = old or new
    assert row is not None
    return Change(
        area="accuracy",
        kind=REFUSED if old else CHANGED,
        target=row.target,
        subject=name(row),
        text="NEW has no such rung" if old else "new: OLD has no such rung",
        old=old.value if old else None,
        new=new.value if new else None,
        unit=row.unit,
    )


def _refused(new: Rung, old: Rung, why: str) -> Change:
    return Change(
        area="accuracy",
        kind=REFUSED,
        target=new.target,
        subject=name(new),
        text=why,
        old=old.value,
        new=new.value,
        unit=new.unit,
    )


def _compared(old: Rung, new: Rung, trials: tuple[Trial, Trial], tolerance: float) -> Change:
    if (old.metric, old.unit) != (new.metric, new.unit):
        return _refused(new, old, f"another metric: {old.metric} became {new.metric}")
    assert old.value is not None and new.value is not None
    sign = _direction(old, trials[0]) or _direction(new, trials[1])
    if sign == 0 and old.value != new.value:
        return _refused(new, old, f"nothing says whether more {new.metric} is better or worse")
    worse = (sign or 1) * (old.value - new.value)
    found = _paired(old, new) or _unpaired(old, new, sign or 1)
    if found is None:
        if old.value == new.value:
            found = (0.0, 0.0), "exact", "equal"
        else:
            return _refused(new, old, f"the reports keep no interval of {new.metric}")
    (low, high), method, how = found
    kind = REGRESSION if low > tolerance else IMPROVEMENT if high < -tolerance else SAME
    return Change(
        area="accuracy",
        kind=kind,
        target=new.target,
        subject=name(new),
        text=_sentence(kind, worse, (low, high), new.unit, how),
        old=old.value,
        new=new.value,
        unit=new.unit,
        difference=worse,
        ci95=(low, high),
        method=method,
    )


def _sentence(kind: str, worse: float, limits: tuple[float, float], unit: str, how: str) -> str:
    if limits == (0.0, 0.0):
        return how
    if kind == SAME:
        return f"{worse:+.2f} in [{limits[0]:+.2f}, {limits[1]:+.2f}], {how}"
    size = f"{abs(worse):.2f} {unit}".rstrip() + (" worse" if worse > 0 else " better")
    return f"{size}, between {limits[0]:+.2f} and {limits[1]:+.2f} (95 %, + is worse); {how}"


def _direction(row: Rung, trial: Trial) -> int:
    """1: higher is better; -1: lower is; 0: the report does not tell.

    A drop is positive when it is worse, so the signs of a drop and of the values' difference tell.
    """
    if row.metric in SHARES:
        return 1
    for other in trial.ladder:
        if not other.drop or other.value is None or other.metric != row.metric:
            continue
        named = (r for r in trial.ladder if (r.rung, r.metric) == (other.against, row.metric))
        base = next(named, None)
        if base is not None and base.value is not None and base.value != other.value:
            return 1 if (base.value > other.value) == (other.drop > 0) else -1
    return 0


def _paired(old: Rung, new: Rung) -> tuple[tuple[float, float], str, str] | None:
    """Tango's interval of the share lost, in points; ``None`` where samples go in groups."""
    if old.n != new.n or old.groups is not None or new.groups is not None:
        return None
    first, second = unpack(old.right, old.n), unpack(new.right, new.n)
    if first is None or second is None:
        return None
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    won = sum(b and not a for a, b in zip(first, second, strict=True))
    if lost + won == 0:
        return (0.0, 0.0), "paired", f"the same {old.n:,} samples, all answers alike"
    low, high = tango(lost, won, old.n)
    how = f"paired on {old.n:,} samples: {lost} lost, {won} won"
    return (100.0 * low, 100.0 * high), "paired", how


def _unpaired(old: Rung, new: Rung, sign: int) -> tuple[tuple[float, float], str, str] | None:
    before, after = _interval(old), _interval(new)
    if before is None or after is None or old.value is None or new.value is None:
        return None
    # In a frame where more is worse, the difference is (own) new minus old.
    u, v = -sign * new.value, -sign * old.value
    lu, hu = sorted(-sign * x for x in after)
    lv, hv = sorted(-sign * x for x in before)
    low = u - v - math.hypot(u - lu, hv - v)
    high = u - v + math.hypot(hu - u, v - lv)
    return (low, high), "unpaired", _why_unpaired(old, new)


def _why_unpaired(old: Rung, new: Rung) -> str:
    if old.groups is not None or new.groups is not None:
        return "unpaired: samples go in groups"
    if not old.right or not new.right:
        return "unpaired: no results per sample"
    return "unpaired: another number of samples"


def _interval(row: Rung) -> tuple[float, float] | None:
    """95 % interval of a value; a share without one gets Wilson's, groups counting as samples."""
    if row.value is None:
        return None
    if row.value_ci95 is not None:
        low, high = row.value_ci95
        return min(low, row.value), max(high, row.value)
    n = row.groups if row.groups is not None else row.n
    if row.metric not in SHARES or n <= 0 or not 0 <= row.value <= 100:
        return None
    p, z2 = row.value / 100, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return min(row.value, 100 * (centre - half)), max(row.value, 100 * (centre + half))
