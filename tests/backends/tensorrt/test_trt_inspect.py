"""The inspector's JSON in the shapes of both major versions, as documented and as dumped."""

import json

import pytest
from onnx import helper
from trt_world import Zoo

from seatrial_tensorrt._inspect import int8_and_float, read_layers, reformats, untold, with_times
from seatrial_tensorrt._model import prepare
from seatrial_tensorrt._refusals import nodes_of

TYPES = {"conv": "Conv", "relu": "Relu", "q": "QuantizeLinear", "head": "Gemm", "flat": "Flatten"}
LABELS = {n: n for n in TYPES} | {"/net/conv.1": "/net/conv.1"}


def layers(*rows, **keywords):
    return read_layers(json.dumps({"Layers": list(rows)}), LABELS, TYPES, **keywords)


def layer(taken, *, name="conv + relu", nodes=("conv", "relu"), kernel="", split=False, **more):
    text = {"Format/Datatype": taken}
    if split:
        kind, _, form = taken.partition("|")
        text = {"DataType": kind, "Format": form}
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", **text}],
        "Outputs": [{"Name": "y", **text}],
        "TacticName": kernel,
        "Metadata": "\x1f".join(f"[ONNX Layer: {n}]" for n in nodes),
        **more,
    }


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Thirty-two wide channel vectorized row major Int8 format.", "INT8"),
        ("Row major linear FP32", "FP32"),
        ("Channel major FP16 format where channel % 8 == 0", "FP16"),
        ("Half", "FP16"),
        ("Float", "FP32"),
        ("BFloat16", "BF16"),
        ("Row major linear BF16 format", "BF16"),
        ("Int32", "INT32"),
        ("UInt8", "UINT8"),
        ("Bool", "BOOL"),
        ("FP8", "FP8"),
        ("N/A due to dynamic shapes", ""),
    ],
)
def test_types_of_10_stand_in_one_text(text, precision):
    (found,) = layers(layer(text))
    assert found.precision == precision
    assert found.nodes == ("conv", "relu") and found.on == "GPU"
    assert found.layout == (text.rstrip(".") if " " in text else "")


@pytest.mark.parametrize("key", ["DataType", "Datatype"])
def test_both_spellings_of_11_are_read(key):
    given = {"Name": "x", key: "Int8", "Format": "Row major linear INT8 format (kLINEAR)"}
    assert layers(layer("", Inputs=[given], Outputs=[given]))[0].precision == "INT8"


def test_types_of_11_stand_apart_from_the_format():
    (found,) = layers(layer("Int8|Row major linear INT8 format (kLINEAR)", split=True))
    assert (found.precision, found.layout) == ("INT8", "Row major linear INT8 format (kLINEAR)")


def test_nodes_come_from_the_metadata_else_from_the_name():
    named = layer("Float", nodes=(), name="conv + relu")
    assert layers(named)[0].nodes == ("conv", "relu")
    foreign = layer("Float", nodes=(), name="{ForeignNode[conv...head]}")
    assert layers(foreign)[0].nodes == ("conv", "head")
    assert layers("conv + relu")[0].nodes == ("conv", "relu")
    separated = layer("Float", Metadata="[ONNX Layer: conv]\x1e[ONNX Layer: /net/conv.1]")
    assert layers(separated)[0].nodes == ("conv", "/net/conv.1")


def test_a_reformat_serves_a_layer_and_is_no_part_of_it():
    name = "Reformatting CopyNode for Output Tensor 0 to conv + relu"
    (found,) = layers(layer("Float", name=name, nodes=(), LayerType="Reformat"))
    assert found.nodes == ()
    older = "conv.weight + q + conv + PWN(relu)"
    assert layers(layer("Int8", name=older, nodes=()))[0].nodes == ("q", "conv", "relu")


def test_the_kernel_tells_tf32_and_the_weights_tell_int8():
    assert layers(layer("Float", kernel="sm80_xmma_gemm_f32f32_tf32f32_f32"))[0].precision == "TF32"
    assert layers(layer("Float", Weights={"Type": "Int8", "Count": 9}))[0].precision == "INT8"


def test_a_fused_quantizer_hides_the_precision_unless_the_kernel_tells():
    nodes = ("q", "conv")
    assert layers(layer("Half", nodes=nodes))[0].precision == ""
    kernel = "sm80_xmma_gemm_i8f32_i8i32_f32_tn"
    assert layers(layer("Half", nodes=nodes, kernel=kernel))[0].precision == "INT8"
    assert untold(TYPES, ("head",)) == ("conv",)


def test_int8_and_float_nodes_exclude_what_computes_nothing():
    found = layers(
        layer("Int8"),
        layer("Float", name="flat", nodes=("flat",)),
        layer("Float", name="head", nodes=("head",)),
    )
    assert int8_and_float(found, TYPES) == (("conv", "relu"), ("head",))


def test_dla_layers_reformats_and_times():
    rows = [
        layer("Half", name="conv", LayerType="DLA"),
        layer("Float", name="copy", LayerType="Reformat", nodes=()),
    ]
    found = layers(*rows)
    assert [ly.on for ly in found] == ["DLA", "GPU"]
    text = json.dumps({"Layers": [*rows, "only a name"]})
    assert (reformats(text, ["x"]), reformats(text, ["z"])) == (1, 0)
    timed = with_times(found, {"conv": [3.0, 1.0, 2.0]})
    assert [ly.ms for ly in timed] == [2.0, -1.0]


def test_layers_of_a_function_belong_to_its_call(tmp_path):
    body = helper.make_function(
        "acme", "Block", ["a"], ["b"],
        [helper.make_node("Relu", ["a"], ["b"], name="fine")], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    zoo = Zoo(tmp_path)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Block", ["a"], ["y"], name="call", domain="acme"),
    ]
    path = zoo.save(
        nodes, [zoo.value("x", [2])], [zoo.value("y", [2])], domains=("acme",), functions=[body]
    )
    labels = prepare(path, {}).labels
    text = "[ONNX Layer: fine]\x1f[ONNX Layer: fine | Local Function: Block]"
    assert nodes_of(text, labels) == ("fine", "call")
    assert nodes_of("[ONNX Layer: fine | Local Function: Other]", labels) == ()


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        (
            "Could not find any implementation for node {ForeignNode[conv...head]}.",
            ("conv", "head"),
        ),
        ("Error Code 4: Internal Error (conv: kernel too large)", ("conv",)),
        ("/net/conv.1: something. And more.", ("/net/conv.1",)),
        ("convolution of relu6", ()),
    ],
)
def test_errors_name_nodes_in_several_ways(text, nodes):
    assert nodes_of(text, LABELS) == nodes
