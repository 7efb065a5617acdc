"""The ``ran`` column: where, in which precision and layout each layer really executed.

Read from profiling sessions of their own, which are never timed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.codec import encode
from seatrial.report import rows
from seatrial.trial.build import Piece
from seatrial.trial.built import placement_counts

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Inferences of a profiling session.
CALLS = 8
#: Pieces whose execution the report shows.
SHOWN = ("fp32", "int8")


def observe_all(trial: Trial, samples: r.Ref) -> None:
    """Fill the ``ran`` column of every target that has pieces."""
    for state in trial.usable:
        pieces: dict[str, Piece] = state.facts.get("pieces", {})
        seen: dict[str, r.Ran] = {}
        for name in SHOWN:
            if name in pieces and pieces[name].fault is None:
                trial.progress("profile", f"{state.id} {name}")
                ran = observe(trial, state, pieces[name], samples)
                if ran is not None:
                    seen[name] = ran
        if seen:
            state.facts["ran"] = _row(seen)


def observe(trial: Trial, state: TargetState, piece: Piece, samples: r.Ref) -> r.Ran | None:
    """Run a few samples in a profiling session; ``None`` with the fault in the state."""
    opened = trial.open(state, piece, profile=True)
    if opened.result is None:
        trial.blame(state, opened.fault, decisive=False)
        return None
    handle = opened.result
    try:
        count = min(CALLS * trial.batch, trial.samples_count)
        indices = tuple(range(count - count % trial.batch))
        first = handle.run(
            samples, indices, keep=False, batch=trial.batch, limits=trial.limits(state)
        )
        outcome = handle.ran() if first.ok else first
        if not outcome.ok or not isinstance(outcome.result, r.Ran):
            trial.blame(state, outcome.fault, decisive=False)
            return None
        return outcome.result
    finally:
        handle.close()


def _row(seen: dict[str, r.Ran]) -> rows.Row:
    last = list(seen.values())[-1]
    return rows.ran(
        last.where.value,
        last.device,
        instruction_set=last.instruction_set,
        **{name: execution_row(ran) for name, ran in seen.items()},
    )


def execution_row(ran: r.Ran) -> rows.Row:
    """What one artefact ran as; the share of fallback is of the measured time."""
    return rows.execution(
        precisions=dict(Counter(layer.precision or "not told" for layer in ran.layers)),
        layouts=dict(Counter(layer.layout for layer in ran.layers if layer.layout)),
        placements=placement_counts(ran.placements),
        fallback_share=_fallback_share(ran),
        layers=[_layer(layer) for layer in ran.layers],
        notes=list(ran.notes),
    )


def _layer(layer: r.LayerRun) -> rows.Row:
    row = dict(encode(layer))
    row["ms"] = layer.ms if layer.ms >= 0 else None
    return row


def _fallback_share(ran: r.Ran) -> float | None:
    """Share of the layers' time that was spent off the target; ``None`` if not told."""
    elsewhere = {p.on for p in ran.placements if p.placement is r.Placement.FALLBACK}
    at_home = {p.on for p in ran.placements if p.placement is r.Placement.TARGET}
    timed = [layer for layer in ran.layers if layer.ms >= 0]
    total = sum(layer.ms for layer in timed)
    if not ran.placements or not total:
        return None
    return sum(layer.ms for layer in timed if layer.on in elsewhere - at_home) / total


def precisions(layers: Sequence[rows.Row]) -> Counter[str]:
    """Layers by precision."""
    return Counter(layer["precision"] for layer in layers if layer["precision"])
