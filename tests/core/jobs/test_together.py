"""Calls side by side: order, errors, interruption."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time

import pytest

from seatrial.jobs.together import together


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


#: In a process of its own: the interruption is of the whole process, here one that runs tests.
INTERRUPTED = """
import itertools, os, signal, threading, time
from seatrial.jobs.together import together

signal.signal(signal.SIGINT, signal.default_int_handler)
halted, begun, number = threading.Event(), [], itertools.count(1)

def wait():
    mine = next(number)  # not the length of the list: both may have grown it by then
    begun.append(mine)
    if mine == 2:
        os.kill(os.getpid(), signal.SIGINT)
    assert halted.wait(10)

started = time.monotonic()
try:
    together([wait] * 6, halted.set)
except KeyboardInterrupt:
    print("interrupted", len(begun), time.monotonic() - started < 5)
"""

HALTED = """
import functools, os, signal, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from seatrial.isolation import Runner
from seatrial.trial.context import Trial
from seatrial.workspace import Workspace

signal.signal(signal.SIGINT, signal.default_int_handler)
with Runner(Workspace(Path(sys.argv[1]) / "w")) as runner:

    def wait():
        halted = threading.Event()
        os.kill(os.getpid(), signal.SIGINT)
        halted.wait(0.2)
        runner.task("seatrial.trial.child:subset", None)

    try:
        runner.together([wait, functools.partial(time.sleep, 0.1)])
    except KeyboardInterrupt:
        print("interrupted", runner.halted)
    try:
        runner.task("seatrial.trial.child:subset", None)
    except RuntimeError as error:
        print("halted" in str(error))
    state = SimpleNamespace(facts={})
    Trial.blame(SimpleNamespace(runner=runner), state, SimpleNamespace())
    print(state.facts)
"""


def _said(script, *words):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_an_interruption_ends_what_is_waited_for_and_begins_nothing_more():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("calls run side by side on two cores or more")
    assert _said(INTERRUPTED) == ["interrupted 2 True"]


def test_a_halted_runner_starts_no_child_and_blames_nobody(tmp_path):
    assert _said(HALTED, tmp_path) == ["interrupted True", "True", "{}"]
