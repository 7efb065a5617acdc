"""The page on ``compare``: its workflow is YAML, and its commands do what it says."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from seatrial.cli import main
from seatrial.cli.app import parser
from seatrial.report import Report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci/compare.md").read_text("utf-8")

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", ROOT / "tests/core/report/examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_workflow_is_yaml():
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    named = {step.get("name"): step.get("run", "") for step in steps}
    assert named["gate"].startswith("seatrial compare ") and "run" in named["trial"]
    assert all(("run" in step) != ("uses" in step) for step in steps)


def commands():
    lines = re.findall(r"seatrial (?:compare|run) .*", "\n".join(blocks("sh") + blocks("yaml")))
    assert len(lines) == 3
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_its_commands(tmp_path, monkeypatch, words):
    parser().parse_args(words)
    if words[0] != "compare":
        return
    monkeypatch.chdir(tmp_path)
    Report(examples.ship()).write("trial")
    Path("baseline.json").write_text(Report(examples.ship()).to_json(), "utf-8")
    assert main(words) == 0
    worse = examples.ship()
    worse["targets"][0]["built"] = examples.built_partly()
    Report(worse).write("trial")
    assert main(words) == 1
    if "--json" in words:
        assert json.loads(Path("compare.json").read_text("utf-8"))["exit_code"] == 1
        assert "HardSwish" in Path("compare.md").read_text("utf-8")


def test_its_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Report(examples.ship()).write("trial")
    Path("baseline.json").write_text(Report(examples.ship()).to_json(), "utf-8")
    (code,) = blocks("python")
    exec(compile(code, "compare.md", "exec"), {})
    assert capsys.readouterr().out.startswith("0 {'regression': 0,")
