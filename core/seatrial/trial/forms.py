"""Other forms of what ships: built with free shapes, and run with several calls in flight."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark.ranking import ratio
from seatrial.report import rows, speed_rows
from seatrial.trial import build, layouts
from seatrial.trial.context import total_memory_mb
from seatrial.trial.timing import FREE, Contestant, Rounds

if TYPE_CHECKING:
    from seatrial.trial.build import Piece
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Pieces whose free form is built, and that are run with several calls in flight.
FLOAT, INT8 = "fp32", "int8"
#: Streams when nobody says how many: one per CPU, up to this many.
MOST_STREAMS = 8
#: Share of the machine's memory that all loaded artefacts together may be thought to take.
MEMORY_SHARE = 0.4
#: Resident memory of a loaded artefact, as a multiple of its size (weights, packed once more).
LOADED = 3.0


def free_dimensions(trial: Trial) -> bool:
    """Whether any input of the model has a dimension that is not a number."""
    return any(isinstance(d, str) for t in trial.model.facts.inputs for d in t.shape)


def dynamic(trial: Trial, entered: Sequence[Contestant]) -> list[Contestant]:
    """The free forms of what was built static; what keeps one away is noted in the state.

    Args:
        trial: the command at work.
        entered: what is timed already.
    """
    found = []
    for one in entered:
        if one.name not in (FLOAT, INT8) or one.streams > 1:
            continue
        why = _why_not(trial, one)
        if why:
            one.state.facts.setdefault("generality_notes", {})[one.piece.stated] = why
            continue
        trial.progress("build", f"{one.state.id} {one.piece.stated} with free shapes")
        refusals: list[r.Finding] = []
        piece = _build(trial, one, refusals)
        if refusals:
            told = layouts.refused_text(refusals)
            one.state.facts.setdefault("generality_notes", {})[one.piece.stated] = told
        if piece is not None:
            piece.form, piece.layout = "dynamic", one.piece.layout
            found.append(dataclasses.replace(one, name=one.name + FREE, piece=piece))
    return found


def _why_not(trial: Trial, one: Contestant) -> str:
    if not free_dimensions(trial):
        return "the model's own shapes are fixed: there is no free form of it"
    if one.state.target is not None and one.state.target.rules.static_shapes:
        return "this target takes static shapes only"
    if one.state.facts.get("free"):
        return "it ships with free shapes: the compiler refuses the static form"
    if one.name == INT8 and one.piece.portable is None:
        return "the target calibrated this artefact itself: its free form is not built again"
    return ""


def _build(trial: Trial, one: Contestant, refusals: list[r.Finding]) -> Piece | None:
    if one.name == FLOAT:
        return build.build_float(trial, one.state, FLOAT, {}, decisive=False, refusals=refusals)
    assert one.piece.portable is not None
    return build.build_portable(trial, one.state, one.piece.portable, {}, refusals)


def streams(trial: Trial, entered: Sequence[Contestant], wanted: int | None) -> list[Contestant]:
    """The same artefacts with several calls in flight; the CPUs are divided among these.

    Args:
        trial: the command at work.
        entered: what is timed already.
        wanted: how many calls; ``None``: what the target's table says, else one per CPU.
    """
    found = []
    cores = len(os.sched_getaffinity(0))
    for one in entered:
        if one.name not in (FLOAT, INT8):
            continue
        table = trial.config.target(one.state.id)
        count = wanted or (table.streams if table else None) or min(cores, MOST_STREAMS)
        if count > 1:
            threads = max(1, (trial.threads_of(one.state) or cores) // count)
            found.append(dataclasses.replace(one, streams=count, threads=threads))
    return found


def affordable(entered: Sequence[Contestant], extras: Sequence[Contestant]) -> list[Contestant]:
    """As many of the extras, in their order, as memory allows to be loaded beside the others."""
    left = MEMORY_SHARE * total_memory_mb() * 2**20
    left -= LOADED * sum(one.piece.ref.bytes for one in entered)
    kept = []
    for one in extras:
        left -= LOADED * one.piece.ref.bytes
        if left < 0:
            break
        kept.append(one)
    return kept


def generality_rows(rounds: Rounds, state: TargetState) -> list[rows.Row]:
    """What free shapes cost on a target, by precision."""
    found = []
    notes: dict[str, str] = state.facts.get("generality_notes", {})
    for one in rounds.contestants:
        if one.state is not state or one.streams > 1:
            continue
        if one.name in (FLOAT, INT8) and one.piece.stated in notes:
            found.append(speed_rows.generality(one.piece.stated, text=notes[one.piece.stated]))
        if one.name.endswith(FREE) and one.timing is not None:
            found.append(_generality(rounds, one))
    return found


def _generality(rounds: Rounds, one: Contestant) -> rows.Row:
    static = rounds.of(one.state, one.name.removesuffix(FREE), model=one.model)
    row = speed_rows.generality(one.piece.stated, dynamic_ms=_median(one.timing))
    told = ratio(static, one.timing) if static is not None and one.timing is not None else None
    if told is None:
        row["text"] = "the static form was not timed"
        return row
    per_cent = 100 * (told.value - 1)
    text = f"free shapes cost {per_cent:.1f} %" if per_cent > 0 else ""
    text = text or f"free shapes are {-per_cent:.1f} % faster"
    if not told.distinguishable:
        text = f"free shapes cost the same within the noise ({per_cent:+.1f} %)"
    row.update(
        static_ms=_median(static),
        ratio=told.value,
        ci95=list(told.ci95) if told.ci95 else None,
        distinguishable=told.distinguishable,
        text=text,
    )
    return row


def _median(timing: object) -> float | None:
    found = getattr(timing, "quantiles", {}).get("p50")
    return found.value if found is not None else None
