"""All artefacts of one target: FP32 pinned, the runtime's own choice, INT8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.report import rows, target_rows
from seatrial.trial import build
from seatrial.trial import compile as compile_stage
from seatrial.trial.build import NATIVE, Piece

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState


def build_all(trial: Trial, state: TargetState, found: Evidence, reference: r.Ref | None) -> None:
    """Build what the backend offers; the pieces go to ``state.facts["pieces"]``.

    Args:
        trial: the command at work.
        state: the target.
        found: calibration data and bake-off.
        reference: float outputs over the held-out calibration samples.
    """
    shapes = state.facts.get("shapes", {})
    made: dict[str, Piece] = state.facts.setdefault("pieces", {})
    columns = state.facts["columns"]
    refused = columns["fp32"] is None or columns["fp32"]["verdict"] == "unsupported"
    if not trial.model.facts.has_qdq and not refused:
        pinned = build.build_float(trial, state, "fp32", shapes)
        if pinned is not None:
            made["fp32"] = pinned
        own = build.build_float(trial, state, "native", shapes) if state.fault is None else None
        # A runtime that would run FP32 anyway gives the same artefact twice: once is enough.
        if own is not None and own.stated != "FP32":
            made["native"] = own
    if found.int8 and not refused:
        _build_int8(trial, state, found, reference)
    compile_stage.finish(state)


def rebuild_int8(
    trial: Trial, state: TargetState, found: Evidence, reference: r.Ref | None
) -> None:
    """Build INT8 anew, after another portable model was chosen."""
    if "int8" in state.facts.get("pieces", {}):
        _build_int8(trial, state, found, reference)
        compile_stage.finish(state)


def _build_int8(trial: Trial, state: TargetState, found: Evidence, reference: r.Ref | None) -> None:
    shapes = state.facts.get("shapes", {})
    dialect = state.target.rules.qdq if state.target else None
    portable = found.portables.get(dialect) if dialect is not None else None
    chosen = build.build_int8(
        trial,
        state,
        portable=portable,
        # What the user named is what is judged: no build of the target's own stands in for it.
        data=None if portable is not None and portable.given else found.split,
        reference=reference,
        shapes=shapes,
    )
    if chosen is not None:
        state.facts["pieces"]["int8"] = chosen
    if chosen is not None and chosen.source == NATIVE:
        state.facts["columns"]["int8"] = _native_column(chosen)
        return
    ref = portable.chosen.ref if portable is not None and portable.chosen is not None else None
    why = portable.why_not if portable is not None else "this target takes no Q/DQ model"
    compile_stage.check_int8(
        trial, state, lambda _: (ref, "" if ref else why), shapes=shapes, structure_only=False
    )


def _native_column(piece: Piece) -> rows.Row:
    """The INT8 half of the built column for an artefact of the target's own calibration."""
    return target_rows.built_precision(
        r.Verdict.SUPPORTED.value,
        depth=r.Depth.ARTEFACT.value,
        precision="INT8",
        artifact=target_rows.artifact(piece.artifact.format, piece.ref.sha256, piece.ref.bytes),
        seconds=round(piece.build_s, 3),
        notes=[piece.method],
    )
