"""The test bed of one backend: its children, and the answers to the cases that were selected."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seatrial import registry
from seatrial import results as r
from seatrial.hookspecs import MANDATORY
from seatrial.isolation import Described, Environment, Limits, Outcome, Question, Runner
from seatrial.registry import Plugin
from seatrial.workspace import Workspace

from .cases import SOUND, Case, Shelf
from .judge import Found, Tolerance, judge, judge_claims

#: Cases per child. Small enough that several test processes share the work.
CHUNK = 24


class Bed:
    """One backend and target under test.

    Args:
        folder: for the workspace.
        shared: a folder that all processes of one test run see.
        backend: its id.
        target: target id; ``""``: the first default target that is usable.
        python: another interpreter for its children.
        limits: of one case.
        tolerance: for values.

    Raises:
        LookupError: no such backend is installed.
    """

    def __init__(
        self,
        folder: Path,
        shared: Path,
        *,
        backend: str,
        target: str = "",
        python: str = "",
        limits: Limits,
        tolerance: Tolerance,
    ) -> None:
        self.shared = shared
        self.limits = limits
        self.tolerance = tolerance
        self.plugins = [p for p in registry.discover() if p.id == backend]
        if not self.plugins:
            known = ", ".join(sorted({p.id for p in registry.discover()})) or "none"
            raise LookupError(f"no backend {backend!r} is installed; there are: {known}")
        self.plugin: Plugin = self.plugins[0]
        self.env = "kit" if python else ""
        environments = {"kit": Environment(name="kit", python=python)} if python else {}
        self.workspace = Workspace(folder / ".seatrial")
        self.runner = Runner(self.workspace, environments=environments)
        self._wanted = target
        self._probed: dict[str, Outcome[r.Availability]] = {}
        self._picked: r.Target | None = None

    # --- who it is --------------------------------------------------------------------------------

    def described(self) -> Outcome[Described]:
        """What the backend says of itself."""
        return self.runner.describe(self.plugin, env=self.env)

    def probe(self, target: str) -> Outcome[r.Availability]:
        """Whether a target can be used here; asked once."""
        if target not in self._probed:
            request = r.ProbeRequest(target=target)
            self._probed[target] = self.hook("seatrial_probe", request)
        return self._probed[target]

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that are offered."""
        said = self.described().result
        return said.hooks if said else MANDATORY

    @property
    def target(self) -> r.Target:
        """The target under test, usable or not.

        Raises:
            LookupError: the backend cannot be described, or has no such target.
        """
        if self._picked is None:
            self._picked = self._pick()
        return self._picked

    def _pick(self) -> r.Target:
        outcome = self.described()
        if outcome.result is None:
            why = outcome.fault.reason if outcome.fault else "nothing"
            raise LookupError(f"{self.plugin.id} cannot be described: {why}")
        targets = outcome.result.description.targets
        if self._wanted:
            named = [t for t in targets if t.id == self._wanted]
            if not named:
                raise LookupError(f"{self.plugin.id} has no target {self._wanted!r}")
            return named[0]
        default = [t for t in targets if t.default] or list(targets)
        return next((t for t in default if self.usable(t.id)), default[0])

    def usable(self, target: str) -> bool:
        """Whether a target said that it can be used here."""
        found = self.probe(target).result
        return found is not None and found.usable

    def why_not(self) -> str:
        """Why the target under test cannot be used here; ``""`` when it can."""
        outcome = self.probe(self.target.id)
        if outcome.result is None:
            return f"the probe failed: {outcome.fault.reason if outcome.fault else 'nothing'}"
        if outcome.result.usable:
            return ""
        hint = outcome.result.install_hint or self.target.install_hint
        return f"{self.target.id} is not usable here: {outcome.result.reason} ({hint})"

    def about(self) -> dict[str, Any]:
        """Package, contract and versions, for the table."""
        said = self.described().result
        try:
            found = self.probe(self.target.id).result
        except LookupError:
            found = None
        return {
            "distribution": f"{self.plugin.dist} {self.plugin.version}".strip(),
            "contract": said.contract if said else "",
            "versions": dict(found.versions) if found and found.usable else {},
        }

    # --- calls ------------------------------------------------------------------------------------

    def hook(self, name: str, request: Any) -> Outcome[Any]:
        """Call a hook in a child of its own."""
        return self.runner.hook(self.plugin, name, request, limits=self.limits, env=self.env)

    def load(self, shelf: Shelf, name: str) -> tuple[Case, r.Ref]:
        """A case and its model in the store."""
        case = shelf.cases[name]
        return case, self.workspace.add(shelf.files(case), "model.onnx")

    def check(self, case: Case, ref: r.Ref) -> r.CheckRequest:
        """The request of a compile-check; static shapes only where they are asked for."""
        static = case.dynamic and self.target.rules.static_shapes
        return r.CheckRequest(
            model=ref,
            target=self.target.id,
            precision=case.precision,
            shapes=dict(case.shapes) if static else {},
        )

    def gate(self, case: Case) -> str:
        """Why a case is not asked of this target, by its own rules; ``""`` when it is."""
        rules = self.target.rules
        if case.expect != SOUND:
            return ""
        if case.opset and case.opset < rules.opset_min:
            return f"opset {case.opset}; the target reads {rules.opset_min} and later"
        if rules.opset_max and case.opset > rules.opset_max:
            return f"opset {case.opset}; the target reads up to {rules.opset_max}"
        if case.precision == "int8" and rules.qdq is None:
            return "the target takes no Q/DQ models"
        return ""

    # --- cases ------------------------------------------------------------------------------------

    def found(self, shelf: Shelf, name: str, selected: Sequence[str]) -> Found:
        """How a case ends. Its chunk of the selected cases is asked if nobody did before.

        Args:
            shelf: where the case is.
            name: the case.
            selected: all cases of this shelf that the test run wants, the same in every process.
        """
        place = selected.index(name) // CHUNK
        chunk = selected[place * CHUNK : (place + 1) * CHUNK]
        key = hashlib.sha256(json.dumps([shelf.root.name, *chunk]).encode()).hexdigest()[:16]
        path = self.shared / f"{key}.json"
        with _locked(path.with_suffix(".lock")):
            if not path.is_file():
                found = self._ask(shelf, chunk)
                text = json.dumps({k: dataclasses.asdict(v) for k, v in found.items()})
                path.write_text(text, "utf-8")
            stored = json.loads(path.read_text("utf-8"))
        return Found(**stored[name])

    def _ask(self, shelf: Shelf, names: Sequence[str]) -> dict[str, Found]:
        """Ask a chunk as one batch, and judge the answers."""
        cases = [shelf.cases[n] for n in names]
        files = {
            f"{case.folder}/{file}": path
            for case in cases
            for file, path in shelf.files(case).items()
        }
        ref = self.workspace.add(files, "")
        compiling = not self.why_not()
        questions = [
            self._question(c, ref, compiling=compiling)
            for c in cases
            if not (compiling and self.gate(c))
        ]
        answers = self.runner.batch(self.plugin, questions, limits=self._limits(), env=self.env)
        found = {}
        for case in cases:
            answer = answers.get(case.name)
            if answer is None:
                found[case.name] = Found(how="gated", text=self.gate(case))
                continue
            if not compiling:
                found[case.name] = judge_claims(case, answer)
                continue
            data = shelf.root / case.folder / "data.npz"
            found[case.name] = judge(case, answer, data, self.tolerance)
        return found

    def _limits(self) -> Limits:
        """A child may go on as long as each case, and each word of progress, comes in time."""
        every = self.limits.timeout_s
        return dataclasses.replace(self.limits, timeout_s=every * CHUNK, soft_s=every)

    def _question(self, case: Case, ref: r.Ref, *, compiling: bool) -> Question:
        model = r.Ref(sha256=ref.sha256, entry=f"{case.folder}/model.onnx")
        return Question(
            id=case.name,
            check=self.check(case, model),
            tensors=case.tensors,
            inputs=case.inputs,
            feeds="data.npz" if case.runnable and case.expect == SOUND else "",
            compile=compiling,
        )

    def close(self) -> None:
        """End all children."""
        self.runner.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
