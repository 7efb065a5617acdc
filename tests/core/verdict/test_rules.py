from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seatrial.benchmark.records import Facts, Timing
from seatrial.benchmark.rounds import QUANTILES
from seatrial.benchmark.stats import quantile
from seatrial.codec import encode
from seatrial.ladder.gates import Graded
from seatrial.report import rows, target_rows
from seatrial.results import Availability, Fault, FaultKind, Finding
from seatrial.sla import SLA, LatencyLimit
from seatrial.verdict.records import Case, Circumstances
from seatrial.verdict.rules import judge_run, judge_target, largest

NAME = "acme:chip"

refusal = Finding(reason="no such kernel", node="n1", op_type="Foo")


def target(**known: Any) -> dict[str, Any]:
    """A target that is there and took the model whole."""
    usual: dict[str, Any] = {
        "decides": True,
        "availability": encode(Availability(usable=True)),
        "built": target_rows.built("supported", fp32=target_rows.built_precision("supported")),
    }
    return target_rows.target(NAME, **(usual | known))


def rung(name: str, gate: str, code: str = "accuracy.drop", **known: Any) -> Graded:
    own = NAME if name.startswith("device") else None
    row = rows.ladder(name, target=own, gate=gate, reason="because", **known)
    return Graded(row=row, code=code, value_ci95=(88.0, 92.0))


def ladder(promise: str = "pass", equality: str = "pass", **known: Any) -> tuple[Graded, ...]:
    return (
        rung("onnx-fp32", "not applicable", "ladder.baseline"),
        rung("onnx-int8", "pass", against="onnx-fp32"),
        rung("device-int8", equality, against="onnx-int8"),
        rung("device-int8", promise, against="onnx-fp32", value=90.0, metric="top1", **known),
    )


def timing(*, ms: float = 10.0, rounds: int = 20, calls: int = 50, **known: Any) -> Timing:
    data = tuple(
        tuple(ms * (1 + 0.001 * ((i * 7 + k * 3) % 10)) for k in range(calls))
        for i in range(rounds)
    )
    facts = Facts(target=NAME, precision="INT8", **known)
    named = {k: quantile(data, q) for k, q in QUANTILES.items()}
    return Timing(facts=facts, rounds=data, quantiles=named, steady=True, peak_rss_mb=100.0)


def judged(
    row: dict[str, Any] | None = None,
    graded: tuple[Graded, ...] | None = None,
    timings: tuple[Timing, ...] = (),
    sla: SLA | None = None,
    **run: Any,
) -> Any:
    return judge_target(
        Case(
            target=row or target(),
            graded=ladder() if graded is None else graded,
            timings=timings,
            sla=(sla or SLA()).with_defaults(),
            run=Circumstances(**run),
        )
    )


def codes(verdict: Any, level: str = "error") -> list[str]:
    return [r["code"] for r in verdict.reasons if r["level"] == level]


def test_all_proven_ships_and_says_so() -> None:
    found = judged()
    assert found.verdict == "SHIP"
    assert found.answers == {"compiles": "SHIP", "accurate": "SHIP", "fast": "not asked"}
    assert codes(found) == []
    assert found.missing == ()


@pytest.mark.parametrize(
    ("built", "answer", "code"),
    [
        (None, "NOT PROVEN", "compile.unknown"),
        (target_rows.built("unknown"), "NOT PROVEN", "compile.unknown"),
        (
            target_rows.built(
                "unsupported",
                findings=[{"precision": "fp32", **encode(refusal)}],
            ),
            "DO NOT SHIP",
            "compile.unsupported",
        ),
        (
            target_rows.built(
                "partial",
                fp32=target_rows.built_precision(
                    "partial", placements=target_rows.placements(nowhere=2)
                ),
            ),
            "NOT PROVEN",
            "compile.nowhere",
        ),
    ],
)
def test_what_does_not_compile_does_not_ship(built: Any, answer: str, code: str) -> None:
    found = judged(target(built=built))
    assert found.verdict == found.answers["compiles"] == answer
    assert code in codes(found)


@pytest.mark.parametrize(
    ("share", "verdict"), [(None, "SHIP"), (0.12, "SHIP"), (0.8, "NOT PROVEN")]
)
def test_a_fallback_is_always_told(share: float | None, verdict: str) -> None:
    built = target_rows.built(
        "partial",
        int8=target_rows.built_precision("partial", placements=target_rows.placements(fallback=3)),
    )
    ran = target_rows.ran("device", "chip", int8=target_rows.execution(fallback_share=share))
    found = judged(target(built=built, ran=ran))
    assert found.verdict == verdict
    told = [r["text"] for r in found.reasons if r["part"] == "compiles"]
    assert "3 nodes fall back" in told[0]
    assert ("80%" if share == 0.8 else "12%" if share else "not known") in told[0]


