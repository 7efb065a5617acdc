"""``compare``: what counts as worse, what is refused, and that it works both ways."""

from __future__ import annotations

import contextlib
import copy
import importlib.resources
import importlib.util
import io
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seatrial
from seatrial.benchmark.machine import Disturbance, disturbed
from seatrial.cli import main
from seatrial.compare.read import DISTURBANCES
from seatrial.errors import UserError
from seatrial.ladder.bits import pack, unpack
from seatrial.options import CompareOptions
from seatrial.report import Report
from seatrial.report.compare_view import show

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).parents[1] / "report" / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

SCHEMA = json.loads(
    (importlib.resources.files("seatrial.report") / "schema" / "compare-1.json").read_text("utf-8")
)
MIRROR = {"regression": "improvement", "improvement": "regression"}


def write(folder, name, data):
    path = folder / name
    path.write_text(Report(data).to_json(), "utf-8")
    return str(path)


def compared(folder, old, new, **options):
    paths = {"old": write(folder, "old.json", old), "new": write(folder, "new.json", new)}
    result = seatrial.compare(CompareOptions(**paths, **options))
    jsonschema.Draft202012Validator(SCHEMA).validate(result.data)
    screen = io.StringIO()
    show(result.data, screen)
    assert result.to_markdown().startswith("## seatrial compare: ")
    assert result.data["conclusion"].upper() in screen.getvalue()
    return result


def found(result, kind, area=None):
    return [
        row
        for pair in result.data["pairs"]
        for row in pair["changes"]
        if row["kind"] == kind and area in (None, row["area"])
    ]


def with_right(data, scores):
    """Every rung answers like this."""
    for row in data["ladder"]:
        row.update(right=list(pack(scores)), n=len(scores), value=100 * sum(scores) / len(scores))
    return data


@pytest.mark.parametrize("name", examples.ALL)
def test_a_report_is_no_worse_than_itself(tmp_path, name):
    data = examples.ALL[name]()
    result = compared(tmp_path, data, data)
    assert not found(result, "regression") + found(result, "improvement")
    assert not found(result, "changed")
    # What was interrupted, and a report with nothing to compare, is no pass.
    assert result.exit_code == (3 if name in ("interrupted", "quantized", "trained") else 0)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=st.sampled_from(sorted(examples.ALL)),
    second=st.sampled_from(sorted(examples.ALL)),
    speed=st.floats(0.5, 2.0),
    memory=st.floats(0.5, 2.0),
    lost=st.integers(0, 60),
    won=st.integers(0, 60),
)
def test_swapping_turns_regressions_into_improvements(
    tmp_path, first, second, speed, memory, lost, won
):
    old = with_right(examples.ALL[first](), [1.0] * 300 + [0.0] * 100)
    new = examples.ALL[second]()
    new = with_right(new, [0.0] * lost + [1.0] * (300 - lost) + [1.0] * won + [0.0] * (100 - won))
    for target in new["targets"]:
        for row in target["benchmark"]:
            row["p50_ms"] *= speed
            row["ci95_ms"] = [speed * v for v in row["ci95_ms"]]
            row["peak_rss_mb"] *= memory
    there, back = compared(tmp_path, old, new), compared(tmp_path, new, old)

    def tally(result, kind):
        return sorted(
            (row["area"], row["target"] or "", row["subject"]) for row in found(result, kind)
        )

    for kind, mirrored in MIRROR.items():
        assert tally(there, kind) == tally(back, mirrored)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9000))
@settings(max_examples=40, deadline=None)
def test_bits_come_back(scores):
    texts = pack(scores)
    assert unpack(texts, len(scores)) == tuple(bool(s) for s in scores)
    assert unpack(texts, len(scores) + 4) is None
    assert all(len(text) <= 1024 for text in texts)


def test_scores_that_are_not_right_or_wrong_are_not_kept():
    assert pack([0.5, 1.0]) == () and pack([]) == ()
    assert unpack(["zz"], 8) is None and unpack(["f"], 3) is None


