"""What a child sees: environment, network, folders; and how a job is kept, run by hand, named."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from seatrial import results as r
from seatrial.codec import CodecError
from seatrial.errors import UserError
from seatrial.isolation import Environment, Limits, Runner
from seatrial.jobs import guard, identity
from seatrial.results import FaultKind as K


def ask(runner, plugin, model, what, **options):
    """The notes that a misbehaviour gives."""
    variables = {"SEATRIAL_FAULT": f"compile_check:{what}", **options.pop("variables", {})}
    request = r.CheckRequest(model=model, target="cpu")
    return runner.hook(plugin, "seatrial_compile_check", request, variables=variables, **options)


@pytest.fixture
def listener():
    """A loopback listener of the parent's, and what reached it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        yield server


def test_only_listed_variables_reach_a_child(runner, faults, model, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = ask(runner, faults, model, "environment", variables={"MY_OPTION": "1"})
    seen = dict(line.split("=", 1) for line in outcome.result.notes)
    assert "hunter2" not in " ".join(outcome.result.notes)
    assert seen["OMP_NUM_THREADS"] == "3" and seen["MY_OPTION"] == "1"
    assert seen["FAULTS_TELEMETRY"] == "off"
    assert seen["OPENBLAS_NUM_THREADS"] == "1"
    assert seen["CI"] == "true" and seen["DO_NOT_TRACK"] == "1"
    assert seen["https_proxy"] == seen["HTTP_PROXY"] == "http://127.0.0.1:9"
    assert "PYTHONPATH" not in seen
    job = str(outcome.out.parent / "scratch")
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        assert seen[name].startswith(job), name
    assert not (outcome.out.parent / "scratch").exists()


def test_who_wants_threads_for_a_compiler_gets_them(runner, faults, model):
    wanted = {"OPENBLAS_NUM_THREADS": "4"}
    outcome = ask(runner, faults, model, "environment", variables=wanted)
    assert "OPENBLAS_NUM_THREADS=4" in outcome.result.notes


def test_a_child_has_its_own_group_no_cores_and_no_input(runner, faults, model):
    notes = ask(runner, faults, model, "surroundings").result.notes
    assert "core=(0, 0)" in notes and "leader=True" in notes and "stdin=/dev/null" in notes
    assert any(n.startswith("cwd=") and n.endswith("scratch/cwd") for n in notes)


def test_no_network_inside(runner, faults, model, listener):
    port = str(listener.getsockname()[1])
    outcome = ask(runner, faults, model, "connect", variables={"LISTENER_PORT": port})
    if outcome.network != guard.NAMESPACE:
        pytest.skip(f"the kernel grants no namespace here; in force: {outcome.network}")
    assert outcome.result.notes[0].startswith("refused")
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_child_can_talk_to_itself(runner, faults, model):
    assert ask(runner, faults, model, "own_loopback").result.notes == ("connected",)


def test_network_needs_a_word(workspace, faults, model, listener):
    port = str(listener.getsockname()[1])
    with Runner(workspace, allow_network=("faults",)) as runner:
        outcome = ask(runner, faults, model, "connect", variables={"LISTENER_PORT": port})
        seen = ask(runner, faults, model, "environment").result.notes
    assert outcome.network == guard.ALLOWED
    assert outcome.result.notes == ("connected",)
    assert not any(line.startswith("https_proxy=") for line in seen)


def test_an_ordinary_user_has_no_network_either(tmp_path):
    if os.getuid() != 0:
        pytest.skip("already shown: these tests run as an ordinary user")
    code = (
        "import os, socket\nfrom seatrial.jobs import guard\n"
        "os.setgid(65534); os.setuid(65534)\nlevel = guard.leave_network()\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try: s.connect(('192.0.2.1', 9)); print(level, 'routed')\n"
        "except OSError: print(level, 'no route', os.getuid())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd="/"
    )
    if done.stdout.startswith("proxies"):
        pytest.skip("the kernel grants ordinary users no namespace")
    assert done.stdout.split() == ["namespace", "no", "route", "65534"], done.stderr


def test_the_job_on_disk_says_all_and_runs_by_hand(runner, faults, model, tmp_path):
    outcome = ask(runner, faults, model, "artefact")
    folder = outcome.out.parent
    job = json.loads((folder / "job.json").read_text())
    assert job["id"] == outcome.job_id and job["refs"] == {
        model.sha256: f"../../objects/{model.sha256}"
    }
    kept = json.loads((folder / "result.json").read_text())
    assert kept["fault"] is None and kept["value"]["verdict"] == "supported"
    # The whole store may move, and the job is done again by hand.
    moved = tmp_path / "elsewhere"
    shutil.move(runner.workspace.root, moved)
    again = moved / "jobs" / folder.name
    shutil.rmtree(again / "out")
    (again / "result.json").unlink()
    command = [sys.executable, "-m", "seatrial.worker", str(again)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seatrial_compile_check: done")
    assert json.loads((again / "result.json").read_text())["value"] == kept["value"]
    assert (again / "out" / "sub" / "more.bin").read_bytes() == b"more"


def test_by_hand_a_fault_is_one_line(runner, faults, model):
    outcome = ask(runner, faults, model, "raises")
    folder = outcome.out.parent
    command = [sys.executable, "-m", "seatrial.worker", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith("seatrial_compile_check: raised: ValueError: node 'conv_1'")
    assert done.stdout.count("\n") == 1
    assert json.loads((folder / "result.json").read_text())["fault"]["kind"] == "raised"


@pytest.mark.parametrize("arguments", [[], ["/no/such/job"]])
def test_by_hand_without_a_job_is_one_line(arguments):
    command = [sys.executable, "-m", "seatrial.worker", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ") and done.stderr.count("\n") == 1


def test_two_runs_of_one_job_share_an_id_but_no_folder(runner, faults, model):
    one = ask(runner, faults, model, "surroundings")
    two = ask(runner, faults, model, "surroundings")
    other = ask(runner, faults, model, "environment")
    assert one.job_id == two.job_id != other.job_id
    assert one.out != two.out


def test_identity_depends_on_what_matters(healthy):
    base = {
        "plugin": healthy,
        "name": "seatrial_probe",
        "request": r.ProbeRequest(target="cpu"),
        "refs": [r.Ref(sha256="a", entry="x")],
        "environment": {"OMP_NUM_THREADS": "1"},
        "versions": {"runtime": "1"},
    }
    changes = [
        {"plugin": None},
        {"name": "seatrial_load"},
        {"request": r.ProbeRequest(target="gpu")},
        {"refs": [r.Ref(sha256="b", entry="x")]},
        {"environment": {"OMP_NUM_THREADS": "2"}},
        {"versions": {"runtime": "2"}},
        {"interpreter": "/usr/bin/python3"},
    ]
    ids = {identity.job_id(**{**base, **change}) for change in [{}, *changes]}
    assert len(ids) == len(changes) + 1
    assert identity.job_id(**base) == identity.job_id(**base)


def test_in_process_makes_the_same_checks(workspace, faults, healthy, model, monkeypatch):
    with Runner(workspace, in_process=True) as runner:
        request = r.CheckRequest(model=model, target="cpu")
        assert runner.hook(healthy, "seatrial_compile_check", request).ok
        assert runner.describe(healthy).result.description.title == "Healthy"
        monkeypatch.setenv("SEATRIAL_FAULT", "compile_check:wrong_field")
        sys.modules.pop("seatrial_faults", None)
        outcome = runner.hook(faults, "seatrial_compile_check", request)
        sys.modules.pop("seatrial_faults", None)
    assert outcome.fault.kind is K.BROKE_CONTRACT
    assert "$.findings[1].reason: expected str" in outcome.fault.reason
    assert runner._desk._supervisor is None


def test_an_unknown_environment_is_the_users_error(runner, healthy):
    with pytest.raises(UserError, match="no such environment"):
        runner.hook(healthy, "seatrial_probe", r.ProbeRequest(target="cpu"), env="dfc")


def test_a_missing_interpreter_is_unavailable(workspace, healthy):
    gone = Environment(name="gone", python="/no/such/python")
    with Runner(workspace, environments={"gone": gone}) as runner:
        request = r.ProbeRequest(target="cpu")
        outcome = runner.hook(healthy, "seatrial_probe", request, env="gone")
    assert outcome.fault.kind is K.UNAVAILABLE and "/no/such/python" in outcome.fault.reason


def test_a_launcher_may_say_something_first(workspace, healthy, tmp_path):
    script = tmp_path / "launch"
    script.write_text('#!/bin/sh\necho "Welcome to the board"\nexec env -i "$@"\n')
    script.chmod(0o755)
    board = Environment(name="board", launcher=(str(script),), python=sys.executable)
    with Runner(workspace, environments={"board": board}) as runner:
        request = r.ProbeRequest(target="cpu")
        outcome = runner.hook(healthy, "seatrial_probe", request, env="board")
    assert outcome.result == r.Availability(usable=True)
    assert "Welcome to the board" in outcome.log.read_text()


def test_a_launcher_that_fails_is_unavailable_in_its_own_words(workspace, healthy, tmp_path):
    script = tmp_path / "launch"
    script.write_text('#!/bin/sh\necho "board is asleep" >&2\nexit 255\n')
    script.chmod(0o755)
    board = Environment(name="board", launcher=(str(script),))
    with Runner(workspace, environments={"board": board}) as runner:
        request = r.ProbeRequest(target="cpu")
        outcome = runner.hook(healthy, "seatrial_probe", request, env="board")
    assert outcome.fault.kind is K.UNAVAILABLE and "board is asleep" in outcome.fault.reason


# --- core tasks ----------------------------------------------------------------------------------

USER_CODE = """
import json, os, socket
from pathlib import Path

def samples():
    import numpy as np
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["LISTENER_PORT"])), timeout=1)
        network = "connected"
    except OSError:
        network = "refused"
    facts = {"cwd": os.getcwd(), "home": os.environ["HOME"], "network": network}
    Path("seen.json").write_text(json.dumps(facts))
    for i in range(3):
        yield {"x": np.full((2,), i, np.float32)}
"""


def materialise(location, kind="callable"):
    from seatrial.data.contract import complete
    from seatrial.data.records import InputContract, MaterialiseRequest
    from seatrial.data.source import Source

    x = r.TensorIO(name="x", dtype="float32", shape=("N", 2))
    return MaterialiseRequest(
        source=Source(kind=kind, location=location, text=location),
        inputs=(x,),
        contracts={"x": complete(InputContract(mode="tensor"), x)},
    )


def test_the_users_code_runs_where_the_user_is(runner, tmp_path, monkeypatch, listener):
    home = tmp_path / "home"
    work = tmp_path / "work"
    work.mkdir()
    (work / "mydata.py").write_text(USER_CODE)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LISTENER_PORT", str(listener.getsockname()[1]))
    outcome = runner.task(
        "seatrial.data.child:materialise", materialise("mydata:samples"), user=True
    )
    assert outcome.ok, outcome.fault
    assert outcome.result.set.count == 3
    seen = json.loads((work / "seen.json").read_text())
    assert (seen["cwd"], seen["home"]) == (str(work), str(home))
    if outcome.network == guard.NAMESPACE:
        assert seen["network"] == "refused"


@pytest.mark.parametrize("name", ["os.path:join", "seatrial.nowhere:f", "seatrial.codec:x y"])
def test_only_core_tasks_are_tasks(runner, name):
    outcome = runner.task(name, r.ProbeRequest(target="cpu"))
    assert outcome.fault.kind in (K.BROKE_CONTRACT, K.UNAVAILABLE)
    assert name in outcome.fault.reason


def test_a_request_of_another_type_breaks_the_contract(runner):
    outcome = runner.task("seatrial.data.child:materialise", r.ProbeRequest(target="cpu"))
    assert outcome.fault.kind is K.BROKE_CONTRACT and "MaterialiseRequest" in outcome.fault.reason


def test_a_request_that_cannot_be_json_is_our_own_error(runner, healthy):
    with pytest.raises(CodecError):
        runner.hook(healthy, "seatrial_probe", r.ProbeRequest(target=object()))


def test_limits_have_no_effect_on_the_next_job(runner, faults, healthy, model):
    quick = Limits(timeout_s=0.3)
    assert ask(runner, faults, model, "hang", limits=quick).fault.kind is K.TIMED_OUT
    assert runner.hook(healthy, "seatrial_probe", r.ProbeRequest(target="cpu")).ok


def test_what_shadows_a_package_in_the_parent_shadows_it_in_the_child(site, workspace, monkeypatch):
    code = (
        "from seatrial import hookimpl, results as r\n"
        "@hookimpl\n"
        "def seatrial_describe():\n"
        "    return r.Description(title='in front', vendor='v', targets=())\n"
    )
    # A package that is installed, so that the child would find it by itself.
    assert importlib.util.find_spec("iniconfig") is not None
    site.install("seatrial-front", "front", "iniconfig", code=code)
    with Runner(workspace) as runner:
        outcome = runner.describe(site.plugin("front"))
    assert outcome.fault is None
    assert outcome.result.description.title == "in front"