def test_float_passed_off_as_int8_does_not_ship() -> None:
    ran = target_rows.ran("device", "chip", int8=target_rows.execution(precisions={"FP32": 12}))
    found = judged(target(ran=ran))
    assert found.verdict == "DO NOT SHIP"
    assert "compile.not-int8" in codes(found)
    mixed = target_rows.ran(
        "device", "chip", int8=target_rows.execution(precisions={"FP32": 2, "u8": 12})
    )
    assert judged(target(ran=mixed)).verdict == "SHIP"


@pytest.mark.parametrize(
    ("gate", "verdict"), [("fail", "DO NOT SHIP"), ("not proven", "NOT PROVEN")]
)
def test_the_promise_decides(gate: str, verdict: str) -> None:
    found = judged(graded=ladder(promise=gate, n_needed=1963))
    assert found.verdict == found.answers["accurate"] == verdict
    assert found.missing == ("about 1,963 labelled test samples",)


def test_a_broken_step_is_a_bug_even_if_the_promise_holds() -> None:
    assert judged(graded=ladder(equality="fail")).verdict == "DO NOT SHIP"


def test_unproven_equality_binds_only_who_asked_for_it() -> None:
    graded = ladder(equality="not proven")
    default = judged(graded=graded)
    assert default.verdict == "SHIP"
    assert "accuracy.drop" in codes(default, "warning")
    assert judged(graded=graded, sla=SLA(device_drop=0.5)).verdict == "NOT PROVEN"


@pytest.mark.parametrize(
    ("gate", "verdict"), [("fail", "DO NOT SHIP"), ("not proven", "NOT PROVEN")]
)
def test_a_baseline_that_is_none_decides(gate: str, verdict: str) -> None:
    graded = (rung("onnx-fp32", gate, "baseline.chance"), *ladder()[1:])
    found = judged(graded=graded)
    assert found.verdict == verdict
    assert "baseline.chance" in codes(found)


def test_other_targets_rows_and_the_other_int8_do_not_count() -> None:
    other = rung("device-int8", "fail", against="onnx-fp32")
    other.row["target"] = "acme:other"
    int8 = rung("onnx-int8", "fail", against="onnx-fp32")
    found = judged(graded=(*ladder(), other, int8))
    assert found.verdict == "SHIP"
    assert codes(found, "warning") == ["accuracy.drop"]


def test_an_artefact_that_did_not_run_proves_nothing() -> None:
    assert judged(graded=ladder()[:2]).answers["accurate"] == "NOT PROVEN"
    assert judged(graded=()).answers["accurate"] == "NOT PROVEN"
    assert judged(tested=False, graded=()).missing == ("test data",)


@pytest.mark.parametrize(
    ("known", "code"),
    [
        ({"overlap": 3}, "data.overlap"),
        ({"synthetic_calibration": True}, "data.synthetic-calibration"),
        ({"synthetic_test": True}, "data.synthetic-test"),
        ({"unfit": "54 samples are nearly the test set's"}, "data.unfit"),
        ({"overlap": 3, "unfit": "the same, told by the audit"}, "data.overlap"),
        ({"copied": "1,993 of 2,000 test samples are copies"}, "data.copies"),
        ({"varies": True}, "data.not-repeatable"),
    ],
)
def test_data_that_proves_nothing_caps_the_answer(known: dict[str, Any], code: str) -> None:
    found = judged(**known)
    assert found.answers["accurate"] == "NOT PROVEN"
    assert codes(found) == [code]
    failing = judged(graded=ladder(promise="fail"), **known)
    assert failing.verdict == "DO NOT SHIP"


def test_synthetic_calibration_does_not_touch_a_float_model() -> None:
    graded = (rung("device-float", "pass", against="onnx-fp32"),)
    assert judged(graded=graded, int8=False, synthetic_calibration=True).verdict == "SHIP"


@pytest.mark.parametrize(
    ("least", "answer"), [(85.0, "SHIP"), (90.0, "NOT PROVEN"), (93.0, "DO NOT SHIP")]
)
def test_the_least_metric_is_judged_by_its_interval(least: float, answer: str) -> None:
    found = judged(sla=SLA(min_metric=least))
    assert found.answers["accurate"] == answer
    assert any("88.00 to 92.00" in r["text"] for r in found.reasons)


def test_a_simulator_caps_everything_and_an_emulated_cpu_only_latency() -> None:
    sla = SLA(max_latency=LatencyLimit(quantile="p50", ms=20.0))
    run = {"timings": (timing(),), "sla": sla}
    assert judged(**run).verdict == "SHIP"
    simulated = judged(target(kind="simulator"), **run)
    assert simulated.answers == {
        "compiles": "SHIP",
        "accurate": "NOT PROVEN",
        "fast": "NOT PROVEN",
    }
    ran = target(ran=target_rows.ran("simulator", "model of a chip"))
    assert judged(ran).verdict == "NOT PROVEN"
    emulated = judged(target(kind="emulated"), **run)
    assert (emulated.answers["accurate"], emulated.answers["fast"]) == ("SHIP", "NOT PROVEN")
    assert "latency.emulated" in codes(emulated)


