"""The reference session on small models, run for real."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.errors import UserError
from seatrial.reference import load, open_model, optimised, plain
from seatrial.results import LoadRequest, TargetKind
from seatrial.testing.local import LocalJob

RNG = np.random.default_rng(0)


def chain(path: Path, *, external: bool = False) -> Path:
    weight = numpy_helper.from_array(RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["y"], name="pool"),
        ],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 1, 1])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    kinds = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save_model(model, path, **(kinds if external else {}))
    return path


def request(job: LocalJob, path: Path, **more: object) -> LoadRequest:
    return LoadRequest(artifact=job.add(path), format="onnx", target="cpu", **more)


@pytest.mark.parametrize("external", [False, True])
def test_taps_give_inner_tensors(tmp_path: Path, external: bool) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    job = LocalJob(tmp_path)
    path = chain(folder / "m.onnx", external=external)
    x = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
    session = load(request(job, path, taps=("c", "r", "y")), job)
    got = session.run({"x": x})
    assert set(got) == {"c", "r", "y"}
    np.testing.assert_array_equal(got["r"], np.maximum(got["c"], 0))
    np.testing.assert_allclose(got["y"], got["r"].mean((2, 3), keepdims=True), rtol=1e-5)
    assert got["c"].min() < 0


def test_a_tap_that_nothing_writes_is_refused(tmp_path: Path) -> None:
    job = LocalJob(tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        load(request(job, chain(tmp_path / "m.onnx"), taps=("nowhere",)), job)


@pytest.mark.parametrize("optimize", ["all", "basic", "none"])
def test_every_level_runs_and_says_so(tmp_path: Path, optimize: str) -> None:
    job = LocalJob(tmp_path)
    path = chain(tmp_path / "m.onnx")
    x = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    session = load(request(job, path, options={"optimize": optimize}, threads=1), job)
    first = session.run({"x": x})["y"].copy()
    np.testing.assert_array_equal(session.run({"x": x})["y"], first)
    np.testing.assert_allclose(first, open_model(path).run({"x": x})["y"], rtol=1e-4)
    ran = session.ran()
    assert ran.where is TargetKind.DEVICE
    assert any(f"optimisation {optimize}" in note for note in ran.notes)
    assert ran.layers == ()
    session.close()
    session.close()


def test_unknown_level_is_refused(tmp_path: Path) -> None:
    job = LocalJob(tmp_path)
    with pytest.raises(UserError, match="optimize"):
        load(request(job, chain(tmp_path / "m.onnx"), options={"optimize": "fast"}), job)


def test_profile_names_layers_with_precision_and_time(tmp_path: Path) -> None:
    job = LocalJob(tmp_path)
    options = {"optimize": "none"}
    session = load(request(job, chain(tmp_path / "m.onnx"), profile=True, options=options), job)
    for _ in range(3):
        session.run({"x": np.zeros((1, 3, 8, 8), np.float32)})
    layers = {layer.layer: layer for layer in session.ran().layers}
    assert set(layers) == {"conv", "relu", "pool"}
    assert layers["conv"].op_type == "Conv"
    assert layers["conv"].precision == "FP32"
    assert all(layer.ms >= 0 for layer in layers.values())
    assert session.ran().layers == tuple(layers.values())


def test_a_serialised_model_finds_its_external_data(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.onnx", external=True)
    text = onnx.load(path, load_external_data=False).SerializeToString()
    x = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = open_model(path).run({"x": x})["y"]
    got = open_model(text, folder=tmp_path).run({"x": x})["y"]
    np.testing.assert_array_equal(got, expected)


def test_the_optimised_graph_can_be_run_in_the_given_order(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.onnx")
    x = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
    optimised(path.read_bytes(), tmp_path / "o.onnx")
    session = open_model(tmp_path / "o.onnx", optimize="none", in_order=True)
    np.testing.assert_allclose(
        session.run({"x": x})["y"], open_model(path).run({"x": x})["y"], rtol=1e-5
    )


def test_class_maps_become_an_array_in_class_order(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[2, 0])],
        "maps",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 13)],
        ir_version=8,
    )
    kind = model.graph.output[0].type.sequence_type.elem_type.map_type
    kind.key_type = TensorProto.INT64
    kind.value_type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save_model(model, tmp_path / "m.onnx")
    x = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    got = open_model(tmp_path / "m.onnx").run({"x": x})["y"]
    np.testing.assert_array_equal(got, x[:, ::-1])


def test_plain_stacks_sequences_and_refuses_ragged_ones() -> None:
    parts = [np.ones((2, 3)), np.zeros((2, 3))]
    np.testing.assert_array_equal(plain(parts), np.stack(parts))
    assert plain(np.array(["cat", "dog"], object)).dtype.kind == "U"
    with pytest.raises(ValueError, match="different shapes"):
        plain([np.ones(2), np.ones(3)])
    with pytest.raises(ValueError, match="empty"):
        plain(None)


def test_numbers_next_to_zero_are_zero_if_asked(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "tiny"], ["t"]),
            helper.make_node("Mul", ["t", "huge"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.float32(1e-30), "tiny"),
            numpy_helper.from_array(np.float32(1e30), "huge"),
        ],
    )
    folder = tmp_path / "model"
    folder.mkdir()
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "m.onnx")
    code = """
import sys
import numpy as np
from pathlib import Path
from seatrial.reference import open_model

made = open_model(Path(sys.argv[1]), optimize="none", denormals_as_zero=sys.argv[2] == "True")
print(made.run({"x": np.full((1, 3), 1e-10, np.float32)})["y"][0, 0])
"""
    # A process of its own each: the runtime lets the first session of a process choose.
    found = {}
    for flush in (False, True):
        words = [sys.executable, "-c", code, str(folder / "m.onnx"), str(flush)]
        found[flush] = float(subprocess.run(words, check=True, capture_output=True).stdout)
    assert found[False] == pytest.approx(1e-10, rel=0.05) and found[True] == 0.0
