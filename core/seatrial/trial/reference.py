"""The reference's answers: what every other rung is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial import results as r

if TYPE_CHECKING:
    from seatrial.trial.context import Trial

REFERENCE = "seatrial.reference:load"
#: What a reference run is called in the report.
REFERENCE_NAME = "reference (CPU, FP32)"


def reference_outputs(
    trial: Trial,
    model: r.Ref,
    samples: r.Ref,
    indices: tuple[int, ...] | None = None,
    *,
    optimize: str = "all",
    threads: int = 0,
    taps: tuple[str, ...] = (),
    denormals_as_zero: bool = False,
    remember: bool = False,
) -> r.Ref | r.Fault:
    """Outputs of a model on the reference over samples.

    Args:
        trial: the command at work.
        model: float, or with Q/DQ pairs.
        samples: a sample store.
        indices: which samples; ``None``: all.
        optimize: ``none`` takes Q and DQ literally.
        threads: of one inference; 0: the runtime's choice.
        taps: inner tensors to give as well.
        denormals_as_zero: numbers next to zero are zero, as on many devices.
        remember: they choose something, and may come from an earlier run.
    """
    request = r.LoadRequest(
        artifact=model,
        format="onnx",
        target="reference",
        threads=threads,
        taps=taps,
        options={"optimize": optimize, "denormals_as_zero": denormals_as_zero},
    )
    outcome = trial.runner.outputs(
        REFERENCE,
        None,
        request,
        samples,
        indices,
        batch=trial.batch,
        limits=trial.limits(),
        remember=remember and trial.remembers,
    )
    return outcome.result if outcome.result is not None else fault_of(outcome.fault)


def fault_of(fault: r.Fault | None) -> r.Fault:
    """Its fault, or that it gave nothing and did not say why."""
    return fault or r.Fault(kind=r.FaultKind.RAISED, stage="reference", reason="gave no outputs")
