"""What ``qat`` was asked, and what its stages hand on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from seatrial import results as r
from seatrial.errors import UserError
from seatrial.options import QatOptions
from seatrial.qat import records as qr
from seatrial.qat import view
from seatrial.report import rows
from seatrial.trial.context import Trial
from seatrial.trial.evidence import Evidence

#: Where checkpoints lie in the output folder.
CHECKPOINTS = "checkpoints"


@dataclasses.dataclass
class Work:
    """What the stages hand on."""

    trial: Trial
    found: Evidence
    options: QatOptions
    out: Path
    dialects: list[r.QdqDialect] = dataclasses.field(default_factory=list)
    others: list[r.QdqDialect] = dataclasses.field(default_factory=list)
    method: str = ""
    result: qr.TrainResult | None = None
    trained: r.Ref | None = None
    table: r.Ref | None = None
    calibrated: int = 0
    exports: list[view.Exported] = dataclasses.field(default_factory=list)
    files: list[rows.Row] = dataclasses.field(default_factory=list)


def settings(options: QatOptions, seed: int) -> qr.Settings:
    """The settings as typed; what was not said keeps its default."""
    said: dict[str, Any] = {
        "epochs": options.epochs,
        "lr": options.lr,
        "schedule": options.schedule or None,
        "layers": options.layers or None,
        "share": options.share,
        "batch": options.batch,
        "threads": options.threads,
    }
    known = {name: value for name, value in said.items() if value is not None}
    return qr.Settings(seed=seed, learn_ranges=not options.fixed_ranges, **known)


def located(text: str, flag: str) -> str:
    """``MODULE:NAME`` as a child can import it: a file by its absolute path.

    Raises:
        UserError: it has another form, or there is no such file.
    """
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name.replace(".", "_").isidentifier():
        raise UserError(flag, f"{text!r} is not MODULE:CALLABLE or FILE.py:CALLABLE")
    if not module.endswith(".py"):
        return text
    if not Path(module).is_file():
        raise UserError(flag, "there is no such file", place=module)
    return f"{Path(module).absolute()}:{name}"