@pytest.mark.parametrize(
    ("quantile_", "limit", "answer"),
    [
        ("p50", 20.0, "SHIP"),
        ("p99", 20.0, "SHIP"),
        ("p50", 5.0, "DO NOT SHIP"),
        ("p50", 10.045, "NOT PROVEN"),
    ],
)
def test_latency_is_judged_by_its_interval(quantile_: str, limit: float, answer: str) -> None:
    sla = SLA(max_latency=LatencyLimit(quantile=quantile_, ms=limit))
    found = judged(timings=(timing(),), sla=sla)
    assert found.answers["fast"] == answer
    assert any(f"the limit is {limit:g} ms" in r["text"] for r in found.reasons)


def test_a_disturbed_machine_may_acquit_but_not_condemn() -> None:
    busy = ("the load was 9.0 on 2 CPUs before it began",)
    late = SLA(max_latency=LatencyLimit(quantile="p50", ms=5.0))
    found = judged(timings=(timing(),), sla=late, disturbances=busy)
    assert found.answers["fast"] == "NOT PROVEN"
    assert found.missing == ("a longer benchmark on a quiet machine",)
    early = SLA(max_latency=LatencyLimit(quantile="p50", ms=20.0))
    found = judged(timings=(timing(),), sla=early, disturbances=busy)
    assert found.answers["fast"] == "SHIP"
    assert codes(found, "warning") == ["latency.disturbed"]


def test_a_float_model_ships_in_the_pinned_precision() -> None:
    pinned = rung("device-float", "pass", against="onnx-fp32")
    native = rung("device-float", "fail", against="onnx-fp32", source="native")
    assert judged(graded=(pinned, native), int8=False).verdict == "SHIP"
    assert judged(graded=(native,), int8=False).verdict == "DO NOT SHIP"
    sla = SLA(max_latency=LatencyLimit(quantile="p50", ms=8.0))
    fp32, bf16 = (
        replace(timing(ms=ms), facts=Facts(target=NAME, precision=precision))
        for ms, precision in ((10.0, "FP32"), (5.0, "BF16"))
    )
    run = {"graded": (pinned,), "int8": False, "sla": sla}
    assert judged(timings=(fp32, bf16), **run).answers["fast"] == "DO NOT SHIP"
    assert judged(timings=(bf16,), **run).answers["fast"] == "SHIP"


@pytest.mark.parametrize(
    ("code", "source", "verdict"),
    [
        ("ladder.not-equal", None, "NOT PROVEN"),
        ("ladder.not-equal", "native", "SHIP"),
        ("accuracy.drop", "native", "SHIP"),
    ],
)
def test_a_float_that_is_not_what_it_is_called_leaves_a_doubt(
    code: str, source: str | None, verdict: str
) -> None:
    beside = rung("device-float", "fail", code, against="onnx-fp32", source=source)
    found = judged(graded=(*ladder(), beside))
    assert found.verdict == verdict
    assert codes(found, "error" if verdict == "NOT PROVEN" else "warning") == [code]


def test_few_calls_do_not_bound_p99() -> None:
    sla = SLA(max_latency=LatencyLimit(quantile="p99", ms=20.0))
    found = judged(timings=(timing(rounds=5, calls=20),), sla=sla)
    assert found.answers["fast"] == "NOT PROVEN"
    assert any("368 are the least" in r["text"] for r in found.reasons)


def test_memory_and_what_was_not_timed() -> None:
    assert judged(timings=(timing(),), sla=SLA(max_memory_mb=50.0)).answers["fast"] == "DO NOT SHIP"
    assert judged(timings=(timing(),), sla=SLA(max_memory_mb=150.0)).answers["fast"] == "SHIP"
    fault = Fault(kind=FaultKind.CRASHED, stage="run", reason="died", signal="SIGSEGV")
    dead = Timing(facts=Facts(target=NAME, precision="INT8"), fault=fault)
    for timings in ((), (dead,)):
        found = judged(timings=timings, sla=SLA(max_memory_mb=150.0))
        assert found.answers["fast"] == "NOT PROVEN"
        assert "latency.not-run" in codes(found)


def test_a_float_timing_does_not_answer_for_int8() -> None:
    found = judged(
        timings=(Timing(facts=Facts(target=NAME, precision="FP32")),),
        sla=SLA(max_latency=LatencyLimit(quantile="p50", ms=20.0)),
    )
    assert found.answers["fast"] == "NOT PROVEN"


