"""What ``qat`` writes: a Q/DQ model per form, proven to be what was trained, and scored."""

from __future__ import annotations

from seatrial import results as r
from seatrial.qat import records as qr
from seatrial.qat import view
from seatrial.quantize.schemes import scheme
from seatrial.quantize.types import InsertRequest
from seatrial.samples import Samples
from seatrial.trial import evidence, given
from seatrial.trial.candidates import Candidate
from seatrial.trial.files import delivered
from seatrial.trial.making import Made, insert
from seatrial.trial.qat_work import Work

#: Samples on which an exported model is held against what was trained.
VERIFIED = 64


def export(work: Work) -> None:
    """One Q/DQ model per dialect, proven to be what was trained."""
    trial, found = work.trial, work.found
    if work.trained is None or work.table is None or found.split is None:
        return
    for k, dialect in enumerate(work.dialects):
        trial.progress("export", scheme(dialect))
        request = InsertRequest(
            model=work.trained, ranges=work.table, dialect=dialect, method="minmax"
        )
        made = insert(trial, request, timeout_s=1800)
        if made.ref is None:
            found.faults += [made.fault] if made.fault else []
            continue
        made.method = f"learnt, starting from {work.method}"
        verified = _verified(work, made.ref, dialect)
        target = work.out / ("qat.onnx" if not k else f"qat-{scheme(dialect)}.onnx")
        for path in delivered(trial.workspace.path(made.ref), target):
            work.files.append(evidence.file_row("int8-model", path))
        work.exports.append(
            view.Exported(dialect=scheme(dialect), path=str(target), verified=verified)
        )
        if not k:
            _enter(work, made)


def _verified(work: Work, exported: r.Ref, dialect: r.QdqDialect) -> qr.Verified | None:
    trial, found = work.trial, work.found
    assert work.trained is not None and work.table is not None and found.split is not None
    count = Samples(trial.workspace.path(found.split.whole)).count
    request = qr.VerifyRequest(
        trained=work.trained,
        ranges=work.table,
        exported=exported,
        samples=found.split.whole,
        indices=tuple(range(min(VERIFIED, count))),
        dialect=dialect,
    )
    outcome = trial.runner.task(
        "seatrial.qat.child:verify",
        request,
        refs=[work.trained, work.table, exported, request.samples],
        limits=trial.limits(),
    )
    if outcome.result is None and outcome.fault is not None:
        found.faults.append(outcome.fault)
    result: qr.Verified | None = outcome.result
    return result


def _enter(work: Work, made: Made) -> None:
    """Put the trained model into the table of candidates, scored like the others."""
    trial, found, result = work.trial, work.found, work.result
    assert found.split is not None and result is not None
    portable = next(iter(found.portables.values()))
    for other in portable.candidates:
        if other.chosen:
            other.chosen = False
            other.reason = other.reason.replace("chosen: ", "best without training: ", 1)
    name = f"qat:{work.method}-{scheme(work.dialects[0])}"
    entered = Candidate(name, "qat", name.removeprefix("qat:"), lambda *_: made, made=made)
    given.score(trial, entered, found.split)
    entered.chosen = True
    entered.reason = view.sentence(result)
    portable.candidates.insert(0, entered)
    portable.chosen = made
