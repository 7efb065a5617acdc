"""Which of the points that were tried goes forward. Pure."""

from __future__ import annotations

from collections.abc import Callable

from seatrial.trial.points import Field, Point


def choose(field: Field, again: Callable[[Point, Point], bool]) -> Point:
    """The fewest layers in float that meet the rule; else the faster of equals; else full INT8.

    Args:
        field: what was tried, full INT8 first; what is chosen is marked in it.
        again: whether one point is faster than another in further rounds as well.
    """
    base = field.points[0]
    best = base
    why = "full INT8 is safe by the rule"
    if not base.meets:
        alone = len(field.points) == 1
        why = "nothing else was tried" if alone else "nothing that was tried is better"
    met = [p for p in field.points if p.meets and p is not base]
    if base.meets is False and met:
        best = min(met, key=lambda p: (len(p.nodes), p.loss or 0.0))
        why = f"the fewest layers in float that are safe by the rule ({len(best.nodes)})"
    elif base.meets is False:
        able = [p for p in field.points if p.loss is not None]
        least = min(able, key=lambda p: p.loss or 0.0, default=base)
        if base.loss is not None and least is not base and clearly(least, base):
            best = least
            why = "no division met the rule; this one has the least loss"
    faster = [p for p in field.points if p is not best and pays(p, best, field)]
    if faster and again(least := min(faster, key=lambda p: p.loss or 0.0), best):
        best = least
        why = "faster with these layers in float, in two sets of rounds"
    best.chosen = True
    best.reason = why
    return best


def clearly(a: Point, b: Point) -> bool:
    """Whether the loss of ``a`` is lower by more than one standard error."""
    if a.score is None or b.score is None:
        return False
    off = [x - y for x, y in zip(b.score.losses, a.score.losses, strict=False)]
    n = len(off)
    mean = sum(off) / n if n else 0.0
    if n < 2:
        return mean > 0
    spread = sum((x - mean) ** 2 for x in off) / (n - 1) / n
    return bool(mean > spread**0.5)


def pays(point: Point, best: Point, field: Field) -> bool:
    """Faster on a target by its interval, slower on none, and no less safe."""
    if point.kind not in ("slower", "class") or (best.meets and not point.meets):
        return False
    if not best.meets and (point.loss or 1e9) > (best.loss or 0.0):
        return False
    ratios = [field.ratio(point, best, state) for state in field.states]
    told = [x for x in ratios if x is not None and x.distinguishable]
    return bool(told) and all(x.value > 1 for x in told)
