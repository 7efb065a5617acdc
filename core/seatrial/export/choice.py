"""Which of the attempts is kept, and why. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seatrial.export import opsets
from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS
from seatrial.export.problems import ERROR
from seatrial.export.records import ROUTES, Attempt

#: An error this many times smaller is a reason to prefer a route ...
CLOSER = 4.0
#: ... if it is above this share of the output's scale; below, both are as good as float32.
NEGLIGIBLE = 1e-5

_GATES = (PASS, NOT_PROVEN, FAIL)


def choose(attempts: Sequence[Attempt], choice: opsets.Choice) -> list[Attempt]:
    """Mark the best attempt as chosen, and say of each why it was kept or not."""
    ranked = sorted((a for a in attempts if a.ok), key=lambda a: _rank(a, choice))
    if not ranked:
        return list(attempts)
    best = ranked[0]
    return [
        dataclasses.replace(a, chosen=a is best, reason=_why(a, best, ranked, choice))
        for a in attempts
    ]


def _rank(a: Attempt, choice: opsets.Choice) -> tuple[object, ...]:
    """Smaller is better: passes, then nothing that targets refuse, then accuracy, then route."""
    broken = sum(p.level == ERROR for p in a.problems)
    return (
        bool(broken),
        _GATES.index(a.gate),
        bool(opsets.refused(a.opset, choice)),
        len(a.graph.foreign) + len(a.graph.control_flow) if a.graph else 0,
        _magnitude(a),
        ROUTES.index(a.route),
    )


def _error(a: Attempt) -> float:
    parts = [o.max_rel for o in a.parity.outputs] if a.parity else []
    return max((x if x is not None else float("inf") for x in parts), default=float("inf"))


def _magnitude(a: Attempt) -> int:
    """Accuracy in steps of :data:`CLOSER`, so that noise does not decide."""
    error, step = _error(a), 0
    if error == float("inf"):
        return 1000
    while error > NEGLIGIBLE:
        error, step = error / CLOSER, step + 1
    return step


def _why(a: Attempt, best: Attempt, ranked: Sequence[Attempt], choice: opsets.Choice) -> str:
    if not a.ok:
        return a.reason
    errors = [p for p in a.problems if p.level == ERROR]
    said = errors[0].text if errors else opsets.refused(a.opset, choice) or a.reason
    if a is not best:
        return said or (f"gate: {a.gate}" if a.gate != best.gate else _difference(a, best))
    if said:
        return f"for want of a better one: {said}"
    if len(ranked) == 1:
        return "the only route that gave a model"
    other = ranked[1]
    if any(p.level == ERROR for p in other.problems) or other.gate != a.gate:
        return f"the only route whose gate is {a.gate}"
    verb = "passes" if a.gate == PASS else "does"
    return (
        f"{verb} like the other route, whose exporter is deprecated"
        if (_difference(other, a) == _SAME)
        else f"better than the other route: it has {_difference(other, a)}"
    )


_SAME = "equal; the other route is preferred, its exporter is maintained"


def _difference(a: Attempt, best: Attempt) -> str:
    """What an attempt has that the best one has not."""
    if a.graph and best.graph:
        flow = len(a.graph.control_flow) - len(best.graph.control_flow)
        if flow > 0:
            return f"{flow} more control-flow nodes"
        foreign = len(a.graph.foreign) - len(best.graph.foreign)
        if foreign > 0:
            return f"{foreign} more nodes outside the standard domain"
    if _magnitude(a) > _magnitude(best):
        return f"an error of {_error(a):.1e} against {_error(best):.1e}"
    return _SAME