def test_accuracy_is_paired_where_samples_are_kept(tmp_path):
    old = with_right(examples.ship(), [1.0] * 400)
    new = with_right(examples.ship(), [0.0] * 12 + [1.0] * 388)
    result = compared(tmp_path, old, new)
    rows = found(result, "regression", "accuracy")
    assert result.exit_code == 1 and len(rows) == 4
    assert {row["method"] for row in rows} == {"paired"}
    assert rows[0]["difference"] == pytest.approx(3.0)
    assert 0 < rows[0]["ci95"][0] < 3 < rows[0]["ci95"][1]
    for data in (old, new):
        for row in data["ladder"]:
            row["right"] = []
    loose = found(compared(tmp_path, old, new), "regression", "accuracy")
    assert {row["method"] for row in loose} == {"unpaired"}
    # One sample of 400 is noise, and a tolerance makes twelve of them allowed.
    few = with_right(examples.ship(), [0.0] + [1.0] * 399)
    assert not found(compared(tmp_path, old, few), "regression", "accuracy")
    wide = compared(tmp_path, old, new, accuracy_tolerance=6.0)
    assert not found(wide, "regression", "accuracy")


def test_groups_and_other_test_sets_are_not_paired(tmp_path):
    old = with_right(examples.ship(), [1.0] * 400)
    new = with_right(examples.ship(), [0.0] * 12 + [1.0] * 388)
    for row in (*old["ladder"], *new["ladder"]):
        row["groups"] = 10
    result = compared(tmp_path, old, new)
    assert not found(result, "regression", "accuracy")
    assert "groups" in found(result, "same", "accuracy")[0]["text"]
    new["data"]["test"]["sha256"] = "0" * 64
    result = compared(tmp_path, old, new)
    assert result.exit_code == 3 and len(found(result, "not compared", "accuracy")) == 4
    assert "another test set" in result.data["reasons"][0]


def test_a_metric_that_is_better_when_lower(tmp_path):
    old, new = examples.ship(), examples.ship()
    for data, error in ((old, 2.0), (new, 3.0)):
        for i, row in enumerate(data["ladder"]):
            value = error + 0.1 * i
            row.update(metric="mae", unit="degrees", value=value, drop=0.1 * i or None)
            row["value_ci95"] = [value - 0.2, value + 0.2]
    assert len(found(compared(tmp_path, old, new), "regression", "accuracy")) == 4
    assert len(found(compared(tmp_path, new, old), "improvement", "accuracy")) == 4


def slower(factor, **changes):
    data = examples.ship()
    row = data["targets"][0]["benchmark"][1]
    row.update(p50_ms=row["p50_ms"] * factor, ci95_ms=[factor * v for v in row["ci95_ms"]])
    row.update(changes)
    return data


def test_latency_needs_both_intervals_and_tolerance(tmp_path):
    old = examples.ship()
    assert compared(tmp_path, old, slower(1.2)).exit_code == 1
    assert compared(tmp_path, old, slower(1.2), latency_tolerance=25.0).exit_code == 0
    assert compared(tmp_path, old, slower(1.045)).exit_code == 0  # beyond noise, not tolerance
    assert compared(tmp_path, old, slower(1.2, ci95_ms=[1.0, 9.0])).exit_code == 0
    assert compared(tmp_path, old, slower(1.2), fail_on=("accuracy",)).exit_code == 0
    assert found(compared(tmp_path, old, slower(0.8)), "improvement", "latency")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threads": 2}, "threads"),
        ({"notes": ["the load was 9.0 on 2 CPUs before it began"]}, "load"),
        ({"timed_by": "vendor"}, "clock"),
        ({"ci95_ms": None}, "interval"),
    ],
)
def test_latency_under_other_terms_is_not_compared(tmp_path, change, said):
    result = compared(tmp_path, examples.ship(), slower(1.5, **change))
    (row,) = found(result, "not compared", "latency")
    assert result.exit_code == 3 and said in row["text"]


def test_another_machine_is_not_compared_and_is_a_suspect(tmp_path):
    new = slower(2.0)
    new["targets"][0]["machine_class"] = "x86_64 without INT8 dot products"
    new["environment"]["cpu"]["model"] = "Another CPU"
    new["targets"][0]["availability"]["versions"] = {"openvino": "2027.0"}
    result = compared(tmp_path, examples.ship(), new)
    assert result.exit_code == 3 and not found(result, "regression")
    assert any("2027.0" in text for text in result.data["pairs"][0]["suspects"])
    assert any("Another CPU" in text for text in result.data["pairs"][0]["suspects"])
    assert compared(tmp_path, examples.ship(), new, fail_on=("accuracy",)).exit_code == 0


