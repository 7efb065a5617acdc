"""Interleaved rounds: a noisy minute on the machine hits all contestants alike.

Runs in the parent; the clock and the feed loop are in the sessions' children. One contestant
runs at a time, all of them stay loaded, and each round visits them in a new random order.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from seatrial.codec import record
from seatrial.results import Fault, Ref

from .records import Facts, Timing
from .stats import Quantile, quantile, steady

#: Quantiles of every row.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

#: Fewer rounds than this tell nothing of what changes from round to round.
LEAST_ROUNDS = 5

#: Calls in one window of the warm-up.
_WINDOW = 5

#: Calls of one round, at most: beyond that a fast model's rounds end early.
_MOST_CALLS = 1000


class Answer(Protocol):
    """The outcome of one round: a reply or a fault (``seatrial.isolation.Outcome``)."""

    @property
    def result(self) -> Any:
        """A reply with ``latencies_ns``, ``load_ns``, ``first_run_ns`` and ``cpu_ns``."""

    @property
    def fault(self) -> Fault | None:
        """Why there is no reply."""


class Handle(Protocol):
    """A loaded session, as far as timing needs it (``seatrial.isolation.SessionHandle``)."""

    def run(
        self, samples: Ref, indices: Sequence[int] | None = None, *, keep: bool, batch: int = 1
    ) -> Answer:
        """Run once per group of ``batch`` indices."""

    @property
    def peak_rss_mb(self) -> float:
        """Highest resident memory of its process."""


@record
class Plan:
    """How long and how exactly to measure.

    Attributes:
        budget_s: time for warm-up and rounds of all contestants together.
        round_ms: what one contestant runs for in one round, about.
        half_width: rounds end when the interval of every median is within this share of it.
        warmup_s: cap of one contestant's warm-up.
        seed: of the order.
        least_calls: at least so many timed calls each (a p99 needs 368 to be bounded above).
    """

    budget_s: float = 30.0
    round_ms: float = 75.0
    half_width: float = 0.02
    warmup_s: float = 3.0
    seed: int = 0
    least_calls: int = 0


@dataclass
class _Contestant:
    facts: Facts
    handle: Handle
    calls: int = 1
    rounds: list[tuple[float, ...]] = field(default_factory=list)
    load_ns: int = 0
    first_ns: int = 0
    cpu_ns: int = 0
    steady: bool = False
    fault: Fault | None = None
    median: Quantile | None = None

    def run(self, samples: Ref, count: int, calls: int) -> tuple[float, ...]:
        """Latencies in milliseconds of so many calls; none after a fault."""
        batch = self.facts.batch
        indices = [i % count for i in range(calls * batch)]
        answer = self.handle.run(samples, indices, keep=False, batch=batch)
        if answer.fault is not None:
            self.fault = answer.fault
            return ()
        reply = answer.result
        self.load_ns = self.load_ns or reply.load_ns
        self.first_ns = self.first_ns or reply.first_run_ns
        self.cpu_ns = reply.cpu_ns
        return tuple(ns / 1e6 for ns in reply.latencies_ns)

    def size(self, seen: Sequence[float], round_ms: float) -> None:
        """Choose the calls of one round from what the warm-up showed."""
        if seen:
            typical = statistics.median(seen[-_WINDOW:])
            self.calls = max(1, min(_MOST_CALLS, round(round_ms / max(typical, 1e-6))))


def measure(
    contestants: Sequence[tuple[Facts, Handle]],
    samples: Ref,
    count: int,
    plan: Plan,
    *,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> tuple[Timing, ...]:
    """Time all contestants in interleaved rounds.

    A contestant that faults drops out with its fault; the others go on.

    Args:
        contestants: with the same thread rules, all loaded.
        samples: the store that feeds them.
        count: how many samples it holds; they are fed in turn.
        plan: see :class:`Plan`.
        clock: seconds.
        progress: told of every round.

    Returns:
        One timing per contestant, in the order given.
    """
    field_ = [_Contestant(facts, handle) for facts, handle in contestants]
    end = clock() + plan.budget_s
    share = min(plan.warmup_s, plan.budget_s / 3 / max(1, len(field_)))
    for one in field_:
        seen: list[float] = []
        until = clock() + share
        while one.fault is None:
            seen += one.run(samples, count, _WINDOW)
            one.steady = steady(seen, _WINDOW)
            if one.steady or clock() >= until:
                break
        one.size(seen, plan.round_ms)
    order = random.Random(plan.seed)  # noqa: S311 - an order to be repeated, not a secret
    cpu = dict.fromkeys(range(len(field_)), 0)
    done = 0
    while not _enough(field_, plan) and (clock() < end or done < 2):
        visits = [i for i, one in enumerate(field_) if one.fault is None]
        order.shuffle(visits)
        for i in visits:
            latencies = field_[i].run(samples, count, field_[i].calls)
            if latencies:
                field_[i].rounds.append(latencies)
                cpu[i] += field_[i].cpu_ns
        done += 1
        progress(f"round {done}", min(1.0, 1 - (end - clock()) / plan.budget_s))
    return tuple(_timing(one, cpu[i]) for i, one in enumerate(field_))


def _enough(field_: Sequence[_Contestant], plan: Plan) -> bool:
    """Whether every median is known well enough (nobody left counts as enough)."""
    for one in field_:
        if one.fault is not None:
            continue
        calls = sum(len(r) for r in one.rounds)
        if len(one.rounds) < LEAST_ROUNDS or calls < plan.least_calls:
            return False
        if quantile(one.rounds, 0.5).half_width > plan.half_width:
            return False
    return True


def _timing(one: _Contestant, cpu_ns: int) -> Timing:
    n = sum(len(r) for r in one.rounds)
    return Timing(
        facts=one.facts,
        rounds=tuple(one.rounds),
        quantiles={k: quantile(one.rounds, q) for k, q in QUANTILES.items()} if n else {},
        steady=one.steady,
        load_ms=one.load_ns / 1e6 if one.load_ns else None,
        first_ms=one.first_ns / 1e6 if one.first_ns else None,
        mean_cpu_ms=cpu_ns / 1e6 / n if n and cpu_ns else None,
        peak_rss_mb=one.handle.peak_rss_mb or None,
        fault=one.fault,
    )
