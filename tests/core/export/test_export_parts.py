"""Opsets, axes, the choice between routes, weights, recipes, the first diverging node."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import zoo_driver as driver
from zoo import images

from seatrial.errors import UserError
from seatrial.export import axes, choice, opsets, recipes, view
from seatrial.export import records as er
from seatrial.export.locate import bisect
from seatrial.export.module_records import FACTORY, ModuleSpec, OutputsRequest, VariantRun
from seatrial.export.parity_records import BAKED, CONSTRAINED, FAIL, FIXED, FREE, PASS, Replay
from seatrial.export.pipeline import make
from seatrial.export.problems import ERROR
from seatrial.export.spec import spec_of
from seatrial.export.stage import Wish, export_request
from seatrial.export.torch_module import build
from seatrial.results import Finding
from seatrial.testing.local import LocalJob

LIMITS = [opsets.Limit(target="a:x", low=9, high=0), opsets.Limit(target="b:y", low=7, high=17)]


def test_the_opset_is_the_lowest_that_all_targets_read_and_says_who_forced_it():
    found = opsets.choose(LIMITS)
    assert (found.low, found.high, found.wanted) == (13, 17, 17)
    text = opsets.explain(18, {"ReduceMean": 18, "Relu": 14}, found)
    assert "ReduceMean needs 18" in text and "b:y allows up to 17" in text
    assert "17 was asked, the exporter wrote 18" in text
    assert opsets.refused(18, found) and not opsets.refused(17, found)


def test_targets_that_share_no_opset_are_refused():
    with pytest.raises(UserError, match="allows up to 12"):
        opsets.choose(
            [opsets.Limit(target="a:x", low=13, high=0), opsets.Limit(target="b:y", low=7, high=12)]
        )


SHAPES = {"x": (1, 3, 16, 16)}


def facts(ok, agrees, asked):
    plan = axes.plan(SHAPES, asked)
    runs = [VariantRun(label=v.label, ok=ok(v), reason="no") for v in plan]
    replays = [
        Replay(label=v.label, ran=True, agrees=agrees(v))
        for v, x in zip(plan, axes.covered(plan, runs), strict=True)
        if x.ok
    ]
    return {f.axis: f for f in axes.judge(SHAPES, plan, runs, replays, asked)}


def test_axes_are_free_baked_in_constrained_or_fixed():
    asked = {"x": (0, 2, 3)}

    def ok(v):
        return "x:1" not in v.axes and not (v.axes == ("x:3",) and v.sizes["x"][3] % 2)

    found = facts(ok, lambda v: v.axes != ("x:2",), asked)
    assert [found[a].status for a in range(4)] == [
        FREE,
        FIXED,
        BAKED,
        CONSTRAINED,
    ]
    codes = [(p.code, p.level) for p in axes.problems(list(found.values()), ())]
    assert codes == [("baked-in-shape", ERROR)]


def test_an_axis_that_was_asked_for_and_that_the_module_fixes_is_an_error():
    found = facts(lambda v: False, lambda v: True, {"x": (2,)})
    assert [p.code for p in axes.problems(list(found.values()), ())] == ["fixed-shape"]


def attempt(route, **known):
    return er.Attempt(**{"route": route, "ok": True, "gate": PASS, "opset": 18} | known)


def test_the_route_that_passes_is_kept_and_both_say_why():
    open_range = opsets.choose([])
    both = choice.choose([attempt("dynamo"), attempt("torchscript")], open_range)
    assert [a.chosen for a in both] == [True, False]
    worse = choice.choose([attempt("dynamo", gate=FAIL), attempt("torchscript")], open_range)
    assert [a.chosen for a in worse] == [False, True] and all(a.reason for a in worse)
    capped = choice.choose(
        [attempt("dynamo"), attempt("torchscript", opset=17)], opsets.choose(LIMITS)
    )
    assert [a.chosen for a in capped] == [False, True]
    assert "newer than the targets' 17" in capped[0].reason


class Payload:
    def __reduce__(self):
        import os

        return os.mkdir, (str(self.where),)


def test_a_pickled_checkpoint_runs_no_code_unless_trusted(tmp_path):
    driver.module_of(driver.HERE / "zoo_own.py")
    trap = tmp_path / "trap"
    bad = Payload()
    bad.where = trap
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": bad}, file)
    job = LocalJob(tmp_path / "job")
    spec = ModuleSpec(
        kind=FACTORY,
        location="zoo_own:writes_input",
        weights=job.add(file),
        weights_name="weights.pth",
    )
    with pytest.raises(UserError, match="trust-pickle"):
        build(spec, job)
    assert not trap.exists()
    with pytest.raises(UserError):
        build(dataclasses.replace(spec, trust_pickle=True), job)
    assert trap.exists()


def test_weights_must_match_key_by_key(tmp_path):
    from safetensors.torch import save_file

    module = driver.module_of(driver.HERE / "zoo_own.py")
    state = {f"module.{k}": v + 1 for k, v in module.writes_input().state_dict().items()}
    job = LocalJob(tmp_path / "job")
    for name, held in (("good", state), ("bad", dict(list(state.items())[:1]))):
        save_file(held, tmp_path / f"{name}.safetensors")
    spec = ModuleSpec(
        kind=FACTORY,
        location="zoo_own:writes_input",
        weights=job.add(tmp_path / "good.safetensors"),
        weights_name="good.safetensors",
    )
    built = build(spec, job)
    assert torch.equal(built.module.head.bias, state["module.head.bias"]) and built.notes
    wrong = dataclasses.replace(
        spec, weights=job.add(tmp_path / "bad.safetensors"), weights_name="bad.safetensors"
    )
    with pytest.raises(UserError, match="lacks"):
        build(wrong, job)


def test_what_is_no_module_is_left_to_others(room, tmp_path):
    assert spec_of("model.onnx", room.workspace) is None
    with pytest.raises(UserError, match="no such file"):
        spec_of("gone.py:net", room.workspace)


@pytest.fixture(scope="module")
def plain(room, tmp_path_factory):
    """One sound export, for what is done with it afterwards."""
    driver.module_of(driver.HERE / "zoo_own.py")
    folder = tmp_path_factory.mktemp("plain")
    samples = driver.store(room, images(10, 3, 14, 10), folder / "samples")
    spec = ModuleSpec(kind=FACTORY, location="zoo_own:groups")
    wish = Wish(spec=spec, choice=opsets.choose([]), dynamic={"x": (0,)}, routes=(er.DYNAMO,))
    made = make(room, wish, samples)
    assert made.gate == PASS, made.reasons
    return made


@pytest.mark.parametrize(
    ("recipe", "kept", "gone"),
    [
        ("decompose:HardSwish", True, "HardSwish"),
        ("opset:21", True, ""),
        ("plain:HardSwish", True, "HardSwish"),
        ("fuse:HardSwish", False, ""),
        ("static", True, ""),
        ("fold", True, ""),
        ("decompose:Gelu", False, ""),
    ],
)
def test_a_recipe_is_kept_only_when_it_is_proven_equal(room, plain, recipe, kept, gone):
    model = plain.chosen.model
    done = recipes.apply(room, model, recipe, plain.samples, count=4, shapes={"x": (1, 3, 14, 10)})
    assert (done.model is not None, done.equal) == (kept, kept), done.reason
    if done.model is not None:
        graph = onnx.load(room.workspace.path(done.model)).graph
        assert gone not in {n.op_type for n in graph.node}
        assert done.worst < 1e-6
    else:
        assert "Gelu" in done.reason or "nothing in the model" in done.reason


def test_a_refused_operator_is_told_with_the_recipe_for_it():
    refused = [
        Finding(reason="no kernel", op_type="HardSwish"),
        Finding(reason="no kernel", op_type="HardSwish"),
        Finding(reason="moved", op_type="Relu", severity="warning"),
        Finding(reason="no such thing", op_type="Strange"),
    ]
    claims = [{"op_type": "Mish", "claim": "unsupported", "reason": ""}]
    facts = {"findings": [("fp32", f) for f in refused], "claimed": {"claims": claims}}
    told = view.suggestions([SimpleNamespace(id="x:y", facts=facts)])
    assert [(t["op"], t["advice"].partition(":")[0].split()[0]) for t in told] == [
        ("HardSwish", "--recipe"),
        ("Strange", "no"),
        ("Mish", "--recipe"),
    ]
    assert "plain:HardSwish" in told[0]["advice"]


def test_every_operator_that_is_said_to_decompose_has_a_definition_in_the_standard():
    for op in recipes.DECOMPOSABLE:
        schema = onnx.defs.get_schema(op, 24, "")
        assert schema.has_function or schema.has_context_dependent_function, op


def test_the_sizes_that_ran_are_told_as_a_range():
    found = facts(lambda v: "x:1" not in v.axes, lambda v: v.sizes["x"][2] < 20, {"x": (0, 2)})
    assert (found[0].low, found[0].high) == (1, 3)
    assert (found[1].low, found[1].high) == (3, 3)
    assert (found[2].low, found[2].high) == (16, 17)


def test_a_height_that_the_export_froze_is_caught_by_running_at_others(room, tmp_path):
    file = driver.module_of(driver.HERE / "zoo_own.py").__file__
    samples = driver.store(room, images(10, 3, 14, 10), tmp_path / "samples")
    spec = ModuleSpec(kind=FACTORY, location="zoo_own:frozen_height")
    wish = Wish(
        spec=spec,
        choice=opsets.choose([]),
        dynamic={"x": (0, 2, 3)},
        routes=(er.TORCHSCRIPT,),
    )
    made = make(room, wish, samples)
    assert made.gate == FAIL
    (tried,) = made.attempts
    assert tried.gate == PASS, "at the size of the samples it is equal"
    found = {a.axis: a for a in tried.axes}
    assert [found[a].status for a in (0, 2, 3)] == [FREE, BAKED, FREE]
    assert "gives something else at x[2] = 15" in found[2].evidence
    assert any("x axis 2 was asked to be free" in text for text in made.reasons)
    with open(file, encoding="utf-8") as source:
        line = next(i for i, text in enumerate(source, 1) if "# here: height" in text)
    assert line in {p.line for p in tried.problems}


def test_an_unknown_recipe_is_refused():
    with pytest.raises(UserError, match="no recipe"):
        recipes.check(("decompose",))


def test_a_wrong_node_is_named_with_its_module_and_line(room, plain, tmp_path):
    model = onnx.load(room.workspace.path(plain.chosen.model))
    convs = [n for n in model.graph.node if n.op_type == "Conv"]
    victim = convs[2]
    weight = next(t for t in model.graph.initializer if t.name == victim.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3] *= 1.02
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    ref = room.workspace.add({"wrong.onnx": tmp_path / "wrong.onnx"}, "wrong.onnx")
    found = bisect(room, plain, ref, export_request(plain, er.DYNAMO), 0)
    assert found is not None and found.found and found.node == victim.name
    assert found.module == "blocks.1"
    source = (driver.HERE / "zoo_own.py").read_text("utf-8").splitlines()
    assert "block(x)" in source[found.line - 1]
    right = bisect(room, plain, plain.chosen.model, export_request(plain, er.DYNAMO), 0)
    assert right is not None and not right.found and right.compared > 10


def test_the_module_as_rung_0_has_the_exported_models_output_names(room, plain):
    from seatrial.samples import Samples

    request = OutputsRequest(
        spec=plain.wish.spec, samples=plain.samples, outputs=("logits",), indices=(3, 1)
    )
    outcome = room.runner.task(
        "seatrial.export.child:outputs", request, refs=(plain.samples,), user=True
    )
    assert outcome.result is not None, outcome.fault
    store = Samples(
        room.workspace.path(room.runner.adopt(outcome, outcome.result.artifact)) / "outputs"
    )
    assert store.names == ("logits",) and store.shape("logits") == (7,)
    assert np.isfinite(store.array("logits")).all() and store.ids == ("3", "1")
