"""Which targets a command runs: what was typed, what is installed, what decides."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial import results as r
from seatrial.errors import UserError
from seatrial.isolation import Environment, Runner
from seatrial.registry import Plugin, discover
from seatrial.trial.targets import TargetState, Wanted, _picks, probe, survey
from seatrial.workspace import Workspace

words = st.text("abcxyz019-_.", min_size=1, max_size=6)
rest = st.text("abcxyz019-_./:@", min_size=1, max_size=8)


@given(words, words, rest)
def test_a_target_as_typed_is_taken_apart(backend, env, target):
    assert Wanted.parse(backend) == Wanted(backend, backend, "", "")
    text = f"{backend}:{target}"
    assert Wanted.parse(text) == Wanted(text, backend, "", target)
    text = f"{backend}@{env}:{target}"
    assert Wanted.parse(text) == Wanted(text, backend, env, target)


@pytest.mark.parametrize("text", ["", ":cpu", "ort:", "@dev:cpu", "ort@:cpu", "ort@", ":", "@"])
def test_a_part_that_was_begun_and_is_empty_is_refused(text):
    with pytest.raises(UserError, match=r"not a target \(write BACKEND\[@ENV\]\[:TARGET\]"):
        Wanted.parse(text)


@given(st.text(max_size=8))
def test_anything_typed_is_a_target_or_refused(text):
    try:
        found = Wanted.parse(text)
    except UserError:
        return
    again = found.backend + (f"@{found.env}" if found.env else "")
    assert again + (f":{found.target}" if found.target else "") == text


# --- which targets --------------------------------------------------------------------------------


def description(*targets):
    made = tuple(r.Target(id=i, title=i, device=d, default=default) for i, d, default in targets)
    return r.Description(title="t", vendor="v", targets=made)


CHIP = description(
    ("fast", "chip0", True), ("small", "chip0", True), ("gpu", "gpu0", True), ("sim", "sim", False)
)


def picked(*typed, every=False):
    return [t.id for t in _picks(CHIP, [Wanted.parse(t) for t in typed], every=every)]


@pytest.mark.parametrize(
    ("typed", "every", "gives"),
    [
        ((), False, ["fast", "gpu"]),
        ((), True, ["fast", "small", "gpu", "sim"]),
        (("x",), False, ["fast", "gpu"]),
        (("x:sim",), False, ["sim"]),
        (("x:sim", "x:fast"), False, ["sim", "fast"]),
        (("x:sim", "x"), False, ["sim", "fast", "gpu"]),
        (("x:sim", "x:sim"), False, ["sim"]),
        (("x:sim",), True, ["fast", "small", "gpu", "sim"]),
    ],
)
def test_one_default_target_per_device_unless_targets_are_named(typed, every, gives):
    assert picked(*typed, every=every) == gives


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("x:fats", "did you mean fast?"),
        ("x:zzzzzz", "offered: fast, gpu, sim, small"),
        ("x:Fast", "did you mean fast?"),
    ],
)
def test_an_unknown_target_is_refused_with_the_nearest_name(typed, hint):
    with pytest.raises(UserError) as error:
        picked(typed)
    name = typed.partition(":")[2]
    assert error.value.line() == f"{typed}: no target called {name!r} ({hint})"


def test_a_backend_without_default_targets_must_be_told_which():
    shy = description(("one", "d1", False), ("two", "d2", False))
    assert _picks(shy, [], every=False) == []
    with pytest.raises(UserError, match=r"x: no target of it is default \(name one: x:one\)"):
        _picks(shy, [Wanted.parse("x")], every=False)


# --- with real plugins ----------------------------------------------------------------------------

PLAIN = """
from seatrial import hookimpl
from seatrial import results as r
import os

@hookimpl
def seatrial_describe():
    return r.Description(title="T", vendor="V", targets=tuple(
        r.Target(id=i, title=i, device=i, default=i != "sim") for i in ("cpu", "gpu", "sim")))

@hookimpl
def seatrial_probe(request):
    if request.target == "gpu" and "{gpu}" == "crashes":
        os.abort()
    usable = request.target == "{usable}"
    return r.Availability(usable=usable, reason="" if usable else "no such device")

@hookimpl
def seatrial_compile_check(request):
    return r.CompileReport(verdict=r.Verdict.UNKNOWN, depth=r.Depth.PARSE)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a backend; several distributions may bring the same one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)

    def put(backend, code, dist=""):
        name = (dist or backend).replace("-", "_")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[seatrial]\n{backend} = plugin_{name}\n")
        (tmp_path / f"plugin_{name}.py").write_text(code)

    return put


