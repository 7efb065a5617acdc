"""TensorRT under the conformance kit: on a machine without a GPU its contract and its table."""

from seatrial.testing import BackendSuite, notyet


class TestTensorRt(BackendSuite):
    backend = "tensorrt"
    rtol = 2e-3
    gaps = {
        "opsets/26": notyet("the parser of TensorRT 11 reads opsets up to 25"),
        "opsets/27": notyet("the parser of TensorRT 11 reads opsets up to 25"),
        "opsets/28": notyet("the parser of TensorRT 11 reads opsets up to 25"),
    }
