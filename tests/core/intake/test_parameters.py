"""Parameters that an operator rules out are refused; their legal neighbours pass."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
FLOAT = TensorProto.FLOAT
W = np.ones((4, 4, 3, 3), np.float32)
ONE = np.float32(1)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def build(call: onnx.NodeProto, constants, shape=(1, 4, 8, 8), opset: int = 21) -> bytes:
    graph = helper.make_graph(
        [call],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def call(op_type: str, *inputs: str, **attributes) -> onnx.NodeProto:
    return node(op_type, ["x", *inputs], ["y"], name="n", **attributes)


#: The call, its constants, and words of the refusal.
WRONG = {
    "conv group": (call("Conv", "w", group=0), {"w": W}, "Conv: group is 0"),
    "conv stride": (call("Conv", "w", strides=[1, 0]), {"w": W}, "strides is 0"),
    "conv dilation": (call("Conv", "w", dilations=[-1, 1]), {"w": W}, "dilations is -1"),
    "pool stride": (
        call("MaxPool", kernel_shape=[2, 2], strides=[0, 0]), {}, "MaxPool: strides is 0"
    ),
    "pool kernel": (call("AveragePool", kernel_shape=[0, 2]), {}, "kernel_shape is 0"),
    "norm": (call("LpPool", kernel_shape=[2, 2], p=0), {}, "p is 0"),
    "block": (call("DepthToSpace", blocksize=0), {}, "blocksize is 0"),
    "hidden": (call("LSTM", "w", "w", hidden_size=-3), {"w": W}, "hidden_size is -3"),
    "twice the axis": (call("Transpose", perm=[0, 0, 2, 3]), {}, "perm (0, 0, 2, 3)"),
    "beyond the rank": (call("Transpose", perm=[1, 2, 3, 4]), {}, "no order of 4 axes"),
    "gather": (call("Gather", "i", axis=1), {"i": i64(0, 4)}, "index 4 is outside of axis 1"),
    "gather below": (call("Gather", "i", axis=-1), {"i": i64(-9)}, "index -9 is outside of axis 3"),
    "gather elements": (
        call("GatherElements", "i", axis=2), {"i": i64(9).reshape(1, 1, 1, 1)}, "which has 8"
    ),
    "gather nd": (call("GatherND", "i"), {"i": i64(0, 4).reshape(1, 2)}, "index 4"),
    "gather nd, batched": (
        call("GatherND", "i", batch_dims=1), {"i": i64(4).reshape(1, 1)}, "outside of axis 1"
    ),
    "scatter nd": (
        call("ScatterND", "i", "u"),
        {"i": i64(1).reshape(1, 1), "u": np.zeros((1, 4, 8, 8), np.float32)},
        "outside of axis 0, which has 1",
    ),
    "scatter": (
        call("ScatterElements", "i", "u", axis=3),
        {"i": i64(8).reshape(1, 1, 1, 1), "u": np.zeros((1, 1, 1, 1), np.float32)},
        "outside of axis 3",
    ),
    "blocks without a size": (
        call("QuantizeLinear", "s", axis=1),
        {"s": np.ones((1, 4, 8, 8), np.float32)},
        "block_size is 0",
    ),
}  # fmt: skip

RIGHT = {
    "conv": (call("Conv", "w", group=1, strides=[2, 2], dilations=[1, 1]), {"w": W}),
    "conv of any kernel": (call("Conv", "w"), {"w": W}),
    "pool": (call("LpPool", kernel_shape=[2, 2], p=1), {}),
    "transpose": (call("Transpose", perm=[3, 1, 0, 2]), {}),
    "gather": (call("Gather", "i", axis=1), {"i": i64(-4, 3)}),
    "gather beyond what is known": (call("Gather", "i", axis=9), {"i": i64(10**9)}),
    "gather nd": (call("GatherND", "i"), {"i": i64(0, -4, 7).reshape(1, 3)}),
    "scale per channel": (
        call("QuantizeLinear", "s", axis=1), {"s": np.ones(4, np.float32)}
    ),
    "scale of one": (call("QuantizeLinear", "s"), {"s": np.ones((1, 1), np.float32)}),
    "blocks": (
        call("QuantizeLinear", "s", axis=1, block_size=2), {"s": np.ones((1, 2, 8, 8), np.float32)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case: str, refuse) -> None:
    made, constants, words = WRONG[case]
    line = refuse(build(made, constants))
    assert words in line and ": n: " in line


@pytest.mark.parametrize("case", RIGHT)
def test_right(case: str, take) -> None:
    made, constants = RIGHT[case]
    assert take(build(made, constants)).notes == ()


def test_a_free_dimension_bounds_no_index(take) -> None:
    assert take(build(call("Gather", "i"), {"i": i64(10**6)}, ("n", 4))).notes == ()


def test_an_operator_of_another_domain_has_rules_of_its_own(take) -> None:
    made = call("Conv", "w", group=0)
    made.domain = "com.acme"
    assert [n.code for n in take(build(made, {"w": W})).notes] == ["opset-missing"]


def test_a_scale_of_zero_is_a_note(take) -> None:
    (note,) = take(build(call("QuantizeLinear", "s"), {"s": np.float32(0)})).notes
    assert (note.code, note.place) == ("scale-zero", "n")
