"""Whole runs: every report is valid, agrees with itself, and says what the case is about."""

from __future__ import annotations

import json
import os
import shlex

import pytest

from seatrial.cli.app import parser
from seatrial.report.html import FAILED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

#: name -> verdict and exit code of the run.
EXPECTED = {
    "faults": ("NOT PROVEN", 3),
    "ship": ("SHIP", 0),
    "outlier": ("DO NOT SHIP", 1),
    "unlabelled": ("NOT PROVEN", 3),
    "agreement": ("SHIP", 0),
    "tree": ("SHIP", 0),
    "default": ("SHIP", 0),
    "few": ("DO NOT SHIP", 1),
    "overlap": ("NOT PROVEN", 3),
    "qdq": ("NOT PROVEN", 3),
    "plain": ("DO NOT SHIP", 1),
    "custom": (None, 1),
    "sly": (None, 3),
}
RUNS = [name for name, (verdict, _) in EXPECTED.items() if verdict]
BEST_FIRST = ["SHIP", "NOT PROVEN", "DO NOT SHIP"]


def worst(verdicts):
    return max(verdicts, key=BEST_FIRST.index)


@pytest.mark.parametrize("name", EXPECTED)
def test_verdict_and_exit_code(trial, valid, name):
    ran = trial(name)
    verdict, code = EXPECTED[name]
    assert ran.code == code, ran.err
    report = ran.report
    valid(report)
    assert (report["verdict"], report["exit_code"], report["interrupted"]) == (verdict, code, False)
    assert report["seed"] == 0 and report["command_line"][0] == "seatrial"
    assert "Traceback" not in ran.err and "internal error" not in ran.err


@pytest.mark.parametrize("name", RUNS)
def test_the_verdict_follows_from_its_parts(trial, name):
    report = trial(name).report
    deciding = [t for t in report["targets"] if t["decides"]]
    assert report["verdict"] == worst(t["verdict"] for t in deciding)
    for target in report["targets"]:
        if target["answers"] is None:
            assert target["verdict"] is None and not target["decides"]
            continue
        asked = [a for a in target["answers"].values() if a != "not asked"]
        at_best = worst([*asked, "NOT PROVEN"] if target["fault"] else asked)
        assert target["verdict"] == at_best, target["target"]
        errors = [r for r in target["reasons"] if r["level"] == "error"]
        assert bool(errors) == (target["verdict"] != "SHIP"), target["target"]
        for reason in target["reasons"]:
            assert reason["target"] == target["target"] and reason["text"]
    for part, answer in report["answers"].items():
        said = [t["answers"][part] for t in deciding if t["answers"][part] != "not asked"]
        assert answer == (worst(said) if said else "not asked")
    unproven = [t for t in deciding if t["answers"]["accurate"] == "NOT PROVEN"]
    assert bool(report["missing"]) == bool(unproven)


@pytest.mark.parametrize("name", RUNS)
def test_every_row_of_the_ladder_bears_its_gate(trial, name):
    report = trial(name).report
    judged = [row for row in report["ladder"] if row["metric"] != "cosine"]
    assert judged and judged[0]["rung"] in ("onnx-fp32", "onnx-int8")
    for row in judged:
        assert row["n"] == report["data"]["test"]["count"]
        assert row["ran_on"] and len(row["artifact"]) == 64 and row["reason"]
        if row["drop"] is not None and row["ci95"] is not None:
            low, high = row["ci95"]
            assert low <= row["drop"] <= high
            if row["gate"] == "pass" and "equal within" not in row["reason"]:
                assert high <= row["limit"]
            if row["gate"] == "not proven":
                assert low <= row["limit"] < high


@pytest.mark.parametrize("name", RUNS)
def test_timings_are_ordered_and_counted(trial, name):
    report = trial(name).report
    rows = [row for target in report["targets"] for row in target["benchmark"]]
    assert rows
    for row in rows:
        assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        low, high = row["ci95_ms"]
        assert low <= row["p50_ms"] <= high
        assert row["n"] > 0 and row["rounds"] > 0 and row["timed_by"] == "core"
        assert len(row["artifact"]) == 64 and row["artifact_bytes"] > 0


@pytest.mark.parametrize("name", EXPECTED)
def test_the_next_command_can_be_typed(trial, name):
    report = trial(name).report
    assert report["next"]
    for line in report["next"]:
        program, *words = shlex.split(line)
        if program == "seatrial":
            parser().parse_args(words)
        else:
            assert program == "cat"


