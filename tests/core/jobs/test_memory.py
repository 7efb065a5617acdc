"""What an earlier run made is used again only if nothing changed and every byte is as it was."""

from __future__ import annotations

import json
import os

import pytest

from seatrial import results as r
from seatrial.isolation import Runner
from seatrial.jobs import memory as memory_module
from seatrial.jobs.memory import ENTRY, Memory, Remembered
from seatrial.workspace import Workspace

#: Every answer holds a token of its own, so it shows whether the work was done again.
CODE = """
import os, secrets
from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"


@hookimpl
def seatrial_describe():
    return r.Description(title="T", vendor="V", targets=(r.Target(id="x", title="X", device="x"),))


@hookimpl
def seatrial_probe(request):
    version = os.environ.get("ACME_VERSION", "1")
    return r.Availability(usable=True, versions={"acme": version} if version else {})


@hookimpl
def seatrial_compile_check(request, job):
    return r.CompileReport(verdict=r.Verdict.SUPPORTED, depth=r.Depth.MAP)


@hookimpl
def seatrial_build(request, job):
    if request.options.get("fail"):
        raise RuntimeError(secrets.token_hex(8))
    (job.out / "deep").mkdir()
    (job.out / "deep" / "engine.bin").write_bytes(secrets.token_bytes(5000))
    (job.out / "more.bin").write_bytes(secrets.token_bytes(10))
    files = ("deep/engine.bin", "more.bin")
    return r.Build(
        artifact=r.Artifact(format="acme", entry=files[0], files=files), precision="FP32"
    )
"""


@pytest.fixture
def acme(site):
    site.install("acme", "acme", "acme_module", code=CODE)
    memory_module.code_of.cache_clear()
    yield site.plugin("acme")
    memory_module.code_of.cache_clear()


@pytest.fixture
def session(tmp_path, acme, model):
    """``session(...)``: what a run of its own builds: digest, whether it was remembered, memory."""

    def run(*, version="1", remember=True, off=False, probe=True, env=None, ref=model, **options):
        workspace = Workspace(tmp_path / "run" / ".seatrial")
        memory = Memory(workspace, off=off)
        with Runner(workspace, memory=memory) as runner:
            known = {"ACME_VERSION": version}
            if probe:
                runner.hook(acme, "seatrial_probe", r.ProbeRequest(target="x"), variables=known)
            outcome = runner.hook(
                acme,
                "seatrial_build",
                r.BuildRequest(model=ref, target="x", options=options),
                variables=env or {},
                remember=remember,
            )
            if outcome.result is None:
                return outcome.fault.reason, False, memory
            adopted = runner.adopt(outcome, outcome.result.artifact)
            assert workspace.verify(adopted)
            assert workspace.path(adopted).stat().st_size == 5000
            return adopted.sha256, outcome.remembered, memory

    return run


def test_nothing_changed_nothing_is_done(session):
    first, remembered, memory = session()
    assert not remembered and memory.used == []
    again, remembered, memory = session()
    assert again == first and remembered
    assert memory.used == ["seatrial_build"] and memory.damaged == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"off": True},
        pytest.param({"level": 3}, marks=pytest.mark.long),
        pytest.param({"env": {"ACME_MODE": "x"}}, marks=pytest.mark.long),
    ],
    ids=["toolchain", "fresh", "option", "environment"],
)
def test_whatever_changes_is_done_again(session, change):
    first = session()[0]
    other, remembered, _ = session(**change)
    assert other != first and not remembered
    if "off" not in change:  # a fresh run leaves what it made for the next one
        assert session()[0] == first


def test_another_model_or_another_plugin_file_is_another_job(session, workspace, tmp_path, site):
    first = session()[0]
    source = tmp_path / "other.onnx"
    source.write_bytes(b"not really a model either")
    assert session(ref=workspace.add({"model.onnx": source}, "model.onnx"))[0] != first
    path = site.folder / "acme_module.py"
    kept = path.stat()
    path.write_text(CODE + "\n# changed\n")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # a time stamp is no content
    memory_module.code_of.cache_clear()
    assert session()[0] != first


@pytest.mark.parametrize(
    "how",
    [{"probe": False}, {"remember": lambda build: False}],
)
def test_what_may_not_be_kept_is_not(session, how):
    first = session(**how)[0]
    other, remembered, memory = session(**how)
    assert other != first and not remembered and memory.used == []


def test_a_fault_is_never_remembered(session):
    first, _, memory = session(fail=True)
    assert session(fail=True)[0] != first
    assert list(memory.root.glob("*")) == []


