"""A candidate beside its float model, ready to be run with any set of quantisers on.

Runs in a child only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seatrial.calibration.table import load
from seatrial.calibration.types import RangeTable
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.prepare import prepare
from seatrial.quantize.score import Totals
from seatrial.reference import open_model
from seatrial.samples import Samples

from . import match, pairs
from .parameters import Weights
from .stats import Restored
from .switched import Switched
from .types import DiagnoseRequest

#: Samples that losses are the mean of, at most.
JUDGED = 16

#: With every quantiser off the float model must come out: error power over signal power.
SAME = 1e-3

#: A quantised model as close as this whose weights differ all the same was rewritten.
CLOSE = 0.05


@dataclass
class Case:
    """A candidate, ready to be run with any set of quantisers.

    Attributes:
        switched: the candidate with switches.
        reference: gives the float model's outputs; ``None``: all switches off do.
        indices: samples, in the order in which they are used.
        missing: weights without a counterpart in the float model.
    """

    request: DiagnoseRequest
    samples: Samples
    switched: Switched
    reference: Any
    indices: tuple[int, ...]
    missing: int
    table: RangeTable | None = None
    notes: list[str] = field(default_factory=list)
    started: float = 0.0
    cache: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def feeds(self, count: int) -> Iterator[dict[str, Any]]:
        """Feeds of the first ``count`` groups of samples."""
        session = self.reference or self.switched.session(frozenset())
        for k, group in enumerate(session.groups(self.samples, self.indices)):
            if k >= count:
                return
            yield self.samples.feeds(group)

    def prepare(self, count: int) -> None:
        """Run the float model over the samples that losses are measured on."""
        self.cache = []
        for feeds in self.feeds(count):
            if self.reference is not None:
                expected = self.reference.run(feeds)
            else:
                expected = self.switched.run(feeds, ())
            self.cache.append((feeds, expected))

    def score(self, on: Sequence[str] | frozenset[str]) -> Any:
        """How far the outputs are from the float model's, with exactly these quantisers on."""
        totals = Totals()
        for feeds, expected in self.cache:
            totals.add(expected, self.switched.run(feeds, on))
        return totals.score(0)

    def loss(self, on: Sequence[str] | frozenset[str]) -> float:
        """The mean loss of a set; without a number, more than any number."""
        score = self.score(on)
        if score.nonfinite or not score.losses:
            return 1e9
        return float(sum(score.losses) / len(score.losses))


def make_case(
    request: DiagnoseRequest, samples: Samples, indices: tuple[int, ...], job: Job
) -> Case:
    """Read candidate and float model, and make sure that switches lead from one to the other.

    Raises:
        UserError: the candidate has no Q/DQ pairs.
    """
    job.progress("reading the quantisers", 0.0)
    graph = prepare(job.path(request.candidate)).graph
    model, reference, bare = None, None, {}
    if request.model is not None:
        path = job.path(request.model)
        model, reference = prepare(path).graph, open_model(path, threads=request.threads)
        bare = match.put_back(graph, model)
    found = pairs.find(graph, bare)
    if not found.names():
        raise UserError(request.candidate.entry or "candidate", "the model has no Q/DQ pairs")
    missing = len(found.weights)
    if model is not None:
        missing = match.originals(found, graph, model)
    switched = Switched(graph, found, threads=request.threads)
    case = Case(request, samples, switched, reference, _spread(indices), missing)
    case.table = load(job.path(request.table)) if request.table is not None else None
    if reference is not None:
        case.switched = _checked(case)
    return case


def _spread(indices: tuple[int, ...]) -> tuple[int, ...]:
    """The same samples such that any first few of them come from all over the set."""
    step = max(1, len(indices) // JUDGED)
    return tuple(i for start in range(step) for i in indices[start::step])


def _checked(case: Case) -> Switched:
    """Make sure that the float model comes out when everything is switched off.

    A quantizer that rewrote the weights (equalisation, smoothing) fits its ranges to what it
    made of them: then its own restored weights stand for the float ones.
    """
    found = case.switched.found
    case.prepare(2)
    score = case.score(())
    same = bool(score.errors) and max(score.errors) <= SAME
    differing = [e for e in found.weights.values() if _differs(e)]
    close = 1.0
    if not same or len(differing) > 1:
        own = _forget(found, [e.node for e in found.weights.values()])
        case.switched = Switched(case.switched.graph, own, threads=case.request.threads)
        errors = case.score(()).errors
        close = max(errors) if errors else 1.0
        if close <= CLOSE and len(differing) > 1:
            own = _forget(found, [e.node for e in differing])
            case.missing += len(differing)
            case.notes.append(
                f"the weights of {len(differing)} nodes were rewritten before quantisation; "
                "their share of the blame could not be told"
            )
        elif same:
            own = found
        else:
            case.missing = len(found.weights)
            case.notes.append(
                "without its quantisers the candidate is not the float model: "
                "the quantizer changed more than precision"
            )
        return Switched(case.switched.graph, own, threads=case.request.threads)
    return case.switched


def _differs(entry: Weights) -> bool:
    """Whether weights differ from the float model's by more than any rounding."""
    import numpy as np

    slot = min(entry.slots)
    parameter = entry.slots[slot]
    if parameter.original is None or parameter.kept or slot not in (0, 1):
        return False
    size = float(np.square(parameter.original, dtype=np.float64).sum())
    off = float(np.square(parameter.value.astype(np.float64) - parameter.original).sum())
    one = Restored.of(parameter, 0)
    return off > max(25 * float(one.common.sum()), 0.01 * size)


def _forget(found: pairs.Quantisers, nodes: Sequence[str]) -> pairs.Quantisers:
    """The same quantisers, with the restored weights of some nodes in the float ones' place."""
    gone = set(nodes)
    weights = {}
    for key, entry in found.weights.items():
        kept = entry.node not in gone
        slots = {k: p if kept else replace(p, original=None) for k, p in entry.slots.items()}
        weights[key] = Weights(entry.node, entry.kind, slots)
    return replace(found, weights=weights)
