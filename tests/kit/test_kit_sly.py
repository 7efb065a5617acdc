"""The kit passes a backend that is good, and catches every one that is not."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

RELU, TANH, ABS, SIN = (f"test_case[operators/{op}]" for op in ("Relu", "Tanh", "Abs", "Sin"))
EMPTY = "test_case[broken/file-empty]"
UNKNOWN = "test_case[broken/operator-unknown]"
PLAIN = "test_case[nets/plain]"
SINGLE = "test_unusable_targets_judge_nothing"

#: Backend -> (options of its class, what is run).
RUNS = {
    "good": ("", (RELU, TANH, EMPTY, UNKNOWN, "test_session", "test_probe", "test_describe")),
    "wrong": ("", (RELU,)),
    "typed": ("", (RELU,)),
    "yes": ("", (RELU, UNKNOWN)),
    "crash": ("", (RELU, TANH, ABS, EMPTY)),
    "hang": ("timeout_s = 3.0", (RELU, TANH, ABS)),
    "slow": ("timeout_s = 1.5", (RELU,)),
    "silent": ("", (RELU,)),
    "vague": ("", (RELU, PLAIN)),
    "unsure": ("", (RELU, UNKNOWN)),
    "elsewhere": ("", (RELU,)),
    "renamed": ("", (RELU,)),
    "unlicensed": ("", (RELU, SINGLE, "test_probe", "test_session")),
    "pretender": ("", (RELU, SINGLE)),
    "head": ("atol = 0.07", (PLAIN,)),
    "wronghead": ("atol = 0.07", (PLAIN,)),
    "old": ("", ("test_describe", RELU)),
    "heavy": ("", ("test_light_import", RELU)),
    "denying": ("", (RELU, "test_static")),
    "listing": ("", (RELU, "test_static")),
    "tabled": ("", (RELU, TANH, SIN, EMPTY, "test_static")),
    "fussy": ("", ("test_session",)),
    "nobody": ("", (RELU,)),
}


@pytest.fixture(scope="module")
def ran(lab):
    lines = ["from seatrial.testing import BackendSuite"]
    names = []
    for backend, (options, tests) in RUNS.items():
        name = f"Test{backend.capitalize()}"
        lines += [f"class {name}(BackendSuite):", f"    backend = {backend!r}"]
        lines += [f"    {options}"] if options else []
        names += [f"{name}::{test}" for test in tests]
    return lab.run("\n".join(lines), *names)


def test_a_good_backend_passes(ran):
    ends = {k: v for k, v in ran.ends.items() if k.startswith("TestGood")}
    assert len(ends) == len(RUNS["good"][1])
    assert {word for word, _ in ends.values()} == {"passed"}, ends


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (f"TestWrong::{RELU}", "wrong: output 'y': "),
        (f"TestTyped::{RELU}", "wrong: output 'y': type float64, not float32"),
        (f"TestYes::{UNKNOWN}", "an invalid model is supported"),
        (f"TestCrash::{TANH}", "crashed (SIGABRT)"),
        (f"TestCrash::{EMPTY}", "crashed SIGABRT"),
        (f"TestHang::{TANH}", "timed out"),
        (f"TestSilent::{RELU}", "unsupported without a finding that says why"),
        (f"TestVague::{RELU}", "no finding names the node"),
        (f"TestVague::{PLAIN}", "refused: something is wrong"),
        (f"TestUnsure::{RELU}", "unknown, although the target is usable"),
        (f"TestElsewhere::{RELU}", "supported, but only is not on the target"),
        (f"TestRenamed::{RELU}", "'node_0' is no node's label"),
        (f"TestPretender::{SINGLE}", "unsupported"),
        (f"TestWronghead::{PLAIN}", "wrong: output 'act'"),
        ("TestOld::test_describe", "was built for contract 0, this is 1"),
        (f"TestOld::{RELU}", "was built for contract 0, this is 1"),
        ("TestHeavy::test_light_import", "numpy"),
        (f"TestDenying::{RELU}", "the table denies only"),
        ("TestListing::test_static", "LISTED"),
        (f"TestTabled::{TANH}", "'nowhere', which is no node"),
        (f"TestTabled::{SIN}", "crashed SIGABRT"),
        ("TestFussy::test_session", "assert"),
        (f"TestNobody::{RELU}", "no backend 'nobody' is installed"),
    ],
)
def test_it_is_caught(ran, test, says):
    word, text = ran[test]
    assert word == "failed"
    assert says in text


@pytest.mark.parametrize(
    "test",
    [
        # Only the case in flight is blamed: what was asked in the same child goes on.
        *(f"TestCrash::{RELU}", f"TestCrash::{ABS}", f"TestHang::{RELU}", f"TestHang::{ABS}"),
        # A compiler that says how far it is may take longer than a case may be silent.
        f"TestSlow::{RELU}",
        # To say no to an invalid model, not knowing is enough.
        f"TestUnsure::{UNKNOWN}",
        # Part of a model is compared at the cut, in the steps that the artefact states.
        f"TestHead::{PLAIN}",
        *(f"TestUnlicensed::{SINGLE}", "TestUnlicensed::test_probe"),
        "TestTabled::test_static",
        *(f"TestYes::{RELU}", f"TestHeavy::{RELU}", f"TestListing::{RELU}"),
    ],
)
def test_it_is_let_pass(ran, test):
    assert ran[test][0] == "passed", ran[test][1]


def test_without_a_licence_nothing_is_asked(ran):
    for test in (RELU, "test_session"):
        word, text = ran[f"TestUnlicensed::{test}"]
        assert word == "skipped" and "no licence found (buy one)" in text
    for test in (RELU, EMPTY):
        assert ran[f"TestTabled::{test}"][0] == "skipped"
    assert re.search(r"badge: .* unlicensed:sim .*NOT USABLE HERE", ran.output)


def test_the_table_counts_what_happened(ran):
    tables = ran.output.split("seatrial kit: ")
    (crash,) = [t for t in tables if t.startswith("crash:sim")]
    rows = {line.split()[0]: line.split()[1:] for line in crash.splitlines()[1:4] if line.strip()}
    assert rows["family"] == ["right", "failed"]
    assert rows["operators"] == ["2", "1"]
    assert rows["broken"] == ["-", "1"]
    assert re.search(r"badge: .*crash:sim contract 1.0: FAILED \(2\) \(only 4 of \d+ tests", crash)
    (head,) = [t for t in tables if t.startswith("head:sim")]
    assert "partial" in head.splitlines()[1]


# --- gaps -----------------------------------------------------------------------------------------

GAPS = """
from seatrial.testing import BackendSuite, never, notimpl, notyet

