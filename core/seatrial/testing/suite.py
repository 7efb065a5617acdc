"""The suite that a vendor's test class inherits."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from seatrial import results as r
from seatrial.hookspecs import HOOKS, MANDATORY
from seatrial.isolation import Limits
from seatrial.results import CONTRACT

from . import cases, table
from .bed import Bed
from .gaps import REFUSED, RIGHT, Gaps, find, idle
from .judge import CLAIMED, Tolerance
from .promises import Promises, good, item

#: ``all``: every node test of ONNX; ``none``: no node test; otherwise a sample.
NODES_VARIABLE = "SEATRIAL_KIT"

_BEDS: pytest.StashKey[dict[type, Bed]] = pytest.StashKey()

_DESCRIBING = """
import json, sys
before = set(sys.modules)
from seatrial.jobs import calls
calls.Plugin(*sys.argv[1:]).describe()
print(json.dumps(sorted({m.partition(".")[0] for m in set(sys.modules) - before})))
"""


class BackendSuite(Promises):
    """Everything that is asked of a backend; inherit it and give the backend's id.

    Attributes:
        backend: the id, which is the name of the entry point.
        target: target id; empty: the first default target that can be used here.
        python: interpreter of its children, when the toolchain lives in another environment.
        gaps: what is known not to work, see :mod:`seatrial.testing.gaps`.
        rtol: allowed relative difference of a value.
        atol: allowed absolute difference.
        timeout_s: for one case, or between two words of progress.
        memory_mb: of a child and all that it starts.
        node_sample: how many of ONNX's node tests run when not all are asked for.
        seed: of that sample.
        stand_in: what answers instead of the real toolchain, if that is not here; the table and
            the badge say it.
    """

    backend: ClassVar[str] = ""
    target: ClassVar[str] = ""
    python: ClassVar[str] = ""
    gaps: ClassVar[Gaps] = {}
    rtol: ClassVar[float] = 1e-3
    atol: ClassVar[float] = 1e-5
    timeout_s: ClassVar[float] = 60.0
    memory_mb: ClassVar[int] = 4096
    node_sample: ClassVar[int] = 72
    seed: ClassVar[int] = 0
    stand_in: ClassVar[str] = ""

    # --- what pytest needs ------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per case; only for classes that name a backend."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", list(cases.shelf("zoo").cases))
        if "node" in metafunc.fixturenames:
            metafunc.parametrize("node", self._node_names())

    def _node_names(self) -> list[str]:
        wanted = os.environ.get(NODES_VARIABLE, "")
        names = [] if wanted == "none" else sorted(cases.shelf("nodes").cases)
        if wanted == "all" or len(names) <= self.node_sample:
            return names
        chosen = random.Random(self.seed).sample(names, self.node_sample)  # noqa: S311 - a sample
        return sorted(chosen)

    @pytest.fixture
    def bed(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bed:
        """The backend under test; one for all tests of a class."""
        table.register(request.config)
        beds = request.config.stash.setdefault(_BEDS, {})
        if request.cls not in beds:
            who = f"{request.path}:{request.cls.__qualname__}"
            try:
                shared = _of_this_run(request.config, tmp_path_factory, who)
                beds[request.cls] = self._make_bed(tmp_path_factory.mktemp("bed"), shared)
            except LookupError as error:
                pytest.fail(str(error), pytrace=False)
            request.config.add_cleanup(beds[request.cls].close)
        return beds[request.cls]

    def _make_bed(self, folder: Path, shared: Path) -> Bed:
        return Bed(
            folder,
            shared,
            backend=self.backend,
            target=self.target,
            python=self.python,
            limits=Limits(timeout_s=self.timeout_s, memory_mb=self.memory_mb),
            tolerance=Tolerance(rtol=self.rtol, atol=self.atol),
        )

    @pytest.fixture
    def note(self, request: pytest.FixtureRequest, bed: Bed) -> Callable[..., None]:
        """Puts a fact of this test into the coverage table."""
        mandatory = len(cases.shelf("zoo").cases) + len(self.item_names())
        name = f"{_name_of(bed)} ({self.stand_in})" if self.stand_in else _name_of(bed)
        return table.noter(request.node, name, mandatory, bed.about())

    # --- the contract -----------------------------------------------------------------------------

    @item("contract/entry-point")
    def test_entry_point(self, bed: Bed) -> None:
        """One distribution brings this backend, and its entry point can be used."""
        assert len(bed.plugins) == 1, [p.dist for p in bed.plugins]
        assert bed.plugin.problem == ""
        assert bed.plugin.dist, "the entry point belongs to no distribution"

    @item("contract/describe")
    def test_describe(self, bed: Bed) -> None:
        """The description is complete, and no hook is misspelt or missing."""
        outcome = bed.described()
        assert outcome.fault is None
        said = outcome.result
        assert said is not None
        assert said.problems == ()
        description = said.description
        assert description.title and description.vendor
        assert description.install_hint, "say how to get the toolchain"
        ids = [t.id for t in description.targets]
        assert ids and len(ids) == len(set(ids))
        assert any(t.default for t in description.targets), "no target is run by default"
        assert set(said.hooks) >= set(MANDATORY) and set(said.hooks) <= set(HOOKS)

    @item("contract/light-import")
    def test_light_import(self, bed: Bed) -> None:
        """Describing imports the standard library, pluggy, seatrial and the plugin itself."""
        if self.python:
            pytest.skip("its children have another interpreter")
        own = bed.plugin.value.partition(":")[0].partition(".")[0]
        done = subprocess.run(
            [sys.executable, "-c", _DESCRIBING, bed.plugin.id, bed.plugin.value],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=self.timeout_s,
        )
        assert done.returncode == 0, done.stderr
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert loaded - set(sys.stdlib_module_names) <= {own, "seatrial", "pluggy"}

    @item("contract/version")
    def test_contract_version(self, bed: Bed) -> None:
        """The contract it was written for is stated, and not newer than this one."""
        said = bed.described().result
        assert said is not None
        stated = [int(n) for n in said.contract.split(".")]
        ours = [int(n) for n in CONTRACT.split(".")]
        assert stated[0] == ours[0] and stated <= ours, (said.contract, CONTRACT)

    @item("contract/probe")
    def test_probe(self, bed: Bed) -> None:
        """Every target says that it can be used, with versions, or why not and what to do."""
        said = bed.described().result
        assert said is not None
        for target in said.description.targets:
            outcome = bed.probe(target.id)
            assert outcome.fault is None, target.id
            found = outcome.result
            assert found is not None
            if found.usable:
                assert found.versions, f"{target.id} tells no version of its toolchain"
            else:
                assert found.reason, f"{target.id} does not say why it cannot be used"
                hints = (found.install_hint, target.install_hint, said.description.install_hint)
                assert any(hints), target.id

    @item("contract/probe-unknown-target")
    def test_probe_of_an_unknown_target(self, bed: Bed) -> None:
        """A target that does not exist is never usable, and nobody dies of it."""
        outcome = bed.hook("seatrial_probe", r.ProbeRequest(target="no-such-target"))
        assert outcome.result is None or not outcome.result.usable
        assert outcome.fault is None or outcome.fault.kind is r.FaultKind.RAISED

    @item("contract/unusable-judges-nothing")
    def test_unusable_targets_judge_nothing(self, bed: Bed) -> None:
        """Without its toolchain a target knows nothing of a model: neither yes nor no."""
        said = bed.described().result
        assert said is not None
        absent = [t for t in said.description.targets if not bed.usable(t.id)]
        if not absent:
            pytest.skip("every target can be used here")
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        for target in absent[:3]:
            request = r.CheckRequest(model=ref, target=target.id, shapes=dict(case.shapes))
            outcome = bed.hook("seatrial_compile_check", request)
            if outcome.result is not None:
                assert outcome.result.verdict is r.Verdict.UNKNOWN, target.id
            else:
                assert outcome.fault and outcome.fault.kind is r.FaultKind.RAISED, target.id

    @item("contract/same-answer-twice", usable=True)
    def test_same_answer_twice(self, bed: Bed) -> None:
        """The same question has the same answer, in another process."""
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        request = bed.check(case, ref)
        first, second = (good(bed.hook("seatrial_compile_check", request)) for _ in range(2))
        assert first.verdict is second.verdict
        assert first.findings == second.findings
        assert first.placements == second.placements

    @item("contract/gaps")
    def test_gaps_name_something(self, bed: Bed) -> None:
        """Every declared gap names a test that exists."""
        known = [*cases.shelf("zoo").cases, *self.item_names()]
        if any(pattern.startswith("nodes/") for pattern in self.gaps):
            known += cases.shelf("nodes").cases
        assert idle(self.gaps, known) == []

    # --- cases ------------------------------------------------------------------------------------

    def test_case(
        self, case: str, bed: Bed, note: Callable[..., None], request: pytest.FixtureRequest
    ) -> None:
        """A model of the kit: accepted and computed right, or declared as a gap."""
        self._settle(case, "zoo", bed, note, _selected(request, "case"))

    def test_node(
        self, node: str, bed: Bed, note: Callable[..., None], request: pytest.FixtureRequest
    ) -> None:
        """A node test of ONNX: what is accepted must compute the truth; a refusal is counted."""
        self._settle(node, "nodes", bed, note, _selected(request, "node"))

    def _settle(
        self, name: str, kind: str, bed: Bed, note: Callable[..., None], selected: list[str]
    ) -> None:
        shelf = cases.shelf(kind)
        note(name=name, ops=list(shelf.cases[name].ops), contract=self._contract(bed))
        why = bed.why_not()
        if why:
            note(how="unusable", text=why)
            self._settle_claims(name, kind, bed, selected)
            pytest.skip(why)
        found = bed.found(shelf, name, selected)
        note(how=found.how, partial=found.partial, ran=found.ran, text=found.text)
        if found.how == "gated":
            pytest.skip(found.text)
        pattern, gap = find(self.gaps, name)
        counted = found.how == REFUSED and self._may_refuse(shelf.cases[name], bed)
        if gap is None:
            if found.how != RIGHT and not counted:
                pytest.fail(f"{found.how}: {found.text}", pytrace=False)
            return
        note(word=gap.word, reason=gap.reason, shows=gap.shows)
        if found.how == RIGHT and not gap.either:
            pytest.fail(
                f"declared {gap.word} ({gap.reason}), but it works: remove it from the gap"
                f" {pattern!r}",
                pytrace=False,
            )
        if not gap.allows(found.how):
            pytest.fail(
                f"declared to be {gap.shows}, but it is {found.how}: {found.text}", pytrace=False
            )
        if found.how != RIGHT:
            pytest.xfail(f"{gap.word}: {gap.reason}")

    def _settle_claims(self, name: str, kind: str, bed: Bed, selected: list[str]) -> None:
        """Where the toolchain is missing, the table still must not die or lie."""
        if "seatrial_check_static" not in bed.hooks:
            return
        found = bed.found(cases.shelf(kind), name, selected)
        if found.how != CLAIMED and find(self.gaps, name)[1] is None:
            pytest.fail(f"{found.how}: {found.text}", pytrace=False)

    @staticmethod
    def _may_refuse(case: cases.Case, bed: Bed) -> bool:
        """Coverage that is counted and not demanded: node tests, and foreign Q/DQ dialects."""
        if case.family == "nodes":
            return True
        return case.precision == "int8" and case.dialect != bed.target.rules.qdq

    @staticmethod
    def _contract(bed: Bed) -> str:
        said = bed.described().result
        return said.contract if said else ""


def _of_this_run(config: pytest.Config, folders: pytest.TempPathFactory, who: str) -> Path:
    """A folder of one test class that all workers of this test run see, and no other run.

    Whether this process is a worker is asked of pytest-xdist itself: its variables are inherited
    by test runs that a worker starts, whose parent folder holds the answers of earlier runs.
    """
    worker = getattr(config, "workerinput", None)
    base = folders.getbasetemp()
    base = base if worker is None else base.parent / worker["testrunuid"]
    return base / "seatrial-kit" / hashlib.sha256(who.encode()).hexdigest()[:16]


def _name_of(bed: Bed) -> str:
    """``backend:target``, or the backend alone when it cannot be described."""
    try:
        return f"{bed.plugin.id}:{bed.target.id}"
    except LookupError:
        return bed.plugin.id


def _selected(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """The cases of this class that the test run wants, in the order of collection."""
    calls = [
        one.callspec.params
        for one in request.session.items
        if getattr(one, "cls", None) is request.cls and hasattr(one, "callspec")
    ]
    return [str(params[parameter]) for params in calls if parameter in params]
