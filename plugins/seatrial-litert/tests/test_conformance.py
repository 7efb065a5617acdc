"""The conformance kit on litert, run in the interpreter that has the toolchain."""

import os
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial import results as r
from seatrial.samples import StoreWriter
from seatrial.testing import BackendSuite, notyet

RNG = np.random.default_rng(2)

#: onnx2tf 2.6.9 leaves it a custom operator, for which the interpreter has no kernel.
CUSTOM = notyet("onnx2tf has no conversion for this form")
ABORTS = notyet("the interpreter aborts on integers of 8 or 16 bits without a scale", shows="fault")

#: Node tests of ONNX that end badly, as far as all of them were run; the same when converter and
#: interpreter are called directly.
NODES = {
    ABORTS: (
        *("add_int8", "add_uint8", "sub_int8", "sub_uint8", "sub_int16", "bitwise_not_4d"),
        *("equal_int8", "equal_uint8", "less_int8", "less_uint8", "greater_int8", "greater_uint8"),
        *("greater_equal_int8", "greater_equal_uint8", "less_equal_int8", "less_equal_uint8"),
        *("greater_equal_int8_expanded", "greater_equal_uint8_expanded"),
        *("less_equal_int8_expanded", "less_equal_uint8_expanded"),
        *("clip_default_int8_min_expanded", "clip_default_int8_max_expanded"),
    ),
    notyet("small integers are divided and multiplied to other numbers", shows="wrong"): (
        *("div_int8", "div_uint8", "div_int16", "mul_int8", "mul_uint8"),
    ),
    notyet("Gelu of the tanh form gives other numbers", shows="wrong"): ("gelu_tanh_2",),
    notyet("Hardmax of the default axis gives other numbers", shows="wrong"): (
        "hardmax_default_axis",
    ),
    notyet("other numbers with seven dimensions", shows="wrong"): (
        "nllloss_NCd1d2d3d4d5_none_no_weight_expanded",
        "nllloss_NCd1d2d3d4d5_mean_weight_expanded",
    ),
    notyet("the kernel takes no negative indices, found out by the first run", shows="fault"): (
        "gather_elements_negative_indices",
    ),
    notyet("rows that are masked as a whole are not 0", shows="wrong"): (
        "attention_4d_causal_nonpad_negative_offset_structural_empty_expanded",
    ),
    notyet("onnx2tf leaves alpha out", shows="wrong"): ("elu", "elu_example"),
    notyet("onnx2tf normalises along another axis when all sizes are alike", shows="wrong"): (
        *("lrn", "lrn_default"),
    ),
    notyet("onnx2tf pads with another rule", shows="wrong"): (
        *("lppool_2d_same_upper", "lppool_2d_same_lower"),
    ),
    notyet("onnx2tf samples other points", shows="wrong"): (
        *("roialign_mode_max", "roialign_aligned_true"),
        *("resize_downsample_sizes_linear_antialias", "resize_downsample_sizes_cubic_antialias"),
        "resize_downsample_sizes_nearest_not_larger",
        *("resize_downsample_sizes_nearest_not_smaller", "resize_upsample_sizes_nearest"),
        *("resize_downsample_sizes_linear_pytorch_half_pixel", "resize_downsample_sizes_nearest"),
        *("resize_upsample_sizes_nearest_axes_2_3", "resize_upsample_sizes_nearest_axes_3_2"),
        *("resize_upsample_sizes_nearest_not_larger", "resize_upsample_sizes_nearest_not_smaller"),
    ),
    notyet("an empty tensor is found out by the first run", shows="fault"): (
        *("reshape_zero_dim", "reshape_zero_and_negative_dim", "constantofshape_int_shape_zero"),
    ),
}


class TestLiteRt(BackendSuite):
    backend = "litert"
    python = os.environ.get("SEATRIAL_LITERT_PYTHON", "")
    gaps: ClassVar = {
        "operators/Conv-dynamic-weight": CUSTOM,
        "operators/Slice-negative": CUSTOM,
        "operators/RoiAlign": notyet("onnx2tf samples other points", shows="wrong"),
        "dtypes/Add-float64": notyet("LiteRT's ADD has no kernel for float64"),
        "dtypes/Add-int8": ABORTS,
        "dtypes/Add-uint8": ABORTS,
        "opsets/Softmax-11": notyet(
            "before opset 13 Softmax flattened; onnx2tf reads every opset alike", shows="wrong"
        ),
        "flow/Loop*": notyet("the loop that onnx2tf makes has an input without data"),
        "flow/Scan": CUSTOM,
        "nodes/attention_23_boolmask_fullymasked_row_nan_robustness_expanded": notyet(
            "IsNaN is left out of rows that are masked as a whole", shows="wrong"
        ),
        **{f"nodes/{name}": gap for gap, names in NODES.items() for name in names},
    }

    # --- what the kit does not ask ----------------------------------------------------------------

    def test_every_node_that_was_left_a_custom_operator_has_a_finding(self, bed, tmp_path):
        """The converter calls it a success; only its report and the interpreter tell."""
        nodes = [
            helper.make_node("Relu", ["x"], ["a"], name="good"),
            helper.make_node("Mystery", ["a"], ["b"], name="first", domain="acme"),
            helper.make_node("Mystery", ["b"], ["y"], name="second", domain="acme"),
        ]
        report = self._check(bed, save(tmp_path, nodes))
        assert report.verdict is r.Verdict.UNSUPPORTED
        assert [f.node for f in report.findings] == ["first", "second"]
        assert all("no kernel" in f.reason for f in report.findings)

    def test_int8_is_int8_in_the_file(self, bed, tmp_path):
        """Types are read back from the flatbuffer: borders and operators."""
        if bed.why_not():
            pytest.skip(bed.why_not())
        weights = numpy_helper.from_array(RNG.normal(0, 0.2, (8, 3, 3, 3)).astype("float32"), "w")
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ]
        model = bed.workspace.add({"model.onnx": save(tmp_path, nodes, [weights])}, "model.onnx")
        writer = StoreWriter(tmp_path / "store", 16)
        writer.root.mkdir()
        for value in RNG.normal(0, 1, (16, 3, 8, 8)).astype("float32"):
            writer.add({"x": value})
        files = writer.close([{"id": str(k), "sha256": "0" * 64} for k in range(16)])
        samples = bed.workspace.add({n: writer.root / n for n in files}, "")
        request = r.Int8Request(model=model, target="cpu", form="float", calibration=samples)
        outcome = bed.hook("seatrial_build_int8", request)
        assert outcome.fault is None, outcome.fault
        built = outcome.result
        assert set(built.int8_nodes) == {"conv", "relu"} and built.float_nodes == ()
        (given,), (made,) = built.artifact.inputs, built.artifact.outputs
        assert given.dtype == made.dtype == "int8"
        assert given.scale > 0 and given.perm == (0, 2, 3, 1)

    def _check(self, bed, path):
        if bed.why_not():
            pytest.skip(bed.why_not())
        model = bed.workspace.add({"model.onnx": path}, "model.onnx")
        outcome = bed.hook("seatrial_compile_check", r.CheckRequest(model=model, target="cpu"))
        assert outcome.fault is None, outcome.fault
        return outcome.result


def save(folder, nodes, constants=()):
    """A model from ``x`` to ``y``, (1, 3, 8, 8) unless the nodes say otherwise."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    made = helper.make_tensor_value_info(
        "y", TensorProto.FLOAT, None if constants else [1, 3, 8, 8]
    )
    graph = helper.make_graph(nodes, "g", [given], [made], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path = folder / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path
