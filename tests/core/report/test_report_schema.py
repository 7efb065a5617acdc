"""The document: schema, strictness, exit codes, writing."""

from __future__ import annotations

import dataclasses
import importlib.resources
import importlib.util
import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from seatrial import results as r
from seatrial.codec import encode
from seatrial.report import Report, finish, model, new, quantize_rows, rows, speed_rows, target_rows
from seatrial.sla import SLA, LatencyLimit

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).parent / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


def schema():
    file = importlib.resources.files("seatrial.report") / "schema" / "report-1.json"
    return json.loads(file.read_text(encoding="utf-8"))


def validate(data):
    jsonschema.Draft202012Validator(schema()).validate(data)


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("name", examples.ALL)
def test_examples_are_valid_before_and_after_a_trip_through_json(name):
    report = Report(examples.ALL[name]())
    validate(report.data)
    again = json.loads(report.to_json(), parse_constant=refuse)
    assert again == report.data
    assert list(again)[:4] == ["schema", "command", "verdict", "exit_code"]


def test_a_new_report_is_valid_and_is_no_pass():
    for command in ("run", "check", "quantize", "bench"):
        report = Report(new(command))
        validate(report.data)
        assert report.exit_code == 3


def walk(part, path="$"):
    if isinstance(part, dict):
        yield path, part
        for key, value in part.items():
            yield from walk(value, f"{path}.{key}")
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from walk(value, f"{path}[{i}]")


def test_the_schema_is_strict_and_documents_every_key():
    document = schema()
    jsonschema.Draft202012Validator.check_schema(document)
    objects = 0
    for path, part in walk(document):
        if "properties" in part and isinstance(part["properties"], dict) and "type" in part:
            objects += 1
            assert part["additionalProperties"] is False, path
            # What came later is missing in older reports of the same schema, and says so.
            later = {
                key
                for key, value in part["properties"].items()
                if "left out by versions that did not know it" in value.get("description", "")
            }
            assert set(part["required"]) == set(part["properties"]) - later, path
            for key, value in part["properties"].items():
                known = "description" in value or "const" in value or "$ref" in value
                assert known, f"{path}.{key}"
    assert objects > 25


def test_an_unknown_key_is_refused_everywhere():
    data = finish(examples.do_not_ship())
    seen = 0
    validator = jsonschema.Draft202012Validator(schema())
    free = ("op_types", "opsets", "packages", "versions", "precisions", "layouts", "facts")
    for path, part in list(walk(data)):
        if path.endswith(free) or path.startswith(("$.input_contract", "$.noise", "$.export")):
            continue
        part["surprise"] = {}
        assert not validator.is_valid(data), path
        del part["surprise"]
        seen += 1
    assert seen > 60


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (rows.reason("c", "t"), "reason"),
        (rows.answers(), "answers"),
        (rows.model("m"), "model"),
        (rows.data_source("s"), "data_source"),
        (quantize_rows.calibration(), "calibration"),
        (quantize_rows.candidate("c"), "candidate"),
        (rows.ladder("onnx-fp32"), "ladder_row"),
        (target_rows.target("a:b"), "target"),
        (encode(r.Availability(usable=False)), "availability"),
        (target_rows.claimed(), "claimed"),
        (target_rows.built("unknown"), "built"),
        (target_rows.built_precision("unknown"), "built_precision"),
        (target_rows.artifact("onnx", "", 0), "artifact"),
        (target_rows.ran("device", "d"), "ran"),
        (target_rows.execution(), "execution"),
        (
            target_rows.layout(
                "NCHW", "NCHW", "", [target_rows.layout_variant("NHWC", "rewritten")]
            ),
            "layout",
        ),
        (speed_rows.conditions(), "conditions"),
        (speed_rows.ranking(), "ranking"),
        (speed_rows.generality("FP32"), "generality"),
        (speed_rows.optimisation(), "optimisation"),
        (speed_rows.pace(tried=[speed_rows.pace_try("less")]), "pace"),
        (speed_rows.pace(causes=[speed_rows.pace_cause("bound", "x")]), "pace"),
        (target_rows.int8("native"), "int8"),
        (speed_rows.benchmark("fp32", speedup=speed_rows.speedup("fp32", 1.0)), "bench_row"),
        (encode(r.Fault(kind=r.FaultKind.CRASHED, stage="s", reason="r")), "fault"),
        (rows.sla(), "sla"),
        (rows.environment(), "environment"),
    ],
)
def test_every_blank_row_fits_its_part_of_the_schema(row, name):
    document = schema()
    part = {"$ref": f"#/$defs/{name}", "$defs": document["$defs"]}
    jsonschema.Draft202012Validator(part).validate(row)


def test_a_misspelt_key_is_refused_where_it_is_made():
    with pytest.raises(TypeError, match="has no key 'p50'"):
        speed_rows.benchmark("fp32", p50=1.0)
    with pytest.raises(TypeError, match="has no key 'cos'"):
        quantize_rows.candidate("c", scores={"cos": 1.0})


def test_records_of_the_contract_encode_to_rows():
    sla = SLA(max_latency=LatencyLimit(quantile="p99", ms=12.0)).with_defaults()
    assert set(encode(sla)) == set(rows.sla())
    assert {f.name for f in dataclasses.fields(r.LayerRun)} == set(
        examples.ran_int8()["int8"]["layers"][0]
    )


