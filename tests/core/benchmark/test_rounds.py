"""Rounds over synthetic sessions: the handle is a protocol, the clock an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from seatrial.benchmark.energy import Meter
from seatrial.benchmark.inputs import Feed
from seatrial.benchmark.ranking import rank, ratio
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import DISPATCH_MS, LEAST_ROUNDS, Plan, measure
from seatrial.benchmark.stats import quantile
from seatrial.report import speed_rows
from seatrial.results import Fault, FaultKind, Ref
from seatrial.session import RunReply

SAMPLES = Ref(sha256="a" * 64, entry="")


class Clock:
    """Seconds that only synthetic sessions spend."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    result: RunReply | None
    fault: Fault | None = None


class Session:
    """Latencies of a model: slow first calls, then noise around a median."""

    def __init__(
        self,
        clock: Clock,
        ms: float,
        *,
        noise: float = 0.02,
        slow: Sequence[float] = (5, 3, 2, 1.5),
        drift: Callable[[float], float] = lambda now: 1.0,
        dies_after: int | None = None,
        seed: int = 0,
    ) -> None:
        self.clock, self.ms, self.noise, self.drift = clock, ms, noise, drift
        self.slow = list(slow)
        self.dies_after = dies_after
        self.rng = np.random.default_rng(seed)
        self.visits: list[float] = []
        self.indices: list[Sequence[int]] = []
        self.peak_rss_mb = 123.0
        self.streams = 0
        self.copied: int | None = None

    def run(
        self,
        samples: Ref,
        indices: Sequence[int] | None = None,
        *,
        keep: bool,
        batch: int = 1,
        streams: int = 1,
    ) -> Answer:
        assert samples == SAMPLES
        self.streams = streams
        assert indices is not None
        assert not keep
        self.visits.append(self.clock.now)
        self.indices.append(indices)
        if self.dies_after is not None and len(self.visits) > self.dies_after:
            return Answer(None, Fault(kind=FaultKind.CRASHED, stage="run", reason="died"))
        latencies = []
        for _ in range(len(indices) // batch):
            factor = self.slow.pop(0) if self.slow else 1.0
            ms = self.ms * factor * self.drift(self.clock.now) * self.rng.lognormal(0, self.noise)
            self.clock.now += ms / 1000 / streams
            latencies.append(round(ms * 1e6))
        return Answer(
            RunReply(
                latencies_ns=tuple(latencies),
                load_ns=5_000_000,
                first_run_ns=round(self.ms * 5e6),
                cpu_ns=2 * sum(latencies),
                wall_ns=sum(latencies) // streams,
                prepare_ns=1000 * len(latencies),
                finish_ns=2000 * len(latencies),
                copied_ns=-1 if self.copied is None else self.copied * len(latencies),
                rss_mb=111.0,
            )
        )


def timed(
    sessions: Sequence[Session], clock: Clock, count: int = 7, **plan: Any
) -> tuple[Timing, ...]:
    contestants = [
        (Facts(target=f"t:{i}", precision="FP32", shape=(1, 3)), s, Feed(SAMPLES, count))
        for i, s in enumerate(sessions)
    ]
    return measure(contestants, Plan(**plan), clock=clock)


def test_a_quiet_machine_ends_when_every_median_is_known() -> None:
    clock = Clock()
    sessions = [Session(clock, 10.0, seed=1), Session(clock, 3.0, seed=2)]
    found = timed(sessions, clock, budget_s=600)
    assert clock.now < 60
    for timing, truth in zip(found, (10.0, 3.0), strict=True):
        assert timing.steady
        assert len(timing.rounds) >= LEAST_ROUNDS
        assert timing.quantiles["p50"].half_width <= 0.02
        assert timing.quantiles["p50"].value == pytest.approx(truth, rel=0.03)
        # The slow first calls are in the warm-up and nowhere else.
        assert max(ms for one in timing.rounds for ms in one) < 1.2 * truth
        assert timing.mean_cpu_ms == pytest.approx(2 * truth, rel=0.05)


def test_rounds_are_sized_by_time_and_samples_are_fed_in_turn() -> None:
    clock = Clock()
    sessions = [Session(clock, 10.0), Session(clock, 0.5)]
    timed(sessions, clock, count=3, round_ms=75.0)
    assert len(sessions[0].indices[-1]) in (7, 8)
    assert 140 <= len(sessions[1].indices[-1]) <= 160
    assert list(sessions[0].indices[-1][:5]) == [0, 1, 2, 0, 1]


def test_a_neighbour_during_the_warm_up_does_not_shorten_a_visit() -> None:
    clock = Clock()
    calm = Session(clock, 10.0, slow=())
    # Three calls of four wait for somebody else; the quickest tells what a call takes.
    pushed = Session(clock, 10.0, slow=[8, 8, 1, 8] * 5, seed=1)
    timed([calm, pushed], clock)
    assert abs(len(calm.indices[-1]) - len(pushed.indices[-1])) <= 1


def test_visits_are_shortened_alike_where_too_few_rounds_would_fit() -> None:
    clock = Clock()
    # Alone each call would take a tenth: every call but the first of each window has to wait.
    sessions = [
        Session(clock, ms, slow=[1, *([10] * 4)] * 400, noise=0.3, seed=i)
        for i, ms in enumerate((5.0, 10.0, 5.0, 10.0))
    ]
    found = timed(sessions, clock, budget_s=8, round_ms=75)
    assert all(len(one.rounds) >= LEAST_ROUNDS for one in found)
    calls = [len(s.indices[-1]) for s in sessions]
    assert calls[0] == pytest.approx(calls[2], abs=2)
    assert calls[0] < 75 / 5
    assert clock.now < 12


def test_a_batch_takes_as_many_samples_per_call() -> None:
    clock = Clock()
    session = Session(clock, 10.0)
    (found,) = measure(
        [(Facts(target="t", batch=4), session, Feed(SAMPLES, 3))], Plan(round_ms=50), clock=clock
    )
    assert len(session.indices[-1]) == 4 * len(found.rounds[-1])


def test_rounds_are_interleaved_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[int]:
        clock = Clock()
        sessions = [Session(clock, 10.0, seed=i, slow=()) for i in range(3)]
        timed(sessions, clock, seed=seed)
        visits = [(v, i) for i, s in enumerate(sessions) for v in s.visits[-LEAST_ROUNDS:]]
        return [i for _, i in sorted(visits)]

    first = order(1)
    assert first == order(1)
    assert any(first != order(seed) for seed in (2, 3, 4))
    for start in range(0, len(first), 3):
        assert set(first[start : start + 3]) == {0, 1, 2}


def test_the_budget_ends_a_noisy_measurement_and_the_interval_says_so() -> None:
    clock = Clock()
    sessions = [Session(clock, 20.0, noise=0.6)]
    (found,) = timed(sessions, clock, budget_s=4.0)
    assert clock.now < 6
    assert found.quantiles["p50"].half_width > 0.02
    assert found.n > 50


def test_rounds_are_counted_where_that_is_asked_for_but_never_below_the_calls_of_a_limit() -> None:
    clock = Clock()
    (few,) = timed([Session(clock, 20.0, noise=0.6)], clock, budget_s=600, most_rounds=9)
    assert len(few.rounds) == 9 and few.quantiles["p50"].half_width > 0.02
    (more,) = timed(
        [Session(clock, 20.0, noise=0.6)], clock, budget_s=600, most_rounds=9, least_calls=368
    )
    assert more.n >= 368 and len(more.rounds) > 9


def test_a_call_of_microseconds_needs_no_interval_of_nanoseconds() -> None:
    clock = Clock()
    short, long = (Session(clock, ms, noise=0.6, slow=()) for ms in (0.02, 20.0))
    (found,) = timed([short], clock, budget_s=600)
    assert len(found.rounds) == 12  # not 5: ratios are told from rounds, too
    median = found.quantiles["p50"]
    assert median.high is not None and median.low is not None
    assert median.high - median.low <= 2 * DISPATCH_MS
    (other,) = timed([long], clock, budget_s=40)
    assert len(other.rounds) > 12


def test_calls_in_flight_are_there_for_the_throughput_and_hold_nobody_up() -> None:
    clock = Clock()
    feed = Feed(SAMPLES, 5)
    alone, together = measure(
        [
            (Facts(target="a"), Session(clock, 10.0, slow=()), feed),
            (Facts(target="b", streams=2), Session(clock, 10.0, noise=0.9, slow=()), feed),
        ],
        Plan(budget_s=600),
        clock=clock,
    )
    assert len(together.rounds) == len(alone.rounds) == 12
    assert alone.quantiles["p50"].half_width <= 0.02 < together.quantiles["p50"].half_width
    assert together.row()["throughput_ci95"] is not None


def test_a_short_call_is_warmed_up_in_windows_that_can_settle() -> None:
    clock = Clock()
    session = Session(clock, 0.02, noise=0.1, slow=())
    (found,) = timed([session], clock, budget_s=600)
    assert found.steady
    few, many = (len(i) for i in session.indices[:2])
    assert few == 5 and 200 <= many <= 400  # about 5 ms
    assert clock.now < 1


def test_a_session_that_dies_drops_out_and_the_others_go_on() -> None:
    clock = Clock()
    sessions = [Session(clock, 10.0, dies_after=6), Session(clock, 10.0, seed=1)]
    dead, alive = timed(sessions, clock)
    assert dead.fault is not None
    assert dead.fault.kind is FaultKind.CRASHED
    assert alive.fault is None
    assert len(alive.rounds) >= LEAST_ROUNDS
    gone = timed([Session(clock, 10.0, dies_after=0)], clock)[0]
    assert (gone.n, gone.quantiles) == (0, {})
    assert gone.row()["p50_ms"] is None


def test_a_drifting_machine_hits_all_alike_and_the_ratio_stands() -> None:
    clock = Clock()

    def drift(now: float) -> float:
        return 1.0 + 0.5 * (int(now) % 2)

    sessions = [Session(clock, m, drift=drift, seed=i) for i, m in enumerate((10.0, 11.0))]
    slow, fast = timed(sessions, clock, budget_s=20, half_width=0.001)[::-1]
    found = ratio(fast, slow)
    assert found is not None
    assert found.ci95 is not None
    assert found.ci95[0] <= 1.1 <= found.ci95[1]


def timing(*, ms: float, spread: float, seed: int, rounds: int = 12) -> Timing:
    rng = np.random.default_rng(seed)
    data = tuple(tuple(rng.normal(ms, spread, 20).tolist()) for _ in range(rounds))
    return Timing(
        facts=Facts(target=f"t:{seed}"),
        rounds=data,
        quantiles={"p50": quantile(data, 0.5)},
        steady=True,
    )


def test_what_overlaps_shares_a_place() -> None:
    timings = [
        timing(ms=10.0, spread=1.0, seed=0),
        timing(ms=5.0, spread=0.1, seed=1),
        timing(ms=10.02, spread=1.0, seed=2),
        Timing(facts=Facts(target="never ran")),
    ]
    places = rank(timings)
    assert places[0] == (1,)
    assert set(places[1]) == {0, 2}
    assert len(places) == 2


def test_ratios_of_the_same_are_not_distinguishable() -> None:
    same = ratio(timing(ms=10, spread=1, seed=3), timing(ms=10, spread=1, seed=4))
    faster = ratio(timing(ms=5, spread=0.5, seed=5), timing(ms=10, spread=1, seed=6))
    assert same is not None
    assert faster is not None
    assert (same.distinguishable, faster.distinguishable) == (False, True)
    assert faster.value == pytest.approx(2, rel=0.05)
    few = ratio(timing(ms=5, spread=0.5, seed=7, rounds=3), timing(ms=10, spread=1, seed=8))
    assert few is not None
    assert few.ci95 is None
    assert not few.distinguishable
    assert ratio(timing(ms=5, spread=1, seed=9), Timing(facts=Facts(target="x"))) is None


def test_a_row_of_the_report_is_complete() -> None:
    clock = Clock()
    (found,) = timed([Session(clock, 10.0)], clock)
    row = found.row()
    assert set(row) == set(speed_rows.benchmark("FP32"))
    assert row["ci95_ms"][0] <= row["p50_ms"] <= row["ci95_ms"][1]
    assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
    assert (row["load_ms"], row["peak_rss_mb"], row["rounds"]) == (5.0, 123.0, len(found.rounds))
    assert (row["steady"], row["steady_rss_mb"], row["form"]) == (True, 111.0, "static")
    assert row["p90_ci95_ms"][0] <= row["p90_ms"]
    assert row["throughput"] == pytest.approx(100, rel=0.03)
    low, high = row["throughput_ci95"]
    assert low <= row["throughput"] <= high
    assert (row["prepare_ms"], row["finish_ms"]) == (0.001, 0.002)
    assert row["copy_ms"] is None
    assert row["cpu_ms"] == pytest.approx(20, rel=0.03)


def test_copies_that_a_session_tells_are_averaged_over_its_calls() -> None:
    clock = Clock()
    session = Session(clock, 10.0)
    session.copied = 500_000
    assert timed([session], clock)[0].row()["copy_ms"] == 0.5


def test_streams_divide_the_wall_and_every_stream_has_the_same_number_of_calls() -> None:
    clock = Clock()
    one, three = Session(clock, 10.0), Session(clock, 10.0, seed=1)
    feed = Feed(SAMPLES, 5)
    alone, together = measure(
        [(Facts(target="a"), one, feed), (Facts(target="b", streams=3), three, feed)],
        Plan(budget_s=20),
        clock=clock,
    )
    assert (one.streams, three.streams) == (1, 3)
    assert {len(r) % 3 for r in together.rounds} == {0}
    ratio_ = together.row()["throughput"] / alone.row()["throughput"]
    assert ratio_ == pytest.approx(3, rel=0.05)


class Counter(Meter):
    """Counts a joule for every look, or breaks off."""

    def __init__(self, most: int = 10**9) -> None:
        self.looks, self.most = 0, most

    def joules(self) -> float | None:
        self.looks += 1
        return 1.0 if self.looks <= self.most else None


@pytest.mark.parametrize(("most", "known"), [(10**9, True), (9, False)])
def test_energy_is_per_sample_and_unknown_once_a_round_is_not_counted(
    most: int, known: bool
) -> None:
    clock = Clock()
    (found,) = measure(
        [(Facts(target="t", batch=2), Session(clock, 10.0), Feed(SAMPLES, 4))],
        Plan(budget_s=5),
        clock=clock,
        meter=Counter(most),
    )
    expected = 1e3 * len(found.rounds) / found.n / 2
    assert found.energy_mj == (pytest.approx(expected) if known else None)
