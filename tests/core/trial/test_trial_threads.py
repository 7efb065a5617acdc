"""Threads of one inference: the flag, the target's own table, ``[run]``, in this order."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from seatrial import bench
from seatrial.options import BenchOptions
from seatrial.report.speed_view import conditions

TARGETS = ("onnxruntime:cpu", "openvino:CPU")


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, "model.onnx")
    return "model.onnx"


@pytest.mark.parametrize(
    ("text", "flag", "given", "together"),
    [
        ("[run]\nthreads = 2\n[target.onnxruntime]\nthreads = 1", None, [1, 2], 2),
        ("[run]\nthreads = 2\n[target.onnxruntime]\nthreads = 1", 2, [2, 2], 2),
    ],
)
def test_each_target_is_given_its_own_threads_and_the_report_tells(
    model, tmp_path, text, flag, given, together
):
    (tmp_path / "c.toml").write_text(text)
    options = BenchOptions(
        models=(model,),
        config="c.toml",
        targets=TARGETS,
        quick=True,
        seconds=0.1,
        threads=flag,
        out="out",
    )
    data = bench(options).data
    rows = {t["target"]: {row["threads"] for row in t["benchmark"]} for t in data["targets"]}
    assert rows == {name: {n} for name, n in zip(TARGETS, given, strict=True)}
    assert data["conditions"]["threads"] == together
    shown = str(together or "auto") if len(set(given)) == 1 else "by target"
    assert shown in conditions(data).rows[0]
    for name, n in zip(TARGETS, given, strict=True):
        jobs = (tmp_path / "out/.seatrial/jobs").glob(f"{name.partition(':')[0]}-load-*/job.json")
        asked = [json.loads(job.read_text())["request"]["threads"] for job in jobs]
        assert asked and set(asked) == {n}
