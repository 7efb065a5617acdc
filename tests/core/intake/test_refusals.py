"""One hostile or broken file per rule: refused in one line that names file, place and reason."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from seatrial.errors import UserError
from seatrial.intake import admit, limits
from seatrial.workspace import Workspace


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, b"data")
    return out.getvalue()


NOT_ONNX = {
    "empty": (b"", "empty file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html>Log in</html>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><net/>", "an XML file"),
    "json": (b'{"graph": {"node": []}}', "JSON text"),
    "prose": (b"ir_version: 8\ngraph {\n", "a text file"),
    "gzip": (gzip.compress(b"model"), "run gunzip"),
    "torchscript": (archive("m/constants.pkl", "m/data.pkl"), "a TorchScript archive"),
    "checkpoint": (archive("m/data.pkl"), "a PyTorch checkpoint"),
    "npz": (archive("x.npy"), "a NumPy archive"),
    "zip": (archive("model.onnx"), "unpack it"),
    "pickle": (pickle.dumps([1, 2]), "pickle"),
    "npy": (b"\x93NUMPY\x01\x00v\x00{'descr'", "a NumPy array"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 40, "TensorFlow Lite"),
    "safetensors": ((20).to_bytes(8, "little") + b'{"w": {}}' + b" " * 11, "safetensors"),
    "random": (bytes(range(256)), "not an ONNX file"),
}


@pytest.mark.parametrize("case", NOT_ONNX)
def test_other_formats_are_named(case: str, refuse) -> None:
    data, words = NOT_ONNX[case]
    assert words in refuse(data)


def attribute(pb, name: str, payload: bytes) -> bytes:
    return pb.message(5, pb.message(1, name) + payload)


def structure_cases(pb) -> dict[str, tuple[bytes, str]]:
    relu = pb.node("Relu", ["x"], ["y"])
    weight = pb.tensor("w", [4], 1, pb.message(9, b"\0" * 16))

    def with_tensor(*args) -> bytes:
        return pb.model(pb.graph(relu, pb.message(5, pb.tensor(*args))))

    return {
        "no graph": (pb.integer(1, 8), "no network graph"),
        "no ir": (pb.model(pb.graph(relu), ir=0), "ir_version"),
        "ir 9999": (pb.model(pb.graph(relu), ir=9999), "ir_version 9999"),
        "no opset": (pb.integer(1, 8) + pb.message(7, pb.graph(relu)), "no operator set"),
        "opset 999": (pb.model(pb.graph(relu), opset=999), "opset 999"),
        "opset 0": (pb.model(pb.graph(relu), opset=0), "opset 0"),
        "opset negative": (pb.model(pb.graph(relu), opset=-1), "opset -1"),
        "dims negative": (with_tensor("w", [-4], 1, b""), "w: has the negative dimension -4"),
        "dims overflow": (with_tensor("w", [2**40, 2**40], 1, b""), "w: its dimensions"),
        "claims more": (
            with_tensor("w", [9 * 10**12], 1, pb.message(9, b"\0" * 64)),
            "w: claims 36000000000000 bytes, 64 are there",
        ),
        "nothing there": (with_tensor("w", [4], 1, b""), "w: claims 4 elements, 0 are there"),
        "wrong field": (with_tensor("w", [1], 1, pb.message(7, b"\1")), "claims 1 elements, 0"),
        "data twice": (
            with_tensor("w", [1], 1, pb.message(9, b"\0" * 4) + pb.message(4, b"\0" * 4)),
            "w: has its data twice",
        ),
        "dtype 99": (with_tensor("w", [1], 99, b""), "element type 99"),
        "dtype 0": (with_tensor("w", [1], 0, b""), "element type 0"),
        "rank": (with_tensor("w", [1] * 65, 1, b""), "more than 64 dimensions"),
        "initializer twice": (
            pb.model(pb.graph(relu, pb.message(5, weight), pb.message(5, weight))),
            "w: is the name of two initializers",
        ),
        "input twice": (
            pb.model(pb.graph(relu, pb.message(11, pb.value("x", 4)))),
            "x: is the name of two inputs",
        ),
        "output twice": (
            pb.model(pb.graph(relu, pb.node("Neg", ["x"], ["y"]))),
            "y: is produced twice: by 'Relu#0' and 'Neg#1'",
        ),
        "writes the input": (pb.model(pb.graph(relu, pb.node("Neg", ["y"], ["x"]))), "twice"),
        "self loop": (pb.model(pb.graph(pb.node("Add", ["x", "y"], ["y"]))), "circle: 'Add#0'"),
        "cycle": (
            pb.model(
                pb.graph(pb.node("Add", ["x", "b"], ["a"]), pb.node("Neg", ["a"], ["b"]), relu)
            ),
            "Add#0: nodes wait for each other in a circle: 'Add#0', 'Neg#1'",
        ),
        "ghost": (
            pb.model(pb.graph(pb.node("Add", ["x", "ghost"], ["y"]))),
            "Add#0: reads 'ghost', which nothing produces",
        ),
        "no such output": (pb.model(pb.graph()), "y: no node produces this output"),
        "ep context": (
            pb.model(
                pb.graph(
                    pb.node(
                        "EPContext", ["x"], ["y"],
                        pb.message(7, "com.microsoft")
                        + attribute(pb, "embed_mode", pb.integer(3, 0))
                        + attribute(pb, "ep_cache_context", pb.message(4, "/e.bin")),
                    )
                )
            ),
            "EPContext#0: EPContext names a compiled file outside the model: '/e.bin'",
        ),
    }  # fmt: skip


CASES = (
    "no graph", "no ir", "ir 9999", "no opset", "opset 999", "opset 0", "opset negative",
    "dims negative", "dims overflow", "claims more", "nothing there", "wrong field", "data twice",
    "dtype 99", "dtype 0", "rank", "initializer twice", "input twice", "output twice",
    "writes the input", "self loop", "cycle", "ghost", "no such output", "ep context",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_broken_structure_is_refused(case: str, pb, refuse) -> None:
    cases = structure_cases(pb)
    assert set(cases) == set(CASES)
    data, words = cases[case]
    assert words in refuse(data)


def test_cut_files_say_where_they_end(pb, refuse) -> None:
    whole = pb.model(pb.graph(pb.node("Relu", ["x"], ["y"])))
    assert f"ends at byte {len(whole) - 1}" in refuse(whole[:-1])
    assert "not a complete ONNX file" in refuse(whole[: len(whole) // 2])


def nested(pb, depth: int) -> bytes:
    body = pb.node("Relu", ["x"], ["z"]) + pb.message(12, pb.value("z", 4))
    for _ in range(depth):
        branch = pb.message(5, pb.message(1, "then_branch") + pb.message(6, body))
        body = pb.node("If", ["x"], ["z"], branch) + pb.message(12, pb.value("z", 4))
    return pb.model(pb.graph(body, pb.node("Neg", ["z"], ["y"])))


def test_nesting_is_bounded(pb, take, refuse) -> None:
    assert len(take(nested(pb, 28)).facts.control_flow) == 28
    assert "nests control flow" in refuse(nested(pb, 60), "deep-m.onnx")


def function(pb, name: str, calls: list[str]) -> bytes:
    """A function ``evil::name`` that hands its input through calls of others."""
    body = b""
    for i, callee in enumerate(calls):
        given, made = ("i" if i == 0 else f"v{i}"), f"v{i + 1}"
        node = pb.node(callee, [given], [made], pb.message(7, "evil"))
        body += pb.message(7, node[1 + len(pb.varint(len(node) - 2)) :])
    last = f"v{len(calls)}" if calls else "i"
    ending = pb.node("Identity", [last], ["o"])
    body += pb.message(7, ending[1 + len(pb.varint(len(ending) - 2)) :])
    text = pb.message(1, name) + pb.message(4, "i") + pb.message(5, "o") + pb.message(10, "evil")
    return pb.message(25, text + body)


def calling(pb, *functions: bytes) -> bytes:
    call = pb.node("F0", ["x"], ["y"], pb.message(7, "evil"))
    return pb.model(pb.graph(call), extra=b"".join(functions))


def test_functions_that_call_themselves(pb, refuse) -> None:
    data = calling(pb, function(pb, "F0", ["F1"]), function(pb, "F1", ["F0"]))
    assert "calls itself" in refuse(data)


def test_a_long_chain_of_calls(pb, refuse) -> None:
    chain = [function(pb, f"F{i}", [f"F{i + 1}"]) for i in range(3000)]
    assert "more than 256 deep" in refuse(calling(pb, *chain, function(pb, "F3000", [])))


def test_a_billion_laughs(pb, take, refuse) -> None:
    laughs = [function(pb, f"F{i}", [f"F{i + 1}"] * 10) for i in range(9)]
    assert "functions expand to" in refuse(calling(pb, *laughs, function(pb, "F9", [])))


def test_a_function_defined_twice(pb, refuse) -> None:
    assert "defined twice" in refuse(calling(pb, function(pb, "F0", []), function(pb, "F0", [])))


def test_too_many_nodes(pb, refuse, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_OBJECTS", 50)
    data = pb.model(pb.graph(*(pb.node("Neg", ["x"], [f"v{i}"]) for i in range(60))))
    assert "has more than 50" in refuse(data)


def test_too_many_fields(pb, refuse, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_FIELDS", 100_000)
    data = pb.model(pb.graph(), extra=pb.integer(99, 0) * 200_000)
    assert "more protobuf fields" in refuse(data)


def test_long_names_around_many_nodes(pb, refuse) -> None:
    inner = b"".join(pb.node("Neg", ["x"], [f"v{i}"]) for i in range(200))
    branch = pb.message(5, pb.message(1, "then_branch") + pb.message(6, inner))
    outer = pb.node("If", ["x"], ["y"], pb.message(3, "n" * 900_000) + branch)
    assert "nodes of long names" in refuse(pb.model(pb.graph(outer)))


def test_a_name_beyond_reason(pb, refuse) -> None:
    outer = pb.node("Neg", ["x"], ["y"], pb.message(3, "n" * (limits.MAX_NAME_BYTES + 1)))
    assert "has a name of 1048577 bytes" in refuse(pb.model(pb.graph(outer)))


@pytest.mark.parametrize("named", ["node", "tensor", "weight", "operator"])
def test_names_are_utf8(named: str, pb, refuse) -> None:
    """A runtime may load such a file, but no Python interface can hold the name."""
    extra = pb.message(3, b"caf\xe9") if named == "node" else b""
    extra += pb.message(1, b"caf\xe9") if named == "tensor" else b""
    relu = pb.node("Relu", ["x"], ["y"], extra + (b"\x22\x01\xe9" if named == "operator" else b""))
    parts = [pb.message(5, integer_tensor(pb, b"caf\xe9"))] if named == "weight" else []
    if named == "tensor":
        parts.append(pb.message(11, pb.message(1, b"caf\xe9")))
    line = refuse(pb.model(pb.graph(relu, *parts)))
    assert "is not UTF-8 text" in line and "\\xe9" in line and "byte " in line


def integer_tensor(pb, name: bytes) -> bytes:
    return pb.integer(1, 1) + pb.integer(2, 6) + pb.message(8, name) + pb.message(9, bytes(4))


def test_names_cannot_break_the_line(pb, refuse) -> None:
    evil = "\x1b[2J\n::error::" + "\u202e" * 5000
    line = refuse(pb.model(pb.graph(pb.node("Add", ["x", evil], ["y"]))))
    assert "which nothing produces" in line


# --- what is not a regular file -----------------------------------------------------------------


def refused_path(path: Path, workspace: Workspace) -> str:
    with pytest.raises(UserError) as caught:
        admit(path, workspace)
    line = str(caught.value)
    assert len(line) <= 200 and line.isprintable()
    return line


def test_paths_that_are_no_files(tmp_path: Path, workspace: Workspace) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "a folder" in refused_path(tmp_path, workspace)
    assert "a named pipe" in refused_path(tmp_path / "pipe.onnx", workspace)
    assert "a device" in refused_path(Path("/dev/zero"), workspace)
    assert "no such file" in refused_path(tmp_path / "gone.onnx", workspace)
    assert "not a path" in refused_path(Path("nul\0.onnx"), workspace)
    assert "no such file" in refused_path(Path("-rf.onnx"), workspace)


def test_a_long_path_still_fits_the_line(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / ("d" * 200) / ("\x1b" * 200 + ".onnx")
    line = refused_path(path, workspace)
    assert "no such file" in line


def test_a_link_on_the_command_line_is_followed(pb, tmp_path: Path, workspace) -> None:
    (tmp_path / "real.onnx").write_bytes(pb.model(pb.graph(pb.node("Relu", ["x"], ["y"]))))
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    assert admit(tmp_path / "link.onnx", workspace).facts.nodes[0].op_type == "Relu"


def test_more_than_two_gigabytes_is_refused_from_the_size(tmp_path: Path, workspace) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31)
    line = refused_path(tmp_path / "huge.onnx", workspace)
    assert "2147483648 bytes" in line and "external data" in line


def test_a_full_disk_is_one_line(pb, take, refuse, monkeypatch) -> None:
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr("seatrial.intake.files.shutil.disk_usage", lambda _: usage)
    data = pb.model(pb.graph(pb.node("Relu", ["x"], ["y"])))
    assert "does not fit" in refuse(data)
