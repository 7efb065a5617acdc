"""A recipe is kept where a target refuses less with it, and each finding names its recipe.

The target is the example backend: it takes Add, Sub, Mul, Neg, Abs, Relu, MatMul and Identity.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from seatrial import api
from seatrial.errors import UserError
from seatrial.export import recipes
from seatrial.options import CheckOptions, ExportOptions, JobOptions
from seatrial.trial.recipes import judge

EXAMPLE = Path(__file__).parents[3] / "plugins" / "seatrial-example" / "src" / "seatrial_example"
HERE = JobOptions(in_process=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model: HardSwish written out, a HardSigmoid and a HardSwish; samples; the backend."""
    folder = tmp_path_factory.mktemp("targets")
    shutil.copytree(EXAMPLE, folder / "site" / "seatrial_example")
    info = folder / "site" / "seatrial_example-1.0.dist-info"
    info.mkdir()
    text = "Metadata-Version: 2.1\nName: seatrial-example\nVersion: 1.0\n"
    (info / "METADATA").write_text(text)
    (info / "entry_points.txt").write_text("[seatrial]\nexample = seatrial_example\n")
    steps = ["Add x c3 a", "Clip a c0 c6 b", "Mul x b c", "Div c c6 d"]
    steps += ["HardSigmoid d e", "HardSwish e f", "Mul f f y"]
    nodes = [
        helper.make_node(op, inputs, [out], name=f"{op}_{out}")
        for op, *inputs, out in map(str.split, steps)
    ]
    numbers = [numpy_helper.from_array(np.float32(v), f"c{v}") for v in (0, 3, 6)]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 5]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    rows = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    np.savez(folder / "x.npz", x=rows)
    return folder


@pytest.fixture(autouse=True)
def installed(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder / "site")


def export(folder, *names, data="x.npz"):
    options = ExportOptions(
        model=str(folder / "model.onnx"),
        out=str(folder / "out" / "changed.onnx"),
        data=str(folder / data) if data else "",
        recipes=names,
        targets=("example:cpu",),
        jobs=HERE,
    )
    return api.export(options)


def test_only_what_makes_a_target_refuse_less_is_kept(folder):
    report = export(folder, "plain:HardSwish", "plain:HardSigmoid", "fuse:HardSwish")
    rows = report.data["export"]["recipes"]
    assert all(row["equal"] for row in rows)
    assert [row["kept"] for row in rows] == [False, False, True]
    numbers = [(t["target"], t["before"], t["after"]) for row in rows for t in row["targets"]]
    assert numbers == [("example:cpu", 4, 5), ("example:cpu", 4, 4), ("example:cpu", 4, 3)]
    assert rows[0]["reason"] == "equal, but example:cpu refuses 5 nodes of it, 4 before"
    assert "no target refuses less" in rows[1]["reason"]
    types = [n.op_type for n in onnx.load(folder / "out" / "changed.onnx").graph.node]
    assert types == ["HardSwish", "HardSigmoid", "HardSwish", "Mul"]
    assert report.data["export"]["gate"] == "not proven"
    assert report.exit_code == 3, "what was asked for was not all done"


def test_a_recipe_on_an_onnx_model_that_is_kept_passes_but_not_on_noise(folder):
    assert export(folder, "fuse:HardSwish").exit_code == 0
    noise = export(folder, "fuse:HardSwish", data="")
    assert noise.exit_code == 3 and noise.data["export"]["recipes"][0]["kept"]


def test_an_onnx_model_without_a_recipe_is_sent_elsewhere(folder):
    with pytest.raises(UserError, match="is ONNX already"):
        export(folder)


def test_check_names_the_recipe_for_a_refused_operator(folder):
    model = str(folder / "model.onnx")
    report = api.check(CheckOptions(model=model, targets=("example:cpu",), jobs=HERE))
    (target,) = report.data["targets"]
    advice = {f["op_type"]: f["advice"] for f in target["built"]["findings"]}
    command = "seatrial export MODEL -o changed.onnx --recipe"
    assert advice["HardSwish"] == f"{command} plain:HardSwish"
    assert advice["HardSigmoid"] == f"{command} plain:HardSigmoid"
    assert advice["Div"] == ""
    assert report.data["next"][0].startswith(f"seatrial export {model} -o changed.onnx --recipe")


def applied(name):
    ref = recipes.Ref(sha256="0" * 64, entry="m.onnx", bytes=1)
    return recipes.Applied(recipe=name, model=ref, equal=True, reason="")


@pytest.mark.parametrize(
    ("name", "before", "after", "kept"),
    [
        ("plain:HardSwish", {"a:x": 2, "b:y": 0}, {"a:x": 0, "b:y": 0}, True),
        ("plain:HardSwish", {"a:x": 2, "b:y": 0}, {"a:x": 0, "b:y": 1}, False),
        ("plain:HardSwish", {"a:x": 2}, {"a:x": 2}, False),
        ("plain:HardSwish", {"a:x": 0}, {"a:x": 0}, True),
        ("plain:HardSwish", {"a:x": 2}, {}, True),
        ("opset:17", {"a:x": 2}, {"a:x": 2}, True),
        ("fold", {"a:x": 0}, {"a:x": 1}, False),
    ],
)
def test_a_proven_recipe_is_kept_where_it_helps_and_hurts_nobody(name, before, after, kept):
    assert (judge(applied(name), before, after).model is not None) == kept
