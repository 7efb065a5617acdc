"""Every code that a report can hold has a story, and every story can be reached."""

import ast
import json
import re
from importlib import resources
from pathlib import Path

import pytest

import seatrial
from seatrial import explain
from seatrial.audit.rules import SOURCES
from seatrial.cli import main

CORE = Path(seatrial.__file__).parent
SCHEMA = json.loads(
    resources.files("seatrial.report").joinpath("schema/report-1.json").read_text("utf-8")
)
#: Areas of dotted codes; what else looks like one is a file's name or a key of the configuration.
AREAS = (
    "accuracy|baseline|bench|check|compile|data|export|ladder|latency|memory|qat|qdq|quantize|run"
    "|target"
)
CODE = re.compile(rf"(?:{AREAS})\.[a-z0-9]+(?:-[a-z0-9]+)*")
#: Keys of the configuration and files, which look like codes.
NOT_CODES = {
    "run.seed", "run.threads", "run.quick", "run.out", "data.source", "data.calibration",
    "data.test", "data.npz", "data.pkl", "qat.onnx", "export.onnx", "target.name",
}  # fmt: skip


def told(place):
    return SCHEMA["$defs"][place[0]]["properties"][place[1]]["enum"]


def codes_in_code():
    """Literal codes of reasons and gates: dotted, in one of the areas, in a call's arguments."""
    found = {}
    for file in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            for value in node.args if isinstance(node, ast.Call) else ():
                note(value, file, found)
            for keyword in getattr(node, "keywords", ()):
                if keyword.arg == "code":
                    note(keyword.value, file, found)
    return found


def note(value, file, found):
    text = value.value if isinstance(value, ast.Constant) else None
    if isinstance(text, str) and CODE.fullmatch(text) and text not in NOT_CODES:
        found[text] = file.name


def test_every_reason_has_a_story():
    found = codes_in_code()
    assert len(found) > 40
    assert {c: f for c, f in found.items() if explain.about(c) is None} == {}


@pytest.mark.parametrize("code", sorted(SOURCES))
def test_every_finding_of_the_audit_has_a_story(code):
    assert explain.about(f"calibration.{code}") is not None


def test_every_word_of_the_report_has_a_story():
    words = [f"diagnosis.{c}" for c in told(("diagnosis_cause", "code"))]
    words += [f"fault.{k.replace(' ', '-')}" for k in told(("fault", "kind"))]
    words += told(("built_precision", "verdict"))
    words += [f"placement.{p}" for p in ("fallback", "nowhere", "unknown")]
    assert [w for w in words if explain.about(w) is None] == []


def test_every_problem_of_an_export_has_a_story():
    text = "".join(f.read_text("utf-8") for f in (CORE / "export").glob("*.py"))
    codes = set(re.findall(r'\bcode="([a-z]+(?:-[a-z]+)+)"', text))
    assert len(codes) > 10
    assert [c for c in codes if explain.about(f"export.{c}") is None] == []


def test_a_code_names_one_story_and_a_story_says_something():
    codes = [code for story in explain.stories() for code in story.codes]
    assert len(codes) == len(set(codes))
    for story in explain.stories():
        assert len(story.summary) > 30, story.codes
        assert story.title[0].isupper() or story.title[0] == '"', story.codes


def test_what_a_story_refers_to_exists():
    options = re.compile(r"`(?:[a-z]+_[a-z_]+|torch\.[a-z]+|[a-z]+\.(?:onnx|toml|csv))`")
    for story in explain.stories():
        named = set(re.findall(r"`([a-z0-9-]+(?:\.[a-z0-9-]+)*)`", options.sub("", story.text)))
        unknown = [n for n in named if "." in n and explain.about(n) is None]
        assert unknown == [], story.codes


def test_the_command_tells_lists_and_searches(capsys):
    assert main(["explain", "ladder.not-int8"]) == 0
    assert "folded them away" in " ".join(capsys.readouterr().out.split())
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out
    assert [s.codes[0] for s in explain.stories() if s.codes[0] not in listed] == []
    assert main(["explain", "labels", "shifted"]) == 0
    assert "label_offset" in capsys.readouterr().out


def test_no_such_story_is_one_line(capsys):
    assert main(["explain", "xyzzy-plugh"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no story about that" in error
