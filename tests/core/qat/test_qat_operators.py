"""Every operator that training can run gives what the reference gives."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from seatrial.qat.net.network import _attributes, _operator

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 4, 9, 7)).astype(np.float32)
ROW = RNG.standard_normal((2, 6)).astype(np.float32)
POSITIVE = np.abs(ROW) + 0.1


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


#: operator, inputs, attributes, number of outputs
CASES = [
    *(
        (op, (ROW,), {}, 1)
        for op in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Neg")
    ),
    *(
        (op, (ROW,), {}, 1)
        for op in ("Relu", "Sigmoid", "Sin", "Softplus", "Tanh", "HardSwish", "Mish")
    ),
    *((op, (POSITIVE,), {}, 1) for op in ("Log", "Reciprocal", "Sqrt")),
    *((op, (ROW, ROW[::-1].copy()), {}, 1) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum")),
    *(
        (op, (ROW, floats(6)), {}, 1)
        for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *((op, (ROW > 0, ROW > 0.5), {}, 1) for op in ("And", "Or")),
    ("Not", (ROW > 0,), {}, 1),
    ("Div", (ROW, POSITIVE), {}, 1),
    ("Div", (ints(7, -7, 9), ints(2, 2, -4)), {}, 1),
    ("Pow", (POSITIVE, np.array(2.5, np.float32)), {}, 1),
    ("Clip", (ROW, np.array(-0.5, np.float32), np.array(0.5, np.float32)), {}, 1),
    ("Cast", (ROW,), {"to": onnx.TensorProto.INT64}, 1),
    ("Concat", (ROW, ROW), {"axis": -1}, 1),
    ("ConstantOfShape", (ints(2, 3),), {}, 1),
    ("Einsum", (floats(2, 3, 4), floats(2, 4, 5)), {"equation": "bij,bjk->bik"}, 1),
    ("Elu", (ROW,), {"alpha": 0.7}, 1),
    ("Expand", (floats(1, 6), ints(3, 1)), {}, 1),
    ("Flatten", (IMAGE,), {"axis": 2}, 1),
    ("Gather", (ROW, ints(0, -1, 2)), {"axis": 1}, 1),
    ("Gelu", (ROW,), {}, 1),
    ("Gelu", (ROW,), {"approximate": "tanh"}, 1),
    ("HardSigmoid", (ROW,), {"alpha": 1 / 6}, 1),
    ("LeakyRelu", (ROW,), {"alpha": 0.2}, 1),
    ("LogSoftmax", (ROW,), {"axis": 1}, 1),
    ("MatMul", (floats(2, 3, 4), floats(4, 5)), {}, 1),
    ("PRelu", (IMAGE, floats(4, 1, 1)), {}, 1),
    ("Pad", (IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 0)), {}, 1),
    ("Pad", (IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 0)), {"mode": "reflect"}, 1),
    ("Pad", (IMAGE, ints(1, 2, 1, 0), np.array(2.0, np.float32), ints(2, 3)), {}, 1),
    ("Range", tuple(np.array(v, np.int64) for v in (1, 9, 3)), {}, 1),
    ("Reshape", (IMAGE, ints(0, -1, 7)), {}, 1),
    ("Shape", (IMAGE,), {"start": 1}, 1),
    ("Slice", (IMAGE, ints(1, -3), ints(3, 100), ints(1, 3)), {}, 1),
    ("Slice", (IMAGE, ints(-1), ints(-1000), ints(2), ints(-2)), {}, 1),
    ("Softmax", (ROW,), {}, 1),
    ("Split", (ROW, ints(2, 4)), {"axis": 1}, 2),
    ("Split", (IMAGE,), {"axis": 3, "num_outputs": 3}, 3),
    ("Squeeze", (floats(1, 3, 1), ints(0)), {}, 1),
    ("Unsqueeze", (ROW, ints(0, -1)), {}, 1),
    ("Tile", (ROW, ints(2, 3)), {}, 1),
    ("Transpose", (IMAGE,), {"perm": [0, 2, 3, 1]}, 1),
    ("Trilu", (floats(4, 4),), {"upper": 0}, 1),
    ("Where", (ROW > 0, ROW, -ROW), {}, 1),
    ("ArgMax", (ROW,), {"axis": 1, "keepdims": 0}, 1),
    *(
        (op, (IMAGE, ints(2, 3)), {}, 1)
        for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
    ),
    ("ReduceL2", (ROW, ints(1)), {"keepdims": 0}, 1),
    ("ReduceMean", (ROW,), {"keepdims": 0}, 1),
    # layers
    ("Conv", (IMAGE, floats(6, 4, 3, 3), floats(6)), {"pads": [1, 0, 2, 1], "strides": [2, 1]}, 1),
    (
        "Conv",
        (IMAGE, floats(8, 1, 3, 3)),
        {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        1,
    ),
    ("Conv", (IMAGE, floats(8, 4, 2, 3)), {"auto_pad": "SAME_LOWER"}, 1),
    ("Conv", (IMAGE, floats(8, 4, 3, 3)), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}, 1),
    ("Conv", (floats(2, 3, 8), floats(5, 3, 3)), {"pads": [1, 1]}, 1),
    ("ConvTranspose", (IMAGE, floats(4, 3, 2, 2)), {"strides": [2, 2]}, 1),
    ("ConvTranspose", (IMAGE, floats(4, 3, 3, 3)), {"pads": [1, 1, 0, 0], "strides": [2, 2]}, 1),
    ("Gemm", (floats(3, 4), floats(5, 4), floats(5)), {"transB": 1, "alpha": 0.5, "beta": 2.0}, 1),
    ("MaxPool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}, 1),
    ("AveragePool", (IMAGE,), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 1),
    ("AveragePool", (IMAGE,), {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0]}, 1),
    (
        "AveragePool",
        (IMAGE,),
        {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0], "count_include_pad": 1},
        1,
    ),
    ("GlobalAveragePool", (IMAGE,), {}, 1),
    ("GlobalMaxPool", (IMAGE,), {}, 1),
    (
        "BatchNormalization",
        (IMAGE, floats(4), floats(4), floats(4), np.abs(floats(4)) + 0.5),
        {},
        1,
    ),
    ("LayerNormalization", (ROW, floats(6), floats(6)), {"epsilon": 1e-3}, 1),
    ("InstanceNormalization", (IMAGE, floats(4), floats(4)), {}, 1),
    ("DepthToSpace", (floats(1, 8, 2, 3),), {"blocksize": 2}, 1),
    ("DepthToSpace", (floats(1, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}, 1),
    ("SpaceToDepth", (floats(1, 2, 4, 6),), {"blocksize": 2}, 1),
    (
        "Resize",
        (IMAGE, None, np.array([1, 1, 2, 2], np.float32)),
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        1,
    ),
    ("Resize", (IMAGE, None, None, ints(2, 4, 18, 14)), {"mode": "linear"}, 1),
    (
        "Resize",
        (IMAGE, None, None, ints(2, 4, 18, 14)),
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        1,
    ),
]


def both(op, inputs, attributes, outputs):
    """The operator on the reference and in torch."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    given = {n: x for n, x in zip(names, inputs, strict=True) if n}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in given.items()
    ]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="node", **attributes)
    graph = helper.make_graph([node], "one", values, [onnx.ValueInfoProto(name=r) for r in results])
    opset = helper.make_opsetid("", 22 if op == "Mish" else 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, given)
    tensors = [None if x is None else torch.from_numpy(np.array(x)) for x in inputs]
    got = _operator(node)(_attributes(node), *tensors)
    return expected, [g.numpy() for g in (got if isinstance(got, tuple) else (got,))]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "outputs"), CASES, ids=[c[0] for c in CASES]
)
def test_an_operator_is_the_reference_s(op, inputs, attributes, outputs):
    expected, got = both(op, inputs, attributes, outputs)
    assert len(expected) == len(got)
    for e, g in zip(expected, got, strict=True):
        assert e.shape == g.shape
        assert e.dtype == g.dtype
        np.testing.assert_allclose(g, e, rtol=2e-4, atol=2e-5)


def test_every_operator_of_the_table_is_tried():
    from seatrial.qat.net.layers import LAYERS
    from seatrial.qat.net.operators import OPERATORS

    assert {c[0] for c in CASES} | {"Dropout"} == {*OPERATORS, *LAYERS}


@settings(deadline=None, max_examples=40)
@given(
    st.integers(-12, 12), st.integers(-12, 12), st.integers(-3, 3).filter(bool), st.integers(-3, 2)
)
def test_slices_of_all_kinds(start, end, step, axis):
    x = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    expected, got = both("Slice", (x, ints(start), ints(end), ints(axis), ints(step)), {}, 1)
    assert np.array_equal(expected[0], got[0])
