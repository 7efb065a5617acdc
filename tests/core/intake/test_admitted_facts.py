"""What is said of models that pass, held against what the onnx package reads in them."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.codec import decode, encode
from seatrial.intake import Admitted, depthwise, is_tree_ensemble, limits

node = helper.make_node
info = helper.make_tensor_value_info
FLOAT = TensorProto.FLOAT


def build(nodes, weights=None, inputs=(("x", ["n", 3, 8, 8]),), outputs=("y",), **more) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, FLOAT, shape) for name, shape in inputs],
        [info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    more = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, **more}
    return helper.make_model(graph, **more).SerializeToString()


def codes(admitted: Admitted) -> list[tuple[str, str]]:
    return [(note.code, note.place) for note in admitted.notes]


def f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_small_network(take) -> None:
    admitted = take(
        build(
            [
                node("Conv", ["x", "w"], ["a"], name="stem"),
                node("Conv", ["a", "d"], ["b"], name="dw", group=4),
                node("Relu", ["b"], ["c"]),
                node("GlobalAveragePool", ["c"], ["e"]),
                node("Flatten", ["e"], ["f"]),
                node("Gemm", ["f", "g"], ["y"], transB=1),
            ],
            {"w": f32(4, 3, 3, 3), "d": f32(4, 1, 3, 3), "g": f32(10, 4)},
            producer_name="maker",
            producer_version="1.2",
        )
    )
    facts = admitted.facts
    assert admitted.notes == ()
    assert [n.label for n in facts.nodes] == [
        "stem", "dw", "Relu#2", "GlobalAveragePool#3", "Flatten#4", "Gemm#5",
    ]  # fmt: skip
    assert facts.op_types == {
        "Conv": 2, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1,
    }  # fmt: skip
    assert facts.quantizable == {"Conv": 2, "Gemm": 1}
    assert depthwise(facts) == ("dw",)
    assert facts.opsets == {"": 17} and facts.ir_version == 8
    assert facts.producer == "maker 1.2"
    assert facts.batch == "free"
    assert [(i.name, i.dtype, i.shape) for i in facts.inputs] == [("x", "float32", ("n", 3, 8, 8))]
    assert facts.initializers == 3
    assert facts.parameters == 4 * 27 + 4 * 9 + 40
    assert not facts.has_qdq and not is_tree_ensemble(facts)


def test_facts_survive_json(take) -> None:
    admitted = take(build([node("Relu", ["x"], ["y"])]))
    assert decode(Admitted, json.loads(json.dumps(encode(admitted)))) == admitted


def test_every_node_has_a_label_of_its_own(take) -> None:
    nodes = [
        node("Relu", ["x"], ["a"], name="r"),
        node("Relu", ["a"], ["b"], name="r"),
        node("Relu", ["b"], ["c"], name="r#1"),
        node("Relu", ["c"], ["d"]),
        node("Relu", ["d"], ["y"], name="Relu#3"),
    ]
    labels = [n.label for n in take(build(nodes)).facts.nodes]
    assert labels == ["r", "r#1", "r#1#2", "Relu#3", "Relu#3#4"]


def test_initializers_that_are_inputs_too_are_no_inputs(take) -> None:
    data = build([node("Add", ["x", "w"], ["y"])], {"w": f32(8)}, (("x", [1]), ("w", [8])))
    facts = take(data).facts
    assert [i.name for i in facts.inputs] == ["x"]
    assert facts.batch == "fixed:1"


def test_dimensions_of_every_kind(take) -> None:
    value = info("x", FLOAT, [-1, "", "batch", 0, 7])
    value.type.tensor_type.shape.dim.add()
    graph = helper.make_graph([node("Relu", ["x"], ["y"])], "g", [value], [info("y", FLOAT, None)])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    admitted = take(data)
    assert admitted.facts.inputs[0].shape == ("?", "?", "batch", 0, 7, "?")
    assert admitted.facts.outputs[0].shape == ("...",)
    assert codes(admitted) == [("empty-input", "x")]


def test_types_that_are_no_tensors(take) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", FLOAT, None)
    optional = onnx.ValueInfoProto(name="o")
    optional.type.optional_type.elem_type.map_type.key_type = TensorProto.INT64
    optional.type.optional_type.elem_type.map_type.value_type.tensor_type.elem_type = FLOAT
    nodes = [node("SequenceLength", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [sequence, optional], [info("y", TensorProto.INT64, [])])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    facts = take(data).facts
    assert [i.dtype for i in facts.inputs] == ["sequence(float32)", "optional(map(int64, float32))"]
    assert facts.batch == "none"


def branch(name: str, op: str, given: str) -> onnx.GraphProto:
    return helper.make_graph(
        [node(op, [given, "w"], [f"{name}_out"], name=f"{name}_mm")], name, [],
        [info(f"{name}_out", FLOAT, None)],
    )  # fmt: skip


def test_graphs_inside_nodes(take) -> None:
    choose = node(
        "If", ["c"], ["y"], name="gate",
        then_branch=branch("t", "MatMul", "late"), else_branch=branch("e", "Add", "x"),
    )  # fmt: skip
    nodes = [choose, node("Relu", ["x"], ["late"])]
    data = build(nodes, {"w": f32(8, 8), "c": np.array(True)})
    admitted = take(data)
    facts = admitted.facts
    assert facts.control_flow == ("gate",)
    assert {n.label: n.scope for n in facts.nodes} == {
        "gate": "",
        "gate/else_branch/e_mm": "gate/else_branch",
        "gate/then_branch/t_mm": "gate/then_branch",
        "Relu#1": "",
    }
    assert facts.quantizable == {}  # in a body, which no quantizer here reaches
    assert codes(admitted) == [("unsorted", "gate")]


def test_functions_and_domains(take) -> None:
    function = helper.make_function(
        "mine", "f", ["i"], ["o"], [node("Relu", ["i"], ["o"])], [helper.make_opsetid("", 17)]
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    nodes = [
        node("f", ["x"], ["a"], domain="mine"),
        node("Magic", ["a"], ["b"], domain="com.acme"),
        node("Relu", ["b"], ["y"], domain="ai.onnx"),
    ]
    admitted = take(build(nodes, functions=[function], opset_imports=imports))
    facts = admitted.facts
    assert facts.functions == ("mine::f",)
    assert [(n.label, n.function) for n in facts.nodes][-1] == ("mine::f/Relu#0", "mine::f")
    assert facts.op_types == {"mine:f": 1, "com.acme:Magic": 1, "Relu": 1}
    assert facts.domains == ("", "com.acme", "mine")
    assert codes(admitted) == [("opset-missing", "Magic#1")]


def test_weights_written_as_constants_and_through_qdq(take) -> None:
    scale, zero = np.float32(0.1), np.int8(0)
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(f32(4, 3, 1, 1))),
        node("Conv", ["x", "w"], ["a"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Conv", ["a", "d"], ["y"], group=4, name="dw"),
    ]
    facts = take(build(nodes, {"q": np.ones((4, 1, 3, 3), np.int8), "s": scale, "z": zero})).facts
    assert facts.quantizable == {"Conv": 2}
    assert facts.has_qdq
    assert depthwise(facts) == ("dw",)
    assert facts.parameters == 12 + 36 + 2


HALF = np.array([[1, np.nan]], np.float16)


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.array([[1, np.nan]], np.float32), "w"),
        numpy_helper.from_array(np.array([[1, np.nan]], np.float64), "w"),
        numpy_helper.from_array(HALF, "w"),
        helper.make_tensor("w", TensorProto.FLOAT, [1, 2], [1.0, float("nan")]),
        helper.make_tensor("w", TensorProto.DOUBLE, [1, 2], [1.0, float("nan")]),
        helper.make_tensor("w", TensorProto.FLOAT16, [1, 2], HALF.flatten()),
        helper.make_tensor("w", TensorProto.BFLOAT16, [1, 2], [1.0, float("nan")]),
    ],
    ids=["float32", "float64", "float16", "float_data", "double_data", "half_data", "bfloat16"],
)
def test_a_nan_is_found_in_every_form(tensor, take) -> None:
    graph = helper.make_graph(
        [node("Add", ["x", "w"], ["y"])], "g", [info("x", tensor.data_type, [1])],
        [info("y", tensor.data_type, None)], [tensor],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    admitted = take(data)
    assert admitted.facts.nonfinite_weights == ("w",)
    assert codes(admitted) == [("weights-nan", "w")]


def test_a_nan_in_unpacked_floats(pb, take) -> None:
    loose = b"\x25\0\0\x80\x3f" + b"\x25\0\0\xc0\x7f"
    tensor = pb.tensor("w", [2], 1, loose)
    data = pb.model(pb.graph(pb.node("Add", ["x", "w"], ["y"]), pb.message(5, tensor)))
    assert take(data).facts.nonfinite_weights == ("w",)


def test_an_infinity_is_a_mask_or_a_broken_weight(take) -> None:
    mask = np.array([[0, -np.inf]], np.float32)
    used = take(build([node("Add", ["x", "w"], ["y"])], {"w": mask}, (("x", [1, 2]),)))
    assert used.facts.nonfinite_weights == ()
    assert codes(used) == [("infinite-constant", "w")]
    broken = take(build([node("MatMul", ["x", "w"], ["y"])], {"w": mask.T}, (("x", [1, 2]),)))
    assert broken.facts.nonfinite_weights == ("w",)
    assert codes(broken) == [("weights-infinite", "w")]


def test_weights_that_are_zero(take) -> None:
    weights = {"w": np.zeros((2, 2), np.float32), "b": np.zeros(2, np.float32)}
    admitted = take(build([node("Gemm", ["x", "w", "b"], ["y"])], weights, (("x", [1, 2]),)))
    assert admitted.facts.constant_weights == ("w", "b")
    assert codes(admitted) == [("weights-zero", "w")]


def test_no_time_to_look_at_weights_is_said(take, monkeypatch) -> None:
    monkeypatch.setattr("seatrial.intake.Screen.__init__.__defaults__", (-1.0,))
    admitted = take(build([node("MatMul", ["x", "w"], ["y"])], {"w": f32(2, 2)}, (("x", [1, 2]),)))
    assert not admitted.facts.weights_screened
    assert codes(admitted) == [("weights-unscreened", "")]


def test_legal_oddities_are_notes(pb, take) -> None:
    relu = pb.node("Relu", ["x"], ["y"])
    assert codes(take(pb.model(relu + pb.message(11, pb.value("x", 4))))) == [("no-outputs", "")]
    empty = pb.message(11, pb.value("x", 4)) + pb.message(12, pb.value("x", 4))
    assert codes(take(pb.model(empty))) == [("no-nodes", "")]
    twice = pb.message(8, pb.integer(2, 16))
    assert codes(take(pb.model(pb.graph(relu), extra=twice))) == [("opset-twice", "")]
    newer = take(pb.model(pb.graph(relu), ir=limits.KNOWN_IR + 1, opset=limits.KNOWN_OPSET + 1))
    assert codes(newer) == [("newer-ir", ""), ("newer-opset", "")]
    settings = pb.message(14, pb.message(1, "ort_config") + pb.message(2, "{}"))
    assert codes(take(pb.model(pb.graph(relu), extra=settings))) == [
        ("runtime-settings", "ort_config")
    ]
    long = pb.tensor("w", [1], 1, pb.message(9, b"\0" * 8))
    assert codes(take(pb.model(pb.graph(relu, pb.message(5, long))))) == [("tensor-data", "w")]
    assert take(pb.model(pb.graph(relu), ir=2, opset=1)).notes == ()


def test_text_that_addresses_nothing_may_be_of_any_encoding(pb, take) -> None:
    relu = pb.graph(pb.node("Relu", ["x"], ["y"]), pb.message(2, b"caf\xe9"))
    admitted = take(pb.model(relu, extra=pb.message(2, b"caf\xe9")))
    assert (admitted.facts.producer, admitted.notes) == ("caf\\xe9", ())


def test_notes_of_one_kind_are_bounded(pb, take) -> None:
    tensors = (pb.tensor(f"w{i}", [1], 1, pb.message(9, b"\0" * 8)) for i in range(200))
    body = pb.graph(pb.node("Relu", ["x"], ["y"]), *(pb.message(5, t) for t in tensors))
    assert len(take(pb.model(body)).notes) == limits.MAX_LISTED


def test_notes_are_clean(pb, take) -> None:
    tensor = pb.tensor("\x1b[2J\n::error::w", [1], 1, pb.message(9, b"\0" * 8))
    data = pb.model(pb.graph(pb.node("Relu", ["x"], ["y"]), pb.message(5, tensor)))
    (note,) = take(data).notes
    assert note.place == "\\x1b[2J\\x0a::error::w"


def test_a_graph_in_two_pieces_is_merged_as_protobuf_does(pb, take) -> None:
    one = pb.graph(pb.node("Relu", ["x"], ["a"]))
    data = pb.model(one, extra=pb.message(7, pb.node("Neg", ["a"], ["y"])))
    assert [n.op_type for n in onnx.load_from_string(data).graph.node] == ["Relu", "Neg"]
    assert [n.op_type for n in take(data).facts.nodes] == ["Relu", "Neg"]


def test_unknown_fields_and_groups_are_skipped(pb, take) -> None:
    group = pb.varint(99 << 3 | 3) + pb.integer(1, 5) + pb.message(2, "z") + pb.varint(99 << 3 | 4)
    extra = group + pb.message(77, "later") + pb.varint(78 << 3 | 1) + b"\0" * 8
    assert take(pb.model(pb.graph(pb.node("Relu", ["x"], ["y"])), extra=extra)).notes == ()


def test_long_lists_are_skipped_not_kept(pb, take) -> None:
    numbers = pb.message(1, "ids") + pb.integer(8, 300) * 50_000 + pb.message(1, "last")
    floats = pb.message(1, "values") + b"\x3d\0\0\x80\x3f" * 50_000
    packed = pb.message(1, "packed") + pb.message(8, b"\1" * 50_000)
    extra = b"".join(pb.message(5, a) for a in (numbers, floats, packed))
    data = pb.model(pb.graph(pb.node("Relu", ["x"], ["y"], extra)))
    assert len(onnx.load_from_string(data).graph.node[0].attribute[0].ints) == 50_000
    assert take(data).facts.op_types == {"Relu": 1}


def test_trees_are_recognised(take) -> None:
    nodes = [node("TreeEnsembleClassifier", ["x"], ["y"], domain="ai.onnx.ml")]
    imports = [helper.make_opsetid("ai.onnx.ml", 3)]
    assert is_tree_ensemble(take(build(nodes, opset_imports=imports)).facts)


def test_the_collector_is_on_again(take, refuse) -> None:
    refuse(b"")
    take(build([node("Relu", ["x"], ["y"])]))
    assert gc.isenabled()


def test_the_import_is_light() -> None:
    program = "import sys, seatrial.intake; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "onnx", "onnxruntime", "torch", "PIL"} & set(out.stdout.split())
