"""What belongs on the first page of a report, or keeps a verdict open, beside the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.audit.rules import RED, SHOWN, STUCK, TEST_COPIES, Finding
from seatrial.benchmark import pace
from seatrial.ladder import records as lr
from seatrial.report import rows
from seatrial.tasks.base import NOTE
from seatrial.trial import document

#: The finding that calibration samples are near duplicates of test samples.
NEAR_TEST = "near-test"

#: Share of the test set from which on such duplicates keep a verdict open: less cannot move the
#: drop by a point.
MATERIAL = 0.01

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence


def remarks(trial: Trial, found: Evidence) -> list[rows.Row]:
    """What decides nothing but belongs on the first page."""
    told = document.note_reasons(trial.admitted) if trial.admitted is not None else []
    told += found.export_reasons + found.given_reasons + document.option_reasons(trial)
    for fault in found.faults:
        text = f"{fault.stage} {fault.kind.value}: {fault.reason}"
        told.append(rows.reason("run.core-fault", text, level="error"))
    if found.advice is not None and not found.advice.gain:
        told.append(rows.reason(f"int8.{found.advice.code}", found.advice.text, level="info"))
    for doubt in found.judged.doubts if found.judged is not None else ():
        if doubt.gate == NOTE:
            told.append(rows.reason(doubt.code, doubt.text, level="warning"))
    tested = found.test.info.count if found.test is not None else 0
    told += red_rows(_red(found), tested)
    for stuck in found.audit.findings if found.audit else ():
        if stuck.code == STUCK:
            told.append(rows.reason(f"calibration.{STUCK}", stuck.text, level="warning"))
    told += _from_memory(trial) + _unsteady(found.judged) + _in_name(trial)
    if found.quick:
        text = "quick run: fewer samples, fewer candidates, shorter rounds"
        told.append(rows.reason("run.quick", text, level="info"))
    if found.test is not None and found.calibration is None and found.int8:
        text = "the ranges are the model's own; nobody showed the calibration data"
        told.append(rows.reason("calibration.none", text, level="info"))
    return told


def red_rows(red: list[Finding], tested: int) -> list[rows.Row]:
    """How many red findings there are, and the first that keeps the verdict open, if any does.

    Args:
        red: red findings.
        tested: test samples.
    """
    if not red:
        return []
    first = next((f for f in red if f.code != NEAR_TEST or material(f, tested)), None)
    what = "1 red finding" if len(red) == 1 else f"{len(red)} red findings"
    text = f"the audit has {what}: {(first or red[0]).text}"
    if first is None:
        text += (
            f"; they touch {touched(red[0]) / tested:.2%} of the test set, and below "
            f"{MATERIAL:.0%} that is a warning only"
        )
    return [rows.reason(f"calibration.{(first or red[0]).code}", text, level="warning")]


def _unsteady(judged: lr.JudgeResult | None) -> list[rows.Row]:
    """Rungs that answer otherwise when they are run again in a way that must not matter."""
    told = []
    for rung in judged.rungs if judged is not None else ():
        for floor in rung.noise:
            if 0 <= floor.agreed < floor.n:
                form, _, digest = (rung.source or "").partition(":")
                which = f"{rung.rung} {form}:{digest[:6]}" if digest else rung.rung
                text = (
                    f"{which}, {floor.what}: {floor.n - floor.agreed} of {floor.n} samples get "
                    "another class; no step can be told apart by less"
                )
                target = rung.target
                # Sound kernels round differently; one that differs from itself is another matter.
                level = "info" if floor.what == lr.INTEGERS else "warning"
                told.append(rows.reason("ladder.floor", text, target=target, level=level))
    return told


def _in_name(trial: Trial) -> list[rows.Row]:
    """INT8 artefacts of which most runs in float, as far as the runtime tells."""
    told = []
    for state in trial.usable:
        ran = (state.facts.get("ran") or {}).get("int8") or {}
        text = pace.in_name_only(ran.get("layers") or ())
        if text:
            told.append(rows.reason("int8.in-name", text, target=state.id, level="warning"))
    return told


def _from_memory(trial: Trial) -> list[rows.Row]:
    """What an earlier run in the folder spared this one."""
    memory, told = trial.memory, []
    if memory.used:
        n = len(memory.used)
        text = (
            f"{n} steps were not done again: an earlier run in this folder did them on the same "
            "inputs, code and versions; all that is measured was measured anew (--fresh: do all)"
        )
        told.append(rows.reason("run.remembered", text, level="info"))
    if memory.damaged:
        text = f"what an earlier run left was damaged, and done anew: {'; '.join(memory.damaged)}"
        told.append(rows.reason("run.damaged-cache", text, level="warning"))
    return told


def _red(found: Evidence) -> list[Finding]:
    return [f for f in found.audit.findings if f.level == RED] if found.audit else []


def decisive(found: Evidence) -> list[Finding]:
    """Red findings that keep a verdict open.

    A few near copies in the test set are named, but the drop cannot rest on them. Copies within
    the test set are no matter of calibration: :func:`copied` says them.
    """
    tested = found.test.info.count if found.test is not None else 0
    red = [f for f in _red(found) if f.code != TEST_COPIES]
    return [f for f in red if f.code != NEAR_TEST or material(f, tested)]


def copied(found: Evidence) -> str:
    """What keeps a verdict open: test samples that are copies of one another."""
    return next((f.text for f in _red(found) if f.code == TEST_COPIES), "")


def material(finding: Finding, tested: int) -> bool:
    """Whether near duplicates touch a share of the test set on which a drop could rest."""
    # Lists of pairs are cut: a full one may stand for any number.
    cut = len(finding.pairs) >= SHOWN
    return cut or touched(finding) >= MATERIAL * tested


def touched(finding: Finding) -> int:
    """Test samples that have a near duplicate; at least so many, where the list of pairs is cut."""
    return max(finding.count, len({pair[1] for pair in finding.pairs}))


def unlisted(found: Evidence) -> str:
    """What is said of test pictures that their own table leaves out."""
    findings = found.test.info.findings if found.test is not None else ()
    return next((f.text for f in findings if f.code == "unlisted"), "")
