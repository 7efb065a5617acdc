"""JUnit, SARIF and CSV: true to the report, and inert whatever the names are."""

import csv
import importlib.util
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.cli import main
from seatrial.report import Report, formats, junit, rows, sarif, tables

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).parent / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

WHOLE = (
    "ship", "do_not_ship", "not_proven", "check", "bench", "calibrated", "quantized", "trained",
    "interrupted", "refused", "faults", "candidates", "advised",
)  # fmt: skip


def reports():
    """Every example that is a whole report."""
    for name in WHOLE:
        made = getattr(examples, name)
        try:
            data = made()
        except TypeError:
            continue
        if isinstance(data, dict) and "schema" in data:
            yield name, Report(data)


REPORTS = dict(reports())


def hostile(text):
    data = examples.do_not_ship()
    data["reasons"] = [rows.reason("accuracy.drop", text, target=text)]
    data["faults"] = [
        {"target": text, "kind": "raised", "stage": text, "reason": text, "signal": "", "log": text}
    ]
    data["targets"][0]["target"] = text
    return Report(data).data


def test_there_are_examples_of_every_outcome():
    assert {report.exit_code for report in REPORTS.values()} >= {0, 1, 3, 130}


@pytest.mark.parametrize("name", REPORTS)
def test_junit_fails_exactly_when_the_command_does(name):
    root = ET.fromstring(junit.render(REPORTS[name].data))
    bad = root.findall(".//failure") + root.findall(".//error")
    assert bool(bad) == (REPORTS[name].exit_code != 0)
    assert int(root.get("failures")) == len(root.findall(".//failure"))
    assert int(root.get("tests")) == len(root.findall(".//testcase"))


def test_a_lenient_limit_leaves_no_failure():
    data = examples.not_proven()
    data["faults"] = []
    data["sla"] = rows.sla(max_drop=1.0, fail_on="do-not-ship")
    report = Report(data)
    assert report.exit_code == 0
    root = ET.fromstring(junit.render(report.data))
    assert root.findall(".//failure") == root.findall(".//error") == []
    assert root.findall(".//skipped")


def test_junit_has_a_case_for_every_question_and_rung():
    report = REPORTS["do_not_ship"]
    root = ET.fromstring(junit.render(report.data))
    for target in report.data["targets"]:
        suite = next(s for s in root if s.get("name") == target["target"])
        names = {case.get("name") for case in suite}
        rungs = {r["rung"] for r in report.data["ladder"] if r["target"] == target["target"]}
        assert rungs <= {n.split(" ")[0] for n in names}
        assert set(target["answers"] or {}) <= names


@pytest.mark.parametrize("name", REPORTS)
def test_sarif_names_its_rules_and_points_at_the_model(name):
    data = REPORTS[name].data
    run = json.loads(sarif.render(data))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    levels = {"error", "warning", "note", "none"}
    for row in run["results"]:
        assert rules[row["ruleIndex"]]["id"] == row["ruleId"]
        assert row["level"] in levels
        assert row["message"]["text"]
        where = row["locations"][0]["physicalLocation"]
        assert where["artifactLocation"]["uri"]
        assert where["region"]["startLine"] >= 1
    assert run["invocations"][0]["exitCode"] == data["exit_code"]


def test_sarif_tells_the_story_and_names_the_node():
    report = Report(examples.do_not_ship())
    run = json.loads(sarif.render(report.data))["runs"][0]
    stories = [rule for rule in run["tool"]["driver"]["rules"] if "help" in rule]
    assert stories
    nodes = {
        f["node"]
        for t in report.data["targets"]
        for f in (t["built"] or {"findings": ()})["findings"]
    }
    named = {
        place["fullyQualifiedName"]
        for row in run["results"]
        for place in row["locations"][0].get("logicalLocations", ())
    }
    assert {n for n in nodes if n} <= named


