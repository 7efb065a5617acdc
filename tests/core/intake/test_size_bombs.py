"""Files of bytes that stand for tensors of terabytes, and their honest neighbours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


def build(nodes, constants=(), shape=(4,), dtype=TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def doubling(times: int, shape=(4,)) -> bytes:
    names = ["x", *(f"v{i}" for i in range(times - 1)), "y"]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    return build(nodes, shape=shape)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


BIG = 10**12
node = helper.make_node

BOMBS = {
    "ConstantOfShape": ([node("ConstantOfShape", ["s"], ["y"])], {"s": i64(BIG)}),
    "ConstantOfShape by parts": (
        [
            node("Concat", ["a", "a"], ["s"], axis=0),
            node("Cast", ["s"], ["t"], to=TensorProto.INT64),
            node("ConstantOfShape", ["t"], ["y"]),
        ],
        {"a": np.array([10**6], np.int32)},
    ),
    "ConstantOfShape of a product": (
        [node("Mul", ["a", "a"], ["s"]), node("ConstantOfShape", ["s"], ["y"])],
        {"a": i64(10**6)},
    ),
    "Expand": ([node("Expand", ["x", "s"], ["y"])], {"s": i64(BIG, 4)}),
    "Tile": ([node("Tile", ["x", "s"], ["y"])], {"s": i64(BIG)}),
    "Pad": ([node("Pad", ["x", "s"], ["y"])], {"s": i64(0, BIG)}),
    "Range": (
        [node("Range", ["a", "b", "c"], ["y"])],
        {"a": np.int64(0), "b": np.int64(BIG), "c": np.int64(1)},
    ),
    "OneHot": (
        [node("OneHot", ["i", "d", "v"], ["y"])],
        {"i": i64(0, 1), "d": np.int64(BIG), "v": np.array([0, 1], np.float32)},
    ),
    "MatMul": (
        [
            node("ConstantOfShape", ["a"], ["p"]),
            node("ConstantOfShape", ["b"], ["q"]),
            node("MatMul", ["p", "q"], ["y"]),
        ],
        {"a": i64(10**6, 1), "b": i64(1, 10**6)},
    ),
    "RandomNormal": ([node("RandomNormal", [], ["y"], shape=[BIG])], {}),
    "HannWindow": ([node("HannWindow", ["s"], ["y"])], {"s": np.int64(BIG)}),
    "DFT": ([node("DFT", ["x", "s"], ["y"])], {"s": np.int64(BIG)}),
    "Col2Im": ([node("Col2Im", ["x", "s", "b"], ["y"])], {"s": i64(10**6, 10**6), "b": i64(1, 1)}),
    "MaxUnpool": (
        [node("MaxUnpool", ["x", "i", "s"], ["y"], kernel_shape=[2])],
        {"i": i64(0, 1, 2, 3), "s": i64(1, 1, BIG)},
    ),
    "AffineGrid": ([node("AffineGrid", ["x", "s"], ["y"])], {"s": i64(1, 3, 10**6, 10**6)}),
    "CenterCropPad": ([node("CenterCropPad", ["x", "s"], ["y"])], {"s": i64(BIG)}),
    "EyeLike": (
        [node("ConstantOfShape", ["a"], ["p"]), node("EyeLike", ["p"], ["y"], dtype=11)],
        {"a": i64(40_000, 40_000)},
    ),
    "Add": (
        [
            node("ConstantOfShape", ["a"], ["p"]),
            node("ConstantOfShape", ["b"], ["q"]),
            node("Add", ["p", "q"], ["y"]),
        ],
        {"a": i64(10**6, 1), "b": i64(1, 10**6)},
    ),
    "Resize": (
        [node("Resize", ["x", "", "", "s"], ["y"])],
        {"s": i64(BIG)},
    ),
    "Upsample": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1e12], np.float32)}),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_name_their_node(case: str, refuse) -> None:
    nodes, constants = BOMBS[case]
    line = refuse(build(nodes, constants))
    assert f"{nodes[-1].op_type} makes a tensor of" in line
    assert f"{nodes[-1].op_type}#{len(nodes) - 1}: " in line


@pytest.mark.parametrize("shape", [(4,), ("n",), ()])
def test_doubling_concats(shape, refuse, take) -> None:
    assert "Concat makes a tensor of" in refuse(doubling(40, shape))
    assert take(doubling(12, shape)).facts.op_types == {"Concat": 12}


def test_a_bomb_in_a_branch(refuse) -> None:
    bomb = helper.make_graph(
        [node("ConstantOfShape", ["s"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [node("If", ["x"], ["y"], name="gate", then_branch=bomb, else_branch=bomb)]
    line = refuse(build(nodes, {"s": i64(BIG)}, shape=(), dtype=TensorProto.BOOL))
    assert "gate/else_branch/ConstantOfShape#0: " in line


HONEST = {
    "a large image": ([node("Relu", ["x"], ["y"])], {}, (8, 64, 1024, 1024)),
    "upsampling": (
        [node("Resize", ["x", "", "s"], ["y"])],
        {"s": np.float32([1, 1, 8, 8])}, (1, 3, 640, 640),
    ),
    "a causal mask": ([node("ConstantOfShape", ["s"], ["y"])], {"s": i64(1, 1, 4096, 4096)}, (4,)),
    "broadcast": ([node("Expand", ["x", "s"], ["y"])], {"s": i64(512, 4)}, (4,)),
    "nothing at all": ([node("ConstantOfShape", ["s"], ["y"])], {"s": i64(0, BIG)}, (4,)),
    "a count that the input gives": (
        [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["y"])], {}, ("n", "m"),
    ),
    "a malformed call": ([node("Tile", ["x", "s"], ["y"])], {"s": i64(2, 2, 2)}, (4,)),
    "a negative size": ([node("ConstantOfShape", ["s"], ["y"])], {"s": i64(-4)}, (4,)),
    "a step of zero": (
        [node("Range", ["a", "b", "c"], ["y"])],
        {"a": np.int64(0), "b": np.int64(BIG), "c": np.int64(0)}, (4,),
    ),
    "no inputs where some belong": ([node("Concat", [], ["y"], axis=0)], {}, (4,)),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_honest_sizes_pass(case: str, take) -> None:
    nodes, constants, shape = HONEST[case]
    assert take(build(nodes, constants, shape)).facts.nodes


def test_sparse_tensors_count_in_full(take, refuse) -> None:
    def sparse(*dims: int) -> bytes:
        values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
        indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
        graph = helper.make_graph(
            [node("Add", ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            sparse_initializer=[helper.make_sparse_tensor(values, indices, list(dims))],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)]
        ).SerializeToString()

    assert take(sparse(4)).facts.initializers == 1
    assert "w: stands for a tensor beyond any memory" in refuse(sparse(BIG))