class TestGaps(BackendSuite):
    backend = "crash"
    timeout_s = 20.0
    gaps = {
        "operators/*": notimpl("to do"),
        "operators/Abs": None,
        "operators/Tanh": notyet("it dies", shows="fault"),
        "operators/Sin": never("it is not in the plan"),
        "broken/file-empty": notyet("it dies", shows="wrong"),
        "hooks/session": notimpl("works already"),
        "operatos/Sin": notimpl("misspelt"),
    }

class TestNone(BackendSuite):
    backend = "silent"
    gaps = {"operators/*": notimpl("to do", shows="dishonest")}
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def gaps(lab, tables):
    tests = (RELU, TANH, ABS, "test_case[operators/Sin]", EMPTY, "test_session")
    names = [f"TestGaps::{t}" for t in (*tests, "test_gaps_name_something")]
    return lab.run(GAPS, *names, f"TestNone::{RELU}", SEATRIAL_KIT_TABLE=str(tables))


@pytest.mark.parametrize(
    ("test", "word", "says"),
    [
        (f"TestGaps::{RELU}", "failed", "declared notimpl (to do), but it works: remove it"),
        ("TestGaps::test_case[operators/Sin]", "failed", "declared never (it is not in the plan)"),
        (f"TestGaps::{ABS}", "passed", ""),
        (f"TestGaps::{TANH}", "xfailed", "notyet: it dies"),
        (f"TestGaps::{EMPTY}", "failed", "declared to be wrong, but it is fault"),
        ("TestGaps::test_session", "failed", "declared notimpl (works already), but it works"),
        ("TestGaps::test_gaps_name_something", "failed", "operatos/Sin"),
        (f"TestNone::{RELU}", "xfailed", "notimpl: to do"),
    ],
)
def test_gaps_are_strict(gaps, test, word, says):
    assert gaps[test][0] == word, gaps[test]
    assert says in gaps[test][1]


def test_a_run_leaves_its_tables(gaps, tables):
    from seatrial.testing import record

    (tables / "later-sim.json").write_text(
        json.dumps({**json.loads((tables / "crash-sim.json").read_text()), "suite": "later:sim"})
    )
    crash, later, silent = record.read(tables)
    assert (crash["suite"], silent["suite"]) == ("crash:sim", "silent:sim")
    assert crash["families"]["operators"] == {"right": 1, "failed": 2, "notyet": 1}
    assert crash["distribution"] == "seatrial-sly 1.0" and not crash["whole"]
    (gap,) = crash["gaps"]
    assert gap == {
        "word": "notyet",
        "reason": "it dies",
        "shows": "fault",
        "cases": ["operators/Tanh"],
    }
    assert len(crash["failed"]) == 5 and crash["badge"] in gaps.output
    page = record.markdown([crash, later, silent])
    assert "| right of asked | crash:sim | later:sim | silent:sim |" in page
    assert "| notyet | `operators/Tanh` | fault | it dies |" in page
    (tables / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="no table of the kit"):
        record.read(tables)


