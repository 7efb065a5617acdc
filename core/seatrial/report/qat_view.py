"""What ``qat`` did, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import numbers as nr
from . import sheets
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page

#: Epochs shown at most: the start, the best, and the last ones.
MOST = 12


def draw(page: Page, data: Data) -> None:
    """The training part of a report; nothing for other commands."""
    if not data["qat"]:
        return
    page.sheet(training(data))
    page.sheet(exports(data))


def training(data: Data) -> sheets.Sheet:
    """One row per epoch."""
    part = data["qat"]
    heads = sheets.columns("epoch|>training loss|>validation loss|>rate|>seconds|")
    if not part:
        return sheets.Sheet("Training", heads, [])
    rows: list[tuple[str, ...]] = [
        ("float", nr.DASH, _loss(part["float_loss"]), nr.DASH, nr.DASH, "the model as given")
    ]
    listed = part["epochs"]
    shown = [e for e in listed if e["number"] in (0, part["best"])]
    room = MOST - len(shown)
    shown += [e for e in listed[-room:] if e not in shown]
    for e in sorted(shown, key=lambda e: e["number"]):
        start = e["number"] == 0
        rows.append(
            (
                "start" if start else str(e["number"]),
                nr.DASH if start else _loss(e["train_loss"]),
                _loss(e["validation_loss"]),
                nr.DASH if start else f"{e['lr']:.2g}",
                nr.DASH if start else f"{e['seconds']:.0f}",
                "kept" if e["number"] == part["best"] else "",
            )
        )
    notes = [_samples(part), _what(part)]
    notes += sheets.more(len(listed), len(shown), "epochs")
    return sheets.Sheet("Training", heads, rows, notes, f"{part['seconds'] / 60:.1f} minutes")


def _samples(part: Data) -> str:
    counts = (("train_samples", "train"), ("validation_samples", "choose the epoch"))
    said = [f"{part[key]} samples {verb}" for key, verb in counts if part[key]]
    resumed = f"{part['resumed']} epochs were read from a checkpoint" if part["resumed"] else ""
    return ", ".join(filter(None, (*said, resumed)))


def _what(part: Data) -> str:
    words = [f"{part['parameters']:,} numbers learn", f"{part['learnt']} tensors fake-quantised"]
    if part["calibrated"]:
        words.append(f"{part['calibrated']} calibrated afterwards")
    norms = [f"{part['folded']} folded"] if part["folded"] else []
    norms += [f"{part['frozen']} frozen"] if part["frozen"] else []
    if norms:
        words.append("batch norms: " + ", ".join(norms))
    return ", ".join(words)


def exports(data: Data) -> sheets.Sheet:
    """One row per Q/DQ model."""
    heads = sheets.columns("written|form|computes what was trained|>dB|>samples")
    rows: list[tuple[str, ...]] = []
    for e in data["qat"].get("exports", ()):
        said = {True: "yes", False: "NO", None: "not known"}[e["equal"]]
        decibel = nr.DASH if e["sqnr_db"] is None else f"{e['sqnr_db']:.1f}"
        rows.append((safe(e["path"], 60), safe(e["dialect"], 40), said, decibel, str(e["n"])))
    return sheets.Sheet("Exported", heads, rows)


def _loss(value: float | None) -> str:
    """A loss; training that diverged has none."""
    return nr.DASH if value is None else f"{value:.4g}"
