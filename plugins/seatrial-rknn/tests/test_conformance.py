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
