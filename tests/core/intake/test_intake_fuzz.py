"""Whatever the bytes: admitted, or one line. Never another exception."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.errors import UserError
from seatrial.intake import admit
from seatrial.intake.refusal import Refused, refusal
from seatrial.intake.wire import Reader
from seatrial.workspace import Workspace

node = helper.make_node
info = helper.make_tensor_value_info


def seed_model() -> bytes:
    """A model that uses most of what the walk reads."""
    branch = helper.make_graph(
        [node("Relu", ["a"], ["z"])], "b", [], [info("z", TensorProto.FLOAT, None)]
    )
    function = helper.make_function(
        "mine", "f", ["i"], ["o"], [node("Neg", ["i"], ["o"])], [helper.make_opsetid("", 17)]
    )
    weights = {
        "w": np.ones((4, 3, 1, 1), np.float32),
        "s": np.array([1, 4, 8, 8], np.int64),
        "c": np.array(True),
        "h": np.ones(4, np.float16),
    }
    outside = helper.make_tensor("e", TensorProto.FLOAT, [4], b"\0" * 16, raw=True)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "16")):
        outside.external_data.add(key=key, value=value)
    typed = helper.make_tensor("t", TensorProto.INT64, [3], [1, 2**40, -1])
    graph = helper.make_graph(
        [
            node("Conv", ["x", "w"], ["a"], name="stem", strides=[1, 1], group=1),
            node("If", ["c"], ["d"], then_branch=branch, else_branch=branch),
            node("f", ["d"], ["g"], domain="mine"),
            node("Expand", ["g", "s"], ["y"]),
        ],
        "g",
        [info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [info("y", TensorProto.FLOAT, None)],
        [*(numpy_helper.from_array(v, k) for k, v in weights.items()), outside, typed],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=8)
    return model.SerializeToString()


SEED = seed_model()


def outcome(data: bytes) -> str:
    """``""`` when admitted, else the line."""
    root = Path(tempfile.mkdtemp())
    try:
        (root / "m.onnx").write_bytes(data)
        (root / "w.bin").write_bytes(b"w" * 16)
        admit(root / "m.onnx", Workspace(root / "store"))
    except UserError as error:
        line = str(error)
        assert len(line) <= 200 and line.isprintable() and line.endswith(")")
        return line
    finally:
        shutil.rmtree(root)
    return ""


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_seed_is_fine() -> None:
    assert outcome(SEED) == ""


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=4))
@settings(relaxed, max_examples=400)
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SEED)
    for at, byte in changes:
        data[at] = byte
    outcome(bytes(data))


@given(st.integers(0, len(SEED) - 1))
@settings(relaxed, max_examples=150)
def test_cuts_are_refused(length: int) -> None:
    """But for those between two fields of the model, which leave a model of fewer fields."""
    boundaries = {0} | {stop for _, _, stop in Reader(SEED).fields(0, len(SEED))}
    assert bool(outcome(SEED[:length])) or length in boundaries


@given(st.integers(0, len(SEED) - 1), st.integers(0, len(SEED) - 1), st.integers(0, len(SEED) - 1))
@settings(relaxed, max_examples=200)
def test_parts_moved_elsewhere(start: int, stop: int, to: int) -> None:
    outcome(SEED[:to] + SEED[start:stop] + SEED[to:])


@given(st.binary(max_size=400))
@settings(relaxed, max_examples=200)
def test_any_bytes(data: bytes) -> None:
    outcome(data)


anything = st.text(st.characters(exclude_categories=()), max_size=300)


@given(anything.filter(bool), anything.filter(bool), anything, anything)
@settings(relaxed, max_examples=300)
def test_every_refusal_is_one_line(path: str, reason: str, place: str, advice: str) -> None:
    line = str(refusal(path, Refused(reason, place=place, advice=advice)))
    assert len(line) <= 200
    assert len(line.splitlines()) == 1