@pytest.mark.parametrize("name", EXPECTED)
def test_every_fault_has_a_log_and_every_object_its_digest(trial, name):
    ran = trial(name)
    for fault in ran.report["faults"]:
        assert (ran.folder / "out" / fault["log"]).is_file(), fault
    assert (ran.folder / "out" / "report.md").read_text().startswith("## ")
    page = (ran.folder / "out" / "report.html").read_text("utf-8")
    assert FAILED not in page and 'id="map"' in page
    assert ("<img" in page and 'class="hist"' in page) or name != "ship"


def test_json_on_standard_output_is_the_report_alone(trial):
    ran = trial("ship")
    assert json.loads(ran.out) == ran.report


def test_quiet_is_one_line_without_progress(trial):
    ran = trial("tree")
    assert ran.err == ""
    assert ran.out.startswith("SHIP") and ran.out.count("\n") == 1


# --- each case says what it is about --------------------------------------------------------------


def codes(ran, level=None):
    return {r["code"] for r in ran.report["reasons"] if level in (None, r["level"])}


def test_an_outlier_channel_is_caught_and_the_float_model_is_not_blamed(trial):
    ran = trial("outlier")
    (float_row,) = ran.rungs("device-float", "onnxruntime:cpu")
    assert float_row["gate"] == "pass"
    promise = [
        row for row in ran.rungs("device-int8", "onnxruntime:cpu") if row["against"] == "onnx-fp32"
    ]
    assert [row["gate"] for row in promise] == ["fail"]
    assert promise[0]["drop"] > 20
    assert ran.report["answers"] == {
        "compiles": "SHIP",
        "accurate": "DO NOT SHIP",
        "fast": "not asked",
    }


def test_calibration_and_candidates_are_reported(trial):
    report = trial("ship").report
    assert report["data"]["calibration"]["count"] == 96
    assert report["data"]["test"]["count"] == 800 and report["data"]["test"]["labels"]
    chosen = [c for c in report["candidates"] if c["chosen"]]
    assert len(chosen) == 1 and len(report["candidates"]) >= 2
    # A candidate without scores was not tried, or not to its end, and says so.
    tried = [c for c in report["candidates"] if c["scores"].get("kl") is not None]
    assert len(tried) >= 2 and all(c["reason"] or c["fault"] for c in report["candidates"])
    best = min(c["scores"]["kl"] for c in tried)
    assert chosen[0]["scores"]["kl"] == pytest.approx(best, rel=0.1)
    (finding,) = [f for f in report["calibration"]["findings"] if f["code"] == "too-few"]
    assert finding["level"] == "warning" and "96 samples" in finding["text"]


def test_the_noise_floor_is_measured_rung_by_rung(trial):
    noise = trial("ship").report["noise"]
    float_ways = {"1 thread", "a second run", "denormals as zero", "optimisation off"}
    assert {k.partition(", ")[2] for k in noise if k.startswith("onnx-fp32") and "dB" not in k} == (
        float_ways
    )
    device = [k for k in noise if k.startswith("device-int8 onnxruntime:cpu") and "dB" not in k]
    assert {k.partition(", ")[2] for k in device} == {"1 thread", "a second run"}
    assert all(noise[k] == 100.0 for k in device)
    apart = noise["onnx-fp32 reference, optimisation off, dB"]
    assert apart == "identical" or apart > 80
    assert trial("default").report["noise"] == {}  # a quick run leaves it out


def test_without_labels_accuracy_is_not_proven_and_the_report_says_what_is_missing(trial):
    ran = trial("unlabelled")
    assert ran.report["missing"] == ["labels for the test set (or --accept-agreement)"]
    assert "accuracy.no-labels" in codes(ran, "error")
    for row in ran.report["ladder"]:
        assert row["metric"] in ("agreement", "cosine") and row["drop"] is None


def test_agreement_is_taken_for_labels_only_if_the_user_says_so(trial):
    ran = trial("agreement")
    assert ran.report["sla"]["accept_agreement"] == 90
    assert "accuracy.agreement" in codes(ran)
    (text,) = {r["text"] for r in ran.report["reasons"] if r["code"] == "accuracy.agreement"}
    assert "agreement accepted instead of labels" in text


def test_a_fixed_batch_is_fed_whole(trial):
    rows = trial("agreement").target("onnxruntime:cpu")["benchmark"]
    shapes = {(row["precision"], row["layout"]): tuple(row["shape"]) for row in rows}
    assert shapes == {
        ("FP32", "NCHW"): (4, 1, 8, 8),
        ("FP32", "NHWC"): (4, 8, 8, 1),
        ("INT8", ""): (4, 1, 8, 8),
    }
    assert trial("agreement").report["model"]["inputs"][0]["shape"] == [4, 1, 8, 8]


