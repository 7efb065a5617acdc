"""``seatrial init``: look, guess, write the configuration and the contact sheet.

Standard library only; children do what needs a decoder or a runtime.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.data.api import TaskRunner, refusal_error
from seatrial.data.contract import InputContract, complete
from seatrial.data.source import Source, split
from seatrial.data.states import guessed
from seatrial.errors import UserError
from seatrial.init import guess as g
from seatrial.init.presets import Hint, classes_of, find
from seatrial.init.records import (
    InitResult,
    Look,
    LookRequest,
    Score,
    SheetRequest,
    SheetResult,
    TryRequest,
    TryResult,
)
from seatrial.init.render import InputGuess, Plan, data_lines, quote, render
from seatrial.init.tasks import guess as guessed_task
from seatrial.intake import Admitted, ModelFacts
from seatrial.results import TensorIO
from seatrial.text import clean

_CALIBRATION = ("calib", "calibration", "train", "cal")
_TEST = ("test", "val", "valid", "validation", "eval")


def run(  # noqa: PLR0917  # five nouns and the one switch of the verb
    runner: TaskRunner,
    model_path: Path,
    admitted: Admitted,
    source: Source | None,
    out_path: Path,
    force: bool = False,
) -> InitResult:
    """Guess the input contract and write it down, every doubt marked.

    Args:
        runner: runs the children.
        model_path: as the user typed it, for the file.
        admitted: the model after intake.
        source: samples; ``None``: the contract is guessed from the model alone.
        out_path: the file to write; when it exists and ``force`` is not set, a file beside it.
        force: write over it.

    Raises:
        UserError: the source is refused, or the place cannot be written.
    """
    work = _Init(runner, model_path, admitted, source, _free_name(out_path, force))
    return work.run()


class _Init:
    def __init__(
        self,
        runner: TaskRunner,
        model_path: Path,
        admitted: Admitted,
        source: Source | None,
        out: Path,
    ) -> None:
        self.runner = runner
        self.model_path = model_path
        self.admitted = admitted
        self.facts: ModelFacts = admitted.facts
        self.source = source
        self.out = out
        self.lines: list[str] = []
        self.look: Look | None = None
        self.offset = 0

    def run(self) -> InitResult:
        self.look = self._look()
        calibration, data = self._data()
        guesses = [self._guess(i, calibration) for i in self.facts.inputs]
        fed_back = set(guessed(self.facts.inputs, self.facts.outputs).values())
        plan = Plan(
            model=_relative(self.model_path, self.out.parent),
            inputs=tuple(g for g in guesses if g.name not in fed_back),
            data=tuple(data),
            labelled=bool(self.look and self.look.labelled),
            task=guessed_task(self.facts),
            classifier=classes_of(self.facts) > 1,
            label_offset=self.offset,
            why_offset=self._why_offset(),
        )
        sheet = self._sheet(calibration, guesses)
        _write(self.out, render(plan).encode("utf-8"))
        return InitResult(
            config=str(self.out),
            contact_sheet=sheet,
            lines=(*self._said(guesses), *self.lines),
            next=(self._next(plan),),
        )

    def _task(self, name: str, request: Any, **more: Any) -> Any:
        """A task's result, or ``None`` with a line that says which fault there was."""
        user = self.source.user_code if self.source else False
        outcome = self.runner.task(name, request, user=user, **more)
        if outcome.fault is not None:
            self.lines.append(f"{name}: {outcome.fault.kind.value}: {outcome.fault.reason}")
            return None
        return outcome

    def _look(self) -> Look | None:
        if self.source is None:
            return None
        request = LookRequest(source=self.source, inputs=self.facts.inputs)
        outcome = self._task("seatrial.init.child:look", request)
        if outcome is None:
            return None
        found: Look = outcome.result
        if found.refused is not None:
            raise refusal_error(found.refused)
        labels = f"{found.classes} different labels" if found.labelled else "no labels"
        self.lines.append(f"{self.source.text}: {found.total} samples, {labels}")
        return found

    def _data(self) -> tuple[Source | None, list[str]]:
        """The calibration part, and the ``[data]`` tables."""
        if self.source is None:
            return None, []
        place = quote(_place(self.source, self.out.parent))
        by_column = self._split_column()
        if by_column is not None:
            calibration, test = by_column
            self.lines.append(f"labels.csv splits the data: {calibration} calibrates, {test} tests")
            note = "labels.csv has a column 'split', which is used here."
            tables = []
            for role, value in (("calibration", calibration), ("test", test)):
                where = f"{{ split = {quote(value)} }}"
                tables += [*data_lines(f"data.{role}", [("source", place), ("where", where)], note)]
                note = ""
            return dataclasses.replace(self.source, where={"split": calibration}), tables
        part, _, how = split(self.source)
        self.lines.append(how)
        note = (
            "One source: it is split in two by group, and no sample serves both. Better: name "
            "[data.calibration] and [data.test] apart, the first from production."
        )
        return part, data_lines("data", [("source", place), ("split_seed", "0")], note)

    def _split_column(self) -> tuple[str, str] | None:
        values = self.look.splits if self.look else {}
        first = next((v for v in values if v.lower() in _CALIBRATION), None)
        second = next((v for v in values if v.lower() in _TEST), None)
        return (first, second) if first and second else None

    def _guess(self, model_input: TensorIO, calibration: Source | None) -> InputGuess:
        folder = self.source is not None and self.source.kind == "folder"
        if not g.takes_pictures(model_input, self.look, folder=folder):
            return g.tensor(model_input, self.look, single=len(self.facts.inputs) == 1)
        base, said = g.picture(model_input, self.facts, self.look)
        scores = self._try(base, said, model_input, calibration)
        labelled = bool(self.look and self.look.labelled)
        name, why, lines = g.choose(said, scores, labelled=labelled)
        if not g.fits_dtype(find(name).contract, model_input):
            name, why = "raw", f"GUESS: {model_input.dtype} holds pixels as they are"
        self.offset = next((s.offset for s in scores if s.preset == name), 0)
        return g.settle(base, find(name), why, lines)

    def _try(
        self, base: InputGuess, said: Hint, model_input: TensorIO, calibration: Source | None
    ) -> tuple[Score, ...]:
        """Scores of the presets, then of their twins with the colours swapped, eight at most."""
        if calibration is None or calibration.user_code or len(self.facts.inputs) != 1:
            return ()
        if classes_of(self.facts) < 2:
            return ()
        contracts = g.candidates(base, said, model_input)
        first = self._scores(contracts, model_input, calibration)
        if not first or base.contract.color == "GRAY":
            return first
        twins = {
            twin.name: complete(g.settle(base, twin, "", ()).contract, model_input)
            for twin in g.twins(first)
            if twin.name not in contracts
        }
        return (*first, *self._scores(twins, model_input, calibration))

    def _scores(
        self, contracts: dict[str, InputContract], model_input: TensorIO, calibration: Source
    ) -> tuple[Score, ...]:
        classes = classes_of(self.facts)
        largest = self.look.largest if self.look else -1
        request = TryRequest(
            model=self.admitted.ref,
            source=calibration,
            input=model_input,
            contracts=contracts,
            offsets=(0, 1) if 0 <= largest < classes - 1 else (0,),
        )
        refs = (self.admitted.ref,)
        outcome = self._task("seatrial.init.child:try_presets", request, refs=refs)
        if outcome is None:
            return ()
        result: TryResult = outcome.result
        if result.refused is not None:
            self.lines.append(f"presets not tried: {refusal_error(result.refused)}")
        return result.scores

    def _why_offset(self) -> str:
        if self.look is None or not self.look.labelled:
            return ""
        classes = classes_of(self.facts)
        if self.offset:
            return f"GUESS: the model has {classes} classes and fits the labels shifted by one"
        if classes and self.look.largest >= classes:
            text = f"labels go up to {self.look.largest}, but the model has {classes} classes"
            self.lines.append(f"WARNING: {text}")
            return f"WARNING: {text}"
        if classes and self.look.classes != classes and self.look.total >= 10 * classes:
            have = f"the model has {classes} classes, the data {self.look.classes} different labels"
            return f"{have}: are they numbered alike?"
        return ""

    def _sheet(self, calibration: Source | None, guesses: Sequence[InputGuess]) -> str:
        if calibration is None:
            return ""
        contracts = {}
        for model_input, found in zip(self.facts.inputs, guesses, strict=True):
            contracts[found.name] = complete(found.contract, model_input)
        first = guesses[0]
        title = f"{self.model_path.name}: input {first.name}"
        if first.preset:
            c = first.contract
            title += f", preset {first.preset}: {c.color} scale {c.scale:.4g} mean {c.mean}"
        request = SheetRequest(
            source=calibration, inputs=self.facts.inputs, contracts=contracts, title=title
        )
        outcome = self._task("seatrial.init.sheet_child:draw", request)
        if outcome is None:
            return ""
        result: SheetResult = outcome.result
        if result.refused is not None:
            self.lines.append(f"no contact sheet: {refusal_error(result.refused)}")
            return ""
        self.lines += [f"as fed: {line}" for line in result.ranges]
        target = self.out.with_name(f"{self.out.stem}.contact-sheet.png")
        _write(target, (Path(outcome.out) / result.file).read_bytes())
        return str(target)

    def _said(self, guesses: Sequence[InputGuess]) -> list[str]:
        said = []
        for found in guesses:
            c = found.contract
            what = f"{c.resize} to {c.size[1]}x{c.size[0]}" if c.mode == "image" else "as stored"
            numbers = f", {found.preset} ({c.color})" if found.preset else ""
            said.append(f"input {clean(found.name)}: {c.mode}, {what}{numbers}")
            said += [f"  {line}" for line in found.evidence]
        return said

    def _next(self, plan: Plan) -> str:
        words = ["seatrial", "run", str(self.model_path), "--config", str(self.out)]
        if self.source is None:
            words += ["--data", "SRC"]
        elif not plan.labelled:
            words += ["--accept-agreement", "99"]
        return shlex.join([*words, "-o", "trial"])


