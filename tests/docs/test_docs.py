"""What the documents show can be typed, imported and followed."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import seatrial
from seatrial import hookspecs, options, results
from seatrial.cli.app import COMMANDS, parser
from seatrial.codec import decode, encode

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Pages that the site makes from the program itself.
GENERATED = (
    "commands.md",
    "findings.md",
    "backends/contract.md",
    "contract.md",
    "coverage.md",
    "backends/coverage.md",
)
#: Words that stand for something of the user's, in synopses.
_SYNOPSIS = {"MODEL...": ["MODEL", "MODEL"]}


def blocks(path, *languages):
    return [b for lang, b in _BLOCK.findall(path.read_text("utf-8")) if lang in languages]


def shown():
    """(document, command line) of every command in a block of shell or between backticks."""
    found = []
    for path in DOCUMENTS:
        for block in blocks(path, "sh", "console", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
                found.append((path.name, words))
        prose = _BLOCK.sub("", path.read_text("utf-8"))
        for code in re.findall(r"`(seatrial [^`\n]+)`", prose):
            found.append((path.name, shlex.split(code)))
    return [(name, words) for name, words in found if words]


SEATRIAL = [(name, words) for name, words in shown() if words[0] == "seatrial"]


def test_the_readme_shows_every_command():
    verbs = {words[1] for name, words in SEATRIAL if name == "README.md" and len(words) > 1}
    modules = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert verbs >= {name.replace("_", "-") for name in modules}


@pytest.mark.parametrize(("name", "words"), SEATRIAL, ids=lambda part: " ".join(part)[:60])
def test_a_command_that_is_shown_parses(name, words):
    typed = [w for word in words[1:] for w in _SYNOPSIS.get(word, [word])]
    args = parser().parse_args(typed)
    assert callable(args.run), f"{name}: {' '.join(words)}"


def test_make_targets_that_are_shown_exist():
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for _, words in shown() if words[0] == "make"}
    for path in DOCUMENTS:
        named |= set(re.findall(r"`make ([a-z]+)`", path.read_text("utf-8")))
    assert named and named <= rules


def test_extras_that_are_shown_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for path in DOCUMENTS:
        for extras in re.findall(r"(?:seatrial|'\.)\[([a-z,]+)\]", path.read_text("utf-8")):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(path):
    text = _BLOCK.sub("", path.read_text("utf-8"))
    links = [t for t in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in t]
    for target in links:
        assert (path.parent / target).exists() or target in GENERATED, target
    paths = re.findall(r"`((?:core|backends|tests|plugins|docs|benchmarks)/[^`\s]*)`", text)
    for target in paths:
        assert matches(target), target


def matches(pattern):
    """Whether a path with braces and stars names something; every brace must."""
    brace = re.search(r"\{([^}]*)\}", pattern)
    if brace is None:
        return any(ROOT.glob(pattern.rstrip("/")))
    return all(
        matches(pattern[: brace.start()] + part + pattern[brace.end() :])
        for part in brace.group(1).split(",")
    )


def test_a_path_that_is_not_there_is_noticed():
    assert matches("core/seatrial/{codec,results}.py") and matches("tests/")
    assert not matches("core/seatrial/{codec,nothing}.py")


# --- Python and TOML ------------------------------------------------------------------------------

PYTHON = [(p.name, b) for p in DOCUMENTS for b in blocks(p, "python")]


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=lambda part: part[:20])
def test_python_that_is_shown_imports_what_there_is(name, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "seatrial":
            module = __import__(node.module, fromlist=["x"])
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                known = hasattr(module, alias.name) or find_spec(inner) is not None
                assert known, f"{name}: {node.module}.{alias.name}"


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=lambda part: part[:20])
def test_options_that_are_shown_are_known(name, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            made = getattr(options, node.func.id, None)
            if made is not None:
                fields = {f.name for f in dataclasses.fields(made)}
                assert {k.arg for k in node.keywords} <= fields, f"{name}: {node.func.id}"


def test_the_python_of_the_readme_runs(monkeypatch, capsys):
    (code,) = blocks(ROOT / "README.md", "python")
    given = []

    class Report:
        verdict, exit_code, path = "SHIP", 0, Path("trial/report.json")

    def run(chosen):
        given.append(chosen)
        return Report()

    monkeypatch.setattr("seatrial.api.run", run)
    exec(compile(code, "README.md", "exec"), {})
    assert isinstance(given[0], options.RunOptions)
    assert capsys.readouterr().out == "SHIP 0 trial/report.json\n"


def test_the_backend_of_the_contributing_guide_is_one():
    code, *_ = blocks(ROOT / "CONTRIBUTING.md", "python")
    module = type(seatrial)("seatrial_acme")
    exec(compile(code, "CONTRIBUTING.md", "exec"), vars(module))
    manager = hookspecs.plugin_manager()
    manager.register(module, "acme")
    manager.check_pending()
    said = manager.hook.seatrial_describe()
    assert decode(results.Description, encode(said)) == said
    assert results.CONTRACT == module.SEATRIAL_CONTRACT
    (entry,) = (tomllib.loads(b) for b in blocks(ROOT / "CONTRIBUTING.md", "toml"))
    assert entry["project"]["entry-points"]["seatrial"] == {"acme": "seatrial_acme"}


def test_exit_codes_of_the_readme_are_those_of_the_report():
    from seatrial.report.model import _EXIT

    text = (ROOT / "README.md").read_text("utf-8")
    said = dict(re.findall(r"^\| (SHIP|DO NOT SHIP|NOT PROVEN) \| (\d) \|", text, re.MULTILINE))
    assert {verdict: int(code) for verdict, code in said.items()} == _EXIT
