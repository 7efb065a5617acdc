"""A calibration table from an earlier command: is it of this model and of these inputs?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.calibration.table import FILE, load
from seatrial.calibration.types import EXTREMES, Identity, RangeTable
from seatrial.codec import digest
from seatrial.data import complete_contracts
from seatrial.errors import UserError

if TYPE_CHECKING:
    from seatrial.trial.context import Trial

ADVICE = "leave --ranges out to calibrate anew"


def identity(trial: Trial, model: r.Ref, store: r.Ref) -> Identity:
    """What a table of a model over a sample store says of its origin."""
    return Identity(model=model.sha256, contract=contract(trial), data=store.sha256)


def contract(trial: Trial) -> str:
    """Digest of the input contracts as configured, filled in from the model; empty: none are."""
    inputs = trial.config.inputs
    return digest(complete_contracts(inputs, trial.model.facts.inputs)) if inputs else ""


def reload(trial: Trial, path: Path) -> tuple[r.Ref, RangeTable]:
    """Take a table into the workspace.

    Raises:
        UserError: it is damaged, or of another model or another input contract.
    """
    try:
        table = load(path)
    except ValueError as error:
        raise UserError(str(path), str(error), advice=ADVICE) from None
    own = trial.model.ref.sha256
    if table.model != own:
        reason = f"is of another model ({table.model[:12] or 'unnamed'}, not {own[:12]})"
        raise UserError(str(path), reason, advice=ADVICE)
    stated = contract(trial)
    if stated and table.contract != stated:
        reason = "was made by another input contract: its samples were preprocessed otherwise"
        raise UserError(str(path), reason, place="[input]", advice=ADVICE)
    return trial.workspace.add({FILE: path}, FILE), table


def notes(trial: Trial, table: RangeTable, store: r.Ref | None) -> list[str]:
    """What a reader of the result must know of reloaded ranges.

    Args:
        trial: the command at work.
        table: the table.
        store: the samples that judged candidates; ``None``: nothing did.
    """
    found = [f"ranges of {table.count} samples were reloaded (table {table.sha256[:12]})"]
    if table.contract and not contract(trial):
        found.append("the input contract that they were made by was not given, so not compared")
    if table.statistics == EXTREMES:
        found.append("the table holds extremes only: no method but minmax and moving-average")
    if store is not None and table.data == store.sha256:
        found.append("the samples that judge are among those that made the ranges")
    return found
