"""A foreign interpreter gets our standard-library modules and the plugin, and nothing else."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pluggy
import pytest

import seatrial
from seatrial import results as r
from seatrial.isolation import Environment, Runner
from seatrial.jobs.carry import MODULES, carried
from seatrial.results import FaultKind as K

PACKAGE = Path(seatrial.__file__).parent


def old_python() -> str | None:
    """A Python 3.10, if one is installed."""
    found = sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))
    candidates = [*map(str, found), shutil.which("python3.10") or ""]
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.stdout.strip() == "(3, 10)":
            return candidate
    return None


@pytest.fixture
def foreign(tmp_path):
    """An environment with Python 3.10 and pluggy."""
    python = old_python()
    if python is None:
        pytest.skip("NO PYTHON 3.10 HERE: foreign interpreters are not shown to work")
    extra = tmp_path / "extra"
    shutil.copytree(
        Path(pluggy.__file__).parent, extra / "pluggy", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Environment(name="old", python=python, variables={"PYTHONPATH": str(extra)})


def imports(tree: ast.Module):
    """Module names that a module imports, and whether at its top level."""
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module), id(node) in top


#: What a module loads when a vendor calls it, from the toolchain's own environment.
LATE = {"models.py": "onnx"}


@pytest.mark.parametrize("name", MODULES)
def test_carried_modules_need_python_310_and_pluggy_alone(name):
    tree = ast.parse((PACKAGE / name).read_text(), feature_version=(3, 10))
    ours = {"seatrial." + m.removesuffix(".py").replace("/", ".") for m in MODULES} | {"seatrial"}
    for module, at_top in imports(tree):
        root = module.split(".")[0]
        if root == "seatrial":
            assert module in ours or f"{module}.__init__" in ours, module
        elif at_top:
            assert root in sys.stdlib_module_names or root == "pluggy", module
            assert root != "tomllib", "new in 3.11"
        else:
            late = {"pluggy", "numpy", "typing_extensions", LATE.get(name)}
            assert root in sys.stdlib_module_names | late
        banned = {"onnx", "torch", "PIL", "rich"} - (set() if at_top else {LATE.get(name)})
        assert root not in banned


@pytest.mark.parametrize("name", [m for m in MODULES if not m.endswith("__init__.py")])
def test_relative_imports_stay_inside_what_is_carried(name):
    path = PACKAGE / name
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].relative_to(PACKAGE)
            parts = (
                [str(node.module).replace(".", "/")]
                if node.module
                else [alias.name for alias in node.names]
            )
            for part in parts:
                files = {(base / f"{part}.py").as_posix(), (base / part / "__init__.py").as_posix()}
                assert files & set(MODULES), (name, part)


def test_importing_seatrial_is_cheap():
    code = "import sys, seatrial; print(sorted(m for m in sys.modules if m.split('.')[0] in "
    code += "{'numpy', 'onnx', 'pluggy', 'seatrial'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['seatrial']"


def test_the_parents_side_imports_no_numpy():
    code = "import sys, seatrial.isolation, seatrial.registry, seatrial.workspace\n"
    code += "print('numpy' in sys.modules, 'onnx' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3


def test_public_names():
    assert seatrial.hookimpl.project_name == "seatrial"
    assert seatrial.Verdict is r.Verdict and seatrial.CheckRequest is r.CheckRequest
    assert seatrial.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = seatrial.nonsense


def test_the_folder_is_named_by_its_content(site, healthy, shelf):
    first = carried(healthy.value)
    assert carried(healthy.value) == first
    assert (first / "seatrial_healthy.py").is_file()
    assert (first / "seatrial" / "worker.py").is_file()
    assert carried(None) != first and not (carried(None) / "seatrial_healthy.py").exists()


def test_a_damaged_folder_is_made_again(site, healthy):
    folder = carried(healthy.value)
    worker = folder / "seatrial" / "worker.py"
    whole = worker.read_bytes()
    worker.write_bytes(whole[:-1])
    assert carried(healthy.value) == folder and worker.read_bytes() == whole


def test_a_subpackage_does_not_hide_the_function_of_its_name():
    code = (
        "import sys, types, seatrial\n"
        "api = types.ModuleType('seatrial.api')\n"
        "api.quantize = lambda *a, **k: (a, k)\n"
        "sys.modules['seatrial.api'] = api\n"
        "assert seatrial.quantize(1) == ((1,), {})\n"
        "import seatrial.quantize as package\n"
        "assert seatrial.quantize is package and package.__path__\n"
        "print(seatrial.quantize(1, a=2))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "((1,), {'a': 2})\n", done.stderr


def test_hooks_run_in_a_foreign_interpreter(workspace, foreign, healthy, faults, model):
    with Runner(workspace, environments={"old": foreign}) as runner:
        request = r.CheckRequest(model=model, target="cpu")
        here = runner.hook(healthy, "seatrial_compile_check", request)
        there = runner.hook(healthy, "seatrial_compile_check", request, env="old")
        assert there.ok, there.log.read_text()
        assert there.result == here.result
        assert there.job_id != here.job_id
        assert there.network == here.network
        crash = runner.hook(
            faults,
            "seatrial_compile_check",
            request,
            env="old",
            variables={"SEATRIAL_FAULT": "compile_check:sigsegv"},
        )
        assert (crash.fault.kind, crash.fault.signal) == (K.CRASHED, "SIGSEGV")
        wrong = runner.hook(
            faults,
            "seatrial_compile_check",
            request,
            env="old",
            variables={"SEATRIAL_FAULT": "compile_check:wrong_field"},
        )
        assert "$.findings[1].reason: expected str" in wrong.fault.reason


def test_every_carried_module_imports_there(foreign):
    folder = carried(None)
    names = ["seatrial." + m.removesuffix(".py").replace("/", ".") for m in MODULES]
    names = [n.removesuffix(".__init__") for n in names]
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{foreign.variables['PYTHONPATH']}"}
    code = f"import importlib\nfor n in {names!r}: importlib.import_module(n)\nprint('done')"
    done = subprocess.run(
        [foreign.python, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout == "done\n", done.stderr


def test_a_foreign_interpreter_without_pluggy_says_so(workspace, healthy, foreign):
    bare = Environment(name="bare", python=foreign.python)
    with Runner(workspace, environments={"bare": bare}) as runner:
        outcome = runner.hook(healthy, "seatrial_probe", r.ProbeRequest(target="cpu"), env="bare")
    assert outcome.fault.kind is K.UNAVAILABLE
    assert "No module named 'pluggy'" in outcome.fault.reason
