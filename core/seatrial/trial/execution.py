"""The ``ran`` column: where, in which precision and layout each layer really executed.

Read from profiling sessions of their own, which are never timed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.codec import encode
from seatrial.report import rows, target_rows
from seatrial.trial.build import Piece
from seatrial.trial.built import placement_counts

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Inferences of a profiling session: at least, and as many as fit into a time.
CALLS, MOST_CALLS, PROFILE_S = 8, 64, 0.5
#: Letters of the name of a layout of vectors or matrices, at most.
PLAIN = 2
#: Layer types that only convert between precisions or layouts, lower case, in any runtime's words.
CONVERSIONS = ("quantize", "reorder", "reformat", "convert", "transpose", "cast", "permute")
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
            state.facts["observed"] = seen


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
        if first.result is not None and first.result.latencies_ns:
            # A median of few calls says little of layers of some microseconds.
            typical = sorted(first.result.latencies_ns)[len(first.result.latencies_ns) // 2] / 1e9
            more = min(MOST_CALLS, int(PROFILE_S / max(typical, 1e-6))) // max(1, len(indices))
            if more:
                handle.run(
                    samples,
                    indices,
                    keep=False,
                    batch=trial.batch,
                    repeat=more,
                    limits=trial.limits(state),
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
    return target_rows.ran(
        last.where.value,
        last.device,
        instruction_set=last.instruction_set,
        **{name: execution_row(ran) for name, ran in seen.items()},
    )


def execution_row(ran: r.Ran) -> rows.Row:
    """What one artefact ran as; the share of fallback is of the measured time."""
    return target_rows.execution(
        precisions=dict(Counter(layer.precision or "not told" for layer in ran.layers)),
        layouts=dict(Counter(layer.layout for layer in ran.layers if layer.layout)),
        placements=placement_counts(ran.placements),
        fallback_share=_fallback_share(ran),
        layers=[layer_row(layer) for layer in ran.layers],
        notes=list(ran.notes),
    )


def layer_row(layer: r.LayerRun) -> rows.Row:
    """One layer as the report has it; a time that was not measured is ``None``."""
    row = dict(encode(layer))
    row["ms"] = layer.ms if layer.ms >= 0 else None
    return row


def main_layout(layers: Sequence[rows.Row]) -> str:
    """The layout in which most of the layers' time is spent, in the runtime's words.

    Layers that only move data are left out, as are those whose layout is not told.
    """
    times: dict[str, float] = {}
    known = [layer for layer in layers if layer["layout"] and not moves(layer)]
    # Matrices have a layout of two letters; what is asked for is that of pictures.
    pictures = [layer for layer in known if len(layer["layout"].split(",")[0]) > PLAIN]
    for layer in pictures or known:
        name = layer["layout"].split(",")[0]
        times[name] = times.get(name, 0.0) + (layer["ms"] or 0.0)
    return max(times, key=lambda k: times[k], default="")


def moving_ms(layers: Sequence[rows.Row]) -> float | None:
    """Milliseconds in layers that only move data; ``None`` where nothing was timed."""
    if all(layer["ms"] is None for layer in layers):
        return None
    return total_ms([layer for layer in layers if moves(layer)]) or 0.0


def total_ms(layers: Sequence[Mapping[str, Any]]) -> float | None:
    """Milliseconds of some layers together; ``None`` where none was timed."""
    times = [float(layer["ms"]) for layer in layers if layer["ms"] is not None]
    return sum(times) if times else None


def moves(layer: rows.Row) -> bool:
    """Whether a layer only changes the layout or the type of its data."""
    name = str(layer["op_type"]).lower()
    return any(word in name for word in CONVERSIONS)


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