def test_fingerprints_outlive_figures():
    data = examples.do_not_ship()
    before = json.loads(sarif.render(Report(data).data))["runs"][0]["results"]
    for row in data["reasons"]:
        row["text"] = row["text"].replace("1", "7").replace("2", "8")
    after = json.loads(sarif.render(Report(data).data))["runs"][0]["results"]
    marks = [[r["partialFingerprints"]["seatrial/v1"] for r in rows_] for rows_ in (before, after)]
    assert marks[0] == marks[1]
    assert len(set(marks[0])) > 1


@pytest.mark.parametrize("name", REPORTS)
def test_tables_keep_every_row(name):
    data = REPORTS[name].data
    made = tables.tables(data)
    assert len(made.get("ladder", [])) == len(data["ladder"])
    assert len(made.get("verdicts", [])) == len(data["targets"])
    assert len(made.get("benchmark", [])) == sum(len(t["benchmark"]) for t in data["targets"])
    assert all(made.values())


TEXT = st.text(max_size=40) | st.sampled_from(
    ["=cmd|' /C calc'!A0", "]]>", "<x>&amp;", "\x00", "\x1b[2J", "\ud800", "::error::x", 'a\nb,c"d']
)


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_names_are_inert_in_every_form(text):
    data = hostile(text)
    ET.fromstring(junit.render(data))
    json.loads(sarif.render(data))
    for made in tables.tables(data).values():
        parsed = list(csv.reader(io.StringIO(tables.to_csv(made), newline="")))
        assert len(parsed) == len(made) + 1
        assert len({len(row) for row in parsed}) == 1
        for cell in (c for row in parsed[1:] for c in row if isinstance(c, str)):
            number = cell[:1] == "-" and cell[1:2].isdigit()
            assert number or not cell.startswith(("=", "+", "-", "@"))


def test_every_form_is_written_and_the_exit_code_is_the_trial_s(tmp_path, capsys):
    report = REPORTS["do_not_ship"]
    report.write(tmp_path / "trial")
    forms = "json,markdown,junit,sarif,csv"
    assert (
        main(["report", str(tmp_path / "trial"), "--format", forms, "-o", str(tmp_path / "x")]) == 1
    )
    written = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "x" / "report.junit.xml") in written
    assert all(Path(line).is_file() for line in written)
    assert json.loads((tmp_path / "x" / "report.json").read_text()) == report.data


def test_one_form_goes_to_standard_output_alone(tmp_path, capsys):
    REPORTS["ship"].write(tmp_path)
    assert main(["report", str(tmp_path), "--format", "junit", "-o", "-"]) == 0
    ET.fromstring(capsys.readouterr().out)
    assert main(["report", str(tmp_path), "--format", "junit,sarif", "-o", "-"]) == 2
    assert "only one document" in capsys.readouterr().err


def test_without_a_form_the_overview_is_shown_again(tmp_path, capsys):
    REPORTS["ship"].write(tmp_path)
    REPORTS["ship"].show()
    first = capsys.readouterr().out
    assert main(["report", str(tmp_path)]) == 0
    again = capsys.readouterr().out
    assert [line for line in first.splitlines() if "SHIP" in line] == [
        line for line in again.splitlines() if "SHIP" in line
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "was cut off"),
        ("[]", "is no report of seatrial"),
        ('{"schema": "seatrial.report/9"}', "this version reads seatrial.report/1"),
        ('{"schema": "seatrial.report/1", "command": "run", "ladder": 3}', "not a whole report"),
        (
            '{"schema": "seatrial.report/1", "command": "run", "targets": [{}]}',
            "not a whole report",
        ),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path, capsys, content, reason):
    (tmp_path / "report.json").write_text(content)
    assert main(["report", str(tmp_path), "--format", "markdown"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert reason in error


def test_unknown_forms_and_levels_are_refused(tmp_path, capsys):
    REPORTS["ship"].write(tmp_path)
    assert main(["report", str(tmp_path), "--format", "pdf"]) == 2
    assert "there is no form 'pdf'" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--share", "friends"]) == 2
    assert "there is no level 'friends'" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_all_forms_have_a_file_of_their_own():
    assert len({form.file for form in formats.FORMS.values()}) == len(formats.FORMS)
