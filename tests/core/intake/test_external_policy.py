"""External data: what may be opened, what is copied, what the hash covers."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from seatrial.intake import admit, limits


def external(pb, *, dims=(4,), dtype: int = 1, **entries: str) -> bytes:
    """A model whose initializer ``w`` lies outside."""
    listed = b"".join(
        pb.message(13, pb.message(1, k) + pb.message(2, v)) for k, v in entries.items()
    )
    tensor = pb.tensor("w", list(dims), dtype, listed + pb.integer(14, 1))
    return pb.model(pb.graph(pb.node("Add", ["x", "w"], ["y"]), pb.message(5, tensor)))


#: Of the sixteen good bytes.
SHA1 = hashlib.sha1(bytes(range(16)), usedforsecurity=False).hexdigest()


@pytest.fixture
def folder(take) -> Path:
    """The model's folder, with sixteen good bytes and a secret next door."""
    (take.folder / "w.bin").write_bytes(bytes(range(16)))
    (take.folder.parent / "secret.bin").write_bytes(b"s" * 64)
    return take.folder


BAD_LOCATIONS = {
    "../secret.bin": "outside the model's folder",
    "a/../../secret.bin": "outside the model's folder",
    "..\\secret.bin": "outside the model's folder",
    "/etc/hostname": "is absolute",
    "C:\\w.bin": "is absolute",
    "": "no location",
    ".": "no location",
    "w.bin\0.txt": "NUL",
    "gone.bin": "'gone.bin' does not exist",
    "gone/w.bin": "'gone/w.bin' does not exist",
    "w.bin/w.bin": "cannot be read: not a directory",
    "m.onnx": "is the model itself",
    "n" * 300: "cannot be read",
    "n/" * 3000: "too long",
}


@pytest.mark.parametrize("location", BAD_LOCATIONS)
def test_locations_that_are_refused(location: str, pb, folder, refuse) -> None:
    line = refuse(external(pb, location=location))
    assert BAD_LOCATIONS[location] in line
    assert ": w: " in line


def test_links_are_refused(pb, folder: Path, refuse) -> None:
    (folder / "soft.bin").symlink_to("w.bin")
    (folder / "real").mkdir()
    (folder / "real" / "v.bin").write_bytes(b"v" * 16)
    (folder / "dir").symlink_to("real")
    os.link(folder.parent / "secret.bin", folder / "hard.bin")
    assert "'soft.bin' is a symbolic link" in refuse(external(pb, location="soft.bin"))
    assert "folder dir is a symbolic link" in refuse(external(pb, location="dir/v.bin"))
    assert "'hard.bin' is a hard link" in refuse(external(pb, location="hard.bin"))


def test_things_that_are_no_files_are_refused(pb, folder: Path, refuse, monkeypatch) -> None:
    os.mkfifo(folder / "pipe.bin")
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.bin")
        assert "a named pipe" in refuse(external(pb, location="pipe.bin"))
        assert "a folder" in refuse(external(pb, location="sub"))
        assert "a socket" in refuse(external(pb, location="socket.bin"))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"length": "4"}, "external data of 4 bytes for a tensor of 16"),
        ({"length": str(2**62)}, "for a tensor of 16"),
        ({"length": str(2**64)}, "is not a size"),
        ({"offset": "-8"}, "external offset '-8' is not a size"),
        ({"offset": "0x8"}, "is not a size"),
        ({"offset": "٣"}, "is not a size"),
        ({"offset": "8"}, "needs bytes 8 to 24 of 'w.bin', which has 16"),
        ({"offset": str(2**63 - 4)}, "ends beyond any file"),
    ],
)
def test_ranges_that_lie(entries: dict[str, str], words: str, pb, folder, refuse) -> None:
    assert words in refuse(external(pb, location="w.bin", **entries))


def test_a_shape_larger_than_the_file(pb, folder, refuse) -> None:
    assert "needs bytes 0 to 4000" in refuse(external(pb, location="w.bin", dims=(1000,)))


def test_text_cannot_be_external(pb, folder, refuse) -> None:
    assert "text cannot be external" in refuse(external(pb, location="w.bin", dtype=8))


def test_a_bad_location_in_a_training_graph_counts(pb, folder, refuse) -> None:
    entry = pb.message(13, pb.message(1, "location") + pb.message(2, "../secret.bin"))
    tensor = pb.tensor("t", [4], 1, entry + pb.integer(14, 1))
    training = pb.message(20, pb.message(2, pb.message(5, tensor)))
    data = pb.model(pb.graph(pb.node("Relu", ["x"], ["y"])), extra=training)
    assert "t: its external file is outside" in refuse(data)


def test_a_checksum_that_is_another_files(pb, folder: Path, refuse) -> None:
    other = hashlib.sha1(b"w", usedforsecurity=False).hexdigest()
    line = refuse(external(pb, location="w.bin", checksum=other))
    for word in (": w: ", "'w.bin'", SHA1[:12], other[:12], "copy it again"):
        assert word in line
    assert "'x' is no SHA-1" in refuse(external(pb, location="w.bin", checksum="x"))


