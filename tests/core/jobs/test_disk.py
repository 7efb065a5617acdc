"""A full disk is a fault with a name, and never a cut file under a final name."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from seatrial import results as r
from seatrial.isolation import Runner
from seatrial.results import FaultKind as K
from seatrial.workspace import Workspace


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk, healthy, tmp_path):
    workspace = Workspace(small_disk / ".seatrial")
    model = tmp_path / "m.onnx"
    model.write_bytes(bytes(1000))
    ref = workspace.add({"m.onnx": model}, "m.onnx")
    big = tmp_path / "big"
    big.write_bytes(bytes(400_000))
    with pytest.raises(OSError, match="No space left"):
        workspace.add({"big": big}, "big")
    assert [p.name for p in workspace.objects.iterdir()] == [ref.sha256]
    request = r.CheckRequest(model=ref, target="cpu")
    faults = []
    with Runner(workspace) as runner:
        room = 280_000
        while room > 0:
            used = sum(p.stat().st_size for p in small_disk.rglob("*") if p.is_file())
            (small_disk / "ballast").write_bytes(b"")
            blocks = max(0, (300 * 1024 - used - room) // 4096)
            try:
                (small_disk / "ballast").write_bytes(bytes(blocks * 4096))
            except OSError:
                break
            outcome = runner.hook(healthy, "seatrial_compile_check", request)
            if outcome.fault:
                faults.append(outcome.fault)
            room -= 28_000
        with (small_disk / "rest").open("wb", buffering=0) as rest, pytest.raises(OSError):
            while True:
                rest.write(bytes(4096))
        faults.append(runner.hook(healthy, "seatrial_compile_check", request).fault)
    assert faults[-1].kind is K.UNAVAILABLE and "No space left" in faults[-1].reason
    for path in workspace.jobs.glob("*/result.json"):
        assert json.loads(path.read_text())["schema"] == "seatrial.result/1"
    assert list(workspace.jobs.glob("*/.result.json.*")) == []


def test_hooks_may_be_called_from_many_threads(runner, healthy, faults, model):
    request = r.CheckRequest(model=model, target="cpu")

    def call(i):
        crash = {"SEATRIAL_FAULT": "compile_check:abort"} if i % 2 else {}
        plugin = faults if i % 2 else healthy
        return runner.hook(plugin, "seatrial_compile_check", request, variables=crash)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(call, range(8)))
    assert [o.ok for o in outcomes] == [True, False] * 4
    assert len({repr(o.result) for o in outcomes[::2]}) == 1
    assert {o.fault.signal for o in outcomes[1::2]} == {"SIGABRT"}


def test_two_runners_share_a_store(workspace, healthy, model):
    request = r.CheckRequest(model=model, target="cpu")
    with Runner(workspace) as one:
        assert one.hook(healthy, "seatrial_compile_check", request).ok
        with Runner(Workspace(workspace.root)) as two:
            assert two.hook(healthy, "seatrial_compile_check", request).ok
        assert one.hook(healthy, "seatrial_compile_check", request).ok
