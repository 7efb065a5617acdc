"""TensorRT under the conformance kit: on a machine without a GPU its contract and its table."""

from seatrial.testing import BackendSuite, notyet


def unlisted(what: str):
    return notyet(f"the operator table of TensorRT 11 does not list {what}")


class TestTensorRt(BackendSuite):
    backend = "tensorrt"
    gaps = {
        "dtypes/Add-int8": unlisted("Add of int8"),
        "dtypes/Add-uint8": unlisted("Add of uint8"),
        "dtypes/MatMul-int32": unlisted("MatMul of int32"),
    }