@pytest.fixture
def look(tmp_path):
    """Surveys and probes what is installed, but for the backends of this distribution."""
    with Runner(Workspace(tmp_path / "w"), environments={"old": Environment(name="old")}) as runner:

        def run(*wanted, every=False):
            ours = [p for p in discover() if p.dist != "seatrial"]
            states = survey(runner, ours, wanted, every=every)
            probe(runner, states)
            return states

        yield run


def decides(states):
    return [s.id for s in states if s.decides]


def test_by_default_what_is_usable_decides(install, look):
    install("acme", PLAIN.format(usable="cpu", gpu="crashes"))
    states = look()
    assert [s.id for s in states] == ["acme:cpu", "acme:gpu"]
    assert decides(states) == ["acme:cpu"]
    crashed = states[1]
    assert (crashed.fault.kind, crashed.fault.signal) == (r.FaultKind.CRASHED, "SIGABRT")
    assert crashed.fault.stage == "seatrial_probe" and not crashed.usable


@pytest.mark.parametrize(
    ("usable", "wanted", "every", "decide"),
    [
        # Named targets count whether they can be used or not.
        ("cpu", ("acme:gpu",), False, ["acme:gpu"]),
        ("cpu", ("acme:cpu", "acme:sim"), False, ["acme:cpu", "acme:sim"]),
        # A backend stands for those of its default targets that are here.
        ("cpu", ("acme",), False, ["acme:cpu"]),
        # None of them is: the backend was asked for and cannot answer.
        ("sim", ("acme",), False, ["acme:cpu", "acme:gpu"]),
        # --all runs the rest, but nobody asked for it by name.
        ("cpu", ("acme:cpu",), True, ["acme:cpu"]),
        ("sim", ("acme:cpu",), True, ["acme:cpu", "acme:sim"]),
        ("cpu", ("acme", "acme:gpu"), False, ["acme:cpu", "acme:gpu"]),
    ],
)
def test_what_was_named_decides_even_when_it_is_not_here(
    install, look, usable, wanted, every, decide
):
    install("acme", PLAIN.format(usable=usable, gpu=""))
    assert sorted(decides(look(*wanted, every=every))) == decide


def test_an_environment_is_part_of_the_target(install, look):
    install("acme", PLAIN.format(usable="cpu", gpu=""))
    states = look("acme@old:cpu", "acme:cpu")
    assert [(s.id, s.env, s.asked) for s in states] == [
        ("acme@old:cpu", "old", True),
        ("acme:cpu", "", True),
    ]
    with pytest.raises(UserError, match=r"@new: no such environment \(known: old\)"):
        look("acme@new:cpu")


def test_backends_come_in_the_order_asked_for(install, look):
    install("acme", PLAIN.format(usable="cpu", gpu=""))
    install("bolt", PLAIN.format(usable="cpu", gpu=""))
    assert [s.id for s in look("bolt:cpu", "acme:cpu")] == ["bolt:cpu", "acme:cpu"]


def test_an_unknown_backend_is_refused_with_the_nearest_name(install, look):
    install("acme", PLAIN.format(usable="cpu", gpu=""))
    with pytest.raises(UserError, match=r"acne:cpu: no backend called 'acne' \(did you mean acme"):
        look("acne:cpu")
    with pytest.raises(UserError, match=r"no backend called 'qqqqq' \(installed: acme\)"):
        look("qqqqq")


def test_two_distributions_with_one_name_are_one_row_with_a_fault(install, look):
    install("acme", PLAIN.format(usable="cpu", gpu=""), dist="first")
    install("acme", PLAIN.format(usable="cpu", gpu=""), dist="second")
    (state,) = look()
    assert state.id == "acme" and not state.decides
    assert state.fault.kind is r.FaultKind.UNAVAILABLE
    assert "first" in state.fault.reason and "second" in state.fault.reason
    (asked,) = look("acme:cpu")
    assert asked.decides


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("import not_installed_here", r.FaultKind.UNAVAILABLE, "not_installed_here"),
        ("import os; os.abort()", r.FaultKind.CRASHED, "SIGABRT"),
    ],
)
def test_a_backend_that_cannot_say_who_it_is_stays_visible(install, look, code, kind, said):
    install("acme", code)
    install("bolt", PLAIN.format(usable="cpu", gpu=""))
    broken, *others = look()
    assert broken.id == "acme" and broken.target is None and not broken.decides
    assert broken.fault.kind is kind and said in broken.fault.reason
    assert decides(others) == ["bolt:cpu"]
    assert look("acme")[0].decides


def test_only_the_first_fault_is_the_targets():
    first = r.Fault(kind=r.FaultKind.RAISED, stage="one", reason="x")
    state = TargetState(id="a:b", plugin=Plugin(id="a", value="a"))
    state.blame(None)
    assert state.fault is None
    state.blame(first)
    state.blame(dataclasses.replace(first, stage="two"))
    assert state.fault is first
