"""The conformance kit on example: an import and a name. The gaps are the list of things to do."""

from seatrial.testing import BackendSuite, never, notimpl

#: Cases that work. What is mapped next goes in here; until then its test fails, as declared.
WORKS = (
    *("operators/Add", "operators/Add-broadcast", "operators/Sub", "operators/Mul"),
    *("operators/Mul-broadcast", "operators/Neg", "operators/Abs", "operators/Relu"),
    *("operators/MatMul", "operators/MatMul-both-fed", "operators/Identity", "nets/plain"),
)


class TestExample(BackendSuite):
    backend = "example"
    gaps = {
        "operators/*": notimpl("map the operator in toolchain.py"),
        "nets/*": notimpl("map Conv, Gemm, Softmax and what else they are made of"),
        "dtypes/Conv-float16": notimpl("map Conv"),
        "dtypes/uint8-image": notimpl("map Cast"),
        "dtypes/mixed-float16": notimpl("map Cast"),
        "opsets/*": notimpl("map Conv; then see that attributes are read as each opset means them"),
        "shapes/dynamic-*": notimpl("map Conv"),
        "shapes/computed": notimpl("map Shape, Gather, Concat and Reshape"),
        "flow/*": never("the compiler of this template has no control flow"),
        **dict.fromkeys(WORKS),
    }
