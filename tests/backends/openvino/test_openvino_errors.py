from hypothesis import given
from hypothesis import strategies as st

from seatrial_openvino.errors import LONGEST, read_refusal, sentence

NO_RULE = """Exception from src/inference/src/cpp/core.cpp:84:
Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:
FrontEnd API failed with OpConversionFailure:
Model wasn't fully converted.
Summary:
-- No conversion rule found for operations: Det-13, ai.onnx.ml.Scaler-1, acme.My Op, util::SequenceErase
"""  # noqa: E501 - as OpenVINO prints it

FAILED = """Exception from src/inference/src/cpp/core.cpp:84:
Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:
FrontEnd API failed with OpConversionFailure:
Model wasn't fully converted. Failed operations detailed log:
-- Conv-16 with a message:
While validating ONNX node '<Node(Conv): a/b/Conv_output_0>': Check 'rank().is_static()' failed at \
src/frontends/onnx/frontend/src/op/conv.cpp:38:
FrontEnd API failed with GeneralFailure:
The input data tensor's rank has to be known (static)

-- ReduceMean-16 with a message:
Check '(supported_types.find(x) != supported_types.end())' failed at src/op/reduce.cpp:134:
While validating ONNX node '<Node(ReduceMean): m>':
Unsupported input type dynamic

Summary:
-- Conversion is failed for: Conv-16, ReduceMean-16
"""


def test_operators_without_a_rule():
    found = read_refusal(NO_RULE)
    assert found.no_rule == (
        ("", "Det"),
        ("ai.onnx.ml", "Scaler"),
        ("acme", "My Op"),
        ("", "SequenceErase"),
    )
    assert not found.failed


def test_failed_rules_name_their_nodes_and_reasons():
    found = read_refusal(FAILED)
    assert found.failed == (("", "Conv"), ("", "ReduceMean"))
    assert [(d.op_type, d.node, d.reason) for d in found.details] == [
        ("Conv", "a/b/Conv_output_0", "The input data tensor's rank has to be known (static)"),
        ("ReduceMean", "m", "Unsupported input type dynamic"),
    ]


def test_nodes_blamed_by_the_plugin():
    text = "[CPU] Convolution node with name 'conv/WithoutBiases' object is not initialized"
    assert read_refusal(text).named == ("conv/WithoutBiases",)
    text = "While validating node 'opset1::Add Add_1' with friendly_name 'Add_1':\nno"
    assert "Add_1" in read_refusal(text).named


@given(st.text(max_size=600))
def test_any_text_gives_one_line(text):
    found = read_refusal(text)
    assert len(found.reason) <= LONGEST
    assert "\n" not in sentence(text)
