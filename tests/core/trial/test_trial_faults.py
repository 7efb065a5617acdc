"""A backend that fails in every way at every stage, beside one that works."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

STAGES = {
    "compile_check": "seatrial_compile_check",
    "build": "seatrial_build",
    "load": "seatrial_load",
    "run": "run",
}
KINDS = {
    "raises": ("raised", "", "ValueError: node 'stem' has a bad [bold]shape[/bold]"),
    "crashes": ("crashed", "SIGSEGV", "died of SIGSEGV"),
    "hangs": ("timed out", "", "no answer within 2 s"),
    "eats": ("out of memory", "", "300 MB allowed"),
    "breaks": ("broke contract", "", "gave "),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_the_right_fault_on_the_right_target(trial, stage, kind):
    ran = trial("faults")
    target = ran.target(f"shaky:{stage}-{kind}")
    name, signal, said = KINDS[kind]
    fault = target["fault"]
    assert (fault["stage"], fault["kind"], fault["signal"]) == (STAGES[stage], name, signal)
    assert said in fault["reason"]
    listed = [f for f in ran.report["faults"] if f["target"] == target["target"]]
    assert listed == [{"target": target["target"], **fault}], "once, and nothing after it"
    assert target["verdict"] == "NOT PROVEN" and target["decides"]
    reasons = [r["text"] for r in target["reasons"] if r["code"] == "run.fault"]
    assert len(reasons) == 1 and fault["reason"] in reasons[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_while_compiling_is_never_unsupported(trial, kind):
    built = trial("faults").target(f"shaky:compile_check-{kind}")["built"]
    assert built["verdict"] == "unknown"
    assert built["fp32"]["fault"]["kind"] == KINDS[kind][0]


@pytest.mark.parametrize("stage", ["build", "load", "run"])
def test_a_later_fault_leaves_the_compilers_answer_standing(trial, stage):
    target = trial("faults").target(f"shaky:{stage}-crashes")
    assert target["built"]["verdict"] == "supported"
    assert target["answers"] == {
        "compiles": "SHIP",
        "accurate": "NOT PROVEN",
        "fast": "not asked",
    }
    assert target["benchmark"] == []


def test_a_probe_that_crashes_leaves_nothing_to_try(trial):
    target = trial("faults").target("shaky:probe-crashes")
    assert (target["fault"]["stage"], target["fault"]["kind"]) == ("seatrial_probe", "crashed")
    assert target["built"] is None and target["availability"] is None


def test_the_other_backends_numbers_are_those_of_a_run_without_it(trial):
    alone, beside = trial("ship"), trial("faults")
    ours = [r for r in beside.report["ladder"] if r["target"] in (None, "onnxruntime:cpu")]
    assert ours == alone.report["ladder"]
    first, second = (t.target("onnxruntime:cpu") for t in (alone, beside))
    for key in ("verdict", "answers", "reasons", "claimed", "int8", "fault"):
        assert first[key] == second[key], key
    assert first["built"]["verdict"] == second["built"]["verdict"] == "supported"
    assert first["verdict"] == "SHIP"
    assert [r["precision"] for r in second["benchmark"]] == [
        r["precision"] for r in first["benchmark"]
    ]
