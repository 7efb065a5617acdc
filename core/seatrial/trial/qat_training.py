"""The training of ``qat``: its child, and the ranges of what it leaves alone."""

from __future__ import annotations

import dataclasses

from seatrial.calibration.types import SAMPLED, RangesRequest
from seatrial.qat import records as qr
from seatrial.recovery import plan
from seatrial.trial.candidates import Tables
from seatrial.trial.making import Made
from seatrial.trial.qat_work import CHECKPOINTS, Work, located, settings

#: Training may take as long as it takes: its checkpoints outlive it.
TRAIN_S = 30 * 86400.0


def train(work: Work) -> None:
    """Train from calibrated ranges, or go on from a checkpoint; what is found goes to ``work``."""
    trial, found, options = work.trial, work.found, work.options
    assert found.split is not None
    table = Tables(trial).get(found.split.whole, work.method)
    if isinstance(table, Made):
        found.faults += [table.fault] if table.fault else []
        return
    request = qr.TrainRequest(
        model=trial.model.ref,
        ranges=table,
        samples=found.split.whole,
        train=located(options.train, "--train"),
        validation=located(options.validation, "--validation") if options.validation else "",
        loss=located(options.loss, "--loss"),
        folder=str((work.out / CHECKPOINTS).absolute()),
        method=_choice(work),
        dialect=work.dialects[0],
        settings=settings(options, trial.seed),
    )
    outcome = trial.runner.task(
        "seatrial.qat.child:train",
        request,
        refs=[request.model, table, request.samples],
        limits=trial.limits(timeout_s=TRAIN_S),
        user=True,
    )
    work.result = outcome.result
    if work.result is None:
        found.faults += [outcome.fault] if outcome.fault else []
        return
    work.trained = trial.runner.adopt(outcome, work.result.artifact)
    work.table = dataclasses.replace(work.trained, entry="ranges.json")
    if work.result.calibrate:
        _calibrate_rest(work)


def _choice(work: Work) -> str:
    """How ranges are read from a table: weighted ones are those of least weighted error."""
    return "mse" if work.method == plan.WEIGHTED else work.method


def _calibrate_rest(work: Work) -> None:
    """Ranges by calibration for the tensors that training left alone."""
    trial, found = work.trial, work.found
    if work.trained is None or work.table is None or found.split is None:
        return
    request = RangesRequest(
        model=work.trained, samples=found.split.whole, statistics=SAMPLED, seed=trial.seed
    )
    outcome = trial.runner.task(
        "seatrial.calibration.child:ranges",
        request,
        refs=[request.model, request.samples],
        limits=trial.limits(timeout_s=1800),
    )
    if outcome.result is None:
        found.faults += [outcome.fault] if outcome.fault else []
        return
    observed = trial.runner.adopt(outcome, outcome.result.artifact)
    merged = trial.runner.task(
        "seatrial.qat.child:merge",
        qr.MergeRequest(
            learnt=work.table,
            observed=observed,
            method=_choice(work),
            symmetric=work.dialects[0].symmetric,
        ),
        refs=[work.table, observed],
        limits=trial.limits(),
    )
    if merged.result is None:
        found.faults += [merged.fault] if merged.fault else []
        return
    work.table = trial.runner.adopt(merged, merged.result.artifact)
    work.calibrated = merged.result.calibrated
