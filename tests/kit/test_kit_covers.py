"""Every hook of the contract is asked by the kit, and every backend that ships is under the kit."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from seatrial.hookspecs import HOOKS
from seatrial.results import QdqDialect
from seatrial.testing import BackendSuite, cases
from seatrial.testing.zoo.quantised import DIALECTS

ROOT = Path(__file__).parents[2]
KIT = ROOT / "core" / "seatrial" / "testing"


@pytest.mark.parametrize("hook", sorted(set(HOOKS) - {"seatrial_describe"}))
def test_the_kit_calls_every_hook(hook):
    """As a text that is no docstring: the name that a child is told to call."""
    found = []
    for path in [*KIT.glob("*.py"), KIT.parent / "jobs" / "batch.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            calls = isinstance(node, ast.Call) and getattr(node.func, "attr", "")
            if calls in ("hook", "open", "call", "_call") or isinstance(node, ast.Assign):
                names = {getattr(n, "value", None) for n in ast.walk(node)}
                found += [path.name] if hook in names else []
    assert found, f"the kit never calls {hook}"


def test_every_hook_that_is_not_mandatory_gates_a_test():
    text = (KIT / "promises.py").read_text("utf-8")
    gates = {
        argument.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
        for made in node.decorator_list
        if isinstance(made, ast.Call) and getattr(made.func, "id", "") == "item"
        for argument in made.args[1:]
    }
    optional = set(HOOKS) - {"seatrial_describe", "seatrial_probe", "seatrial_compile_check"}
    assert gates == optional


def entry_points():
    found = []
    for path in [ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")]:
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        found += [(path.parent, b) for b in project.get("entry-points", {}).get("seatrial", {})]
    return found


@pytest.mark.parametrize(("home", "backend"), entry_points(), ids=lambda part: str(part)[-24:])
def test_every_backend_has_its_kit(home, backend):
    wanted = f'backend = "{backend}"'
    texts = [p.read_text("utf-8") for p in (home / "tests").rglob("test_*.py")]
    assert any("BackendSuite" in t and wanted in t for t in texts), backend


def test_the_families_of_the_cases_are_those_of_the_table():
    families = {c.family for c in cases.shelf("zoo").cases.values()}
    families |= {name.partition("/")[0] for name in BackendSuite.item_names()}
    assert families | {"nodes"} == set(cases.FAMILIES)
    assert all(len(c.name) == len(c.name.strip()) for c in cases.shelf("zoo").cases.values())


def test_every_sound_case_has_a_truth_for_all_that_it_gives():
    for case in cases.shelf("zoo").cases.values():
        if case.expect == cases.SOUND:
            assert case.runnable and set(case.outputs) <= set(case.tensors), case.name
            assert case.labels and case.ops, case.name


def test_there_are_q_dq_models_in_every_dialect_that_a_target_may_ask_for():
    import itertools

    from seatrial_onnxruntime._targets import description
    from seatrial_openvino.targets import describe
    from seatrial_tensorrt._targets import describe as tensorrt

    targets = itertools.chain(description().targets, describe().targets, tensorrt().targets)
    wanted = {t.rules.qdq for t in targets if t.rules.qdq is not None}
    assert wanted <= set(DIALECTS.values())
    assert QdqDialect() in DIALECTS.values()
    used = {c.dialect for c in cases.shelf("zoo").cases.values() if c.precision == "int8"}
    assert used == set(DIALECTS.values())
