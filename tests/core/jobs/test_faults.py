"""Every way to fail gets its name, leaves nothing running, and hurts nobody else."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from seatrial import results as r
from seatrial.isolation import Environment, Limits, Runner
from seatrial.results import FaultKind as K
from seatrial.workspace import Workspace

QUICK = Limits(timeout_s=1.0)
SMALL = Limits(timeout_s=60, memory_mb=250)
EASY = Limits(timeout_s=60)

# what: kind, signal, a part of the reason, limits
DEATHS = {
    "sigsegv": (K.CRASHED, "SIGSEGV", "died of SIGSEGV", EASY),
    "abort": (K.CRASHED, "SIGABRT", "died of SIGABRT", EASY),
    "sigfpe": (K.CRASHED, "SIGFPE", "died of SIGFPE", EASY),
    "sigbus": (K.CRASHED, "SIGBUS", "died of SIGBUS", EASY),
    "sigkill": (K.CRASHED, "SIGKILL", "died of SIGKILL", EASY),
    "silent_exit": (K.CRASHED, "", "exited 0 without a result record", EASY),
    "exit_seven": (K.CRASHED, "", "exited 7 without a result record", EASY),
    "stray_crash": (K.CRASHED, "SIGABRT", "died of SIGABRT", EASY),
    "hang": (K.TIMED_OUT, "", "no answer within 1 s", QUICK),
    "native_hang": (K.TIMED_OUT, "", "no answer within 1 s", QUICK),
    "stubborn": (K.TIMED_OUT, "", "no answer within 1 s", QUICK),
    "stray_hang": (K.TIMED_OUT, "", "no answer within 1 s", QUICK),
    "progress_then_hang": (
        K.TIMED_OUT,
        "",
        "no progress for 0.5 s",
        Limits(timeout_s=60, soft_s=0.5),
    ),
    "half_record": (K.BROKE_CONTRACT, "", "half a record", EASY),
    "half_record_and_on": (K.BROKE_CONTRACT, "", "half a record", EASY),
    "forged_empty": (K.BROKE_CONTRACT, "", "private channel", EASY),
    "forged_fault": (K.BROKE_CONTRACT, "", "none", EASY),
    "forged_size": (K.BROKE_CONTRACT, "", "private channel", EASY),
    "endless_record": (K.BROKE_CONTRACT, "", "a record without an end", EASY),
    "eat": (K.OUT_OF_MEMORY, "", "250 MB allowed", SMALL),
    "eat_in_grandchild": (K.OUT_OF_MEMORY, "", "250 MB allowed", SMALL),
    "memory_error": (K.OUT_OF_MEMORY, "", "MemoryError: Unable to allocate 8.00 GiB", EASY),
    "bad_alloc": (K.OUT_OF_MEMORY, "SIGABRT", "an allocation failed", EASY),
    "reserve": (
        K.OUT_OF_MEMORY,
        "",
        "MemoryError",
        Limits(timeout_s=60, memory_mb=2000, address_space=True),
    ),
    "raises": (K.RAISED, "", "ValueError: node 'conv_1' has a bad [bold]shape[/bold]", EASY),
    "recursion": (K.RAISED, "", "RecursionError: maximum recursion depth", EASY),
    "wrong_types": (K.BROKE_CONTRACT, "", "$.verdict: 'perhaps' is none of", EASY),
    "wrong_field": (K.BROKE_CONTRACT, "", "$.findings[1].reason: expected str, got int", EASY),
    "wrong_class": (K.BROKE_CONTRACT, "", "gave a dict, not a CompileReport", EASY),
    "nothing": (K.BROKE_CONTRACT, "", "seatrial_compile_check gave nothing", EASY),
    "missing_file": (K.BROKE_CONTRACT, "", "'model.bin' is not a regular file", EASY),
    "link_out": (K.BROKE_CONTRACT, "", "'model.bin' is not a regular file", EASY),
    "climbing": (K.BROKE_CONTRACT, "", "'../job.json' is not a plain relative path", EASY),
}


def check(runner, plugin, model, what="", *, where="compile_check", token="", limits=EASY):
    variables = {"SEATRIAL_FAULT": f"{where}:{what}", "TOKEN": token} if what else {}
    request = r.CheckRequest(model=model, target="cpu")
    return runner.hook(
        plugin, "seatrial_compile_check", request, limits=limits, variables=variables
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory, shelf, cache):
    """What the healthy backend says in a run without the other."""
    folder = tmp_path_factory.mktemp("alone")
    workspace = Workspace(folder / ".seatrial")
    (folder / "model.onnx").write_bytes(b"not really a model")
    model = workspace.add({"model.onnx": folder / "model.onnx"}, "model.onnx")
    with pytest.MonkeyPatch.context() as patch, Runner(workspace) as runner:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.syspath_prepend(shelf.folder)
        outcome = check(runner, shelf.plugin("healthy"), model)
    assert outcome.result.verdict is r.Verdict.SUPPORTED
    return outcome.result


@pytest.mark.parametrize("what", DEATHS)
def test_each_death_is_named_and_leaves_nothing(
    what, runner, faults, healthy, model, token, survivors, alone, capfd
):
    kind, signal_name, reason, limits = DEATHS[what]
    outcome = check(runner, faults, model, what, token=token, limits=limits)
    assert survivors(token) == []
    fault = outcome.fault
    assert fault is not None and outcome.result is None, outcome
    assert (fault.kind, fault.signal, fault.stage) == (
        kind,
        signal_name,
        "seatrial_compile_check",
    )
    assert reason in fault.reason and "\n" not in fault.reason
    assert (runner.workspace.root.parent / fault.log).is_file()
    after = check(runner, healthy, model)
    assert after.ok and after.result == alone
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["describe", "probe"])
@pytest.mark.parametrize(("what", "kind"), [("abort", K.CRASHED), ("raises", K.RAISED)])
def test_other_stages_name_themselves(where, what, kind, workspace, faults):
    faulty = Environment(name="faulty", variables={"SEATRIAL_FAULT": f"{where}:{what}"})
    with Runner(workspace, environments={"faulty": faulty}) as runner:
        if where == "describe":
            outcome = runner.describe(faults, env="faulty")
        else:
            request = r.ProbeRequest(target="cpu")
            outcome = runner.hook(faults, "seatrial_probe", request, env="faulty")
    assert (outcome.fault.kind, outcome.fault.stage) == (kind, f"seatrial_{where}")


def test_a_missing_licence_is_an_answer_not_a_fault(runner, faults):
    outcome = runner.hook(faults, "seatrial_probe", r.ProbeRequest(target="licensed"))
    assert outcome.ok and outcome.result.usable is False
    assert outcome.result.reason == "no licence found"


def test_a_hook_that_is_left_out_is_not_offered(runner, healthy, model):
    request = r.BuildRequest(model=model, target="cpu")
    outcome = runner.hook(healthy, "seatrial_build", request)
    assert outcome.fault.kind is K.NOT_OFFERED
    assert "healthy does not offer seatrial_build" in outcome.fault.reason


def test_progress_extends_the_soft_deadline_and_reaches_the_caller(workspace, faults, model):
    seen = []
    with Runner(workspace, progress=lambda *said: seen.append(said)) as runner:
        limits = Limits(timeout_s=60, soft_s=0.6)
        outcome = check(runner, faults, model, "progress", limits=limits)
    assert outcome.ok and outcome.seconds > 1.5
    assert ("seatrial_compile_check", "step 7", 0.875) in seen


def test_the_traceback_goes_to_the_log(runner, faults, model):
    outcome = check(runner, faults, model, "raises")
    assert "Traceback" in outcome.log.read_text() and "Traceback" not in outcome.fault.reason


def test_a_crash_leaves_the_python_stack_in_the_log(runner, faults, model):
    outcome = check(runner, faults, model, "sigsegv")
    assert "seatrial_faults.py" in outcome.log.read_text()


@pytest.mark.parametrize("what", ["stray", "stray_unmarked"])
def test_nothing_outlives_a_success(what, runner, faults, model, token, survivors):
    sleepers = _sleepers()
    outcome = check(runner, faults, model, what, token=token)
    assert outcome.ok
    if what == "stray_unmarked" and outcome.network != "namespace":
        pytest.skip("without a network namespace a stray that sheds its marker is not found")
    assert _sleepers() <= sleepers
    assert survivors(token) == []


def test_other_children_of_the_host_are_left_alone(runner, faults, model):
    mine = subprocess.Popen(["sleep", "60"])
    done = subprocess.Popen(["sh", "-c", "exit 5"])
    time.sleep(0.1)
    try:
        assert check(runner, faults, model, "stray_crash").fault.kind is K.CRASHED
        assert mine.poll() is None
        assert done.wait() == 5
    finally:
        mine.kill()
        mine.wait()


def test_orphans_do_not_stay_as_zombies(runner, faults, model, wait_until):
    check(runner, faults, model, "stray_crash")
    assert wait_until(lambda: not _zombies(), 2)


def test_noise_is_capped_and_the_end_is_kept(runner, faults, model):
    outcome = check(runner, faults, model, "noise")
    assert outcome.ok
    text = outcome.log.read_bytes()
    assert 500_000 < len(text) < 1_200_000
    assert b"bytes left out" in text and text.endswith(b"\nthe end of the noise\n")


def test_a_fake_verdict_on_stdout_is_only_text(runner, faults, model):
    outcome = check(runner, faults, model, "fake_verdict")
    assert outcome.result.notes == ("18 bytes",)
    assert "SHIP" in outcome.log.read_text()


def test_the_peak_covers_the_whole_tree(runner, faults, model):
    outcome = check(runner, faults, model, "eat_in_grandchild", limits=SMALL)
    assert outcome.peak_rss_mb > 250


def test_an_artefact_is_adopted_from_the_job(runner, faults, model):
    outcome = check(runner, faults, model, "artefact")
    ref = runner.adopt(outcome, outcome.result.artifact)
    assert runner.workspace.path(ref).read_bytes() == b"weights"
    assert runner.workspace.verify(ref)
    assert runner.adopt(outcome, outcome.result.artifact) == ref


def _sleepers():
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"sleep\x001000" in (entry / "cmdline").read_bytes():
                    found.add(entry.name)
            except OSError:
                continue
    return found


def _zombies():
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                facts = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if facts[0] == "Z" and int(facts[1]) == os.getpid():
                found.append(entry.name)
    return found
