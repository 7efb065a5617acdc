"""The conformance kit on tvm: an import and a name."""

from typing import ClassVar

from seatrial.testing import BackendSuite, notyet

#: The importer's table of converters, TVM 0.27.
NO_CONVERTER = notyet("TVM 0.27's ONNX importer has no converter for it")


class TestTvm(BackendSuite):
    backend = "tvm"
    gaps: ClassVar = {
        "operators/LpNormalization": NO_CONVERTER,
        "operators/LSTM": NO_CONVERTER,
        "operators/GRU": NO_CONVERTER,
        "operators/OneHot": notyet(
            "its OneHot gives float64 whatever the values are", shows="wrong"
        ),
        "shapes/computed": notyet("its Reshape takes no sizes that Concat put together"),
        "flow/Loop*": NO_CONVERTER,
        "flow/Scan": NO_CONVERTER,
        "nodes/layer_normalization_4d_axis_negative_4": notyet(
            "Mean and InvStdDev come as scalars", shows="wrong"
        ),
        "nodes/layer_normalization_4d_axis3": notyet(
            "Mean and InvStdDev come as scalars", shows="wrong"
        ),
        "nodes/batchnorm_example_training_mode": notyet(
            "ONNX's momentum weighs the old statistics, TVM's the new", shows="wrong"
        ),
        "nodes/spacetodepth_crd_mode_example": notyet("it knows one order only", shows="wrong"),
        "hooks/int8-from-qdq": notyet("Q/DQ pairs stay operators around float kernels"),
    }
