"""The object store: content addressed, complete or absent, checked before use."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial import results as r
from seatrial.codec import digest
from seatrial.errors import UserError
from seatrial.results import FaultKind as K
from seatrial.workspace import Workspace


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def test_the_digest_rule(workspace, tmp_path):
    files = write(tmp_path / "in", a=b"one", b=b"two!")
    ref = workspace.add({"a": files["a"], "deep/b": files["b"]}, "a")
    listing = {
        "a": [hashlib.sha256(b"one").hexdigest(), 3],
        "deep/b": [hashlib.sha256(b"two!").hexdigest(), 4],
    }
    assert (ref.sha256, ref.entry, ref.bytes) == (digest(listing), "a", 7)
    assert workspace.path(ref).read_bytes() == b"one"
    assert workspace.path(r.Ref(sha256=ref.sha256, entry="")).is_dir()
    assert workspace.verify(ref)


def test_an_object_is_a_copy_and_read_only(workspace, tmp_path):
    source = write(tmp_path / "in", a=b"one")["a"]
    ref = workspace.add({"a": source}, "a")
    source.write_bytes(b"changed")
    path = workspace.path(ref)
    assert path.read_bytes() == b"one" and path.stat().st_nlink == 1
    assert path.stat().st_mode & 0o222 == 0


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 199), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(workspace, tmp_path, position, bit):
    ref = workspace.add(write(tmp_path / "in", a=bytes(200)), "a")
    path = workspace.path(ref)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)
    assert not workspace.verify(ref)
    # Adding the same content again repairs the object.
    assert workspace.add(write(tmp_path / "in", a=bytes(200)), "a") == ref
    assert workspace.verify(ref)


@pytest.mark.parametrize("change", ["extra file", "lost file", "cut", "renamed"])
def test_other_damage_is_found(workspace, tmp_path, change):
    ref = workspace.add(write(tmp_path / "in", a=b"one", b=b"two"), "a")
    path = workspace.path(ref)
    if change == "extra file":
        (path.parent / "c").write_bytes(b"")
    elif change == "lost file":
        (path.parent / "b").unlink()
    elif change == "cut":
        path.chmod(0o644)
        path.write_bytes(b"on")
    else:
        path.rename(path.parent / "c")
    assert not workspace.verify(ref)


def test_a_damaged_object_never_reaches_a_child(runner, healthy, model):
    path = runner.workspace.path(model)
    request = r.CheckRequest(model=model, target="cpu")
    assert runner.hook(healthy, "seatrial_compile_check", request).ok
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"n", b"m", 1))
    outcome = runner.hook(healthy, "seatrial_compile_check", request)
    assert outcome.fault.kind is K.UNAVAILABLE
    assert "not what its digest says" in outcome.fault.reason


def test_an_unknown_object_is_a_fault(runner, healthy):
    request = r.CheckRequest(model=r.Ref(sha256="0" * 64, entry="a"), target="cpu")
    outcome = runner.hook(healthy, "seatrial_compile_check", request)
    assert outcome.fault.kind is K.UNAVAILABLE and "missing" in outcome.fault.reason


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "", ".", "a//b", "a\0b"])
def test_names_stay_inside(workspace, tmp_path, name):
    source = write(tmp_path / "in", a=b"one")["a"]
    with pytest.raises(ValueError, match="plain relative path"):
        workspace.add({name: source}, name)
    assert list(workspace.objects.iterdir()) == []


def test_a_missing_source_leaves_no_object(workspace, tmp_path):
    files = write(tmp_path / "in", a=b"one") | {"b": tmp_path / "absent"}
    with pytest.raises(FileNotFoundError):
        workspace.add(files, "a")
    assert list(workspace.objects.iterdir()) == []


def test_adopting_moves_and_may_be_repeated(workspace, tmp_path):
    out = tmp_path / "out"
    write(out, a=b"one", shared=b"weights")
    first = r.Artifact(format="f", entry="a", files=("a", "shared"))
    second = r.Artifact(format="f", entry="shared", files=("shared",))
    ref = workspace.adopt(out, first)
    assert workspace.adopt(out, first) == ref and workspace.verify(ref)
    other = workspace.adopt(out, second)
    assert workspace.path(other).read_bytes() == b"weights" and workspace.verify(other)
    assert not (out / "a").exists()


def test_adopting_refuses_links(workspace, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="not a regular file"):
        workspace.adopt(out, r.Artifact(format="f", entry="a", files=("a",)))
    assert (out / "a").is_symlink()


def test_what_a_killed_run_left_is_swept(workspace):
    gone = workspace.objects / ".new-999999999-abc"
    mine = workspace.objects / f".new-{os.getpid()}-abc"
    gone.mkdir()
    mine.mkdir()
    Workspace(workspace.root)
    assert not gone.exists() and mine.exists()


def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        Workspace(tmp_path / "file" / ".seatrial")
