"""Which further forms are built and run, and why not; no backend is needed to decide that."""

from __future__ import annotations

import os
import types

import pytest

from seatrial import results as r
from seatrial.trial import compile as compile_stage
from seatrial.trial import forms, frames, pace
from seatrial.trial.build import Piece
from seatrial.trial.candidates import Candidate
from seatrial.trial.making import Made
from seatrial.trial.timing import Contestant

REF = r.Ref(sha256="a" * 64, entry="", bytes=1000)


def piece(stated="FP32", *, portable=None, size=1000):
    artifact = r.Artifact(format="f", entry="", files=())
    return Piece("p", r.Ref(sha256="b" * 64, entry="", bytes=size), artifact, "fp32", stated, 1.0,
                 portable=portable)  # fmt: skip


def contestant(name="fp32", *, static_only=False, **known):
    rules = r.InputRules(static_shapes=static_only)
    target = r.Target(id="x", title="", device="d", rules=rules)
    state = types.SimpleNamespace(id="t:x", target=target, facts={})
    return Contestant(state, name, piece(**known))


def trial(shape=("N", 3, 8, 8), *, streams=None, threads=0, flow=(), batch=1, dtype="float32"):
    io = r.TensorIO(name="x", dtype=dtype, shape=shape)
    facts = types.SimpleNamespace(inputs=(io,), control_flow=flow)
    table = types.SimpleNamespace(streams=streams) if streams else None
    return types.SimpleNamespace(
        model=types.SimpleNamespace(facts=facts, ref=REF),
        config=types.SimpleNamespace(target=lambda name: table),
        threads_of=lambda state: threads,
        batch=batch,
        progress=lambda *words: None,
    )


@pytest.mark.parametrize(
    ("one", "shape", "why"),
    [
        (contestant(), (1, 3, 8, 8), "fixed"),
        (contestant(static_only=True), ("N", 3, 8, 8), "static shapes only"),
        (contestant("int8", stated="INT8"), ("N", 3, 8, 8), "calibrated this artefact itself"),
    ],
)
def test_a_free_form_that_cannot_be_is_told_with_its_reason(one, shape, why):
    assert forms.dynamic(trial(shape), [one]) == []
    assert why in one.state.facts["generality_notes"][one.piece.stated]
    rounds = types.SimpleNamespace(contestants=[one])
    (row,) = forms.generality_rows(rounds, one.state)
    assert (why in row["text"], row["ratio"]) == (True, None)


