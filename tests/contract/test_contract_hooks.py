"""Every hook stands in the docs as it is in the code, is offered or not, and has a test."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial import hookspecs
from seatrial.hookspecs import HOOKS, MANDATORY, SPECS

ROOT = Path(__file__).parents[2]
BACKENDS = {
    "onnxruntime": "seatrial_onnxruntime",
    "openvino": "seatrial_openvino",
    "tensorrt": "seatrial_tensorrt",
}
#: What a backend leaves out, and why that is right.
NOT_OFFERED = {
    ("onnxruntime", "seatrial_benchmark"): "the core's loop reaches the session",
    ("openvino", "seatrial_benchmark"): "the core's loop reaches the session",
    (
        "tensorrt",
        "seatrial_quantize",
    ): "no quantizer comes with it; the core writes its dialect",
}
#: Hooks that leave ``job`` out. The contract allows it, but a Protocol cannot say so.
WITHOUT_JOB = {("seatrial_openvino", "Probe")}


def spec_of(hook):
    (spec,) = [s for s in SPECS if hook in vars(s)]
    return spec


def signature(hook):
    """As the docs write it: ``name(request: Request, job: Job) -> Result``."""
    found = inspect.signature(vars(spec_of(hook))[hook])
    arguments = ", ".join(
        f"{p.name}: {p.annotation.removeprefix('r.')}"
        for p in found.parameters.values()
        if p.name != "self"
    )
    return f"{hook}({arguments}) -> {found.return_annotation.removeprefix('r.')}"


def documented():
    """The signatures in the table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    return re.findall(r"^\| `(seatrial_\w+\(.*?\) -> \w+)` \| (.+) \|$", text, re.MULTILINE)


def test_the_docs_have_exactly_the_hooks_with_their_exact_signatures():
    written = [line for line, _ in documented()]
    assert sorted(written) == sorted(signature(hook) for hook in HOOKS)


def test_the_docs_say_which_hooks_are_mandatory():
    said = {line.partition("(")[0] for line, buys in documented() if buys.startswith("mandatory")}
    assert said == set(MANDATORY)


def test_every_spec_class_has_one_hook_and_every_hook_one_spec_class():
    names = [[n for n in vars(s) if n.startswith("seatrial_")] for s in SPECS]
    assert [len(n) for n in names] == [1] * len(SPECS)
    assert [n for (n,) in names] == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_types_that_are_decoded_are_those_of_the_signature(hook):
    request, result = HOOKS[hook]
    arguments = signature(hook)
    assert arguments.endswith(f"-> {result.__name__ if result else 'Session'}")
    if request is None:
        assert "request" not in arguments
    else:
        assert f"(request: {request.__name__}, job: Job)" in arguments
    assert vars(spec_of(hook))[hook].__doc__
    assert vars(spec_of(hook))[hook].seatrial_spec["firstresult"] is True


# --- the backends that ship -----------------------------------------------------------------------


def offered(backend):
    module = importlib.import_module(BACKENDS[backend])
    manager = hookspecs.plugin_manager()
    manager.register(module, backend)
    manager.check_pending()
    return {caller.name for caller in manager.get_hookcallers(module)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_offered_or_declared_to_be_left_out(backend, hook):
    assert (hook in offered(backend)) == ((backend, hook) not in NOT_OFFERED)


@pytest.mark.parametrize(
    ("backend", "hook"), [(b, h) for b in BACKENDS for h in HOOKS if (b, h) not in NOT_OFFERED]
)
def test_an_offered_hook_is_called_by_a_test_of_its_backend(backend, hook):
    files = sorted((ROOT / "tests" / "backends" / backend).glob("test_*.py"))
    callers = [f.name for f in files if re.search(rf"\b{hook}\(", f.read_text("utf-8"))]
    helpers = (ROOT / "tests" / "backends" / backend / "conftest.py").read_text("utf-8")
    assert callers or re.search(rf"\b{hook}\(", helpers), f"no test of {backend} calls {hook}"


def test_the_contract_version_is_the_one_the_backends_were_written_for():
    from seatrial.results import CONTRACT

    for module in BACKENDS.values():
        assert importlib.import_module(module).SEATRIAL_CONTRACT == CONTRACT


def test_a_type_checker_accepts_the_backends_as_their_specs(tmp_path):
    lines = ["from seatrial import hookspecs"]
    lines += [f"import {module}" for module in BACKENDS.values()]
    expected = {}
    for backend, module in BACKENDS.items():
        for spec in SPECS:
            (hook,) = [n for n in vars(spec) if n.startswith("seatrial_")]
            if (backend, hook) in NOT_OFFERED:
                continue
            lines.append(f"_{backend}_{hook}: hookspecs.{spec.__name__} = {module}")
            expected[len(lines)] = (module, spec.__name__)
    # A wrong one must be refused, or this test proves nothing.
    lines.append("_wrong: hookspecs.Probe = hookspecs")
    wrong = len(lines)
    (tmp_path / "house_style.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(tmp_path / "cache"), "--no-error-summary", "--follow-imports"]
    command += ["silent", "house_style.py"]
    paths = f"{ROOT / 'core'}:{ROOT / 'backends'}"
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": paths},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    refused = {int(n) for n in re.findall(r"house_style\.py:(\d+): error", done.stdout)}
    assert wrong in refused, done.stdout + done.stderr
    assert {expected[n] for n in refused - {wrong}} == WITHOUT_JOB, done.stdout
