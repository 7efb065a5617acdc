"""Runs cases of the zoo through the pipeline and says what was caught, missed or a false alarm."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from zoo import Case

from seatrial.config import load
from seatrial.export import opsets, pipeline
from seatrial.export.module_records import FACTORY, ModuleSpec
from seatrial.export.parity_records import FAIL, PASS
from seatrial.export.problems import ERROR
from seatrial.export.stage import Made, Wish
from seatrial.options import JobOptions
from seatrial.progress import NoProgress
from seatrial.trial.context import Trial

HERE = Path(__file__).resolve().parent
SAMPLES = 12


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one case; ``line`` is the line expected, ``named`` those that were named."""

    case: Case
    gate: str
    reasons: tuple[str, ...]
    line: int
    named: tuple[int, ...]
    route: str

    @property
    def word(self) -> str:
        """caught, caught elsewhere (another line or none), missed, passed, false alarm."""
        red = self.gate != PASS
        if not self.case.kind:
            return "false alarm" if red else "passed"
        if not red:
            return "missed"
        return "caught" if not self.line or self.line in self.named else "caught elsewhere"


def cases(folder: str) -> Iterator[tuple[Path, Case]]:
    """All cases of ``zoo_blind`` or ``zoo_own``."""
    root = HERE / folder
    files = sorted(root.glob("*.py")) if root.is_dir() else [HERE / f"{folder}.py"]
    for file in files:
        if file.stem.startswith("_"):
            continue
        module = module_of(file)
        for case in getattr(module, "CASES", ()):
            yield file, case


def module_of(file: Path):
    """The zoo file as a module, imported once: operators can be registered only once."""
    for folder in (str(HERE), str(file.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return importlib.import_module(file.stem)


@contextlib.contextmanager
def in_process(folder: Path) -> Iterator[Trial]:
    """A command whose children run here: torch is imported once for the whole zoo."""
    jobs = JobOptions(in_process=True)
    with Trial("export", folder, jobs=jobs, config=load(None), progress=NoProgress()) as trial:
        yield trial


def store(trial: Trial, feeds, folder: Path):
    """Arrays as a sample store in the workspace."""
    from seatrial.samples import StoreWriter

    folder.mkdir(parents=True)
    count = len(next(iter(feeds.values())))
    writer = StoreWriter(folder, count)
    for i in range(count):
        writer.add({n: np.asarray(v[i]) for n, v in feeds.items()})
    names = writer.close([{"id": str(i), "sha256": str(i)} for i in range(count)])
    return trial.workspace.add({n: folder / n for n in names}, "")


def export(trial: Trial, file: Path, case: Case, folder: Path) -> Made:
    """One case through study, both exporters, parity and axis replay."""
    module_of(file)
    spec = ModuleSpec(
        kind=FACTORY,
        location=f"{file.stem}:{case.factory}",
        inputs=tuple(case.inputs(1)),
    )
    wish = Wish(
        spec=spec,
        choice=opsets.choose([]),
        dynamic=case.dynamic,
        translations=f"{file.stem}:{case.translations}" if case.translations else "",
    )
    return pipeline.make(trial, wish, store(trial, case.inputs(SAMPLES), folder))


def judge(trial: Trial, file: Path, case: Case, folder: Path) -> Outcome:
    """Export one case and compare with what was expected."""
    from seatrial.errors import UserError

    try:
        made = export(trial, file, case, folder)
    except UserError as error:
        return Outcome(case, FAIL, (error.line(),), _line(file, case), (), "")
    problems = [p for a in made.attempts for p in a.problems]
    problems += made.study.problems if made.study else ()
    named = [p.line for p in problems if p.level == ERROR and p.file == str(file)]
    if made.divergence is not None and made.divergence.file == str(file):
        named.append(made.divergence.line)
    return Outcome(
        case,
        made.gate,
        (*made.reasons, *(f.reason for f in made.faults)),
        _line(file, case),
        tuple(named),
        made.chosen.route if made.chosen else "",
    )


def _line(file: Path, case: Case) -> int:
    if not case.expect_line:
        return 0
    lines = file.read_text("utf-8").splitlines()
    found = [i for i, text in enumerate(lines, 1) if case.expect_line in text]
    marked = [i for i in found if "expect_line" not in lines[i - 1]]
    return (marked or found)[0]


def table(outcomes: list[Outcome]) -> str:
    """One line per case, and the sums."""
    rows = [
        f"{o.word:16} {o.case.kind or 'sound':28} {o.case.name:28} {o.route:12} "
        f"line {o.line or '-'} of {list(dict.fromkeys(o.named)) or '-'}  "
        f"{(o.reasons or ('',))[0][:110]}"
        for o in outcomes
    ]
    words = [o.word for o in outcomes]
    sums = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words))
    return "\n".join([*rows, sums])


def main(folders: list[str]) -> None:
    """Print the table of some folders."""
    import tempfile
    import time

    for name in folders:
        outcomes = []
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as tmp, in_process(Path(tmp) / "work") as trial:
            for i, (file, case) in enumerate(cases(name)):
                outcomes.append(judge(trial, file, case, Path(tmp) / f"samples-{i}"))
        print(f"{name}\n{table(outcomes)}\n{time.monotonic() - begin:.0f} s\n")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(sys.argv[1:] or ["zoo_own", "zoo_blind"])
