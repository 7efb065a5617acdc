"""Entry points: broken ones stay visible, and nothing of a plugin is imported to list it."""

from __future__ import annotations

import sys

import pytest

from seatrial import results as r
from seatrial.registry import discover
from seatrial.results import FaultKind as K

DESCRIBE = """
from seatrial import hookimpl, results as r

@hookimpl
def seatrial_describe():
    return r.Description(title="T", vendor="V", targets=())

"""


def broken(site, code, name="broken"):
    site.install(f"seatrial-{name}", name, f"mod_{name}", code=code)
    return site.plugin(name)


def test_listing_imports_nothing(site):
    broken(site, "raise SystemExit('imported in the parent')")
    assert "mod_broken" not in sys.modules


def test_two_distributions_with_one_name_are_both_refused(site, runner):
    site.install("seatrial-acme", "acme", "acme_one", code=DESCRIBE)
    site.install("impostor", "acme", "acme_two", code=DESCRIBE)
    clash = [p for p in discover() if p.id == "acme"]
    assert [p.dist for p in clash] == ["impostor", "seatrial-acme"]
    for plugin in clash:
        assert "impostor 1.0" in plugin.problem and "seatrial-acme 1.0" in plugin.problem
        outcome = runner.describe(plugin)
        assert outcome.fault.kind is K.UNAVAILABLE and outcome.fault.reason == plugin.problem


@pytest.mark.parametrize("name", ["Acme", "-acme", "ac.me", "ac me", "äcme"])
def test_a_bad_id_is_a_problem(site, name):
    site.install("seatrial-odd", name, "odd", code=DESCRIBE)
    (plugin,) = [p for p in discover() if p.dist == "seatrial-odd"]
    assert repr(name) in plugin.problem


BROKEN = {
    "raises at import": ("raise RuntimeError('no SDK here')", K.UNAVAILABLE, "no SDK here"),
    "import error": ("import no_such_sdk", K.UNAVAILABLE, "No module named 'no_such_sdk'"),
    "syntax error": ("def (", K.UNAVAILABLE, "SyntaxError"),
    "exits at import": ("import sys; sys.exit(0)", K.CRASHED, "exited 0 without a result record"),
    "vanishes at import": ("import os; os._exit(0)", K.CRASHED, "exited 0 without"),
    "other major": (
        'SEATRIAL_CONTRACT = "2.0"\n' + DESCRIBE,
        K.BROKE_CONTRACT,
        "was built for contract 2, this is 1",
    ),
    "unknown argument": (
        DESCRIBE + "@hookimpl\ndef seatrial_probe(request, colour): pass\n",
        K.BROKE_CONTRACT,
        "colour",
    ),
    "no describe": ("", K.NOT_OFFERED, "does not offer seatrial_describe"),
    "misspelt describe": (
        "from seatrial import hookimpl\n@hookimpl\ndef seatrial_descibe(): pass\n",
        K.BROKE_CONTRACT,
        "seatrial_descibe is not a hook of contract 1.0; did you mean seatrial_describe?",
    ),
    "unmarked describe": (
        "def seatrial_describe(): pass\n",
        K.BROKE_CONTRACT,
        "not marked with @hookimpl",
    ),
    "wrong description": (
        "from seatrial import hookimpl, results as r\n@hookimpl\ndef seatrial_describe():\n"
        "    return r.Description(title=1, vendor='V', targets=())\n",
        K.BROKE_CONTRACT,
        "expected str, got int",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_has_a_named_fault(case, site, runner):
    code, kind, reason = BROKEN[case]
    outcome = runner.describe(broken(site, code))
    assert outcome.fault.kind is kind
    assert reason in outcome.fault.reason


def test_misspelt_and_missing_hooks_are_listed(site, runner):
    code = DESCRIBE + "@hookimpl\ndef seatrial_compile_chek(request, job): pass\n"
    outcome = runner.describe(broken(site, code, "halfway"))
    assert outcome.ok and outcome.result.hooks == ("seatrial_describe",)
    said = " ".join(outcome.result.problems)
    assert "seatrial_compile_chek" in said and "seatrial_compile_check is mandatory" in said


def test_a_plugin_may_be_an_object_or_a_class(site, runner):
    code = (
        "from seatrial import hookimpl, results as r\n"
        "class Backend:\n"
        "    @hookimpl\n"
        "    def seatrial_describe(self):\n"
        "        return r.Description(title='T', vendor='V', targets=())\n"
    )
    (site.folder / "klass.py").write_text(code)
    site.install("seatrial-klass", "klass", "klass:Backend")
    assert runner.describe(site.plugin("klass")).result.description.title == "T"


def test_others_that_are_broken_do_not_matter(site, runner, healthy):
    broken(site, "raise RuntimeError")
    outcome = runner.hook(healthy, "seatrial_probe", r.ProbeRequest(target="cpu"))
    assert outcome.result == r.Availability(usable=True)


def test_a_description_is_cached_until_the_package_changes(site, workspace):
    from seatrial.isolation import Runner

    plugin = broken(site, DESCRIBE, "cached")
    titles = []
    for code in (None, None, DESCRIBE.replace('"T"', '"Other"')):
        if code:
            (site.folder / "mod_cached.py").write_text(code)
        with Runner(workspace) as runner:
            titles.append(runner.describe(plugin).result.description.title)
    assert titles == ["T", "T", "Other"]
    # One job for each content, none for the second runner.
    assert len(list(workspace.jobs.iterdir())) == 2


def test_a_damaged_cache_entry_is_not_used(site, workspace, cache):
    from seatrial.isolation import Runner

    plugin = broken(site, DESCRIBE.replace('"T"', '"Rotten"'), "rotten")
    with Runner(workspace) as runner:
        runner.describe(plugin)
    (entry,) = [p for p in (cache / "seatrial/described").iterdir() if "Rotten" in p.read_text()]
    entry.write_text(entry.read_text().replace("Rotten", "Forged"))
    with Runner(workspace) as runner:
        assert runner.describe(plugin).result.description.title == "Rotten"
