"""The conformance kit on tvm: an import and a name."""

from typing import ClassVar

from seatrial.testing import BackendSuite, notyet

#: The importer's table of converters, TVM 0.27.
NO_CONVERTER = notyet("TVM 0.27's ONNX importer has no converter for it")
#: Node tests of ONNX that are computed otherwise; the same when TVM is called directly.
NODES = {
    notyet("ONNX's momentum weighs the old statistics, TVM's the new", shows="wrong"): (
        "batchnorm_epsilon_training_mode",
        "batchnorm_example_training_mode",
    ),
    notyet("shifts that are negative or too wide", shows="wrong"): (
        "bitshift_left_int32_negative_shift",
        "bitshift_left_int32_shift_ge_width",
    ),
    notyet("it does not heed output_shape", shows="wrong"): ("convtranspose_output_shape",),
    notyet("its mask is float32", shows="wrong"): (
        "dropout_default_mask",
        "dropout_default_mask_ratio",
        "training_dropout_default_mask",
        "training_dropout_mask",
        "training_dropout_zero_ratio_mask",
    ),
    notyet("it does not heed a shape that is fed", shows="wrong"): ("expand_dim_changed",),
    notyet("it does not tell the two infinities apart", shows="wrong"): (
        "isinf_negative",
        "isinf_positive",
    ),
    notyet("Mean and InvStdDev come as scalars", shows="wrong"): (
        "layer_normalization_2d_axis0",
        "layer_normalization_2d_axis1",
        "layer_normalization_2d_axis_negative_1",
        "layer_normalization_2d_axis_negative_2",
        "layer_normalization_3d_axis0_epsilon",
        "layer_normalization_3d_axis1_epsilon",
        "layer_normalization_3d_axis2_epsilon",
        "layer_normalization_3d_axis_negative_1_epsilon",
        "layer_normalization_3d_axis_negative_2_epsilon",
        "layer_normalization_3d_axis_negative_3_epsilon",
        "layer_normalization_4d_axis0",
        "layer_normalization_4d_axis1",
        "layer_normalization_4d_axis2",
        "layer_normalization_4d_axis3",
        "layer_normalization_4d_axis_negative_1",
        "layer_normalization_4d_axis_negative_2",
        "layer_normalization_4d_axis_negative_3",
        "layer_normalization_4d_axis_negative_4",
        "layer_normalization_default_axis",
    ),
    notyet("the remainder of infinities", shows="wrong"): (
        "mod_float_edge_cases_fmod_0_float16",
        "mod_float_edge_cases_fmod_0_float32",
        "mod_float_edge_cases_fmod_0_float64",
    ),
    notyet("it gives no boxes when the limits are fed", shows="wrong"): (
        "nonmaxsuppression_center_point_box_format",
        "nonmaxsuppression_flipped_coordinates",
        "nonmaxsuppression_identical_boxes",
        "nonmaxsuppression_iou_threshold_boundary",
        "nonmaxsuppression_limit_output_size",
        "nonmaxsuppression_single_box",
        "nonmaxsuppression_suppress_by_IOU",
        "nonmaxsuppression_suppress_by_IOU_and_scores",
        "nonmaxsuppression_two_batches",
        "nonmaxsuppression_two_classes",
    ),
    notyet("it samples other points", shows="wrong"): ("roialign_mode_max",),
    notyet("it knows one order only", shows="wrong"): ("spacetodepth_crd_mode_example",),
}


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
        **{f"nodes/{name}": gap for gap, names in NODES.items() for name in names},
        "hooks/int8-from-qdq": notyet("Q/DQ pairs stay operators around float kernels"),
    }
