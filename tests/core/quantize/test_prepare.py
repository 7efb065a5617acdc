"""The prepared graph gives what the model gives, with fewer nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from seatrial.quantize.prepare import prepare
from seatrial.reference import open_model

node = helper.make_node


def prepared(proto: onnx.ModelProto, folder: Path) -> Any:
    onnx.save_model(proto, folder / "m.onnx")
    return prepare(folder / "m.onnx")


def outputs(source: Any, feeds: dict[str, Any]) -> list[Any]:
    text = source.SerializeToString()
    return list(open_model(text, optimize="none").run(feeds).values())


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["Conv", "ConvTranspose"]),
    group=st.sampled_from([1, 2]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_batch_normalization_folds_without_changing_results(
    kind: str, group: int, bias: bool, seed: int, model: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    shape = (6, 4 // group, 3, 3) if kind == "Conv" else (4, 6 // group, 3, 3)
    constants = {
        "w": rng.normal(size=shape), "b": rng.normal(size=6), "g": rng.normal(size=6),
        "s": rng.normal(size=6), "m": rng.normal(size=6), "v": rng.uniform(0.1, 3, 6),
    }  # fmt: skip
    constants = {n: v.astype(np.float32) for n, v in constants.items()}
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        node(kind, inputs, ["c"], name="conv", group=group),
        node("BatchNormalization", ["c", "g", "s", "m", "v"], ["y"], name="bn", epsilon=1e-3),
    ]
    proto = model(nodes, {"x": ["N", 4, 7, 7]}, ["y"], constants)
    found = prepared(proto, tmp_path)
    folds = kind == "Conv" or group == 1
    assert found.folded == ({"bn": "conv"} if folds else {})
    assert [n.name for n in found.graph.nodes] == (["conv"] if folds else ["conv", "bn"])
    x = {"x": rng.normal(size=(2, 4, 7, 7)).astype(np.float32)}
    (expected,), (got,) = outputs(proto, x), outputs(found.graph.model, x)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def bn_net(model: Any, extra: list[Any], names: list[str]) -> onnx.ModelProto:
    ones = np.ones(4, np.float32)
    constants = {"w": np.ones((4, 3, 1, 1), np.float32), "one": ones, "zero": ones * 0}
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("BatchNormalization", ["c", "one", "zero", "zero", "one"], ["n"], name="bn"),
        *extra,
    ]
    return model(nodes, {"x": [1, 3, 4, 4]}, names, constants)


def test_a_convolution_that_others_read_is_not_folded_into(model: Any, tmp_path: Path) -> None:
    read_twice = bn_net(model, [node("Add", ["c", "n"], ["y"], name="add")], ["y"])
    assert prepared(read_twice, tmp_path).folded == {}
    an_output = bn_net(model, [node("Relu", ["n"], ["y"], name="relu")], ["y", "c"])
    assert prepared(an_output, tmp_path).folded == {}


def test_constants_and_identities_go_and_labels_stay(model: Any, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    nodes = [
        node("Constant", [], ["k"], value=numpy_helper.from_array(weight)),
        node("Transpose", ["k"], ["kt"], name="turn"),
        node("Identity", ["x"], ["i"], name="same"),
        node("Dropout", ["i"], ["d"], name="drop"),
        node("MatMul", ["d", "kt"], ["m"]),
        node("Identity", ["m"], ["y"], name="out"),
    ]
    proto = model(nodes, {"x": ["N", 7]}, ["y"])
    found = prepared(proto, tmp_path)
    assert [n.name for n in found.graph.nodes] == ["MatMul#4", "out"]
    assert set(found.removed) == {"Constant#0", "turn", "same", "drop"}
    assert found.graph.constant("kt").shape == (7, 5)
    x = {"x": np.ones((2, 7), np.float32)}
    np.testing.assert_allclose(outputs(found.graph.model, x)[0], outputs(proto, x)[0], rtol=1e-6)


def test_training_dropout_stays(model: Any, tmp_path: Path) -> None:
    nodes = [node("Dropout", ["x", "ratio", "training"], ["d"], name="drop"),
             node("Relu", ["d"], ["y"], name="relu")]  # fmt: skip
    constants = {"ratio": np.float32(0.5), "training": np.array(True)}
    found = prepared(model(nodes, {"x": [4]}, ["y"], constants), tmp_path)
    assert "drop" in {n.name for n in found.graph.nodes}


@pytest.mark.parametrize("ir", [3, 8])
def test_initializers_that_are_inputs_too_become_constants(
    model: Any, tmp_path: Path, ir: int
) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [1, 3], "w": [3, 2]},
                  ["y"], {"w": np.ones((3, 2), np.float32)}, ir=ir)  # fmt: skip
    found = prepared(proto, tmp_path)
    assert found.graph.inputs == ("x",)
    assert [i.name for i in found.graph.proto.input] == ["x"]


def test_a_name_that_occurs_twice_is_made_unique(model: Any, tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["a"], name="n"), node("Relu", ["a"], ["y"], name="n")]
    found = prepared(model(nodes, {"x": [4]}, ["y"]), tmp_path)
    assert [n.name for n in found.graph.nodes] == ["n", "n_1"]
