"""Reading the compiler's log; needs no toolchain. The lines were written by RKNN-Toolkit2 2.5.0."""

from __future__ import annotations

from seatrial_rknn.log import Layer, layers, without_lowering
from seatrial_rknn.toolkit import last_line

LOG = """
D RKNN: [16:19:17.989]                    Network Layer Information Table
D RKNN: [16:19:17.989] ID   OpType             DataType Target InputShape  OutputShape   FullName
D RKNN: [16:19:17.989] 0    InputOperator      INT8     NPU    \\           (1,3,8,8)  0/0/0     \
 0   InputOperator:x
D RKNN: [16:19:17.989] 1    ConvRelu           INT8     NPU    (1,3,8,8),(8,3,3,3),(8)  (1,8,8,8) \
 111/576/576   1   Conv:seatrial_0
D RKNN: [16:19:17.989] 5    Atan               FLOAT16  CPU    (1,8,1,1)   (1,8,1,1)   0/0/0     \
 0   Atan:seatrial_2
D RKNN: [16:19:17.989] 8    OutputOperator     INT8     CPU    (1,8)       \\   0/0/0   0  \
 OutputOperator:y
D RKNN: [16:19:17.989]                 Feature Tensor Information Table
D RKNN: [16:19:17.989] 1   ConvRelu  x  INT8  NPU  0/0/0  0  not-a-layer
E RKNN: [16:18:09.879] Unkown op target: 0
I rknn building done.
No lowering found for: seatrial_2, node type = Atan, use CustomOperatorLower instead.
"""


def test_the_table_of_layers():
    assert layers(LOG) == (
        Layer(op="ConvRelu", precision="INT8", on="NPU", name="seatrial_0", cycles=576),
        Layer(op="Atan", precision="FP16", on="CPU", name="seatrial_2", cycles=0),
    )


def test_what_has_no_lowering():
    assert without_lowering(LOG) == {"seatrial_2": "Atan"}


def test_a_line_that_looks_like_an_error_is_none():
    """ "Unkown op target: 0" comes with every success."""
    assert without_lowering("E RKNN: [16:18:09.879] Unkown op target: 0") == {}
    assert layers("E RKNN: [16:18:09.879] Unkown op target: 0") == ()


def test_errors_that_are_tracebacks_come_down_to_a_line():
    text = """Traceback (most recent call last):
  File "rknn/api/rknn_base.py", line 2083, in rknn.api.rknn_base.RKNNBase.build
  File "rknn/api/rknn_log.py", line 95, in rknn.api.rknn_log.RKNNLog.e
ValueError: The input 0 of NonZero('seatrial_0') need to be constant!
"""
    assert (
        last_line(text) == "ValueError: The input 0 of NonZero('seatrial_0') need to be constant!"
    )
