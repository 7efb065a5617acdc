"""A build hook that refuses a form which nobody checked gives an answer, not a fault."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from seatrial import bench, check
from seatrial.options import BenchOptions, CheckOptions
from seatrial.report import speed_view

TARGETS = ("honest", "crude", "fickle")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("refused") / "model.onnx"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3, 8, 8]) for n in ("x", "y")]
    node = helper.make_node("Relu", ["x"], ["y"], name="stem")
    made = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(made, path)
    return str(path)


@pytest.fixture(scope="module")
def report(plugins, model):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(plugins))
        return bench(
            BenchOptions(
                models=(model,),
                targets=tuple(f"picky:{name}" for name in TARGETS),
                seconds=0.05,
                streams=1,
            )
        ).data


def of(report, name):
    (target,) = [t for t in report["targets"] if t["target"] == f"picky:{name}"]
    return target


def test_a_refusal_is_kept_with_its_findings_and_is_no_fault(report):
    layout = of(report, "honest")["layout"]
    reasons = {}
    for row in layout["variants"][1:]:
        assert row["fault"] is None and row["equivalent"] is None
        assert [f["node"] for f in row["refused"]] == ["stem", "stem"]
        assert row["reason"].startswith("the compiler refuses this form: stem: ")
        assert row["reason"].endswith("(and 1 more)")
        reasons[row["layout"], row["dtype"]] = row["refused"][0]["reason"]
    assert reasons == {
        ("NHWC", ""): "no kernels for NHWC",
        ("NHWC", "uint8"): "no kernels for bytes",
    }
    (free,) = of(report, "honest")["generality"]
    assert free["text"].startswith("the compiler refuses this form: stem: shapes must be fixed")
    assert [f for f in report["faults"] if f["target"] == "picky:honest"] == []


def test_the_layout_part_says_refused(report):
    sheet = speed_view.layouts(report)
    shown = {(row[0], row[1]): row[2] for row in sheet.rows}
    assert shown["picky:honest", "NHWC"] == shown["picky:honest", "NHWC uint8"] == "refused"
    assert shown["picky:crude", "NHWC"] == shown["picky:crude", "NHWC uint8"] == "raised"
    assert any("no kernels for bytes" in note for note in sheet.notes)


def test_any_other_exception_stays_a_fault(report):
    faults = [f for f in report["faults"] if f["target"] == "picky:crude"]
    assert sorted(f["stage"] for f in faults) == [
        "seatrial_build",
        "seatrial_build",
        "seatrial_transform_layout",
    ]
    for row in of(report, "crude")["layout"]["variants"][1:]:
        assert row["fault"]["kind"] == "raised" and row["refused"] == []


def test_the_form_that_was_asked_for_stays_a_fault_when_it_is_refused(report):
    fault = of(report, "fickle")["fault"]
    assert (fault["kind"], fault["reason"]) == ("raised", "RefusedError: not today")


@pytest.mark.parametrize("verb", ["check", "bench"])
def test_an_option_that_the_backend_does_not_list_is_warned_of(
    report, plugins, model, tmp_path, verb
):
    given = "{methd = 1, method = 2, 'net.depth' = 3, zzz = 4}"
    (tmp_path / "c.toml").write_text(
        f"[target.picky]\noptions = {given}\n[target.sly]\noptions = {given}\n"
    )
    more = {"config": str(tmp_path / "c.toml"), "targets": ("picky:honest", "sly:shallow")}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(plugins))
        if verb == "check":
            data = check(CheckOptions(model=model, **more)).data
        else:
            data = bench(BenchOptions(models=(model,), quick=True, seconds=0.05, **more)).data
    told = {r["text"]: r for r in data["reasons"] if r["code"] == "target.option"}
    what = "the option {} is not known to this backend and does nothing ({})"
    assert list(told) == [
        what.format("methd", "did you mean method?"),
        what.format("zzz", "known: method, net.*"),
    ]
    assert {(r["target"], r["level"]) for r in told.values()} == {("picky:honest", "warning")}
    assert [r for r in report["reasons"] if r["code"] == "target.option"] == []
