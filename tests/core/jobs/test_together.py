"""Calls side by side: order, errors, interruption."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from seatrial.isolation import Runner
from seatrial.jobs.together import together
from seatrial.trial.context import Trial
from seatrial.workspace import Workspace


def never() -> None:
    raise AssertionError("nothing interrupted this")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Whatever this runs on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def test_results_come_in_order_and_calls_overlap():
    both = threading.Barrier(2, timeout=10)

    def call(number):
        both.wait()  # breaks unless another call runs meanwhile
        return number

    assert together([functools.partial(call, i) for i in range(4)], never) == [0, 1, 2, 3]


def test_one_core_or_one_call_needs_no_thread(monkeypatch):
    here = threading.get_ident()
    assert together([threading.get_ident], never) == [here]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert together([threading.get_ident] * 3, never) == [here] * 3


def test_an_error_is_raised_once_all_have_ended():
    ended = []

    def fail():
        raise ValueError("the first")

    def slow():
        time.sleep(0.2)
        ended.append(True)

    with pytest.raises(ValueError, match="the first"):
        together([fail, slow], never)
    assert ended == [True]


def test_an_interruption_ends_what_is_waited_for_and_begins_nothing_more():
    halted = threading.Event()
    begun, number = [], itertools.count(1)

    def wait():
        mine = next(number)  # not the length of the list: both may have grown it by then
        begun.append(mine)
        if mine == 2:
            os.kill(os.getpid(), signal.SIGINT)
        assert halted.wait(10)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        together([wait] * 6, halted.set)
    assert time.monotonic() - started < 5
    assert len(begun) == 2


def test_a_halted_runner_starts_no_child_and_blames_nobody(tmp_path):
    with Runner(Workspace(tmp_path / "w")) as runner:

        def wait():
            halted = threading.Event()
            os.kill(os.getpid(), signal.SIGINT)
            halted.wait(0.2)
            runner.task("seatrial.trial.child:subset", None)

        with pytest.raises(KeyboardInterrupt):
            runner.together([wait, functools.partial(time.sleep, 0.1)])
        assert runner.halted
        with pytest.raises(RuntimeError, match="halted"):
            runner.task("seatrial.trial.child:subset", None)
        state = SimpleNamespace(facts={})
        Trial.blame(SimpleNamespace(runner=runner), state, SimpleNamespace())
        assert not state.facts
