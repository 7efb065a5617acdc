"""The conformance kit on rknn, run in the interpreter that has the toolchain."""

import os
from typing import ClassVar

import onnx
import pytest
from onnx import TensorProto, helper

from seatrial import results as r
from seatrial.testing import BackendSuite, never, notyet

#: What the log says; nothing else does.
NO_LOWERING = notyet("no lowering found: RKNN-Toolkit2 2.5 has nothing on the chip for it")
MISSING = (
    *("Ceil", "Sign", "Softsign", "Selu", "Mish", "Min", "Mean", "ScatterElements", "Trilu"),
)
KEY_ERROR = notyet("LayerNormalization stops the toolkit with a KeyError")
#: The toolkit builds them, and its simulator does not run them.
NOT_SIMULATED = notyet("the simulator gives nothing for this element type", shows="fault")
DYNAMIC = never("the NPU runs no graph whose shape depends on data")
#: Node tests of ONNX that end badly; the same when the toolkit is called directly.
NODES = {
    notyet("the toolkit aborts on integers of 8 bits", shows="fault"): (
        *("add_uint8", "sub_uint8", "mul_uint8", "div_uint8", "equal_uint8", "less_uint8"),
        *("less_equal_uint8", "less_equal_uint8_expanded", "greater_uint8", "greater_equal_uint8"),
        *("greater_equal_uint8_expanded", "bitwise_not_4d", "bitwise_and_ui8_bcast_4v3d"),
        *("bitwise_or_ui8_bcast_4v3d", "bitwise_xor_ui8_bcast_4v3d"),
    ),
    notyet("the toolkit dies of a segmentation fault", shows="fault"): (
        *("batchnorm_epsilon", "batchnorm_example", "bitwise_or_i16_4d", "max_one_input"),
        *("clip_default_int8_inbounds", "clip_default_int8_max", "clip_default_int8_min"),
    ),
    notyet("the toolkit builds it, and its simulator does not run it", shows="fault"): (
        *("clip", "clip_default_max", "clip_default_min", "max_float64", "pow_bcast_scalar"),
        *("clip_default_max_expanded", "clip_default_min_expanded", "clip_example_expanded"),
        *("clip_expanded", "clip_inbounds_expanded", "clip_min_greater_than_max_expanded"),
        *("clip_outbounds_expanded", "clip_splitbounds_expanded", "scan9_scalar"),
    ),
    never("the exponential of 10,000 is beyond FP16", shows="wrong"): (
        *("softmax_large_number", "softmax_large_number_expanded"),
        *("softmax_large_number_expanded_ver18", "logsoftmax_large_number"),
        *("logsoftmax_large_number_expanded", "logsoftmax_large_number_expanded_ver18"),
    ),
}


class TestRknn(BackendSuite):
    backend = "rknn"
    python = os.environ.get("SEATRIAL_RKNN_PYTHON", "")
    # The NPU computes in FP16, and so does its simulator.
    rtol = 2e-2
    atol = 2e-3
    gaps: ClassVar = {
        **dict.fromkeys((f"operators/{name}" for name in MISSING), NO_LOWERING),
        "operators/LayerNormalization": KEY_ERROR,
        "operators/NonZero": DYNAMIC,
        "operators/NonMaxSuppression": DYNAMIC,
        "nets/attention": KEY_ERROR,
        "nets/mobile": notyet("the toolkit cannot fold this net's constants"),
        "shapes/empty": never("there are no empty tensors on the NPU"),
        "flow/*": DYNAMIC,
        "flow/Scan": None,
        "shapes/scalar": notyet("the simulator wants an axis", shows="fault"),
        "dtypes/Add-float64": NOT_SIMULATED,
        "dtypes/MatMul-float64": NOT_SIMULATED,
        "dtypes/Add-uint8": notyet("the toolkit aborts", shows="fault"),
        "dtypes/uint8-image": notyet("the toolkit aborts", shows="fault"),
        "form/output-constant": notyet("the simulator leaves constant outputs out", shows="fault"),
        "dtypes/MatMul-int32": notyet("the toolkit folds constants with a runtime without it"),
        **{f"nodes/{name}": gap for gap, names in NODES.items() for name in names},
    }

    # --- what the kit does not ask ----------------------------------------------------------------

    def test_a_line_of_the_log_is_a_finding(self, bed, tmp_path):
        """The build returns 0 and writes a file; only the log says that nothing computes them."""
        if bed.why_not():
            pytest.skip(bed.why_not())
        nodes = [
            helper.make_node("Det", ["x"], ["a"], name="first"),
            helper.make_node("Det", ["x"], ["b"], name="second"),
            helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
        ]
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
        made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
        graph = helper.make_graph(nodes, "g", [given], [made])
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(
            helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx"
        )
        model = bed.workspace.add({"model.onnx": tmp_path / "model.onnx"}, "model.onnx")
        outcome = bed.hook("seatrial_compile_check", r.CheckRequest(model=model, target="rk3588"))
        assert outcome.fault is None, outcome.fault
        report = outcome.result
        assert report.verdict is r.Verdict.UNSUPPORTED
        assert [f.node for f in report.findings] == ["first", "second"]
        assert all("no lowering found for Det" in f.reason for f in report.findings)
