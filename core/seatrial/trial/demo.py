"""``demo``: train a small net on real digits, try it twice, show both outcomes."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from seatrial.config import load
from seatrial.demo import DemoFiles, DemoRequest
from seatrial.errors import UserError
from seatrial.options import DemoOptions, RunOptions
from seatrial.progress import Progress
from seatrial.report import Report
from seatrial.trial.context import Trial
from seatrial.trial.run import run

#: What the demo needs beyond the plain installation.
NEEDS = ("torch", "sklearn", "onnxscript")
#: The configuration of its two trials: empty.
CONFIG = "seatrial.toml"


def demo(options: DemoOptions, progress: Progress) -> list[Report]:
    """Make two models of one float function and run the whole trial on each.

    Raises:
        UserError: the demo's packages are not installed, or the training child failed.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            "demo", f"needs {', '.join(missing)}", advice="pip install 'seatrial[demo]'"
        )
    out = Path(options.out or "seatrial-demo")
    files = _make(options, out, progress)
    return [
        run(_run_options(options, out, files, model), progress)
        for model in (files.model, files.spoiled)
    ]


def _make(options: DemoOptions, out: Path, progress: Progress) -> DemoFiles:
    """Train in a child and lay models and data out where the user finds them."""
    with Trial("demo", out, jobs=options.jobs, config=load(None), progress=progress) as trial:
        with trial.stage("train a small net on 800 handwritten digits", 1, 1):
            outcome = trial.runner.task(
                "seatrial.demo.child:make", DemoRequest(), limits=trial.limits(timeout_s=600)
            )
        files: DemoFiles | None = outcome.result
        if files is None:
            reason = outcome.fault.reason if outcome.fault else "gave nothing"
            raise UserError("demo", f"training failed: {reason}", advice=f"see {outcome.log}")
        folder = trial.workspace.path(trial.runner.adopt(outcome, files.artifact))
        for name in files.artifact.files:
            shutil.copyfile(folder / name, out / name)
    (out / CONFIG).write_text(
        "# The demo's own: a seatrial.toml of the folder it is started in is not its.\n"
    )
    return files


def _run_options(options: DemoOptions, out: Path, files: DemoFiles, model: str) -> RunOptions:
    name = Path(model).stem
    typed = (
        *("seatrial", "run", str(out / model)),
        *("--calibration", str(out / files.calibration)),
        *("--test", str(out / files.test)),
        *("--config", str(out / CONFIG), "-o", str(out / name)),
        *(word for target in options.targets for word in ("-b", target)),
        "--all-int8",
    )
    return RunOptions(
        model=str(out / model),
        calibration=str(out / files.calibration),
        test=str(out / files.test),
        out=str(out / name),
        config=str(out / CONFIG),
        targets=options.targets,
        quick=options.quick,
        all_int8=True,  # mixed precision would hide what unequal channels do
        jobs=options.jobs,
        command_line=typed,
    )