def test_a_gap_without_a_reason_is_refused():
    from seatrial.testing import notyet

    with pytest.raises(ValueError, match="needs a reason"):
        notyet(" ")
    with pytest.raises(ValueError, match="not a way to go wrong"):
        notyet("why", shows="sideways")


# --- another interpreter --------------------------------------------------------------------------


def test_a_toolchain_in_another_environment_is_tested_there(lab):
    other = Path(sys.executable).with_name("python3")
    if not other.exists() or str(other) == sys.executable:
        pytest.skip("this interpreter has no second name")
    text = (
        "from seatrial.testing import BackendSuite\n"
        "class TestGood(BackendSuite):\n"
        "    backend = 'good'\n"
        f"    python = {str(other)!r}\n"
    )
    ran = lab.run(text, f"TestGood::{RELU}", "TestGood::test_probe", "TestGood::test_session")
    assert {word for word, _ in ran.ends.values()} == {"passed"}, ran.ends


FLAKY = """
from seatrial.testing import BackendSuite, flaky

NOW_AND_THEN = {"operators/*": flaky("unwritten memory"), "hooks/session": flaky("likewise")}

class TestRight(BackendSuite):
    backend = "crash"
    gaps = NOW_AND_THEN

class TestWrong(BackendSuite):
    backend = "wrong"
    gaps = NOW_AND_THEN

class TestFussy(BackendSuite):
    backend = "fussy"
    gaps = NOW_AND_THEN

class TestDying(BackendSuite):
    backend = "crash"
    stand_in = "dying"
    gaps = {"operators/*": flaky("it dies", shows="fault")}
"""


@pytest.fixture(scope="module")
def loose(lab):
    names = [f"TestRight::{t}" for t in (RELU, TANH, "test_session")]
    names += [f"TestWrong::{RELU}", "TestFussy::test_session"]
    return lab.run(FLAKY, *names, *(f"TestDying::{t}" for t in (RELU, TANH)))


@pytest.mark.parametrize(
    ("test", "word", "says"),
    [
        (f"TestRight::{RELU}", "passed", ""),
        ("TestRight::test_session", "passed", ""),
        (f"TestWrong::{RELU}", "xfailed", "flaky: unwritten memory"),
        ("TestFussy::test_session", "xfailed", "flaky: likewise"),
        (f"TestRight::{TANH}", "failed", "declared to be wrong, but it is fault"),
        (f"TestDying::{RELU}", "passed", ""),
        (f"TestDying::{TANH}", "xfailed", "flaky: it dies"),
    ],
)
def test_flaky_goes_either_way_but_covers_no_crash_unsaid(loose, test, word, says):
    assert loose[test][0] == word, loose[test]
    assert says in loose[test][1]


def test_flaky_is_counted_apart_however_it_ended(loose):
    badges = dict(re.findall(r"badge: seatrial kit (.*) contract 1.0: (.*)", loose.output))
    assert "| 0 of 1 right | 1 flaky" in badges["wrong:sim"]
    assert "| 0 of 2 right | 2 flaky" in badges["crash:sim (dying)"]
    assert "| 0 of 3 right | 2 flaky, 1 failed" in badges["crash:sim"]


def test_a_lie_is_never_flaky():
    from seatrial.testing import flaky

    with pytest.raises(ValueError, match="not flaky"):
        flaky("now and then", shows="dishonest")


def test_the_badge_adds_up():
    from seatrial.testing import record, table

    columns = {c: 2 + k for k, c in enumerate(record.COLUMNS)}
    rows = {
        f"{family}/{c}-{n}": {"column": c, "ops": []}
        for c, count in columns.items()
        for n in range(count)
        for family in ("nets", "nodes")
    }
    parts = table.badge("acme:npu", rows).split(" | ")
    mine, nodes = ", ".join(parts[1:3]), parts[3]
    for text in (mine, nodes):
        right, asked = map(int, re.search(r"(\d+) of (\d+) right", text).groups())
        told = re.findall(r", (\d+) (\w+)", text)
        assert right == columns["right"] + columns["partial"]
        assert [word for _, word in told] == ["refused", *record.WORDS, "failed"]
        assert right + sum(int(n) for n, _ in told) == asked
        assert asked == sum(columns.values()) - columns["not asked"]
