"""Mixed precision: what is tried, what is kept, and what the report says of it."""

from __future__ import annotations

import importlib.resources
import io
import json
import math

import jsonschema
import pytest

from seatrial import api
from seatrial.options import QuantizeOptions, RunOptions
from seatrial.report import terminal
from seatrial.sla import SLA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def recovered(shelf, tmp_path_factory):
    """A net whose outlier channel ruins INT8, run with every remedy allowed."""
    out = tmp_path_factory.mktemp("recovered") / "out"
    options = RunOptions(
        model=str(shelf / "outlier.onnx"),
        calibration=f"{shelf / 'calibration.npz'}[0:48]",
        test=f"{shelf / 'test.npz'}[0:96]",
        targets=("onnxruntime:cpu",),
        sla=SLA(max_drop=2.0),
        out=str(out),
    )
    return api.run(options)


def row(report):
    (one,) = report.data["recovery"]
    return one


def the_report_is_valid(recovered):
    file = importlib.resources.files("seatrial.report") / "schema" / "report-1.json"
    data = json.loads(recovered.to_json())
    jsonschema.Draft202012Validator(json.loads(file.read_text("utf-8"))).validate(data)


def the_diagnosis_names_the_residual_stream(recovered):
    (found,) = recovered.data["diagnosis"]
    assert 0 < found["evaluations"] <= 72 and found["quantisers"] > 5
    worst = found["culprits"][0]
    assert {"stem", "residual", "pointwise"} & {worst["node"], *worst["nodes"], *worst["readers"]}
    codes = {c["cause"]["code"] for c in found["culprits"]} | {
        code for c in found["culprits"] for code in c["also"]
    }
    assert "outlier-channel" in codes


def layers_are_put_back_until_the_rule_is_met(recovered):
    found = row(recovered)
    points = {p["name"]: p for p in found["points"]}
    full = points["full INT8"]
    assert found["in_danger"] is (full["meets"] is False)
    chosen = [p for p in found["points"] if p["chosen"]]
    assert len(chosen) == 1 and chosen[0]["name"] == found["chosen"]
    if found["in_danger"]:
        assert chosen[0]["meets"] and chosen[0]["nodes"]
        fewer = [p for p in found["points"] if p["kind"] != "float" and p["meets"]]
        assert len(chosen[0]["nodes"]) == min(len(p["nodes"]) for p in fewer)
        assert chosen[0]["loss"] < full["loss"]


def every_point_has_its_price_and_no_point_of_the_front_is_beaten(recovered):
    found = row(recovered)
    priced = [
        (p["loss"], t["p50_ms"], t["front"])
        for p in found["points"]
        for t in p["targets"]
        if p["loss"] is not None and t["p50_ms"] is not None
    ]
    assert len(priced) >= 2 and any(front for _, _, front in priced)
    for loss, ms, front in priced:
        beaten = any(x <= loss and y <= ms and (x, y) != (loss, ms) for x, y, _ in priced)
        assert front != beaten
    for point in found["points"]:
        for price in point["targets"]:
            if price["of_fp32"] is not None and price["of_fp32_ci95"]:
                low, high = price["of_fp32_ci95"]
                assert low <= price["of_fp32"] <= high and math.isfinite(high)


def what_was_chosen_is_what_the_ladder_judges(recovered):
    found = row(recovered)
    (chosen,) = [c for c in recovered.data["candidates"] if c["chosen"] and c["source"] == "core"]
    ladder = [
        r for r in recovered.data["ladder"] if r["rung"] == "onnx-int8" and r["drop"] is not None
    ]
    assert ladder and all(r["artifact"] == chosen["sha256"] for r in ladder)
    if found["in_danger"]:
        assert "in-float" in chosen["name"]
        assert recovered.data["verdict"] != "DO NOT SHIP"


def the_views_show_worst_layers_and_prices(recovered):
    stream = io.StringIO()
    terminal.show(recovered, stream)
    shown = stream.getvalue()
    assert "Diagnosis" in shown and "Mixed precision" in shown and "full INT8" in shown
    said = ("INT8 pays here", "INT8 does not pay here", "too few rounds tell whether INT8")
    assert any(text in shown for text in said)
    from seatrial.report import markdown

    assert "### Diagnosis" in markdown.render(recovered.data)


#: What one run is looked at for; in one test, so that two workers do not run it twice.
LOOKS = (
    the_report_is_valid,
    the_diagnosis_names_the_residual_stream,
    layers_are_put_back_until_the_rule_is_met,
    every_point_has_its_price_and_no_point_of_the_front_is_beaten,
    what_was_chosen_is_what_the_ladder_judges,
    the_views_show_worst_layers_and_prices,
)


def test_a_run_that_recovers(recovered, subtests):
    for look in LOOKS:
        with subtests.test(look.__name__):
            look(recovered)


@pytest.mark.parametrize("forbidden", [True, pytest.param(False, marks=pytest.mark.long)])
def test_quantize_recovers_without_timing_and_all_int8_forbids_it(shelf, tmp_path, forbidden):
    report = api.quantize(
        QuantizeOptions(
            model=str(shelf / "outlier.onnx"),
            calibration=f"{shelf / 'calibration.npz'}[0:96]",
            out=str(tmp_path / "made.onnx"),
            targets=("onnxruntime:cpu",),
            all_int8=forbidden,
        ),
    )
    found = row(report)
    assert report.data["diagnosis"]
    assert not any(p["targets"] for p in found["points"])
    if forbidden:
        assert [p["name"] for p in found["points"]] == ["full INT8"]
    elif found["in_danger"]:
        assert found["met"] and found["chosen"] != "full INT8"