def _free_name(path: Path, force: bool) -> Path:
    """The file itself, or one beside it when it exists and must not be written over."""
    if path.is_dir():
        raise UserError(str(path), "is a folder", advice="name the file to write")
    if force or not path.exists():
        return path
    k = 1
    while (beside := path.with_name(f"{path.stem}.{k}{path.suffix}")).exists():
        k += 1
    return beside


def _relative(path: Path, folder: Path) -> str:
    """A path as written into a configuration that lies in ``folder``."""
    try:
        return os.path.relpath(path.resolve(), folder.resolve())
    except ValueError:
        return str(path.resolve())


def _place(source: Source, folder: Path) -> str:
    """A source as written into the configuration, slice included."""
    if source.kind == "callable" and not source.location.partition(":")[0].endswith(".py"):
        return source.text
    suffix = source.text[source.text.rindex("[") :] if _sliced(source) else ""
    if source.kind == "callable":
        file, _, name = source.location.rpartition(":")
        return f"{_relative(Path(file), folder)}:{name}{suffix}"
    return _relative(Path(source.location), folder) + suffix


def _sliced(source: Source) -> bool:
    return (source.start, source.stop, source.step) != (None, None, 1)


def _write(path: Path, content: bytes) -> None:
    """Write aside, then rename: no half file under the final name.

    Raises:
        UserError: the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.move(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UserError(str(path), f"cannot be written: {error.strerror or error}") from None