def test_both_layouts_are_proven_equal_and_timed(trial):
    for name, native, other in (("ship", "NCHW", "NHWC"), ("unlabelled", "NHWC", "NCHW")):
        ran = trial(name)
        layout = ran.target("onnxruntime:cpu")["layout"]
        assert layout["native"] == native and layout["chosen"] in (native, other)
        first, second = layout["variants"]
        assert (first["layout"], second["layout"]) == (native, other)
        assert second["equivalent"] is True and second["max_abs_error"] < 1e-4
        timed = {row["layout"]: row for row in ran.target("onnxruntime:cpu")["benchmark"]}
        assert timed[other]["p50_ms"] == second["p50_ms"]
        shapes = {layout: row["shape"][-1] for layout, row in timed.items() if layout}
        assert shapes == {"NCHW": 8, "NHWC": 1}


def test_too_few_samples_are_named_with_the_number_that_would_do(trial):
    ran = trial("few")
    row = next(
        r for r in ran.rungs("device-int8", "onnxruntime:cpu") if r["against"] == "onnx-fp32"
    )
    assert (row["gate"], row["n"]) == ("not proven", 40)
    assert row["n_needed"] > 300
    assert ran.target("onnxruntime:cpu")["verdict"] == "NOT PROVEN"
    assert f"about {row['n_needed']:,} labelled test samples" in ran.report["missing"]


def test_float_handed_out_as_int8_is_caught(trial):
    liar = trial("few").target("sly:liar")
    assert liar["verdict"] == "DO NOT SHIP"
    assert "ladder.not-int8" in {r["code"] for r in liar["reasons"]}


def test_an_int8_build_that_raises_is_the_targets_fault(trial):
    unable = trial("few").target("sly:unable")
    assert unable["verdict"] == "NOT PROVEN"
    assert (unable["fault"]["kind"], unable["fault"]["stage"]) == (
        "raised",
        "seatrial_build_int8",
    )
    assert unable["int8"]["fault"]["reason"] == "RuntimeError: no INT8 kernels in this build"
    (reason,) = [r for r in unable["reasons"] if r["code"] == "accuracy.not-run"]
    assert "no INT8 kernels in this build" in reason["text"]


def test_a_test_set_that_calibrated_is_no_test_set(trial):
    ran = trial("overlap")
    assert "data.overlap" in codes(ran, "error")
    assert ran.report["missing"] == ["a test set apart from calibration"]
    promise = [r for r in ran.rungs("device-int8", "onnxruntime:cpu") if r["limit"] == 50]
    assert [row["gate"] for row in promise] == ["pass"], "the numbers alone would have shipped"


@pytest.mark.parametrize(
    ("name", "code"), [("tree", "int8.tree-ensemble"), ("plain", "int8.nothing-to-quantize")]
)
def test_a_model_that_int8_cannot_help_is_tried_in_float_and_told_so(trial, name, code):
    ran = trial(name)
    assert code in codes(ran, "info")
    assert ran.report["candidates"] == [] and ran.report["data"]["calibration"] is None
    assert {row["rung"] for row in ran.report["ladder"]} == {"onnx-fp32", "device-float"}
    assert ran.target("onnxruntime:cpu")["int8"] is None
    assert ran.target("onnxruntime:cpu")["answers"]["compiles"] == "SHIP"


def test_a_model_that_guesses_does_not_ship(trial):
    texts = [r["text"] for r in trial("plain").report["reasons"] if r["level"] == "error"]
    assert any("at chance level" in text for text in texts)


def test_a_quantised_model_is_tried_as_it_is_and_its_float_original_is_missed(trial):
    ran = trial("qdq")
    assert ran.report["candidates"] == []
    digest = ran.report["model"]["sha256"]
    rows = [r for r in ran.report["ladder"] if r["metric"] != "cosine"]
    assert {r["source"] for r in rows} == {f"qdq:{digest[:16]}"}
    assert {r["rung"] for r in rows} == {"onnx-int8", "device-int8"}
    same = [r for r in rows if r["against"] == "onnx-int8"]
    assert [r["agreement"] for r in same] == [100.0]
    (missing,) = ran.report["missing"]
    assert missing.startswith("the float model to compare with") and "--qdq" in missing


def test_an_operator_that_one_compiler_knows(trial):
    ran = trial("custom")
    own, other = ran.target("onnxruntime:cpu"), ran.target("openvino:CPU")
    assert own["built"]["verdict"] == "supported"
    assert other["built"]["verdict"] == "unsupported"
    (finding,) = [f for f in other["built"]["findings"] if f["precision"] == "fp32"]
    assert (finding["node"], finding["op_type"], finding["domain"]) == (
        "odd",
        "Inverse",
        "com.microsoft",
    )
    assert other["claimed"]["counts"]["unsupported"] == 1


