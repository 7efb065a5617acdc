"""The diagnosis of what the bake-off chose, as a stage of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.codec import encode
from seatrial.diagnosis.types import DiagnoseRequest, Diagnosis
from seatrial.errors import UserError
from seatrial.report import quantize_rows, rows

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.quantise import Split

TASK = "seatrial.diagnosis.child:diagnose"

#: Layers that the report holds, the noisiest first; the rest of a large model adds nothing.
LAYERS = 400


def diagnose(
    trial: Trial,
    candidate: r.Ref,
    data: Split,
    *,
    model: r.Ref | None,
    table: r.Ref | None = None,
    budget_s: float,
) -> Diagnosis | r.Fault:
    """Diagnose one Q/DQ model over the held-out calibration samples.

    Args:
        trial: the command at work.
        candidate: the Q/DQ model.
        data: calibration data; the held-out part is looked at.
        model: the float model, if there is one.
        table: the core's calibration table, if the ranges came from it.
        budget_s: seconds that it may take.
    """
    request = DiagnoseRequest(
        candidate=candidate,
        samples=data.whole,
        indices=data.held_out,
        model=model,
        table=table,
        budget_s=budget_s,
    )
    refs = [candidate, data.whole, *(x for x in (model, table) if x is not None)]
    limits = trial.limits(timeout_s=3 * budget_s + 60)
    try:
        outcome = trial.runner.task(
            TASK,
            request,
            refs=refs,
            limits=limits,
            # One that was cut short by the clock may say more the next time.
            remember=trial.remembers and (lambda found: bool(found.complete)),
        )
    except UserError as error:
        # The user gave a sound model: what a toolchain made of it (pairs in nested graphs alone)
        # cannot be looked into, which ends no trial.
        return r.Fault(kind=r.FaultKind.RAISED, stage="diagnosis", reason=str(error))
    result: Diagnosis | None = outcome.result
    if result is not None:
        return result
    return outcome.fault or r.Fault(kind=r.FaultKind.RAISED, stage="diagnosis", reason="no result")


def diagnosis_row(name: str, candidate: r.Ref, found: Diagnosis) -> rows.Row:
    """A diagnosis as a row of the report."""
    known = dict(encode(found))
    worst = sorted(found.layers, key=lambda layer: layer.sqnr_db or 0.0)[:LAYERS]
    kept = {layer.node for layer in worst}
    known["layers"] = [row for row in known["layers"] if row["node"] in kept]
    known["order"] = [
        {"node": node, "gain": gain} for node, gain in zip(found.order, found.gains, strict=True)
    ]
    del known["gains"]
    return quantize_rows.diagnosis(name, sha256=candidate.sha256, **known)
