"""The core's own candidates for a portable Q/DQ model: one calibration table, several uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.calibration.types import SAMPLED, RangesRequest, RangesResult
from seatrial.intake import depthwise
from seatrial.jobs.carry import user_cache
from seatrial.quantize import bakeoff
from seatrial.quantize.types import InsertRequest, Score
from seatrial.recovery import plan
from seatrial.recovery.types import REWRITES, Rescaled, RescaleRequest, WeighRequest
from seatrial.trial import ranges
from seatrial.trial.making import Made, correct, insert, insert_and_correct, round_weights

if TYPE_CHECKING:
    from seatrial.trial.context import Trial

CORE = "core"


@dataclasses.dataclass
class Candidate:
    """One way to get a portable Q/DQ model.

    Attributes:
        remake: makes it from a calibration store with further nodes, by label, kept in float.
        method: how the core chose its ranges; empty for vendors' candidates.
        recipe: of the core's candidates.
    """

    name: str
    source: str
    scheme: str
    remake: Callable[[r.Ref, tuple[str, ...]], Made]
    method: str = ""
    recipe: plan.Recipe | None = None
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
    """What the core's candidates are made from, each collected once and used by all of them.

    Args:
        trial: the command at work.
        given: a table of the trial's model from an earlier command: nothing is collected then.
    """

    def __init__(self, trial: Trial, given: r.Ref | None = None) -> None:
        self.trial = trial
        self.given = given
        self.known: dict[tuple[str, ...], Made | r.Ref] = {}
        self.rescaled: dict[tuple[str, str], Rescaled] = {}
        facts = trial.model.facts
        self.depthwise = depthwise(facts)
        counts = facts.quantizable
        products = counts.get("MatMul", 0) + counts.get("Gemm", 0)
        self.traits = plan.Traits(
            depthwise=bool(self.depthwise), products=2 * products > sum(counts.values())
        )

    def get(self, store: r.Ref, method: str = "", rewrite: str = "") -> Made | r.Ref:
        """The calibration table that a method needs over a store, or why there is none.

        A rewritten model has a table of its own: one range per tensor says nothing of channels,
        so it cannot be had from the other one.
        """
        model = self.model(store, rewrite)
        if isinstance(model, Made):
            return model
        table = self.given or self._known(
            ("table", store.sha256, model.sha256), lambda: self._collect(model, store)
        )
        if method != plan.WEIGHTED or isinstance(table, Made):
            return table
        key = ("weighted", store.sha256, model.sha256)
        return self._known(key, lambda: self._weigh(model, store, table))

    def model(self, store: r.Ref, rewrite: str = "") -> Made | r.Ref:
        """The float model to start from, or why it cannot be rewritten."""
        if not rewrite:
            return self.trial.model.ref
        if self.given is not None:
            return Made(None, why_not="not tried: a rewritten model needs ranges of its own")
        return self._known(("model", store.sha256, rewrite), lambda: self._rescale(store, rewrite))

    def plain(self, store: r.Ref) -> r.Ref | None:
        """The table of the trial's own model over a store, if there is one by now."""
        known = self.known.get(("table", store.sha256, self.trial.model.ref.sha256))
        return self.given or (known if isinstance(known, r.Ref) else None)

    def rewrites(self, store: r.Ref) -> tuple[str, ...]:
        """The rewrites that the model has places for, if ranges can be had for them."""
        if self.given is not None:
            return ()
        for one in REWRITES:
            self.model(store, one)
        return tuple(w for w in REWRITES if self._sites(store, w))

    def _sites(self, store: r.Ref, rewrite: str) -> bool:
        known = self.rescaled.get((store.sha256, rewrite))
        return known is not None and known.sites > 0

    def _rescale(self, store: r.Ref, rewrite: str) -> Made | r.Ref:
        trial = self.trial
        trial.progress("quantize", f"channel scales: {rewrite}", None)
        request = RescaleRequest(
            model=trial.model.ref, kind=rewrite, samples=store, seed=trial.seed
        )
        outcome = trial.runner.task(
            "seatrial.recovery.child:rescale",
            request,
            refs=[request.model, store],
            limits=trial.limits(timeout_s=1800),
            remember=trial.remembers,
        )
        result: Rescaled | None = outcome.result
        if result is None:
            return Made(None, fault=outcome.fault)
        self.rescaled[store.sha256, rewrite] = result
        if result.artifact is None:
            return Made(None, why_not=result.note)
        return trial.runner.adopt(outcome, result.artifact)

    def note(self, one: plan.Recipe, store: r.Ref) -> str:
        """What was done to the float model of a recipe."""
        known = self.rescaled.get((store.sha256, one.rewrite))
        return known.note if known is not None else ""

    def _known(self, key: tuple[str, ...], make: Callable[[], Made | r.Ref]) -> Made | r.Ref:
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def _collect(self, model: r.Ref, store: r.Ref) -> Made | r.Ref:
        request = RangesRequest(
            model=model,
            samples=store,
            statistics=SAMPLED,
            seed=self.trial.seed,
            checkpoints=str(user_cache() / "calibration"),
            identity=ranges.identity(self.trial, model, store),
        )
        return self._task("seatrial.calibration.child:ranges", request, [model, store])

    def _weigh(self, model: r.Ref, store: r.Ref, table: r.Ref) -> Made | r.Ref:
        request = WeighRequest(model=model, ranges=table, samples=store, seed=self.trial.seed)
        return self._task("seatrial.recovery.child:weigh", request, [model, table, store])

    def _task(self, name: str, request: Any, refs: Sequence[r.Ref]) -> Made | r.Ref:
        """The object that a core task writes, or why there is none."""
        trial = self.trial
        limits = trial.limits(timeout_s=1800)
        outcome = trial.runner.task(
            name, request, refs=refs, limits=limits, remember=trial.remembers
        )
        if outcome.result is None:
            return Made(None, fault=outcome.fault)
        if isinstance(outcome.result, RangesResult):
            trial.calibrations.append(outcome.result)
        return trial.runner.adopt(outcome, outcome.result.artifact)

    def candidate(self, dialect: r.QdqDialect, one: plan.Recipe) -> Candidate:
        """The candidate of a recipe."""
        name, trial = one.name(dialect), self.trial

        def remake(store: r.Ref, more_float: tuple[str, ...]) -> Made:
            request = self.insert_request(dialect, one, store, more_float)
            if isinstance(request, Made):
                return request
            made = dataclasses.replace(
                insert_and_correct(trial, request, store)
                if one.corrected
                else insert(trial, request),
                table=request.ranges,
                model=request.model if one.rewrite else None,
                rewritten=self.note(one, store),
            )
            if one.rounded:
                made = round_weights(trial, made, store, one.dialect(dialect))
                made = correct(trial, made, store) if one.corrected else made
            return made

        scheme = name.removeprefix("core:")
        return Candidate(name, CORE, scheme, remake, method=one.method, recipe=one)

    def insert_request(
        self,
        dialect: r.QdqDialect,
        one: plan.Recipe,
        store: r.Ref,
        more_float: tuple[str, ...] = (),
    ) -> InsertRequest | Made:
        """What to ask of the insertion, or why it cannot be asked."""
        form = one.form if one.form in plan.OTHERS else ""
        model = self.model(store, one.rewrite)
        if isinstance(model, Made):
            return model
        table = None if form else self.get(store, one.method, one.rewrite)
        if isinstance(table, Made):
            return table
        kept = (*(self.depthwise if one.kept else ()), *more_float)
        known = self.rescaled.get((store.sha256, one.rewrite))
        if known is not None:  # its nodes are those of the prepared graph
            kept = tuple(known.folded.get(n, n) for n in kept if n not in known.removed)
        return InsertRequest(
            model=model,
            ranges=table,
            dialect=one.dialect(dialect),
            form=form,
            method="mse" if one.method == plan.WEIGHTED else one.method,
            keep_float=tuple(dict.fromkeys(kept)),
        )