def _flip(path):
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _other_value(entry):
    kept = json.loads(entry.read_text())
    kept["entry"]["value"]["precision"] = "INT8"
    entry.write_text(json.dumps(kept))


DAMAGE = {
    "a bit of an artefact": lambda folder: _flip(folder / "files" / "deep" / "engine.bin"),
    "a bit of the entry": lambda folder: _flip(folder / ENTRY),
    "another value": lambda folder: _other_value(folder / ENTRY),
    "a cut entry": lambda folder: os.truncate(folder / ENTRY, 40),
    "a cut artefact": lambda folder: os.truncate(folder / "files" / "more.bin", 3),
    "no artefact": lambda folder: (folder / "files" / "more.bin").unlink(),
    "no entry": lambda folder: (folder / ENTRY).unlink(),
}


def test_damage_is_found_before_it_is_used(session):
    first, _, memory = session()
    (folder,) = memory.root.glob("*")
    _flip(folder / "files" / "deep" / "engine.bin")
    other, remembered, memory = session()
    assert other != first and not remembered
    assert memory.used == [] and len(memory.damaged) == 1
    assert "seatrial_build" in memory.damaged[0]
    assert session()[:2] == (other, True)  # the entry was replaced by a sound one


@pytest.fixture
def kept(workspace, tmp_path):
    """A memory with one entry, and its folder."""
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "engine.bin").write_bytes(bytes(range(200)))
    (out / "more.bin").write_bytes(b"0123456789")
    memory = Memory(workspace)
    memory.keep("k", Remembered(value={"precision": "FP32"}, seconds=2.0), out=out)
    return memory, memory.root / "k"


def test_what_is_recalled_is_what_was_kept(kept, tmp_path):
    memory, _ = kept
    found = memory.recall("k", "job", tmp_path / "again")
    assert found == Remembered(value={"precision": "FP32"}, seconds=2.0)
    assert (tmp_path / "again" / "deep" / "engine.bin").read_bytes() == bytes(range(200))
    assert memory.recall("other", "job", tmp_path / "none") is None
    assert memory.used == ["job"] and memory.damaged == []


@pytest.mark.parametrize("what", DAMAGE)
def test_no_damage_is_used(kept, tmp_path, what):
    memory, folder = kept
    DAMAGE[what](folder)
    assert memory.recall("k", "job", tmp_path / "again") is None
    assert memory.used == [] and len(memory.damaged) == 1 and "job" in memory.damaged[0]
    assert not folder.exists()


def test_an_entry_under_another_key_is_no_answer(kept, tmp_path):
    memory, folder = kept
    folder.rename(memory.root / "other")
    assert memory.recall("other", "job", tmp_path / "again") is None
    assert len(memory.damaged) == 1


def test_what_a_killed_run_left_half_written_is_swept(kept, workspace):
    memory, folder = kept
    stray, mine = (memory.root / f".new-{pid}-abc" for pid in (999_999_999, os.getpid()))
    stray.mkdir()
    mine.mkdir()
    Memory(workspace)
    assert not stray.exists() and mine.exists() and folder.exists()


def test_outputs_of_a_session_are_an_object_of_their_own(tmp_path, monkeypatch, cache):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    from seatrial.samples import StoreWriter

    folder = tmp_path / "net"
    folder.mkdir()
    _identity(folder / "model.onnx")
    store = tmp_path / "store"
    store.mkdir()
    import numpy as np

    writer = StoreWriter(store, 4)
    for i in range(4):
        writer.add({"x": np.full(3, i, np.float32)})
    files = writer.close([{"id": str(i), "sha256": ""} for i in range(4)])

    def run(indices, damage=False):
        workspace = Workspace(tmp_path / "run" / ".seatrial")
        model = workspace.add({"model.onnx": folder / "model.onnx"}, "model.onnx")
        samples = workspace.add({f: store / f for f in files}, "")
        memory = Memory(workspace)
        with Runner(workspace, memory=memory) as runner:
            outcome = runner.outputs(
                "seatrial.reference:load",
                None,
                r.LoadRequest(artifact=model, format="onnx", target="reference"),
                samples,
                indices,
                remember=True,
            )
        return workspace, outcome, memory

    workspace, first, _ = run((0, 2))
    assert not first.remembered
    assert run((0, 2))[1].result == first.result and run((0, 2))[1].remembered
    assert run((2, 0))[1].result != first.result
    array = next((workspace.objects / first.result.sha256).glob("*.npy"))
    _flip(array)
    _, again, memory = run((0, 2))
    assert again.result == first.result and not again.remembered and len(memory.damaged) == 1
    assert workspace.verify(again.result)


def _identity(path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