def test_default_targets_decide_if_they_are_usable_and_a_ruin_does_not(trial):
    ran = trial("default")
    deciding = {t["target"] for t in ran.report["targets"] if t["decides"]}
    assert deciding == {"onnxruntime:cpu", "openvino:CPU"}
    ruin = ran.target("ruin")
    assert (ruin["fault"]["kind"], ruin["fault"]["signal"]) == ("crashed", "SIGABRT")
    assert ruin["verdict"] is None
    assert [f["target"] for f in ran.report["faults"]] == ["ruin"]
    assert "run.quick" in codes(ran, "info")
    # The pinned FP32 is FP32 even where the runtime would rather run in BF16.
    pinned = [r for r in ran.rungs("device-float", "openvino:CPU") if r["source"] is None]
    assert [r["gate"] for r in pinned] == ["pass"]
    assert "FP32" in pinned[0]["ran_on"]


def test_a_plugin_that_claims_too_much_is_held_to_its_evidence(trial):
    ran = trial("sly")
    assert ran.target("onnxruntime:cpu")["built"]["verdict"] == "supported"
    boastful = ran.target("sly:boastful")["built"]
    assert boastful["verdict"] == "partial"
    assert boastful["fp32"]["placements"]["fallback"] == 1
    assert any("the backend said supported" in note for note in boastful["fp32"]["notes"])
    assert ran.target("sly:shallow")["built"]["verdict"] == "unknown"


def test_a_static_table_that_raises_is_a_fault_and_no_more(trial):
    ran = trial("sly")
    tableless = ran.target("sly:tableless")
    assert tableless["built"]["verdict"] == "supported" and tableless["fault"] is None
    (fault,) = [f for f in ran.report["faults"] if f["target"] == "sly:tableless"]
    assert (fault["stage"], fault["kind"]) == ("seatrial_check_static", "raised")
    assert fault["reason"] == "LookupError: the table is gone"


def test_limits_from_flags_are_asked(trial):
    report = trial("tree").report
    assert report["sla"]["max_latency"] == {"quantile": "p99", "ms": 60_000.0}
    assert report["sla"]["max_memory_mb"] == 8192
    (target,) = [t for t in report["targets"] if t["decides"]]
    assert target["answers"]["fast"] == "SHIP"
    # Its own table says one thread; the command says nothing.
    assert {row["threads"] for row in target["benchmark"] if row["streams"] == 1} == {1}
    # Fewer calls do not bound a p99 from above.
    assert all(row["n"] >= 368 for row in target["benchmark"])


def test_free_shapes_and_calls_in_flight_are_timed_and_priced(trial):
    target = trial("ship").target("onnxruntime:cpu")
    forms = {(row["precision"], row["form"], row["streams"]) for row in target["benchmark"]}
    assert {("FP32", "static", 1), ("FP32", "dynamic", 1), ("INT8", "dynamic", 1)} <= forms
    streams = min(len(os.sched_getaffinity(0)), 8)
    if streams > 1:
        assert {("FP32", "static", streams), ("INT8", "static", streams)} <= forms
    prices = {row["precision"]: row for row in target["generality"]}
    assert set(prices) == {"FP32", "INT8"}
    for row in prices.values():
        assert row["ratio"] == pytest.approx(row["dynamic_ms"] / row["static_ms"], rel=0.5)
        assert row["text"]


def test_what_the_optimiser_did_changes_nothing_that_counts(trial):
    row = trial("ship").target("onnxruntime:cpu")["optimisation"]
    assert row["told"] and row["layers"] > 0 and row["fused"]
    assert (row["equal"], row["n"], row["off"]) == (True, 8, "the target itself")
    assert row["max_rel_error"] <= row["tolerance"]


def test_why_int8_is_as_fast_as_it_is_and_under_which_conditions(trial):
    report = trial("ship").report
    pace = trial("ship").target("onnxruntime:cpu")["pace"]
    assert pace["text"] and pace["recommend"] in ("", "FP32", "INT8")
    # Microseconds: whatever else is found, dispatch is, and nothing is tried against it.
    assert "dispatch" in {cause["code"] for cause in pace["causes"]}
    assert pace["tried"] == []
    assert report["conditions"]["cores"] == len(os.sched_getaffinity(0))
    assert report["conditions"]["threads"] == 1
    assert report["ranking"] and all(row["places"] for row in report["ranking"])