def test_what_disturbs_is_worded_as_it_is_read():
    before = Disturbance(total=0, stolen=0, load=9.0, throttled=0)
    after = Disturbance(total=100, stolen=50, load=9.0, throttled=3)
    texts = disturbed(before, after, 2)
    assert len(texts) == len(DISTURBANCES)
    assert all(any(text.startswith(said) for said in DISTURBANCES) for text in texts)


def test_memory_and_size(tmp_path):
    result = compared(tmp_path, examples.ship(), slower(1.0, peak_rss_mb=170.0))
    (row,) = found(result, "regression")
    assert row["area"] == "memory" and row["subject"].startswith("peak")
    result = compared(tmp_path, examples.ship(), slower(1.0, artifact_bytes=4_700_000))
    assert found(result, "regression")[0]["subject"].startswith("artefact")
    assert compared(tmp_path, examples.ship(), slower(1.0, peak_rss_mb=144.5)).exit_code == 0


def test_operators_that_are_no_longer_placed(tmp_path):
    new = examples.ship()
    new["targets"][0]["built"] = examples.built_partly()
    result = compared(tmp_path, examples.ship(), new)
    rows = found(result, "regression", "support")
    assert result.exit_code == 1 and len(rows) == 2
    assert rows[1]["subject"] == "INT8 HardSwish" and "12 nodes now on CPU" in rows[1]["text"]
    # One node more of the same operator is found too.
    more = copy.deepcopy(new)
    node = copy.deepcopy(more["targets"][0]["built"]["findings"][0]) | {"node": "/x/HardSwish"}
    more["targets"][0]["built"]["findings"].append(node)
    (row,) = found(compared(tmp_path, new, more), "regression")
    assert "1 node now" in row["text"] and "/x/HardSwish" in row["text"]


def test_other_limits_make_verdicts_incomparable(tmp_path):
    new = examples.ship()
    new["sla"]["max_drop"] = 0.1
    new["verdict"] = new["targets"][0]["verdict"] = "DO NOT SHIP"
    new["targets"][0]["answers"]["accurate"] = "DO NOT SHIP"
    new["input_contract"]["input"]["colour"] = "BGR"
    new["seed"] = 7
    result = compared(tmp_path, examples.ship(), new)
    assert result.exit_code == 3 and len(found(result, "not compared", "verdict")) == 3
    told = {row["subject"] for row in found(result, "changed")}
    assert {"limit max_drop", "contract input.colour", "seed"} <= told
    new["sla"]["max_drop"] = 1.0
    assert compared(tmp_path, examples.ship(), new).exit_code == 1


def test_what_only_old_has_cannot_be_told(tmp_path):
    new = examples.ship()
    new["targets"] = new["targets"][1:]
    assert compared(tmp_path, examples.ship(), new).exit_code == 3
    assert compared(tmp_path, new, examples.ship()).exit_code == 0
    nothing = compared(tmp_path, examples.check(), examples.check(), fail_on=("latency",))
    assert nothing.exit_code == 3 and "nothing to compare" in nothing.data["reasons"][0]


def test_folders_are_matched_by_model(tmp_path):
    for side, drop in (("base", 0.0), ("now", 1.0)):
        for name in ("a.onnx", "b.onnx"):
            data = slower(1.0 + drop if name == "b.onnx" else 1.0)
            data["model"].update(path=f"models/{name}", sha256=side + name)
            folder = tmp_path / side / name
            folder.mkdir(parents=True)
            Report(data).write(folder)
    options = CompareOptions(old=str(tmp_path / "base"), new=str(tmp_path / "now"))
    result = seatrial.compare(options)
    assert [pair["model"] for pair in result.data["pairs"]] == ["a.onnx", "b.onnx"]
    assert result.exit_code == 1 and len(found(result, "regression")) == 1
    (tmp_path / "now" / "a.onnx" / "report.json").unlink()
    alone = seatrial.compare(options)
    assert [side["model"] for side in alone.data["only_old"]] == ["models/a.onnx"]
    write(
        tmp_path / "base",
        "again.json",
        json.loads((tmp_path / "base" / "a.onnx" / "report.json").read_text("utf-8")),
    )
    with pytest.raises(UserError, match="two reports of one model"):
        seatrial.compare(options)


