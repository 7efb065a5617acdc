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

from .energy import Meter
from .inputs import NEW_SLOWER, PAIRS, Feed, Inputs, slower, varies
from .records import Facts, Timing
from .stats import LEAST_ROUNDS, quantile, steady

#: Quantiles of every row.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

#: Rounds that are to fit into the budget, even if each visit is then a short one.
WANTED_ROUNDS = 12

#: A median that is known to this many milliseconds is known: a call that is so short that this
#: is more than the share asked for is mostly dispatch.
DISPATCH_MS = 0.01

#: Calls in one window of the warm-up, at least, and milliseconds that a window takes, about:
#: the medians of five calls of some microseconds each never settle.
_WINDOW, _WINDOW_MS = 5, 5.0

#: Calls of one round, at most: beyond that a fast model's rounds end early.
_MOST_CALLS = 400


class Answer(Protocol):
    """The outcome of one round: a reply or a fault (``seatrial.isolation.Outcome``)."""

    @property
    def result(self) -> Any:
        """A reply as :class:`seatrial.session.RunReply`."""

    @property
    def fault(self) -> Fault | None:
        """Why there is no reply."""


class Handle(Protocol):
    """A loaded session, as far as timing needs it (``seatrial.isolation.SessionHandle``)."""

    def run(
        self,
        samples: Ref,
        indices: Sequence[int] | None = None,
        *,
        keep: bool,
        batch: int = 1,
        streams: int = 1,
        beside: bool = False,
    ) -> Answer:
        """Run once per group of ``batch`` indices, see :class:`seatrial.session.RunRequest`."""

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
        most_rounds: rounds end here even if a median is not known well enough; 0: only by time.
        inputs: look afterwards whether the latency depends on the input, or on its being new.
    """

    budget_s: float = 30.0
    round_ms: float = 75.0
    half_width: float = 0.02
    warmup_s: float = 3.0
    seed: int = 0
    least_calls: int = 0
    most_rounds: int = 0
    inputs: bool = False


@dataclass
class _Spent:
    """What the timed rounds took, summed up."""

    cpu_ns: int = 0
    prepare_ns: int = 0
    finish_ns: int = 0
    copied_ns: int = -1
    joules: float | None = 0.0

    def add(self, reply: Any, joules: float | None) -> None:
        """Take in one round."""
        self.cpu_ns += reply.cpu_ns
        self.prepare_ns += reply.prepare_ns
        self.finish_ns += reply.finish_ns
        if reply.copied_ns >= 0:
            self.copied_ns = max(self.copied_ns, 0) + reply.copied_ns
        # One round that was not counted leaves the sum unknown.
        self.joules = None if joules is None or self.joules is None else self.joules + joules


@dataclass
class _Contestant:
    facts: Facts
    handle: Handle
    inputs: Inputs
    calls: int = 1
    rounds: list[tuple[float, ...]] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    spent: _Spent = field(default_factory=_Spent)
    load_ns: int = 0
    first_ns: int = 0
    rss_mb: float = 0.0
    typical_ms: float = 0.0
    steady: bool = False
    varies: tuple[float, float] | None = None
    beside: tuple[float, float] | None = None
    remembers: bool = False
    fault: Fault | None = None

    def run(self, turns: Sequence[int], *, beside: bool = False) -> Any:
        """The reply to calls with these inputs; ``None`` after a fault."""
        batch, streams = self.facts.batch, self.facts.streams
        indices = self.inputs.indices(turns)
        more: dict[str, Any] = {"streams": streams} if streams > 1 else {}
        more |= {"beside": True} if beside else {}
        answer = self.handle.run(self.inputs.feed.samples, indices, keep=False, batch=batch, **more)
        if answer.fault is not None:
            self.fault = self.fault or answer.fault
            return None
        reply = answer.result
        self.load_ns = self.load_ns or reply.load_ns
        self.first_ns = self.first_ns or reply.first_run_ns
        self.rss_mb = reply.rss_mb or self.rss_mb
        return reply

    def warm_up(self, clock: Callable[[], float], share_s: float, round_ms: float) -> None:
        """Run until the latencies settle or the share is spent; then size the rounds."""
        seen: list[float] = []
        window = _WINDOW
        until = clock() + share_s
        while self.fault is None:
            reply = self.run(self.inputs.turns(window * self.facts.streams))
            seen += _milliseconds(reply)
            self.steady = steady(seen, window)
            if self.steady or clock() >= until or not seen:
                break
            window = max(_WINDOW, min(_MOST_CALLS, round(_WINDOW_MS / max(min(seen), 1e-6))))
        if seen:
            # Where few inputs take most of the time it is the mean that fills a round.
            later = seen[len(seen) // 3 :]
            self.typical_ms = max(statistics.median(seen), statistics.fmean(later))
            self.typical_ms /= self.facts.streams
            # By the quickest call, which neighbours hardly move: on a busy machine a short visit
            # is served at once and a long one waits its turn, so visits must be equally long.
            quickest = min(seen) / self.facts.streams
            self.size(round_ms / max(quickest, 1e-6))

    def size(self, calls: float) -> None:
        """So many calls in a round, about: as many in every stream, so that none idles at last."""
        streams = self.facts.streams
        self.calls = -(-max(1, min(_MOST_CALLS, round(calls))) // streams) * streams

    def round(self, meter: Meter) -> None:
        """One timed round."""
        meter.joules()
        turns = self.inputs.turns(self.calls)
        reply = self.run(turns)
        joules = meter.joules()
        latencies = _milliseconds(reply)
        if latencies:
            self.rounds.append(latencies)
            self.spent.add(reply, joules)
            wall = reply.wall_ns or sum(reply.latencies_ns)
            self.throughput.append(len(latencies) * self.facts.batch * 1e9 / max(1, wall))
            if self.facts.streams == 1:  # several at once end in another order
                self.inputs.note(turns, latencies)

    def look(self) -> None:
        """After the rounds: does the latency depend on the input, or on its being new?"""
        self.varies = varies(self.inputs.seen, lambda turns: _milliseconds(self.run(turns)))
        if self.facts.form == "static":
            # Twice: on a busy machine six pairs are once in a while all the same way round.
            self.remembers = self._remembers() and self._remembers()

    def _remembers(self) -> bool:
        """Time known inputs beside new ones: are the new ones slower?"""
        known, new = self.inputs.familiar, self.inputs.strange
        if not known:
            return False
        told = _milliseconds(self.run(known, beside=True))
        if not told and len(new) == PAIRS and self.varies is None and self.fault is None:
            # No copy could be made: samples of the store that were left over are new as well.
            self.inputs.fed.update(new)
            turns = [i for pair in zip(known, new, strict=True) for i in pair]
            told = _milliseconds(self.run(turns))
        if told:
            self.beside = statistics.median(told[::2]), statistics.median(told[1::2])
        return slower(told[1::2], told[::2], NEW_SLOWER)


def _milliseconds(reply: Any) -> tuple[float, ...]:
    return () if reply is None else tuple(ns / 1e6 for ns in reply.latencies_ns)


def measure(
    contestants: Sequence[tuple[Facts, Handle, Feed]],
    plan: Plan,
    *,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[str, float | None], None] = lambda text, fraction: None,
    meter: Meter | None = None,
) -> tuple[Timing, ...]:
    """Time all contestants in interleaved rounds.

    A contestant that faults drops out with its fault; the others go on.

    Args:
        contestants: with the same thread rules, all loaded, each with what it is fed.
        plan: see :class:`Plan`.
        clock: seconds.
        progress: told of every round.
        meter: of energy; ``None``: this machine's.

    Returns:
        One timing per contestant, in the order given.
    """
    field_ = [
        _Contestant(facts, handle, Inputs(feed, facts.batch)) for facts, handle, feed in contestants
    ]
    meter = meter or Meter()
    end = clock() + plan.budget_s
    share = min(plan.warmup_s, plan.budget_s / 3 / max(1, len(field_)))
    for one in field_:
        one.warm_up(clock, share, plan.round_ms)
    _fit(field_, end - clock())
    order = random.Random(plan.seed)  # noqa: S311 - an order to be repeated, not a secret
    done = 0
    while not _enough(field_, plan) and (clock() < end or done < 2):
        visits = [one for one in field_ if one.fault is None]
        order.shuffle(visits)
        for one in visits:
            one.round(meter)
        done += 1
        progress(f"round {done}", min(1.0, 1 - (end - clock()) / plan.budget_s))
    for one in field_ if plan.inputs else ():
        if one.fault is None:
            one.look()
    return tuple(_timing(one) for one in field_)


def _fit(field_: Sequence[_Contestant], left_s: float) -> None:
    """Shorten the visits of all alike, where else too few rounds for an interval would fit."""
    one_round_s = sum(one.calls * one.typical_ms for one in field_ if one.fault is None) / 1e3
    share = left_s / (WANTED_ROUNDS * one_round_s) if one_round_s else 1.0
    if share < 1:
        for one in field_:
            one.size(one.calls * share)


def _enough(field_: Sequence[_Contestant], plan: Plan) -> bool:
    """Whether every median is known well enough (nobody left counts as enough)."""
    left = [one for one in field_ if one.fault is None]
    if any(sum(len(r) for r in one.rounds) < plan.least_calls for one in left):
        return False
    if plan.most_rounds and all(len(one.rounds) >= plan.most_rounds for one in left):
        return True
    return all(_known(one, plan) for one in left)


def _known(one: _Contestant, plan: Plan) -> bool:
    """Whether the interval of a median is narrow: by its share, or of a short call in itself."""
    if len(one.rounds) < LEAST_ROUNDS:
        return False
    if one.facts.streams > 1:  # there for the throughput, whose interval is one over rounds
        return len(one.rounds) >= WANTED_ROUNDS
    median = quantile(one.rounds, 0.5)
    if median.half_width <= plan.half_width:
        return True
    short = len(one.rounds) >= WANTED_ROUNDS and median.value > 0
    return short and median.half_width * median.value <= DISPATCH_MS


def _timing(one: _Contestant) -> Timing:
    n = sum(len(r) for r in one.rounds)
    spent = one.spent

    def each(ns: int) -> float | None:
        return ns / 1e6 / n if n and ns >= 0 else None

    told = spent.joules if n else None
    inputs = len(one.inputs.seen)
    # Calls with the same input are one observation where the input makes the latency.
    most = inputs if one.varies or one.facts.branches else 0
    return Timing(
        facts=one.facts,
        rounds=tuple(one.rounds),
        quantiles={k: quantile(one.rounds, q, most) for k, q in QUANTILES.items()} if n else {},
        inputs=inputs,
        varies=one.varies,
        beside=one.beside,
        remembers=one.remembers,
        steady=one.steady,
        load_ms=one.load_ns / 1e6 if one.load_ns else None,
        first_ms=one.first_ns / 1e6 if one.first_ns else None,
        mean_cpu_ms=each(spent.cpu_ns or -1),
        throughput=tuple(one.throughput),
        prepare_ms=each(spent.prepare_ns),
        finish_ms=each(spent.finish_ns),
        copy_ms=each(spent.copied_ns),
        energy_mj=None if told is None else 1e3 * told / n / one.facts.batch,
        peak_rss_mb=one.handle.peak_rss_mb or None,
        steady_rss_mb=one.rss_mb or None,
        fault=one.fault,
    )
