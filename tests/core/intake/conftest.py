"""A writer of protobuf by hand (for what no library would write) and a short way to admit."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.errors import UserError
from seatrial.intake import admit
from seatrial.workspace import Workspace


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def message(number: int, payload: bytes | str) -> bytes:
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def value(name: str, *dims: int) -> bytes:
    shape = b"".join(message(1, integer(1, d)) for d in dims)
    return message(1, name) + message(2, message(1, integer(1, 1) + message(2, shape)))


def node(op: str, inputs: list[str], outputs: list[str], extra: bytes = b"") -> bytes:
    names = b"".join(message(1, n) for n in inputs) + b"".join(message(2, n) for n in outputs)
    return message(1, names + message(4, op) + extra)


def tensor(name: str, dims: list[int], dtype: int, data: bytes) -> bytes:
    return b"".join(integer(1, d) for d in dims) + integer(2, dtype) + message(8, name) + data


def graph(*parts: bytes) -> bytes:
    """A graph from x to y, each of four floats."""
    return b"".join(parts) + message(11, value("x", 4)) + message(12, value("y", 4))


def model(body: bytes, ir: int = 8, opset: int = 17, extra: bytes = b"") -> bytes:
    return integer(1, ir) + message(8, integer(2, opset)) + message(7, body) + extra


@pytest.fixture(scope="session")
def pb() -> SimpleNamespace:
    """The writer's functions."""
    return SimpleNamespace(
        varint=varint, integer=integer, message=message, value=value, node=node, tensor=tensor,
        graph=graph, model=model,
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run" / ".seatrial")


@pytest.fixture
def take(tmp_path: Path, workspace: Workspace):
    """Admit bytes as ``m.onnx`` in a folder of its own."""
    folder = tmp_path / "given"
    folder.mkdir()

    def run(data: bytes, name: str = "m.onnx"):
        path = folder / name
        path.write_bytes(data)
        return admit(path, workspace)

    run.folder = folder
    return run


@pytest.fixture
def refuse(take, workspace: Workspace):
    """Admit bytes that must be refused; gives the line, which obeys the rules of such lines."""

    def run(data: bytes, name: str = "m.onnx") -> str:
        before = sorted(workspace.objects.iterdir())
        with pytest.raises(UserError) as caught:
            take(data, name)
        line = str(caught.value)
        assert len(line) <= 200 and line.isprintable()
        assert "m.onnx" in line and line.endswith(")")
        assert sorted(workspace.objects.iterdir()) == before
        return line

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder that holds ``data`` and ``hostile``."""
    named = os.environ.get("SEATRIAL_DATA")
    root = Path(named) if named else Path(__file__).resolve().parents[4] / "shared"
    if not (root / "hostile").is_dir():
        pytest.skip(f"REAL DATA MISSING: no {root}/hostile; set SEATRIAL_DATA")
    return root