HOSTILE = {
    "empty": b"",
    "cut": b'{"schema": "seatrial.report/1", "targets": [{"tar',
    "list": b"[1]",
    "deep": b"[" * 200_000,
    "bytes": b"\xff\xfe\x00",
    "nan": b'{"schema": "seatrial.report/1", "seed": NaN}',
    "digits": b'{"schema": "seatrial.report/1", "seed": ' + b"9" * 5000 + b"}",
    "huge": b'{"schema": "seatrial.report/1", "seed": 1e999}',
    "type": b'{"schema": "seatrial.report/1", "targets": {"a": 1}}',
    "inner": b'{"schema": "seatrial.report/1", "targets": [3]}',
    "text": b'{"schema": "seatrial.report/1", "ladder": [{"rung": ["\\u001b[2J"]}]}',
    "interval": b'{"schema": "seatrial.report/1", "ladder": [{"value_ci95": [2, 1]}]}',
    "other": b'{"schema": "seatrial.backends/1"}',
    "major": b'{"schema": "seatrial.report/2"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_report_is_refused_in_one_line(tmp_path, capfd, name):
    good = write(tmp_path, "good.json", examples.ship())
    bad = tmp_path / "bad.json"
    bad.write_bytes(HOSTILE[name])
    for pair in ((good, str(bad)), (str(bad), good)):
        assert main(["compare", *pair]) == 2
        told = capfd.readouterr()
        assert told.out == "" and told.err.count("\n") == 1 and "bad.json" in told.err
        assert "\x1b" not in told.err


def test_names_from_a_report_cannot_draw(tmp_path):
    new = examples.ship()
    new["model"]["path"] = "\x1b[31m::error::\u202e|`<img>"
    new["targets"][0]["built"] = examples.built_partly()
    new["targets"][0]["built"]["findings"][0]["op_type"] = "\x1b]0;x\x07\n##[error]"
    result = compared(tmp_path, examples.ship(), new)
    screen = io.StringIO()
    show(result.data, screen, every=True)
    for text in (screen.getvalue(), result.to_markdown()):
        assert not set(text) & {"\x1b", "\x07", "\u202e"} and "<img>" not in result.to_markdown()
        assert not any(row.lstrip().startswith(("::", "##[")) for row in text.splitlines())


@pytest.mark.parametrize(
    "flags",
    [
        ["--fail-on", "speed"],
        ["--fail-on", ","],
        ["--latency-tolerance", "nan"],
        ["--json", "-", "--markdown", "-"],
    ],
)
def test_flags_are_refused_in_one_line(tmp_path, capfd, flags):
    good = write(tmp_path, "good.json", examples.ship())
    assert main(["compare", good, good, *flags]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_the_command_writes_its_documents(tmp_path, capfd):
    good, bad = write(tmp_path, "a.json", examples.ship()), write(tmp_path, "b.json", slower(2.0))
    assert main(["compare", good, bad, "--json", "-"]) == 1
    document = json.loads(capfd.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["reasons"] == ["latency: 1 regression"]
    assert main(["compare", good, bad, "-q", "--markdown", str(tmp_path / "c.md")]) == 1
    assert capfd.readouterr().out == "regression: latency: 1 regression\n"
    assert "| latency | openvino:CPU |" in (tmp_path / "c.md").read_text("utf-8")
    with contextlib.suppress(OSError):
        assert main(["compare", good, str(tmp_path / "none")]) == 2


def test_the_schema_is_strict_and_documented():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def walk(part):
        if isinstance(part, dict):
            yield part
            for value in part.values():
                yield from walk(value)

    for part in walk(SCHEMA):
        if isinstance(part.get("properties"), dict) and part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert set(part["required"]) == set(part["properties"])
            assert all("description" in value for value in part["properties"].values())
