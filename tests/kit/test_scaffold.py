"""``new-backend``: what it writes, and what it refuses to write."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial import api
from seatrial.cli import main
from seatrial.errors import UserError
from seatrial.options import NewBackendOptions

EXAMPLE = Path(__file__).parents[2] / "plugins" / "seatrial-example"


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text("utf-8")
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not {"__pycache__", ".pytest_cache", "dist"} & set(p.parts)
    }


def test_the_example_is_what_new_backend_writes(tmp_path):
    out = tmp_path / "made"
    words = ["new-backend", "example", "-o", str(out), "--title", "Seatrial example", "-q"]
    assert main(words) == 0
    assert tree(out) == tree(EXAMPLE)


@settings(max_examples=60, deadline=None)
@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True))
def test_every_id_makes_a_package_that_can_be_read(tmp_path_factory, name):
    out = tmp_path_factory.mktemp("made") / "package"
    result = api.new_backend(NewBackendOptions(name=name, out=str(out)))
    assert set(result.files) == set(tree(out))
    project = tomllib.loads((out / "pyproject.toml").read_text())["project"]
    ((backend, module),) = project["entry-points"]["seatrial"].items()
    assert backend == name and module.isidentifier()
    for file, text in tree(out).items():
        assert "@" not in text.replace("@hookimpl", "").replace("@dataclass", "")
        if file.endswith(".py"):
            ast.parse(text)
    assert f"src/{module}/__init__.py" in result.files


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (NewBackendOptions(name="Acme"), "cannot be a backend's id"),
        (NewBackendOptions(name=""), "cannot be a backend's id"),
        (NewBackendOptions(name="../acme"), "cannot be a backend's id"),
        (NewBackendOptions(name="a" * 41), "cannot be a backend's id"),
        (NewBackendOptions(name="onnxruntime"), "is the id of an installed backend, of seatrial"),
        (NewBackendOptions(name="acme", title='"""'), "without quotes"),
        (NewBackendOptions(name="acme", vendor="two\nlines"), "without quotes"),
    ],
)
def test_bad_names_are_refused_in_a_line(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        api.new_backend(options)
    assert says in error.value.line() and "\n" not in error.value.line()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path, capsys):
    (tmp_path / "precious").write_text("mine")
    assert main(["new-backend", "acme", "-o", str(tmp_path)]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert tree(tmp_path) == {"precious": "mine"}
    assert main(["new-backend", "acme", "-o", str(tmp_path / "precious")]) == 2


def test_it_says_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-backend", "acme"]) == 0
    said = capsys.readouterr().out
    assert "wrote seatrial-acme" in said and "pytest seatrial-acme" in said
    assert (tmp_path / "seatrial-acme" / "src" / "seatrial_acme" / "toolchain.py").is_file()