def test_a_checksum_is_of_the_whole_file_which_is_read_once(
    pb, folder: Path, take, monkeypatch
) -> None:
    (folder / "w.bin").write_bytes(bytes(range(40)))
    whole = hashlib.sha1(bytes(range(40)), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(limits, "CHUNK", 7)
    real, read = os.pread, []
    monkeypatch.setattr(os, "pread", lambda *a: read.append(a[2]) or real(*a))
    take(external(pb, location="w.bin", offset="4", length="16", checksum=whole))
    assert read.count(14) == 2, "once of the model, once of its data"


def test_too_many_files(pb, folder, refuse, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_EXTERNAL_FILES", 0)
    assert "names 1 external files" in refuse(external(pb, location="w.bin"))


# --- what passes --------------------------------------------------------------------------------


def test_the_snapshot_holds_what_was_screened(pb, folder: Path, take, workspace) -> None:
    data = external(pb, location="./w.bin", offset="0", length="16", checksum=SHA1.upper())
    admitted = take(data)
    entry = workspace.path(admitted.ref)
    assert entry.read_bytes() == data
    assert (entry.parent / "w.bin").read_bytes() == bytes(range(16))
    assert admitted.facts.external_files == ("w.bin",)
    assert admitted.facts.sha256 == admitted.ref.sha256
    assert admitted.facts.bytes == admitted.ref.bytes == len(data) + 16
    assert workspace.verify(admitted.ref)
    (folder / "w.bin").write_bytes(b"changed later!!!")
    assert (entry.parent / "w.bin").read_bytes() == bytes(range(16))


def test_the_hash_covers_the_weights(pb, folder: Path, take) -> None:
    data = external(pb, location="w.bin")
    first = take(data).facts
    (folder / "w.bin").write_bytes(b"swapped weights!")
    second = take(data).facts
    assert first.file_sha256 == second.file_sha256
    assert first.sha256 != second.sha256


def test_the_name_of_the_file_does_not_count(pb, folder: Path, take) -> None:
    data = external(pb, location="w.bin")
    assert take(data, "one.onnx").ref == take(data, "two.onnx").ref


def test_an_external_file_named_like_the_snapshots_entry(pb, folder: Path, take, workspace) -> None:
    (folder / "model.onnx").write_bytes(bytes(range(16)))
    admitted = take(external(pb, location="model.onnx"))
    assert admitted.ref.entry == "_model.onnx"
    assert (workspace.path(admitted.ref).parent / "model.onnx").read_bytes() == bytes(range(16))


def test_unknown_keys_are_noted(pb, folder: Path, take) -> None:
    admitted = take(external(pb, location="w.bin", mirror="x"))
    assert [(n.code, n.place) for n in admitted.notes] == [("external-keys", "w")]
    assert "'mirror'" in admitted.notes[0].text


def test_a_nan_outside_is_found(pb, folder: Path, take) -> None:
    (folder / "w.bin").write_bytes(b"\0" * 12 + b"\0\0\xc0\x7f")
    assert take(external(pb, location="w.bin")).facts.nonfinite_weights == ("w",)


def test_a_sub_folder_is_kept(pb, folder: Path, take, workspace) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "v.bin").write_bytes(b"v" * 20)
    admitted = take(external(pb, location="sub//v.bin", offset="4"))
    assert (workspace.path(admitted.ref).parent / "sub" / "v.bin").read_bytes() == b"v" * 20


def test_a_real_writer_is_understood(take, workspace, tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "out.onnx"
    onnx.save(model, path, save_as_external_data=True, location="out.data", size_threshold=0)
    admitted = admit(path, workspace)
    assert admitted.facts.parameters == 4096
    loaded = onnx.load(workspace.path(admitted.ref))
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), weight)


def test_a_file_that_changes_while_it_is_read(pb, folder: Path, refuse, monkeypatch) -> None:
    real = os.pread

    def growing(descriptor: int, size: int, at: int) -> bytes:
        with (folder / "w.bin").open("ab") as file:
            file.write(b"more")
        return real(descriptor, size, at)

    monkeypatch.setattr("seatrial.intake.files.os.pread", growing)
    assert "changed while it was read" in refuse(external(pb, location="w.bin"))


def test_a_type_of_a_later_release_is_left_to_the_backends(pb, folder: Path, take, refuse) -> None:
    entries = pb.message(13, pb.message(1, "location") + pb.message(2, "w.bin"))
    tensor = pb.message(5, pb.tensor("w", [4], 40, entries + pb.integer(14, 1)))
    relu = pb.node("Relu", ["x"], ["y"])
    admitted = take(pb.model(pb.graph(relu, tensor), ir=limits.KNOWN_IR + 1))
    assert [n.code for n in admitted.notes] == ["newer-ir", "tensor-data"]
    assert "element type 40 does not exist" in refuse(pb.model(pb.graph(relu, tensor)))
