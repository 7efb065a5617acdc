"""``check`` takes the configuration's model where none is typed, as ``run`` does."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from seatrial.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in ("x", "y")]
    for name, op in (("taken", "Relu"), ("refused", "Nonsense")):
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", ends[:1], ends[1:])
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), f"{name}.onnx")
    Path("c.toml").write_text('[model]\npath = "taken.onnx"\n')
    return tmp_path


def test_the_configurations_model_is_checked_unless_one_is_typed(folder):
    words = ["check", "--config", "c.toml", "-b", "onnxruntime:cpu", "-q"]
    for typed, name, code in (([], "taken.onnx", 0), (["refused.onnx"], "refused.onnx", 1)):
        assert main([*words, *typed, "--json", "one.json"]) == code
        assert Path(json.loads(Path("one.json").read_text())["model"]["path"]).name == name


def test_without_any_model_it_says_what_to_type(folder, capsys):
    assert main(["check", "-b", "onnxruntime:cpu"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "seatrial: error: MODEL: no model was named (seatrial check MODEL ...)"


def test_a_targets_own_shapes_are_asked_for_unless_others_are_typed(folder):
    with Path("c.toml").open("a") as file:
        file.write("[target.onnxruntime]\nshapes = {x = [1, 8]}\n")
    words = ["check", "--config", "c.toml", "-b", "onnxruntime:cpu", "-q"]
    for out, typed, wanted in (("a", [], [1, 8]), ("b", ["--shape", "x=2x8"], [2, 8])):
        main([*words, *typed, "-o", out])
        (job,) = Path(out).glob(".seatrial/jobs/onnxruntime-compile_check-*/job.json")
        assert json.loads(job.read_text())["request"]["shapes"] == {"x": wanted}
