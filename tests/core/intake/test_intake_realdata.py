"""Every file of the shared folder: what must be refused, with which words; all else passes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from seatrial.errors import UserError
from seatrial.intake import admit, depthwise, is_tree_ensemble
from seatrial.workspace import Workspace

pytestmark = pytest.mark.realdata

HOSTILE = {
    "002_empty.onnx": "empty file",
    "004_git_lfs_pointer.onnx": "git lfs pull",
    "006_truncated_last_byte.onnx": "ends at byte 909",
    "008_length_prefix_2gb.onnx": "not a complete ONNX file",
    "010_initializer_dims_9e12.onnx": "w: claims 36000000000000 bytes, 64 are there",
    "012_initializer_dims_negative.onnx": "negative dimension",
    "014_constantofshape_12gb.onnx": "ConstantOfShape makes a tensor",
    "016_concat_doubling_2e36.onnx": "Concat makes a tensor",
    "018_tile_overflow.onnx": "Tile makes a tensor",
    "020_pad_1e12.onnx": "Pad makes a tensor",
    "022_onehot_depth_1e12.onnx": "OneHot makes a tensor",
    "030_cycle.onnx": "circle",
    "032_infinite_loop.onnx": "Loop#0: this Loop never ends",
    "034_infinite_loop_constant_only.onnx": "Loop#0: this Loop never ends",
    "038_undefined_input.onnx": "reads 'ghost'",
    "042_function_mutual_recursion.onnx": "calls itself",
    "044_chain_100k.onnx.gz": "gunzip",
    "046_function_chain_3000.onnx": "more than 256 deep",
    "050_ext_dotdot.onnx": "w: its external file is outside",
    "052_ext_symlink.onnx": "w: external file 'x_link.bin'",
    "054_ext_fifo.onnx": "w: external file 'x_fifo.bin'",
    "056_ext_devzero.onnx": "w: external file 'x_zero.bin'",
    "058_ext_length_huge.onnx": "w: external data of",
    "060_ext_missing.onnx": "does not exist",
    "062_ext_offset_overflow.onnx": "beyond any file",
    "100_conv_group0.onnx": "group is 0",
    "104_maxpool_stride0.onnx": "strides is 0",
    "106_depthtospace_block0.onnx": "blocksize is 0",
    "114_transpose_perm_dup.onnx": "perm (0, 0, 0, 0)",
    "116_gather_oob.onnx": "index 1000000000 is outside of axis 0",
    "118_scatternd_oob.onnx": "index 1000000000 is outside of axis 0",
    "128_quant_block0.onnx": "block_size is 0",
    "142_lppool_p0.onnx": "p is 0",
    "144_dft_axis.onnx": "DFT makes a tensor",
    "200_opset_999.onnx": "opset 999",
    "202_no_opset.onnx": "no operator set",
    "204_dtype_99.onnx": "element type 99",
    "206_duplicate_initializer.onnx": "two initializers",
    "216_names_invalid_utf8.onnx": "not UTF-8 text",
    "306_npy_header_1e12.npy": "NumPy array",
    "308_torchscript_infinite.pt": "TorchScript",
    "310_safetensors_header_len_lie.safetensors": "safetensors",
    "README.md": "text file",
    "x_ok.bin": "not an ONNX file",
}

NEGATIVE = {
    "bitflips_200.onnx": "damaged",
    "constantofshape_bomb.onnx": "ConstantOfShape makes a tensor",
    "cycle.onnx": "circle",
    "dangling_input.onnx": "reads 'ghost'",
    "duplicate_output_name.onnx": "y: is produced twice",
    "empty.onnx": "empty file",
    "expected.json": "JSON",
    "ext_absolute_path.onnx": "is absolute: '/etc/hostname'",
    "ext_dev_zero.onnx": "is absolute: '/dev/zero'",
    "ext_empty_location.onnx": "no location",
    "ext_length_short.onnx": "external data of 4 bytes",
    "ext_missing_file.onnx": "'nope.bin' does not exist",
    "ext_negative_offset.onnx": "external offset '-8'",
    "ext_offset_past_end.onnx": "needs bytes 4096 to 4112",
    "ext_shape_larger_than_file.onnx": "external data of 16 bytes",
    "ext_small.bin": "not an ONNX file",
    "ext_traversal_relative.onnx": "outside the model's folder",
    "html_error_page.onnx": "HTML",
    "infinite_loop.onnx": "Loop#0: this Loop never ends",
    "ir_99.onnx": "ir_version 99",
    "lfs_pointer.onnx": "git lfs pull",
    "no_opset.onnx": "no operator set",
    "ok_small.pt": "PyTorch checkpoint",
    "opset_99.onnx": "opset 99",
    "pickle_with_callable.pth": "pickle",
    "recursive_function.onnx": "calls itself",
    "safetensors_header_overflow.safetensors": "safetensors",
    "safetensors_offset_past_end.safetensors": "safetensors",
    "tensor_claims_2pow40.onnx": "claims 1099511627776 elements",
    "tensor_negative_dim.onnx": "negative dimension",
    "tensor_raw_too_short.onnx": "claims 16 bytes, 12 are there",
    "truncated.pt": "PyTorch checkpoint",
    "truncated_half.onnx": "ends at byte 46499",
    "truncated_last_byte.onnx": "ends at byte 92998",
}

#: Refused although from a runtime's own test data: that runtime refuses to load them as well, or
#: (the constant index beyond its table) takes it for a test of its optimiser, and cannot run it.
ODD = {
    "onnxruntime__test__testdata__add_opset_314159.onnx": "opset 314159",
    "onnxruntime__test__testdata__model_with_external_initializer_come_from_user.onnx": "not exist",
    "onnxruntime__test__testdata__model_with_orig_ext_data.onnx": "does not exist",
    "onnxruntime__test__testdata__mul_1.noopset.onnx": "no operator set",
    "onnxruntime__test__testdata__transform__fusion__embed_layer_norm_format1.onnx": "index 1 is",
    "winml__test__collateral__models__bad_names.onnx": "ir_version",
    "winml__test__collateral__models__conv-float.onnx": "ir_version",
    "expected.json": "JSON",
}

NOTES = {
    "040_not_topologically_sorted.onnx": "unsorted",
    "064_ext_unknown_keys.onnx": "external-keys",
    "220_weights_nan.onnx": "weights-nan",
    "222_weights_all_zero.onnx": "weights-zero",
    "228_zero_dim_input.onnx": "empty-input",
    "weights_one_inf.onnx": "weights-infinite",
    "weights_one_nan.onnx": "weights-nan",
    "no_outputs.onnx": "no-outputs",
    "qdq_zero_scale.onnx": "scale-zero",
    "not_sorted.onnx": "unsorted",
}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("hostile", HOSTILE), ("data/negative", NEGATIVE), ("data/odd", ODD)],
    ids=["hostile", "negative", "odd"],
)
def test_each_file_has_its_outcome(
    folder: str, expected, shared: Path, workspace: Workspace
) -> None:
    wrong = []
    files = [p for p in sorted((shared / folder).iterdir()) if p.is_file()]
    assert set(expected) <= {p.name for p in files}
    for path in files:
        words = expected.get(path.name, "")
        try:
            admitted = admit(path, workspace)
        except UserError as error:
            line = str(error)
            good = bool(words) and words in line and len(line) <= 200 and line.isprintable()
            if not good:
                wrong.append(line)
        else:
            note = NOTES.get(path.name, "")
            if words or (note and note not in {n.code for n in admitted.notes}):
                wrong.append(f"{path.name} passed with {admitted.notes}")
    assert wrong == []


def test_a_chain_of_100k_nodes(shared: Path, tmp_path: Path, workspace: Workspace) -> None:
    data = gzip.decompress((shared / "hostile" / "044_chain_100k.onnx.gz").read_bytes())
    (tmp_path / "chain.onnx").write_bytes(data)
    facts = admit(tmp_path / "chain.onnx", workspace).facts
    assert len(facts.nodes) == len({n.label for n in facts.nodes}) == 100_000


def test_external_data_beside_the_model(shared: Path, tmp_path: Path, workspace) -> None:
    name = "onnxruntime__test__testdata__model_with_orig_ext_data.onnx"
    (tmp_path / "m.onnx").write_bytes((shared / "data" / "odd" / name).read_bytes())
    data = shared / "data" / "odd" / "extdata" / "model_with_orig_ext_data.bin"
    (tmp_path / data.name).write_bytes(data.read_bytes())
    facts = admit(tmp_path / "m.onnx", workspace).facts
    assert facts.external_files == ("model_with_orig_ext_data.bin",)


GOOD = {
    "onnx/fns_candy.onnx": ({"Conv": 14, "ConvTranspose": 2}, 0),
    "onnx/mobilenet_v1_0.25_128_quant_deq_fp32.onnx": ({"Conv": 28}, 13),
    "onnx/mobilenet_v2_1.0_224_quant_deq_fp32.onnx": ({"Conv": 53}, 17),
    "onnx/mobilenetv2_imagenet_qdq.onnx": ({"Conv": 52, "Gemm": 1}, 17),
    "onnx/silero_vad.onnx": ({}, 0),  # all twelve lie in the bodies of an If
    "onnx/silero_vad_16k_op15.onnx": ({"Conv": 6}, 0),
    "onnx/sklearn_randomforest.onnx": ({}, 0),
    "onnx/squeezenet_imagenet_fp16.onnx": ({"Conv": 26}, 0),
    "onnx/squeezenet_imagenet_fp32.onnx": ({"Conv": 26}, 0),
    "onnx/tiny_ic_resnet8.onnx": ({"Conv": 9, "Gemm": 1}, 0),
    "onnx/tiny_kws_dscnn.onnx": ({"Conv": 9, "Gemm": 1}, 4),
    "onnx/tiny_vww_mobilenetv1_025.onnx": ({"Conv": 27, "Gemm": 1}, 13),
    "onnx/version-RFB-320.onnx": ({"Conv": 52}, 18),
    "nolicence/cifar10_vit.onnx": ({"Conv": 1, "MatMul": 18, "Gemm": 7}, 0),
    "nolicence/etinynet_imagenet.onnx": ({"Conv": 44}, 28),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_models_pass_without_a_warning(name: str, shared: Path, workspace: Workspace) -> None:
    import onnx

    path = shared / "data" / name
    admitted = admit(path, workspace)
    facts = admitted.facts
    assert admitted.notes == ()
    assert (dict(facts.quantizable), len(depthwise(facts))) == GOOD[name]
    assert is_tree_ensemble(facts) == ("randomforest" in name)
    model = onnx.load(path)
    assert facts.initializers >= len(model.graph.initializer)
    top = [n for n in facts.nodes if not n.scope]
    assert [n.op_type for n in top] == [n.op_type for n in model.graph.node]
    assert [n.outputs for n in top] == [tuple(n.output) for n in model.graph.node]
    assert [o.name for o in facts.outputs] == [o.name for o in model.graph.output]
