"""Layout equivalence: what passes, what fails, and which mix-up is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.errors import UserError
from seatrial.layout.child import compare
from seatrial.layout.compare import TOLERANCE, distance, original_layout, output_mixup
from seatrial.layout.types import CompareRequest
from seatrial.reference import open_model
from seatrial.testing.local import LocalJob

RNG = np.random.default_rng(0)


@pytest.fixture
def stored(store: Any, job: LocalJob) -> Callable[..., Any]:
    """A sample store in the job."""
    return lambda **arrays: job.add(store(arrays))


def test_rounding_passes_and_more_does_not(job: LocalJob, stored: Any) -> None:
    y = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    near = y.copy()
    near[2, 1, 1] += 0.5 * TOLERANCE * np.abs(y[2]).max()
    found = compare(CompareRequest(expected=stored(y=y), got=stored(y=near)), job)
    assert found.equal
    assert found.n == 4
    assert found.outputs[0].worst == "sample2"
    far = y.copy()
    far[3, 1, 1] += 3 * TOLERANCE * np.abs(y[3]).max()
    found = compare(CompareRequest(expected=stored(y=y), got=stored(y=far)), job)
    assert not found.equal
    assert found.outputs[0].worst == "sample3"
    assert found.outputs[0].max_rel == pytest.approx(3 * TOLERANCE, rel=1e-3)
    assert found.outputs[0].diagnosis == ""


def test_declared_permutations_are_undone(job: LocalJob, stored: Any) -> None:
    y = RNG.normal(size=(3, 2, 4, 5)).astype(np.float32)
    other = stored(z=y.transpose(0, 2, 3, 1))
    request = CompareRequest(
        expected=stored(y=y), got=other, perms={"y": (0, 2, 3, 1)}, names={"y": "z"}
    )
    found = compare(request, job)
    assert found.equal
    assert found.outputs[0].max_abs == 0


@given(st.permutations([1, 2, 3]))
def test_original_layout_inverts_any_permutation(axes: list[int]) -> None:
    value = np.arange(24).reshape(2, 3, 4)
    perm = (0, *axes)
    moved = np.transpose(value[None], perm)[0]
    np.testing.assert_array_equal(original_layout(moved, perm), value)


def test_a_permutation_that_moves_the_batch_axis_is_refused() -> None:
    for perm in ((1, 0, 2), (0, 1), (0, 1, 1)):
        with pytest.raises(ValueError, match="batch axis"):
            original_layout(np.ones((2, 3)), perm)


def test_an_undeclared_transpose_is_named(job: LocalJob, stored: Any) -> None:
    y = RNG.normal(size=(3, 2, 4, 5)).astype(np.float32)
    moved = stored(y=y.transpose(0, 2, 3, 1))
    found = compare(CompareRequest(expected=stored(y=y), got=moved), job)
    assert not found.equal
    assert "(4, 5, 2) instead of (2, 4, 5)" in found.outputs[0].reason
    assert found.outputs[0].max_abs == -1
    assert "[0, 3, 1, 2]" in found.outputs[0].diagnosis


def test_a_reshape_in_place_of_a_transpose_is_named() -> None:
    y = RNG.normal(size=(4, 4, 4))
    wrong = np.ascontiguousarray(y.transpose(1, 2, 0)).reshape(4, 4, 4)
    assert "order" in output_mixup([(y, wrong)])
    y = RNG.normal(size=(2, 3, 4))
    wrong = np.ascontiguousarray(y.transpose(1, 2, 0)).reshape(2, 3, 4)
    assert "a reshape stands where a transpose should" in output_mixup([(y, wrong)])
    assert output_mixup([(y, y + 1)]) == ""
    assert output_mixup([]) == ""


def conv(path: Path) -> Path:
    weight = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("MatMul", ["f", "m"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 7])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(RNG.normal(size=(64, 7)).astype(np.float32), "m"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def hwc(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (hwc, "channels-last data read as channels-first"),
        (lambda x: x.transpose(0, 1, 3, 2), "height and width swapped"),
        (lambda x: x[:, ::-1], "RGB and BGR"),
    ],
)
def test_misread_inputs_are_named(
    job: LocalJob, stored: Any, tmp_path: Path, spoil: Any, words: str
) -> None:
    path = conv(tmp_path / "m.onnx")
    x = RNG.normal(size=(3, 3, 6, 6)).astype(np.float32)
    session = open_model(path)
    right = session.run({"x": x})["y"]
    wrong = session.run({"x": np.ascontiguousarray(spoil(x))})["y"]
    request = CompareRequest(
        expected=stored(y=right), got=stored(y=wrong), model=job.add(path), samples=stored(x=x)
    )
    found = compare(request, job)
    assert not found.equal
    assert words in found.outputs[0].diagnosis


def test_missing_outputs_and_counts_are_not_equal(job: LocalJob, stored: Any) -> None:
    y = np.ones((2, 3), np.float32)
    found = compare(CompareRequest(expected=stored(y=y), got=stored(z=y)), job)
    assert not found.equal
    assert "no such output" in found.outputs[0].reason
    with pytest.raises(UserError, match="1 samples"):
        compare(CompareRequest(expected=stored(y=y), got=stored(y=y[:1])), job)


def test_nan_is_equal_only_to_nan_in_the_same_place() -> None:
    a = np.array([1.0, np.nan, 2.0])
    assert distance(a, a) == (0, 0)
    assert distance(a, np.array([np.nan, 1.0, 2.0])) == (np.inf, np.inf)
    assert distance(np.ones(3), a)[1] == np.inf
    assert distance(np.zeros(2), np.full(2, 1e-3)) == (1e-3, 1e-3)
