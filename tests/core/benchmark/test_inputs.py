"""What the rounds are fed, and latencies that depend on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.benchmark.inputs import MOST, PAIRS, Feed, Inputs, slower, spread, varies
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import Plan, measure
from seatrial.results import Ref
from seatrial.session import PREPARED_BYTES, RunReply
from seatrial.sla import SLA, LatencyLimit
from seatrial.verdict.fast import fast
from seatrial.verdict.records import Case, Circumstances

COUNT = 1000


def samples(count: int, size: int = 0) -> Feed:
    return Feed(Ref(sha256="a" * 64, entry="", bytes=size), count)


class Answer:
    def __init__(self, result: RunReply) -> None:
        self.result = result
        self.fault = None


class Dark:
    """15 % of the samples, at the end of the file, take 41 ms, the others 0.25 ms."""

    peak_rss_mb = 10.0

    def __init__(self, slow: float = 41.0, burst: float = 0.0, count: int = COUNT) -> None:
        self.slow, self.burst, self.count = slow, burst, count
        self.rng = np.random.default_rng(3)
        self.now = 0.0

    def run(
        self,
        samples: Ref,
        indices: Sequence[int] | None = None,
        *,
        keep: bool,
        batch: int = 1,
        beside: bool = False,
    ) -> Answer:
        assert indices is not None
        indices = np.repeat(indices, 2) if beside else indices
        times = np.where(np.array(indices) >= 0.85 * self.count, self.slow, 0.25)
        times = times * self.rng.lognormal(0, 0.02, len(times))
        times[self.rng.random(len(times)) < self.burst] *= 20
        self.now += times.sum() / 1e3
        return Answer(RunReply(latencies_ns=tuple(round(1e6 * t) for t in times), load_ns=1))


def timed(session: Dark, feed: Feed, branches: tuple[str, ...] = ()) -> Timing:
    plan = Plan(budget_s=60, least_calls=368, most_rounds=30, inputs=True)
    facts = Facts(target="t:cpu", precision="FP32", branches=branches)
    return measure([(facts, session, feed)], plan, clock=lambda: session.now)[0]


def judged(timing: Timing, quantile: str, ms: float) -> Any:
    target: dict[str, Any] = {"target": "t:cpu", "fault": None, "ran": None, "kind": "device"}
    sla = SLA(max_latency=LatencyLimit(quantile=quantile, ms=ms))
    return fast(
        Case(target=target, graded=(), timings=(timing,), sla=sla, run=Circumstances(int8=False))
    )


@given(st.integers(1, 3000), st.integers(1, 2000))
def test_every_stretch_of_the_order_covers_the_store(count: int, most: int) -> None:
    order = spread(count, most)
    assert len(order) == len(set(order)) == min(count, most)
    assert set(order) <= set(range(count))
    if len(order) >= 16 and count >= 64:
        assert {8 * i // count for i in order[:16]} == set(range(8))


def test_visits_go_on_where_the_last_one_ended() -> None:
    inputs = Inputs(samples(10), batch=2)
    first, second = inputs.turns(3), inputs.turns(3)
    assert (first, second) == ([0, 1, 2], [3, 4, 0])
    assert len(set(inputs.indices(range(5)))) == 10


def test_no_more_inputs_are_fed_at_once_than_can_be_prepared() -> None:
    inputs = Inputs(samples(100, size=50 * PREPARED_BYTES))
    assert inputs.turns(5) == [0, 1, 0, 1, 0]
    assert inputs.turns(2) == [2, 3]


def test_slow_inputs_at_the_end_of_the_file_are_seen_and_named() -> None:
    timing = timed(Dark(), samples(COUNT))
    assert timing.varies == pytest.approx((0.25, 41.0), rel=0.1)
    assert timing.quantiles["p99"].value > 30
    found = judged(timing, "p99", 20.0)
    assert found.answer == "DO NOT SHIP"
    codes = [row["code"] for row in found.reasons]
    assert codes == ["latency.limit", "latency.by-input"]
    assert "depends on the input: from 0.2" in found.reasons[1]["text"]
    assert timing.by_input in timing.row()["notes"]
    assert judged(timing, "p50", 1.0).answer == "SHIP"


@pytest.mark.parametrize("branches", [(), ("If",)])
def test_a_p99_of_too_few_inputs_is_no_p99_where_the_input_counts(branches: Any) -> None:
    few = samples(40)
    timing = timed(Dark(slow=0.25 if branches else 5.0, count=40), few, branches)
    assert timing.n > 368
    assert timing.inputs == 40
    found = judged(timing, "p99", 20.0)
    assert found.answer == "NOT PROVEN"
    assert "40 inputs" in found.reasons[0]["text"]
    assert found.missing == ("at least 368 different inputs for p99: more samples",)
    assert judged(timing, "p50", 20.0).answer == "SHIP"
    short = dataclasses.replace(timing, rounds=timing.rounds[:1])
    assert judged(short, "p99", 20.0).missing == ("a longer benchmark on a quiet machine",)


def test_bursts_of_the_machine_are_no_property_of_the_inputs() -> None:
    for count in (40, COUNT):
        timing = timed(Dark(slow=0.25, burst=0.02), samples(count))
        assert timing.by_input == ""
        assert judged(timing, "p99", 20.0).answer == "SHIP"
        assert timing.inputs == min(count, MOST)


def test_only_a_ratio_beyond_noise_and_dispatch_counts() -> None:
    assert slower([2.0] * PAIRS, [1.0] * PAIRS)
    assert not slower([2.0] * (PAIRS - 1), [1.0] * (PAIRS - 1))
    assert not slower([*[2.0] * (PAIRS - 1), 1.1], [1.0] * PAIRS)
    assert not slower([0.02] * PAIRS, [0.01] * PAIRS)
    assert not slower([], [])


def test_an_input_that_cannot_be_timed_again_proves_nothing() -> None:
    assert varies({0: [1.0], 1: [9.0]}, lambda turns: ()) is None
    assert varies({0: [1.0]}, lambda turns: [1.0] * len(turns)) is None