def test_records_enums_and_numpy_numbers_become_json():
    data = examples.ship()
    data["targets"][0]["fault"] = r.Fault(kind=r.FaultKind.TIMED_OUT, stage="s", reason="r")
    data["targets"][0]["kind"] = r.TargetKind.SIMULATOR
    data["ladder"][0]["value"] = np.float32(71.5)
    data["ladder"][0]["n"] = np.int64(7)
    done = finish(data)
    validate(done)
    assert done["ladder"][0]["value"] == 71.5
    assert done["ladder"][0]["n"] == 7
    assert done["targets"][0]["fault"]["kind"] == "timed out"


def test_what_json_cannot_hold_is_an_error_with_its_place():
    data = examples.ship()
    data["noise"]["x"] = {1, 2}
    with pytest.raises(TypeError, match=r"\$\.noise\.x: a set"):
        finish(data)


def test_nan_and_infinity_become_null_and_are_named():
    data = examples.ship()
    data["ladder"][1]["value"] = math.nan
    data["ladder"][1]["ci95"] = [np.float64(-np.inf), math.inf]
    done = finish(data)
    validate(done)
    assert done["ladder"][1]["value"] is None
    assert done["not_finite"] == [
        {"path": "$.ladder[1].value", "was": "nan"},
        {"path": "$.ladder[1].ci95[0]", "was": "-inf"},
        {"path": "$.ladder[1].ci95[1]", "was": "inf"},
    ]
    assert finish(done) == done


def test_long_texts_keep_their_identity():
    data = examples.ship()
    data["model"]["producer"] = "a" * 20_000
    data["targets"][0]["title"] = "a" * 20_001
    done = finish(data)
    texts = done["model"]["producer"], done["targets"][0]["title"]
    assert all(len(text) <= model.LONGEST for text in texts)
    assert texts[0] != texts[1]
    assert "20000 characters" in texts[0]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ship", 0),
        ("do_not_ship", 1),
        ("not_proven", 3),
        ("refused", 3),
        ("interrupted", 130),
        ("faults", 3),
        ("check", 1),
        ("bench", 0),
        ("quantized", 0),
        ("trained", 0),
    ],
)
def test_exit_codes_of_the_examples(name, code):
    assert Report(examples.ALL[name]()).exit_code == code


@pytest.mark.parametrize(
    ("verdict", "fail_on", "code"),
    [
        ("SHIP", "not-proven", 0),
        ("NOT PROVEN", "not-proven", 3),
        ("NOT PROVEN", "do-not-ship", 0),
        ("DO NOT SHIP", "do-not-ship", 1),
        ("DO NOT SHIP", "never", 0),
        ("NOT PROVEN", None, 3),
    ],
)
def test_fail_on(verdict, fail_on, code):
    data = examples.ship() | {"verdict": verdict}
    data["sla"]["fail_on"] = fail_on
    assert finish(data)["exit_code"] == code
    assert finish(data | {"interrupted": True})["exit_code"] == 130


def checked(*verdicts):
    data = new("check")
    data["targets"] = [
        target_rows.target(f"x:{i}", decides=decides, built=verdict and target_rows.built(verdict))
        for i, (verdict, decides) in enumerate(verdicts)
    ]
    return data


@pytest.mark.parametrize(
    ("targets", "strict", "code"),
    [
        ([("supported", True)], False, 0),
        ([("supported", True), ("unsupported", False)], False, 0),
        ([("supported", True), ("unsupported", True)], False, 1),
        ([("partial", True)], False, 0),
        ([("partial", True)], True, 1),
        ([("unknown", True), ("supported", True)], False, 3),
        ([("unknown", True), ("unsupported", True)], False, 1),
        ([(None, True)], False, 3),
        ([("supported", False)], False, 3),
        ([], False, 3),
    ],
)
def test_exit_codes_of_check(targets, strict, code):
    assert finish(checked(*targets), strict=strict)["exit_code"] == code


def test_a_bench_with_a_fault_is_no_pass():
    data = examples.bench()
    data["targets"][1]["fault"] = examples.fault("crashed", "seatrial_load", "SIGSEGV")
    assert finish(data)["exit_code"] == 3
    data = examples.bench()
    data["targets"][1]["benchmark"] = [speed_rows.benchmark("fp32")]
    assert finish(data)["exit_code"] == 3


def test_a_quantization_without_a_chosen_candidate_is_no_pass():
    data = examples.quantized()
    for row in data["candidates"]:
        row["chosen"] = False
    assert finish(data)["exit_code"] == 3


def test_write_leaves_three_files_and_nothing_else(tmp_path):
    report = Report(examples.do_not_ship())
    assert report.path is None
    path = report.write(tmp_path / "deep" / "trial")
    assert report.path == path
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    validate(json.loads(path.read_text(encoding="ascii"), parse_constant=refuse))
    assert path.with_name("report.md").read_text(encoding="utf-8").startswith("## DO NOT SHIP")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    Report(examples.ship()).write(tmp_path)
    before = (tmp_path / "report.json").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Report(examples.faults()).write(tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