def test_a_fault_is_never_a_ship_and_never_unsupported() -> None:
    kind = FaultKind.CRASHED
    died = Fault(kind=kind, stage="seatrial_build_int8", reason="died", signal="SIGSEGV")
    fault = encode(died)
    found = judged(target(fault=fault))
    assert found.verdict == "NOT PROVEN"
    assert found.faulted
    assert any("SIGSEGV" in r["text"] for r in found.reasons)
    unknown = judged(target(fault=fault, built=target_rows.built("unknown")))
    assert "compile.fault" in codes(unknown)
    assert judged(target(fault=fault), graded=ladder(promise="fail")).verdict == "DO NOT SHIP"


def test_the_verdict_is_bound_to_the_class_of_machine() -> None:
    row = target(
        availability=encode(Availability(usable=True, instruction_sets=("avx2", "avx512_vnni"))),
        machine_class="x86_64 with AVX-512 VNNI",
    )
    text = [r["text"] for r in judged(row).reasons if r["code"] == "target.machine-class"]
    assert "x86_64 with AVX-512 VNNI" in text[0]
    assert "not proven for CPUs without it" in text[0]


def test_a_verdict_says_how_the_lesser_machines_fared() -> None:
    row = target(
        availability=encode(Availability(usable=True, instruction_sets=("avx512_vnni",))),
        machine_class="x86_64 with AVX-512 VNNI",
    )
    case = Case(
        target=row,
        graded=ladder(),
        timings=(),
        sla=SLA().with_defaults(),
        kin=(
            ("a CPU without it", "b:CPU/old", "DO NOT SHIP"),
            ("a CPU with half of it", "b:CPU/half", "SHIP"),
        ),
    )
    (text,) = [r["text"] for r in judge_target(case).reasons if r["code"] == "target.machine-class"]
    assert "holds for x86_64 with AVX-512 VNNI" in text
    assert "does not hold for a CPU without it (b:CPU/old: DO NOT SHIP)" in text
    assert "also shown for a CPU with half of it" in text


@pytest.mark.parametrize(("where", "answer"), [("emulated", "SHIP"), ("device", "NOT PROVEN")])
def test_a_lesser_machine_that_was_not_acted_proves_nothing(where: str, answer: str) -> None:
    ran = target_rows.ran(where, "CPU", instruction_set="avx512")
    found = judged(target(kind="emulated", machine_class="a CPU with AVX2", ran=ran))
    assert found.verdict == answer
    said = [r["text"] for r in found.reasons if r["code"] == "target.not-emulated"]
    assert len(said) == (where == "device")
    assert all("a CPU with AVX2" in text and "avx512 kernels ran" in text for text in said)


def test_pictures_that_a_table_leaves_out_keep_a_verdict_open() -> None:
    found = judged(target(), unlisted="150 of 300 pictures of the folder have no row")
    assert found.verdict == "NOT PROVEN" and "data.unlisted" in codes(found)
    assert any("labels = FILE" in text for text in found.missing)


def test_an_unavailable_target_decides_only_if_named() -> None:
    row = target(availability=encode(Availability(usable=False, reason="no driver")), built=None)
    silent, named = judged(row, graded=()), judged(row, graded=(), named=(NAME,))
    assert (silent.decides, named.decides) == (False, True)
    good = judged()
    assert judge_run([("a", good), ("b", silent)], Circumstances()).verdict == "SHIP"
    assert judge_run([("a", good), ("b", named)], Circumstances()).verdict == "NOT PROVEN"


def test_the_run_is_its_worst_target() -> None:
    good, open_, bad = (judged(graded=ladder(promise=g)) for g in ("pass", "not proven", "fail"))
    run = Circumstances()
    assert judge_run([("a", good), ("b", good)], run).verdict == "SHIP"
    assert judge_run([("a", good), ("b", open_)], run).verdict == "NOT PROVEN"
    worst = judge_run([("a", open_), ("b", bad), ("c", good)], run)
    assert worst.verdict == worst.answers["accurate"] == "DO NOT SHIP"
    assert worst.answers["fast"] == "not asked"
    nothing = judge_run([], run)
    assert nothing.verdict == "NOT PROVEN"
    assert codes(nothing) == ["run.no-target"]


@pytest.mark.parametrize("run", [Circumstances(interrupted=True), Circumstances(faulted=True)])
def test_an_interrupted_or_faulted_run_never_ships(run: Circumstances) -> None:
    assert judge_run([("a", judged())], run).verdict == "NOT PROVEN"


def test_of_several_needs_for_samples_the_largest_is_told():
    needs = ["about 270 labelled test samples", "a device", "about 2,527 labelled test samples"]
    assert largest(needs) == ("about 2,527 labelled test samples", "a device")
    assert largest([]) == ()
