"""Ctrl-C, SIGTERM and SIGKILL of the parent: within two seconds nothing runs any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import sys
from pathlib import Path
from seatrial import results as r
from seatrial.isolation import Runner
from seatrial.registry import discover
from seatrial.workspace import Workspace

root, site, token, what = sys.argv[1:5]
sys.path.insert(0, site)
(plugin,) = [p for p in discover() if p.id == "faults"]
workspace = Workspace(Path(root) / ".seatrial")
source = Path(root) / "m.onnx"
source.write_bytes(b"model")
ref = workspace.add({"m.onnx": source}, "m.onnx")
try:
    with Runner(workspace) as runner:
        idle = runner.open(
            plugin, "seatrial_load",
            r.LoadRequest(artifact=ref, format="blob", target="cpu"), variables={"TOKEN": token},
        )
        assert idle.ok, idle.fault
        print("ready", flush=True)
        runner.hook(
            plugin, "seatrial_compile_check", r.CheckRequest(model=ref, target="cpu"),
            variables={"SEATRIAL_FAULT": "compile_check:" + what, "TOKEN": token},
        )
except KeyboardInterrupt as stop:
    print("interrupted", type(stop).__name__, flush=True)
    sys.exit(130)
"""


@pytest.fixture
def start(tmp_path, backends, token, survivors, wait_until):
    """Starts a run that has one idle session and hangs in a hook."""
    started = []

    def run(what, hanging):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(backends.folder), token, what]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        assert wait_until(lambda: len(survivors(token)) >= hanging, 10)
        time.sleep(0.3)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["native_hang", "stubborn"])
def test_a_signal_ends_everything_within_two_seconds(number, what, start, token, survivors):
    process = start(what, 2)
    begin = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - begin < 2
    assert process.returncode == 130, err
    name = "KeyboardInterrupt" if number == signal.SIGINT else "Terminated"
    assert out == f"interrupted {name}\n" and err == ""
    assert survivors(token) == []


FINALISER = """
import os, signal, sys, time
from pathlib import Path
from seatrial.isolation import Runner
from seatrial.workspace import Workspace

class Handle:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[2]))
        for _ in range(1000):
            pass

try:
    with Runner(Workspace(Path(sys.argv[1]) / ".seatrial")):
        handle = Handle()
        del handle
        print("on", flush=True)
        time.sleep(5)
except KeyboardInterrupt as stop:
    print("interrupted", type(stop).__name__, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_in_a_finaliser_is_not_lost(number, tmp_path):
    """What is raised there is printed and forgotten, and the run would go on."""
    done = subprocess.run(
        [sys.executable, "-c", FINALISER, str(tmp_path), str(int(number))],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    name = "KeyboardInterrupt" if number == signal.SIGINT else "Terminated"
    assert done.stdout == f"on\ninterrupted {name}\n" and done.stderr == ""


def test_a_second_signal_changes_nothing(start, token, survivors):
    process = start("stubborn", 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode != 0
    time.sleep(0.5)
    assert survivors(token) == []


@pytest.mark.parametrize(("what", "count"), [("native_hang", 2), ("stray_hang", 3)])
def test_killing_the_parent_leaves_nothing(what, count, start, token, survivors, wait_until):
    process = start(what, count)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: survivors(token) == [], 2), survivors(token)


def test_nothing_half_written_is_left_by_a_kill(start, tmp_path, token, survivors, wait_until):
    process = start("native_hang", 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: survivors(token) == [], 2)
    jobs = list((tmp_path / ".seatrial" / "jobs").iterdir())
    assert jobs
    for job in jobs:
        assert not (job / "result.json").exists() or "describe" in job.name
