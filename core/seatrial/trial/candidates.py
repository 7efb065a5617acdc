"""The core's own candidates for a portable Q/DQ model: one calibration table, several uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.calibration.types import SAMPLED, RangesRequest
from seatrial.errors import UserError
from seatrial.intake import depthwise
from seatrial.quantize import bakeoff, recipe
from seatrial.quantize.schemes import candidate_name, core_candidates
from seatrial.quantize.types import InsertRequest, Score

if TYPE_CHECKING:
    from seatrial.trial.context import Trial

CORE = "core"

#: How many of the closest plain candidates a structural recipe is tried on.
BASES = 2


@dataclasses.dataclass
class Made:
    """A portable Q/DQ model, or why there is none; ``table`` holds the core's ranges."""

    ref: r.Ref | None
    method: str = ""
    float_nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fault: r.Fault | None = None
    why_not: str = ""
    table: r.Ref | None = None


@dataclasses.dataclass
class Candidate:
    """One way to get a portable Q/DQ model.

    Attributes:
        remake: makes it from a calibration store with further nodes, by label, kept in float.
        method: how the core chose its ranges; empty for vendors' candidates.
    """

    name: str
    source: str
    scheme: str
    remake: Callable[[r.Ref, tuple[str, ...]], Made]
    method: str = ""
    made: Made | None = None
    score: Score | None = None
    fault: r.Fault | None = None
    chosen: bool = False
    reason: str = ""

    def make(self, store: r.Ref) -> Made:
        """Make it from a calibration store, as it is."""
        return self.remake(store, ())

    def entry(self) -> bakeoff.Entry:
        """What the rule of the bake-off looks at."""
        fault = self.fault.reason if self.fault else self.reason
        return bakeoff.Entry(name=self.name, score=self.score, fault=fault)


class Tables:
    """Calibration tables of the float model, each collected once and used by every candidate.

    Args:
        trial: the command at work.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.known: dict[str, Made | r.Ref] = {}

    def get(self, store: r.Ref) -> Made | r.Ref:
        """The table over a store, or why there is none."""
        if store.sha256 not in self.known:
            self.known[store.sha256] = self._collect(store)
        return self.known[store.sha256]

    def _collect(self, store: r.Ref) -> Made | r.Ref:
        trial = self.trial
        request = RangesRequest(
            model=trial.model.ref, samples=store, statistics=SAMPLED, seed=trial.seed
        )
        outcome = trial.runner.task(
            "seatrial.calibration.child:ranges",
            request,
            refs=[trial.model.ref, store],
            limits=trial.limits(timeout_s=1800),
        )
        if outcome.result is None:
            return Made(None, fault=outcome.fault)
        return trial.runner.adopt(outcome, outcome.result.artifact)


def plain(tables: Tables, dialect: r.QdqDialect) -> list[Candidate]:
    """Everything that can be quantised is, with ranges chosen in several ways."""
    wanted = core_candidates([dialect]).items()
    return [_candidate(tables, dialect, name, method) for name, (method, _) in wanted]


def structural(
    tables: Tables, dialect: r.QdqDialect, tried: Sequence[Candidate]
) -> list[Candidate]:
    """Candidates that keep operators float: see :mod:`seatrial.quantize.recipe`.

    None when the graph has no such operators or a candidate that was tried is close enough.
    """
    labels = depthwise(tables.trial.model.facts)
    if not labels or not recipe.calls_for_structure(c.entry() for c in tried):
        return []
    own = [c for c in tried if c.source == CORE]
    methods = {c.name: c.method for c in own}
    found = []
    for plain_name in recipe.closest(c.entry() for c in own)[:BASES]:
        method = methods[plain_name]
        name = candidate_name(method, dialect, recipe.DEPTHWISE_FLOAT)
        found.append(_candidate(tables, dialect, name, method, keep_float=labels))
    return found


def _candidate(
    tables: Tables,
    dialect: r.QdqDialect,
    name: str,
    method: str,
    *,
    keep_float: tuple[str, ...] = (),
) -> Candidate:
    def remake(store: r.Ref, more_float: tuple[str, ...]) -> Made:
        table = tables.get(store)
        if isinstance(table, Made):
            return table
        request = InsertRequest(
            model=tables.trial.model.ref,
            ranges=table,
            dialect=dialect,
            method=method,
            keep_float=tuple(dict.fromkeys((*keep_float, *more_float))),
        )
        return dataclasses.replace(insert(tables.trial, request), table=table)

    return Candidate(name, CORE, name.removeprefix("core:"), remake, method=method)


def insert(trial: Trial, request: InsertRequest, *, timeout_s: float = 0.0) -> Made:
    """Run the core's Q/DQ insertion; a model that it refuses is no fault and no end."""
    refs = [request.model, *([request.ranges] if request.ranges else [])]
    try:
        outcome = trial.runner.task(
            "seatrial.quantize.child:insert",
            request,
            refs=refs,
            limits=trial.limits(timeout_s=timeout_s),
        )
    except UserError as error:
        return Made(None, why_not=error.line())
    result = outcome.result
    if result is None:
        return Made(None, fault=outcome.fault)
    if result.artifact is None:
        reason = "; ".join(result.notes) or "no node of this model can be quantised"
        return Made(None, method=result.method, why_not=reason)
    return Made(
        trial.runner.adopt(outcome, result.artifact),
        method=result.method,
        float_nodes=tuple(n.node for n in result.float_nodes),
        notes=result.notes,
    )
