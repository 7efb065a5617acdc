"""A training as the report tells it. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seatrial.codec import encode, record
from seatrial.report import rows

from . import records as qr

if TYPE_CHECKING:
    from seatrial.options import QatOptions


@record
class Exported:
    """A Q/DQ model that was written.

    Attributes:
        dialect: short name of its form.
        path: where it lies.
        verified: ``None``: it could not be held against what was trained.
    """

    dialect: str
    path: str
    verified: qr.Verified | None = None


def facts(
    result: qr.TrainResult,
    options: QatOptions,
    settings: qr.Settings,
    *,
    method: str,
    calibrated: int,
    exports: Sequence[Exported],
) -> rows.Row:
    """The key ``qat`` of the report."""
    return {
        "train": options.train,
        "validation": options.validation,
        "loss": options.loss,
        "settings": encode(settings),
        "method": method,
        "float_loss": result.float_loss,
        "best": result.best,
        "epochs": [encode(e) for e in result.epochs],
        "train_samples": result.train_samples,
        "validation_samples": result.validation_samples,
        "parameters": result.parameters,
        "learnt": result.learnt,
        "calibrated": calibrated,
        "folded": result.folded,
        "frozen": result.frozen,
        "resumed": result.resumed,
        "seconds": result.seconds,
        "exports": [_export(e) for e in exports],
    }


def _export(exported: Exported) -> rows.Row:
    found = exported.verified
    return {
        "dialect": exported.dialect,
        "path": exported.path,
        "equal": None if found is None else found.equal,
        "ratio": None if found is None else found.ratio,
        "sqnr_db": None if found is None else found.sqnr_db,
        "n": 0 if found is None else found.n,
    }


def sentence(result: qr.TrainResult) -> str:
    """What training did to the loss, in one line."""
    start = result.epochs[0].validation_loss
    if not result.best:
        return f"no epoch was better than the start (validation loss {start:.4g})"
    best = result.epochs[result.best].validation_loss
    text = f"validation loss {start:.4g} before training, {best:.4g} after epoch {result.best}"
    return f"{text}; float {result.float_loss:.4g}"


def reasons(
    result: qr.TrainResult | None, exports: Sequence[Exported], settings: qr.Settings
) -> list[rows.Row]:
    """What the first page says."""
    if result is None:
        return []
    found = [rows.reason("qat.loss", sentence(result), level="info")]
    if not result.best:
        text = "nothing was gained: the file holds post-training ranges and the given weights"
        found.append(rows.reason("qat.nothing-gained", text, level="warning"))
    elif result.best == settings.epochs and settings.epochs > 1:
        text = "the last epoch was the best: more may be better still"
        found.append(rows.reason("qat.more", text, level="info"))
    for exported in exports:
        if exported.verified is None or not exported.verified.equal:
            text = f"{exported.path} is not proven to compute what was trained"
            found.append(rows.reason("qat.export", text, level="error"))
    found += [rows.reason("qat.note", text, level="warning") for text in result.notes]
    return found


def gained(part: Any) -> float | None:
    """Share of the loss that quantisation cost and that training won back; ``None``: none was."""
    start = part["epochs"][0]["validation_loss"]
    lost = start - part["float_loss"]
    best = part["epochs"][part["best"]]["validation_loss"]
    return (start - best) / lost if lost > 0 else None
