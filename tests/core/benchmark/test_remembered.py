"""A backend that remembers its answers is found out, and one that does not is not accused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seatrial import results as r
from seatrial.benchmark.inputs import PAIRS, Feed
from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import Plan, measure
from seatrial.jobs.tensors import unseen
from seatrial.samples import StoreWriter
from seatrial.session import Loop, RunRequest
from seatrial.sla import SLA, LatencyLimit
from seatrial.verdict.fast import fast
from seatrial.verdict.records import Case, Circumstances

#: What an answer costs that is not remembered, seconds.
COST_S = 0.03


class Memo:
    """Sleeps for an answer; remembers it by all bytes of the feed, if it may."""

    def __init__(self, *, remembers: bool) -> None:
        self.remembers = remembers
        self.known: set[bytes] = set()

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        key = feeds["x"].tobytes()
        if key not in self.known:
            time.sleep(COST_S)
        if self.remembers:
            self.known.add(key)
        return {"y": feeds["x"]}

    def close(self) -> None:
        pass


class Answer:
    fault = None

    def __init__(self, result: Any) -> None:
        self.result = result


class Handle:
    """The feed loop of a child, in this process."""

    peak_rss_mb = 1.0

    def __init__(self, folder: Path, session: Memo) -> None:
        request = r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t")
        self.loop = Loop(session, request, folder, 1)

    def run(self, samples: r.Ref, indices: Any = None, *, keep: bool, **more: Any) -> Answer:
        request = RunRequest(path=samples.entry, indices=tuple(indices), keep=keep, **more)
        return Answer(self.loop.run(request))


def timed(
    folder: Path, session: Memo, dtype: Any, count: int, handle: Handle | None = None
) -> Timing:
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder / "s", count)
    for _ in range(count):
        writer.add({"x": (255 * rng.random(64)).astype(dtype)})
    writer.close([{"id": str(i)} for i in range(count)])
    feed = Feed(r.Ref(sha256="a", entry="s"), count)
    plan = Plan(budget_s=2.0, round_ms=60.0, most_rounds=4, inputs=True)
    return measure([(Facts(target="t:npu"), handle or Handle(folder, session), feed)], plan)[0]


def judged(timing: Timing, **limits: Any) -> Any:
    target: dict[str, Any] = {"target": "t:npu", "fault": None, "ran": None, "kind": "device"}
    run = Circumstances(int8=False)
    return fast(Case(target=target, graded=(), timings=(timing,), sla=SLA(**limits), run=run))


@pytest.mark.parametrize(
    ("dtype", "count"), [(np.float32, 8), (np.float16, 8), (np.uint8, 8), (np.int64, 1000)]
)
def test_answers_that_are_remembered_are_no_latency(tmp_path: Path, dtype: Any, count: int) -> None:
    (tmp_path / "s").mkdir()
    timing = timed(tmp_path, Memo(remembers=True), dtype, count)
    assert timing.remembers
    assert timing.beside is not None
    again, new = timing.beside
    assert again < 1e3 * COST_S <= new
    assert timing.remembered in timing.row()["notes"]
    limit = LatencyLimit(quantile="p50", ms=200.0)
    found = judged(timing, max_latency=limit)
    assert found.answer == "NOT PROVEN"
    told = {row["code"]: row["text"] for row in found.reasons}
    assert f"new ones {new:.3g} ms" in told["latency.remembered"]
    asked_nothing = judged(timing)
    assert asked_nothing.answer == "not asked"
    assert [(x["code"], x["level"]) for x in asked_nothing.reasons] == [
        ("latency.remembered", "warning")
    ]


def test_an_honest_backend_is_not_accused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    timing = timed(tmp_path, Memo(remembers=False), np.float32, 8)
    assert timing.beside is not None
    assert not timing.remembers
    assert timing.remembered == ""
    found = judged(timing, max_latency=LatencyLimit(quantile="p50", ms=200.0))
    assert found.answer == "SHIP"


def test_integers_that_may_be_indices_are_left_alone_and_nothing_is_timed(tmp_path: Path) -> None:
    assert unseen({"x": np.arange(100)}) is None
    (tmp_path / "s").mkdir()
    timing = timed(tmp_path, Memo(remembers=True), np.int64, 8)
    assert timing.beside is None
    assert not timing.remembers


ARRAYS = st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int8]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=6))
)


@given(ARRAYS)
def test_a_copy_is_new_and_all_but_the_same(array: Any) -> None:
    before = array.copy()
    made = unseen({"x": array, "ids": np.arange(5)})
    assert array.tobytes() == before.tobytes()
    if made is None:
        return
    copy = made["x"]
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert (copy != array).any()
    assert made["ids"].tolist() == [0, 1, 2, 3, 4]
    if array.dtype.kind == "f":
        tiny, eps = np.finfo(array.dtype).tiny, np.finfo(array.dtype).eps
        still = ~np.isfinite(array) | (np.abs(array) < tiny)
        assert copy[still].tobytes() == array[still].tobytes()
        assert np.isfinite(copy[~still]).all()
        assert (np.abs(copy[~still] / array[~still] - 1) <= 4 * eps).all()
    else:
        assert copy.min() >= array.min() and copy.max() <= array.max()
        assert np.abs(copy.astype(int) - array).max() == 1


def test_a_picture_makes_any_number_of_new_ones() -> None:
    picture = np.random.default_rng(1).random((1, 3, 8, 8)).astype(np.float32)
    made = {m["x"].tobytes() for m in (unseen({"x": picture}) for _ in range(PAIRS)) if m}
    assert len(made) == PAIRS
    assert picture.tobytes() not in made


class Dies(Handle):
    """A session that is gone after the warm-up."""

    def run(self, samples: r.Ref, indices: Any = None, *, keep: bool, **more: Any) -> Any:
        died = r.Fault(kind=r.FaultKind.CRASHED, stage="run", reason="died")
        if more.get("beside") or len(self.loop.session.known) >= self.limit:
            return type("Gone", (), {"fault": died, "result": None})()
        return super().run(samples, indices, keep=keep, **more)

    limit = 10**9


@pytest.mark.parametrize("limit", [1, 10**9])
def test_a_session_that_dies_is_a_fault_and_no_accusation(tmp_path: Path, limit: int) -> None:
    (tmp_path / "s").mkdir()
    handle = Dies(tmp_path, Memo(remembers=True))
    handle.limit = limit
    timing = timed(tmp_path, Memo(remembers=True), np.float32, 8, handle=handle)
    assert timing.fault is not None
    assert timing.fault.reason == "died"
    assert (timing.beside, timing.remembers) == (None, False)