def test_the_cpus_are_divided_among_the_calls_in_flight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    entered = [contestant(), contestant("native"), contestant("layout")]
    (found,) = forms.streams(trial(), entered, None)
    assert (found.streams, found.threads) == (6, 1)
    (found,) = forms.streams(trial(streams=2), entered, None)
    assert (found.streams, found.threads) == (2, 3)
    (found,) = forms.streams(trial(threads=4), entered, 2)
    assert (found.streams, found.threads) == (2, 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert forms.streams(trial(), entered, None) == []


def test_what_memory_does_not_allow_is_left_out(monkeypatch):
    monkeypatch.setattr(forms, "total_memory_mb", lambda: 100)
    big = [contestant(size=4 * 2**20) for _ in range(6)]
    # 40 MiB, an artefact counts three times: one is there, two more fit.
    assert forms.affordable(big[:1], big[1:]) == big[1:3]


def test_only_one_call_of_what_was_built_to_ship_may_be_judged():
    assert contestant().ships
    one = contestant()
    one.streams = 2
    assert not one.ships
    assert not contestant("fp32" + forms.FREE).ships


#: Shapes, as samples have them, and as the model has them.
STATIC, FREE = {"x": (1, 8)}, {}


@pytest.mark.parametrize(
    ("refused", "rules", "dims", "taken"),
    [
        ((STATIC,), {}, ("N", 8), True),
        ((STATIC, FREE), {}, ("N", 8), False),
        ((), {}, ("N", 8), False),
        ((STATIC,), {"static_shapes": True}, ("N", 8), False),
        ((STATIC,), {}, (1, 8), False),
    ],
)
def test_free_shapes_are_taken_where_only_the_static_form_is_refused(
    monkeypatch, refused, rules, dims, taken
):
    def check_float(trial, state, *, shapes):
        verdict = "unsupported" if shapes in refused else "supported"
        said = r.Finding(reason=f"no, with {len(shapes)} shapes", severity="error")
        state.facts["columns"] = {"fp32": {"verdict": verdict}, "int8": None}
        state.facts["findings"] = [("fp32", said)] if shapes in refused else []

    monkeypatch.setattr(compile_stage, "check_float", check_float)
    target = r.Target(id="x", title="", device="d", rules=r.InputRules(**rules))
    state = types.SimpleNamespace(id="t:x", target=target, facts={})
    check_float(trial(dims), state, shapes=STATIC)
    before = dict(state.facts)
    assert compile_stage.free_shapes(trial(dims), state, STATIC) is taken
    if not taken:
        assert state.facts == before
        return
    ((_, finding),) = state.facts["findings"]
    assert finding.severity == "warning" and "no, with 1 shapes" in finding.reason
    assert "x 1x8" in finding.reason and state.facts["free"] is True
    one = contestant()
    one.state.facts["free"] = True
    assert forms.dynamic(trial(("N", 8)), [one]) == []
    assert "ships with free shapes" in one.state.facts["generality_notes"]["FP32"]


@pytest.mark.parametrize(
    ("known", "contracts", "why"),
    [
        ({"dtype": "float16"}, {}, "float16"),
        ({"flow": ("if",)}, {}, "branches"),
        ({"batch": 4}, {}, "one frame at a time"),
        ({}, {"x": frames.InputContract(mode="tensor")}, "arrays"),
        ({}, {"x": frames.InputContract(dtype="uint8")}, "no normalisation"),
    ],
)
def test_where_no_frame_can_be_folded_the_reason_is_kept(known, contracts, why):
    camera = frames.make(trial(**known), contracts, REF, {"x": (1, 3, 8, 8)})
    assert why in camera.why and camera.model is None
    state = types.SimpleNamespace(facts={"pieces": {"fp32": piece()}})
    frames.prove(trial(), state, camera, {})
    row = state.facts["layout_variants"]["frames"]
    assert (why in row["reason"], row["equivalent"], row["fault"]) == (True, None, None)


def test_a_model_without_one_image_has_no_camera_form():
    assert frames.make(trial(("N", 10)), {}, REF, {}) is None


def candidate(name, floats):
    made = Made(REF, float_nodes=tuple(floats))
    return Candidate(name, "core", name, lambda store, more: made, recipe=object(), made=made)


def ran(node, precision):
    return {"layer": node, "op_type": "Conv", "precision": precision, "ms": 1.0, "nodes": [node]}


def test_counter_measures_follow_from_the_causes():
    winner = candidate("careful", ("a", "b"))
    portable = types.SimpleNamespace(winner=winner, candidates=[winner, candidate("bold", ("a",))])
    seen = pace.Seen(slower={"c": 1.0, "a": 2.0}, heavy=("a", "c"))
    plans = {one.name: one for one in pace._plans(portable, seen)}
    assert plans["1 more node in INT8 (bold)"].against == "not-int8"
    assert plans["1 layer slower in INT8 in float"].nodes == ("c",), "a is in float already"
    assert all(not one.nodes or one.nodes == ("c",) for one in plans.values())
    portable.candidates = [winner, candidate("timid", ("a", "b", "c"))]
    assert not any("more node" in one.name for one in pace._plans(portable, seen))


def test_quantised_layers_that_ran_in_float_are_left_alone_and_lone_ones_join_them():
    winner = candidate("careful", ("a",))
    portable = types.SimpleNamespace(winner=winner, candidates=[winner])
    layers = (ran("a", "FP32"), ran("b", "INT8"), ran("c", "FP32"), ran("d", "INT8"))
    seen = pace.Seen(int8=layers, heavy=("a", "b", "c", "d"))
    plans = {one.against: one.nodes for one in pace._plans(portable, seen) if one.nodes}
    assert plans == {"not-int8": ("c",), "islands": ("c", "b")}
