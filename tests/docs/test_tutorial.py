"""The tutorial is followed step by step, and what it says happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from seatrial.cli import main
from seatrial.isolation import Runner
from seatrial.registry import discover
from seatrial.workspace import Workspace

PAGE = Path(__file__).parents[2] / "docs" / "backends" / "tutorial.md"
_FILE = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def files(until):
    """Content of each file after a step; blocks of one title are parts of one file."""
    text = PAGE.read_text("utf-8")
    end = re.search(rf"^## {until + 1}\. ", text, re.MULTILINE)
    found = {}
    for _, title, code in _FILE.findall(text[: end.start()] if end else text):
        found[title] = f"{found.get(title, '')}\n\n{code}"
    return found


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Puts the files of a step in place, installed as the tutorial's entry point says."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put(number):
        for name, content in files(number).items():
            (tmp_path / name).write_text(content)
        project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
        ((backend, value),) = project["entry-points"]["seatrial"].items()
        info = tmp_path / "seatrial_toy-0.1.0.dist-info"
        info.mkdir()
        facts = f"Name: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{facts}")
        (info / "entry_points.txt").write_text(f"[seatrial]\n{backend} = {value}\n")
        return tmp_path

    return put


def described(folder):
    (toy,) = [p for p in discover() if p.id == "toy"]
    with Runner(Workspace(folder / "work")) as runner:
        return runner.describe(toy).result


def test_after_step_1_the_backend_is_listed_and_says_what_is_missing(step):
    said = described(step(1))
    assert said.description.title == "Toy"
    assert said.problems == (
        "seatrial_probe is mandatory and missing",
        "seatrial_compile_check is mandatory and missing",
    )


def model(path, op):
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    node = helper.make_node(op, ["x"], ["y"], "only")
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_after_step_3_check_answers(step, capsys):
    folder = step(3)
    assert described(folder).problems == ()
    verdicts = {}
    for op, code in (("Relu", 0), ("Tanh", 1)):
        model(folder / f"{op}.onnx", op)
        assert main(["check", f"{op}.onnx", "-b", "toy:sim", "-q", "--json", "-"]) == code
        (target,) = json.loads(capsys.readouterr().out)["targets"]
        verdicts[op] = target["built"]
    assert verdicts["Relu"]["verdict"] == "supported"
    (finding,) = verdicts["Tanh"]["findings"]
    assert (finding["node"], finding["reason"]) == ("only", "no rule for Tanh")


def test_after_step_5_the_kit_passes_with_the_gaps_as_declared(step):
    folder = step(5)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy.py"],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"},
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    badge = next(x for x in done.stdout.splitlines() if x.startswith("badge: "))
    assert badge.startswith("badge: seatrial kit toy:sim contract 1.0: PASSED |")
    assert " xfailed in " in done.stdout
    # The table that the page shows is the one that is printed.
    shown = re.search(r"^```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for line in shown.group(1).splitlines():
        assert line.rstrip(".") in done.stdout


def test_step_6_debugs_one_case(step):
    folder = step(6)
    done = subprocess.run(
        [sys.executable, "debug_toy.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path, said = done.stdout.split(maxsplit=1)
    assert Path(path).is_file() and Path(path).with_name("data.npz").is_file()
    assert "no rule for Tanh" in said


def test_its_figures_are_those_of_the_kit():
    from seatrial.testing import BackendSuite, bed, cases

    text = PAGE.read_text("utf-8")
    size, whole = BackendSuite.node_sample, len(cases.shelf("nodes").cases)
    assert f"{size} of {whole:,} node tests" in text
    assert f"up to {bed.CHUNK} cases in one process" in text


def test_pages_that_vendors_are_sent_to_exist_in_the_published_docs():
    root = PAGE.parents[2]
    places = (root / "core/seatrial/scaffold/template/README.md.in", PAGE)
    for place in places:
        assert "CONTRIBUTING" not in place.read_text("utf-8"), "it is no page of the site"
    nav = (root / "mkdocs.yml").read_text("utf-8")
    section = nav.partition("  - Backends:\n")[2]
    for area, page in re.findall(r"\*(\w+): ([\w ]+)\*", places[0].read_text("utf-8")):
        assert area == "Backends" and f"      - {page}: " in section
